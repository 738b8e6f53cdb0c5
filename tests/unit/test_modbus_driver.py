"""The driver against a scripted link, in virtual time."""

import asyncio
import logging
import struct
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.core.clock import VirtualClock, VirtualTimeLoop
from agent.core.counters import Counters, labels
from agent.core.ports import DriverContext
from drivers.modbus.config import Config
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.pdu import DeviceExceptionError, NoReplyError, NotConnectedError, ReadRequest
from drivers.modbus.reader import BISECT_REQUESTS_MAX
from tests.support.modbus_device import CollectingInbox, readings

S = 1_000_000_000


@dataclass
class ScriptedLink:
    """Register n holds n. What is in ``holes`` doesn't exist, what is in ``mute`` gets no reply."""

    holes: set[int] = field(default_factory=set)
    mute: set[int] = field(default_factory=set)
    most: int = 125
    takes_s: float = 0.01
    timeout_s: float = 1.0
    is_reachable: bool = True
    exception: int | None = None
    asked: list[ReadRequest] = field(default_factory=list)
    attempts: int = 0
    is_connected: bool = False
    on_lost: Callable[[], None] = lambda: None

    async def connect(self, on_lost: Callable[[], None]) -> None:
        self.attempts += 1
        self.on_lost = on_lost
        await asyncio.sleep(0.001)
        if not self.is_reachable:
            raise NotConnectedError("10.0.0.5:502: refused")
        self.is_connected = True

    async def exchange(self, request: ReadRequest) -> bytes:
        self.asked.append(request)
        wanted = range(request.address, request.address + request.count)
        if self.mute.intersection(wanted):
            await asyncio.sleep(self.timeout_s)
            raise NoReplyError(f"{request}: no reply")
        await asyncio.sleep(self.takes_s)
        if not self.is_connected:
            raise NotConnectedError("gone")
        if self.exception is not None:
            raise DeviceExceptionError(f"{request}: exception", self.exception)
        if self.holes.intersection(wanted) or request.count > self.most:
            raise DeviceExceptionError(f"{request}: exception 2", 2)
        return struct.pack(f">{request.count}H", *wanted)

    def drop(self) -> None:
        self.is_connected = False
        self.on_lost()

    def close(self) -> None:
        self.is_connected = False


@dataclass
class Bench:
    """A running driver, its link and its inbox."""

    driver: ModbusDriver
    link: ScriptedLink
    inbox: CollectingInbox
    clock: VirtualClock
    counters: Counters

    async def polls(self, count: int) -> dict[str, tuple[float, int]]:
        """The readings of the last of ``count`` more batches."""
        for _ in range(count):
            batch = await self.inbox.until(lambda _: True)
        return readings(batch)

    def count(self, name: str) -> int:
        return self.counters.count(name, labels(device="d"))


def play(
    story: Callable[[Bench], Coroutine[Any, Any, None]], link: ScriptedLink, addresses: Iterable[int], poll: str = "1s"
):
    """Run a story beside the driver of a device with one uint16 tag ``r<address>`` an address."""
    config = Config.model_validate({
        "id": "d", "driver": "modbus", "link": {"kind": "tcp", "host": "h"}, "poll": poll,
        "tags": [{"id": f"r{a}", "table": "holding", "address": a, "type": "uint16"} for a in addresses],
    })  # fmt: skip
    loop = VirtualTimeLoop()
    counters = Counters()

    async def main() -> None:
        driver = ModbusDriver(config, DriverContext(loop.clock, counters), link)
        inbox = CollectingInbox(deadline_s=1e6)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(driver.run(inbox))
            await story(Bench(driver, link, inbox, loop.clock, counters))
            running.cancel()
        assert not link.is_connected, "the driver closes its link"

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def qualities(found: dict[str, tuple[float, int]]) -> dict[str, int]:
    return {tag: quality for tag, (_, quality) in found.items() if quality}


