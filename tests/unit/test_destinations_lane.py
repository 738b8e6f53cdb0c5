"""The loop of a lane, on a scripted sender and virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from agent.core.clock import VirtualClock, VirtualTimeLoop
from agent.core.counters import labels
from agent.core.ports import RejectedError, UnavailableError
from agent.core.records import Lane as LaneName
from agent.core.records import Record
from agent.destinations.base import LanedDestination
from agent.destinations.filters import ChangeFilter
from agent.destinations.flow import IN_FLIGHT_MIN
from agent.destinations.lane import HELD_MAX, OFFERS_MAX, Lane, LaneOptions
from tests.support.memory_journal import Site


class Script:
    """Makes senders whose ``send`` a test decides about."""

    def __init__(self) -> None:
        self.sent: list[tuple[list[int], int]] = []
        self.opened = self.closed = 0
        self.on_open: Callable[[], None] = lambda: None
        self.on_send: Callable[[Sequence[Record]], None] = lambda _: None
        self.took_s = 0.0
        self.at_s: list[float] = []

    def make(self) -> "ScriptedSender":
        return ScriptedSender(self)

    @property
    def seqs(self) -> list[int]:
        return [seq for seqs, _ in self.sent for seq in seqs]


class ScriptedSender:
    def __init__(self, script: Script) -> None:
        self._script = script

    async def open(self) -> None:
        self._script.opened += 1
        self._script.at_s.append(asyncio.get_running_loop().time())
        self._script.on_open()

    async def send(self, records: Sequence[Record], after: int) -> None:
        if self._script.took_s:
            await asyncio.sleep(self._script.took_s)
        self._script.on_send(records)
        self._script.sent.append(([record.seq for record in records], after))

    async def close(self) -> None:
        self._script.closed += 1


def play(story: Callable[[Site, Script], Coroutine[Any, Any, None]]) -> None:
    """Run a story in virtual time."""
    loop = VirtualTimeLoop(VirtualClock())
    try:
        loop.run_until_complete(_play(story, loop.clock))
    finally:
        loop.close()


async def _play(story: Callable[[Site, Script], Awaitable[None]], clock: VirtualClock) -> None:
    await story(Site(clock), Script())


class running:  # noqa: N801
    def __init__(self, site: Site, script: Script, lane: LaneName = LaneName.READINGS, **options: Any) -> None:
        self.lane = Lane(site.context, LaneOptions("d", lane, **{"start": "oldest"} | options), script.make)

    async def __aenter__(self) -> Lane:
        self._task = asyncio.get_running_loop().create_task(self.lane.run())
        return self.lane

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        assert self._task.cancelled(), self._task.exception()


def test_the_cursor_moves_only_over_what_was_proved() -> None:
    async def story(site: Site, script: Script) -> None:
        for n in range(3):
            site.journal.batch([float(n)])
        async with running(site, script):
            await asyncio.sleep(1)
            assert site.cursors.get("d", LaneName.READINGS) == 3
            script.on_send = fail
            site.journal.batch([4.0])
            await asyncio.sleep(1)
            assert site.cursors.get("d", LaneName.READINGS) == 3
            script.on_send = lambda _: None
            await asyncio.sleep(30)
            assert site.cursors.get("d", LaneName.READINGS) == 4
        assert script.opened == script.closed

    play(story)


def fail(_: Sequence[Record]) -> None:
    raise UnavailableError("no")


def test_a_new_destination_starts_at_the_end_and_an_old_one_where_it_was() -> None:
    async def story(site: Site, script: Script) -> None:
        for n in range(5):
            site.journal.batch([float(n)])
        async with running(site, script, start="now"):
            await asyncio.sleep(1)
            site.journal.batch([5.0])
            await asyncio.sleep(1)
        assert script.sent == [([6], 5)]
        site.journal.batch([6.0])
        async with running(site, script, start="now"):
            await asyncio.sleep(1)
        assert script.sent[1:] == [([7], 6)]

    play(story)


def test_failures_are_backed_off_with_jitter_up_to_a_limit_and_the_breaker_opens() -> None:
    async def story(site: Site, script: Script) -> None:
        script.on_open = lambda: fail(())
        async with running(site, script) as lane:
            await asyncio.sleep(600)
            pauses = [b - a for a, b in zip(script.at_s, script.at_s[1:], strict=False)]
            assert 0.2 <= pauses[0] <= 0.6
            assert all(7.4 <= pause <= 15.1 for pause in pauses[6:])
            assert len(set(pauses[6:])) > 10, "jitter"
            assert lane.status()["breaker"] == "open"
            assert lane.state == "down"
            script.on_open = lambda: None
            site.journal.batch([1.0])
            await asyncio.sleep(16)
            assert lane.state == "up"
            assert lane.status()["error"] is None

    play(story)


def test_the_destination_may_ask_for_a_longer_pause() -> None:
    def busy(_: Sequence[Record]) -> None:
        raise UnavailableError("503", retry_after_s=120)

    async def story(site: Site, script: Script) -> None:
        site.journal.batch([1.0])
        script.on_send = busy
        async with running(site, script):
            await asyncio.sleep(119)
            assert script.opened == 1
            await asyncio.sleep(3)
            assert script.opened == 2

    play(story)


def test_a_connection_that_worked_for_a_while_starts_the_back_off_anew() -> None:
    async def story(site: Site, script: Script) -> None:
        async with running(site, script) as lane:
            for n in range(8):
                site.journal.batch([float(n)])
                await asyncio.sleep(30)
                script.on_send = fail
                site.journal.batch([float(n)])
                await asyncio.sleep(0.2)
                script.on_send = lambda _: None
                assert lane.status()["failures"] == 1
                await asyncio.sleep(30)

    play(story)


def test_after_is_right_after_a_restart_although_other_records_came_between() -> None:
    async def story(site: Site, script: Script) -> None:
        site.journal.alarm()
        for _ in range(30):
            site.journal.batch([1.0])
        async with running(site, script, LaneName.ALARMS) as lane:
            await asyncio.sleep(1)
            assert lane.position == 31
            assert site.cursors.get("d", LaneName.ALARMS) == 1
        site.journal.alarm()
        async with running(site, script, LaneName.ALARMS):
            await asyncio.sleep(1)
        assert script.sent == [([1], 0), ([32], 1)]

    play(story)


def test_the_readings_cursor_follows_slowly_where_everything_is_filtered() -> None:
    async def story(site: Site, script: Script) -> None:
        for _ in range(10_001):
            site.journal.batch([1.0])
        async with running(site, script, filter=ChangeFilter({"d1.t0": 0.5})) as lane:
            await asyncio.sleep(60)
            assert script.seqs == [1]
            assert lane.position == 10_001
            assert site.cursors.get("d", LaneName.READINGS) == 10_001
        assert site.counters.count("filtered_readings", labels(destination="d")) == 10_000
        assert site.counters.count("delivered_readings", labels(destination="d")) == 1

    play(story)


def test_a_filter_forgets_what_was_not_proved() -> None:
    async def story(site: Site, script: Script) -> None:
        site.journal.batch([1.0])
        site.journal.batch([2.0])
        script.on_send = fail
        async with running(site, script, filter=ChangeFilter({"d1.t0": 0.5})):
            await asyncio.sleep(1)
            script.on_send = lambda _: None
            await asyncio.sleep(30)
        assert script.seqs == [1, 2]

    play(story)


def test_alarms_beyond_the_limit_of_held_ones_stop_the_lane_instead_of_being_dropped() -> None:
    def reject(records: Sequence[Record]) -> None:
        raise RejectedError("all poison", [record.seq for record in records])

    async def story(site: Site, script: Script) -> None:
        for _ in range(HELD_MAX + 200):
            site.journal.alarm()
        script.on_send = reject
        async with running(site, script, LaneName.ALARMS) as lane:
            await asyncio.sleep(120)
            assert 0 < lane.status()["held"] <= HELD_MAX
            assert site.cursors.get("d", LaneName.ALARMS) == 0
            script.on_send = lambda _: None
            await asyncio.sleep(120)
            assert lane.status()["held"] == 0
            assert site.cursors.get("d", LaneName.ALARMS) == HELD_MAX + 200
        assert set(script.seqs) == set(range(1, HELD_MAX + 201))

    play(story)


def test_offers_are_limited_and_counted() -> None:
    async def story(site: Site, script: Script) -> None:
        script.on_open = lambda: fail(())
        record = site.journal.alarm()
        async with running(site, script, LaneName.ALARMS) as lane:
            for _ in range(OFFERS_MAX + 5):
                lane.offer(Record(0, record.kind, fields=record.fields))
            assert lane.status()["offered"] == OFFERS_MAX
            assert site.counters.count("offers_refused", labels(destination="d")) == 5

    play(story)


def test_a_backlog_is_sent_no_faster_than_history_rate() -> None:
    async def story(site: Site, script: Script) -> None:
        for _ in range(400):
            site.journal.batch([1.0] * 100)
        async with running(site, script, history_rate=10_000):
            await asyncio.sleep(2)
            assert 15_000 <= len(script.seqs) * 100 <= 30_000
            await asyncio.sleep(3)
            assert len(script.seqs) == 400

    play(story)


def test_the_chunk_grows_on_a_fast_link_and_is_small_again_after_a_failure() -> None:
    async def story(site: Site, script: Script) -> None:
        for _ in range(3_000):
            site.journal.batch([1.0] * 100)
        async with running(site, script) as lane:
            await asyncio.sleep(10)
            sizes = [len(seqs) for seqs, _ in script.sent]
            assert sizes[0] * 900 <= IN_FLIGHT_MIN
            assert max(sizes) >= 8 * sizes[0]
            site.journal.batch([1.0])
            script.on_send = fail
            await asyncio.sleep(1)
            assert lane.options.flow.in_flight_bytes == IN_FLIGHT_MIN

    play(story)


def test_a_bug_ends_the_lane_loudly() -> None:
    def bug(_: Sequence[Record]) -> None:
        raise ZeroDivisionError

    async def story(site: Site, script: Script) -> None:
        site.journal.batch([1.0])
        script.on_send = bug
        lane = Lane(site.context, LaneOptions("d", LaneName.READINGS, start="oldest"), script.make)
        with pytest.raises(ExceptionGroup) as error:
            await lane.run()
        assert error.group_contains(ZeroDivisionError)
        assert script.closed == 1

    play(story)


def test_a_lane_that_is_down_reads_nothing_so_an_outage_costs_no_memory() -> None:
    async def story(site: Site, script: Script) -> None:
        reads = 0
        read = site.journal.read

        async def counted(*arguments: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(*arguments)

        site.journal.read = counted  # type: ignore[method-assign]
        script.on_open = lambda: fail(())
        async with running(site, script):
            for n in range(1_000):
                site.journal.batch([float(n)])
                await asyncio.sleep(1)
            assert reads == 0

    play(story)


def test_who_connects_us_and_takes_nothing_is_down_until_something_is_proved() -> None:
    class Attended(ScriptedSender):
        async def attend(self) -> None:
            await asyncio.Event().wait()

    async def story(site: Site, script: Script) -> None:
        states: list[str] = []
        script.on_open = lambda: states.append(lane.state)
        lane = Lane(site.context, LaneOptions("d", LaneName.READINGS, start="oldest"), lambda: Attended(script))
        task = asyncio.get_running_loop().create_task(lane.run())
        await asyncio.sleep(1)
        assert lane.state == "up", "connected, and nothing to send"
        script.on_send = fail
        site.journal.batch([1.0])
        await asyncio.sleep(1)
        down_since = lane.status()["since"]
        await asyncio.sleep(60)
        assert (lane.state, lane.status()["since"]) == ("down", down_since), "not up and down at every attempt"
        script.on_send = lambda _: None
        await asyncio.sleep(16)
        assert lane.state == "up"
        assert states[0] == "connecting"
        assert set(states[1:]) == {"down"}
        task.cancel()
        await asyncio.wait((task,))

    play(story)


def test_a_stop_makes_one_more_attempt_at_once_and_no_second_one() -> None:
    async def story(site: Site, script: Script) -> None:
        loop = asyncio.get_running_loop()
        script.on_open = lambda: fail(())
        site.journal.batch([1.0])
        async with running(site, script) as lane:
            await asyncio.sleep(60)
            started, attempts = loop.time(), script.opened
            await lane.drain(1)
            assert (loop.time() - started < 0.1, script.opened) == (True, attempts + 1)
            script.on_open = lambda: None
            await lane.drain(1)
            assert loop.time() - started < 0.1
            assert script.seqs == [1]

    play(story)


def test_a_stop_respects_a_destination_that_asked_for_a_pause() -> None:
    def busy(_: Sequence[Record]) -> None:
        raise UnavailableError("503", retry_after_s=120)

    async def story(site: Site, script: Script) -> None:
        site.journal.batch([1.0])
        script.on_send = busy
        async with running(site, script) as lane:
            await asyncio.sleep(1)
            await lane.drain(1)
            assert script.opened == 1

    play(story)


def test_when_one_lane_gets_through_the_other_tries_at_once() -> None:
    async def story(site: Site, script: Script) -> None:
        script.on_open = lambda: fail(())
        lanes = [Lane(site.context, LaneOptions("d", name, start="oldest"), script.make) for name in LaneName]
        destination = LanedDestination("d", "test", site.context, lanes)
        task = asyncio.get_running_loop().create_task(destination.run())
        await asyncio.sleep(100)
        site.journal.alarm()
        site.journal.batch([1.0])
        script.on_open = lambda: None
        while len(script.sent) < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(script.sent) == 2
        assert destination.status()["state"] == "up"
        task.cancel()
        await asyncio.wait((task,))

    play(story)