def test_a_day_of_polls_has_no_drift_and_one_batch_a_tick():
    async def story(bench: Bench) -> None:
        first = await bench.inbox.until(lambda _: True)
        await bench.polls(86_400 // 60)
        stamps = [batch.at_ns for batch in bench.inbox.batches]
        assert all(abs(at - first.at_ns - i * 60 * S) < S // 100 for i, at in enumerate(stamps))
        assert bench.count("polls_missed") == 0
        assert bench.count("readings_polled") == 10 * len(stamps)

    play(story, ScriptedLink(), range(10), poll="1min")


def test_one_poll_of_many_requests_is_one_batch_with_one_stamp_cut_at_a_thousand():
    async def story(bench: Bench) -> None:
        await bench.polls(1)
        assert [len(batch) for batch in bench.inbox.batches] == [1000, 200]
        assert len({batch.at_ns for batch in bench.inbox.batches}) == 1
        found = readings(bench.inbox.batches[0]) | readings(bench.inbox.batches[1])
        assert found == {f"r{a}": (a, 0) for a in range(1200)}

    play(story, ScriptedLink(), range(1200))


def test_a_tick_that_passes_during_a_poll_is_missed_not_made_up_for():
    async def story(bench: Bench) -> None:
        await bench.polls(1)
        bench.link.takes_s = 2.5
        await bench.polls(1)
        bench.link.takes_s = 0.01
        await bench.polls(2)
        stamps = [(b.at_ns - bench.inbox.batches[0].at_ns) / S for b in bench.inbox.batches]
        assert stamps == pytest.approx([0, 3.49, 4, 5], abs=0.02)
        assert bench.count("polls_missed") == 2

    play(story, ScriptedLink(), range(3))


def test_ticks_that_pass_while_the_inbox_is_full_are_missed_and_counted():
    async def story(bench: Bench) -> None:
        await bench.polls(2)
        bench.inbox.close_gate()
        await asyncio.sleep(5.3)
        before = len(bench.inbox.batches)
        bench.inbox.open_gate()
        await bench.polls(2)
        stamps = [b.at_ns for b in bench.inbox.batches]
        assert len(stamps) == before + 2, "none is made up for"
        assert all(abs((at - stamps[0] + S // 2) % S - S // 2) < S // 100 for at in stamps), "and the grid is kept"
        ticks = round((stamps[-1] - stamps[0]) / S) + 1
        assert ticks == len(stamps) + bench.count("polls_missed")

    play(story, ScriptedLink(), range(3))


def test_a_device_that_is_down_gives_a_batch_at_every_tick_and_is_told_once(caplog):
    async def story(bench: Bench) -> None:
        await bench.polls(1)
        bench.link.is_reachable = False
        bench.link.drop()
        with caplog.at_level(logging.INFO, "davy.modbus"):
            caplog.clear()
            for _ in range(300):
                found = await bench.polls(1)
                assert qualities(found) == {"r0": 101, "r1": 101}
            assert bench.driver.status()["state"] == "down"
            assert bench.driver.status()["last_error"] == "10.0.0.5:502: refused"
            assert bench.counters.count("polls_missed", labels(device="d")) == 0
            assert 30 <= bench.link.attempts <= 80, "back-off of at most 10 s"
            bench.link.is_reachable = True
            await bench.inbox.until(lambda batch: batch.quality is None)
            await bench.polls(1)
            assert [record.message for record in caplog.records] == ["device down", "device up"]
            assert bench.driver.status()["state"] == "up"
        assert {n: v for n, _, v in bench.counters.gauges()} == {"device_connected": 1}

    play(story, ScriptedLink(), range(2))


def test_the_first_connection_may_fail():
    async def story(bench: Bench) -> None:
        assert qualities(await bench.polls(1)) == {"r0": 101}
        bench.link.is_reachable = True
        await bench.inbox.until(lambda batch: batch.quality is None)

    play(story, ScriptedLink(is_reachable=False), range(1))


def test_a_silent_device_costs_its_timeout_at_most_four_times_then_no_tick_is_missed():
    async def story(bench: Bench) -> None:
        await bench.polls(1)
        bench.link.mute = set(range(500))
        await bench.polls(3)
        assert bench.driver.status()["state"] == "down"
        missed = bench.count("polls_missed")
        for _ in range(100):
            assert len(qualities(await bench.polls(1))) == 500
        assert bench.count("polls_missed") == missed <= 4
        bench.link.mute = set()
        await bench.inbox.until(lambda batch: batch.quality is None)

    play(story, ScriptedLink(), range(500))


def test_a_bad_register_is_found_within_the_poll_and_its_neighbours_stay_good():
    async def story(bench: Bench) -> None:
        await bench.polls(1)
        bench.link.holes = {7, 60}
        found = await bench.polls(1)
        assert qualities(found) == {"r7": 104, "r60": 104}
        assert {a for a in range(100) if found[f"r{a}"] == (a, 0)} == set(range(100)) - {7, 60}
        assert bench.driver.status()["quarantined"] == ["r7", "r60"]
        bench.link.asked.clear()
        assert qualities(await bench.polls(1)) == {"r7": 104, "r60": 104}
        assert [(r.address, r.count) for r in bench.link.asked] == [(0, 7), (8, 52), (61, 39)]

    play(story, ScriptedLink(), range(100))


def test_a_bad_register_is_tried_again_with_back_off_and_comes_back():
    async def story(bench: Bench) -> None:
        bench.link.holes = {7}
        await bench.polls(1)
        bench.link.asked.clear()
        await bench.polls(3600)
        probes = sum(request == ReadRequest(request.table, 7, 1) for request in bench.link.asked)
        assert 8 <= probes <= 13
        bench.link.holes = set()
        await bench.inbox.until(lambda batch: batch.quality is None)
        assert bench.driver.status()["quarantined"] == []
        bench.link.asked.clear()
        await bench.polls(1)
        assert [(r.address, r.count) for r in bench.link.asked] == [(0, 20)]

    play(story, ScriptedLink(), range(20))


def test_after_a_reconnect_what_was_bad_is_tried_at_once():
    async def story(bench: Bench) -> None:
        bench.link.holes = {7}
        await bench.polls(100)
        bench.link.holes = set()
        bench.link.drop()
        await bench.inbox.until(lambda batch: batch.quality is None)
        assert qualities(await bench.polls(1)) == {}

    play(story, ScriptedLink(), range(20))


def test_a_device_that_refuses_long_requests_is_asked_in_shorter_ones():
    async def story(bench: Bench) -> None:
        assert qualities(await bench.polls(1)) == {}
        bench.link.asked.clear()
        assert qualities(await bench.polls(5)) == {}
        assert max(request.count for request in bench.link.asked) <= 30
        assert len(bench.link.asked) == 5 * 4, "learned: no request is refused any more"

    play(story, ScriptedLink(most=30), range(100))


def test_a_device_where_nothing_exists_does_not_hold_a_poll_for_ever():
    async def story(bench: Bench) -> None:
        bench.link.holes = set(range(1000)) - {0, 555}
        await bench.polls(1)
        assert len(bench.link.asked) <= BISECT_REQUESTS_MAX + 20
        found = await bench.polls(60)
        assert set(qualities(found)) == {f"r{a}" for a in range(1000)} - {"r0", "r555"}
        assert qualities(found)["r1"] == 104

    play(story, ScriptedLink(takes_s=0.001), range(1000))


def test_a_request_that_alone_stays_silent_is_left_out_so_that_the_others_keep_their_rate():
    async def story(bench: Bench) -> None:
        await bench.polls(1)
        bench.link.mute = {100}
        found = await bench.polls(5)
        assert qualities(found) == {f"r{a}": 101 for a in range(90, 110)}
        missed = bench.count("polls_missed")
        assert qualities(await bench.polls(8)) == {f"r{a}": 101 for a in range(90, 110)}
        assert bench.count("polls_missed") == missed
        bench.link.mute = set()
        await bench.inbox.until(lambda batch: batch.quality is None)

    addresses = [*range(20), *range(90, 110), *range(200, 210)]
    play(story, ScriptedLink(), addresses)


def test_a_silent_first_request_does_not_keep_the_device_down():
    async def story(bench: Bench) -> None:
        await bench.inbox.until(lambda batch: readings(batch)["r200"] == (200, 0))
        assert bench.driver.status()["state"] == "up"

    play(story, ScriptedLink(mute={0, 50}), [0, 50, 200])


@pytest.mark.parametrize("code", [1, 4, 5, 6, 10, 11])
def test_other_exceptions_are_bad_by_the_device_and_counted(code):
    async def story(bench: Bench) -> None:
        await bench.polls(1)
        bench.link.exception = code
        assert qualities(await bench.polls(1)) == {"r0": 106, "r1": 106}
        bench.link.exception = None
        assert qualities(await bench.polls(1)) == {}
        assert bench.counters.count("request_errors", labels(device="d", error=f"exception_{code}")) == 1
        assert bench.driver.status()["state"] == "up"

    play(story, ScriptedLink(), range(2))


def test_tags_stand_in_the_layout_as_they_stand_in_the_device():
    async def story(bench: Bench) -> None:
        assert bench.driver.layout.tags == ("r1", "r2", "r3")
        assert [tag.id for tag in bench.driver.tags] == ["r1", "r2", "r3"]
        await bench.polls(1)

    play(story, ScriptedLink(), [3, 1, 2])
