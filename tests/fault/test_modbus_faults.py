"""Faults on the wire, over real sockets: never a wrong value, and good again afterwards."""

import asyncio
import logging
import math
from contextlib import asynccontextmanager

import pytest

from agent.core.batch import Batch
from agent.core.clock import SystemClock
from agent.core.counters import Counters, labels
from agent.core.ports import DriverContext
from drivers.modbus.config import Config
from drivers.modbus.driver import make
from tests.support import modbus_device as faults
from tests.support.modbus_device import CollectingInbox, ModbusDevice, readings, running

ADDRESSES = range(100, 120)


class Bench:
    """A real driver against a device whose register n always holds n."""

    def __init__(self, device: ModbusDevice, **keys: object) -> None:
        tags = [{"id": f"r{a}", "table": "holding", "address": a, "type": "uint16"} for a in ADDRESSES]
        # Far apart, so in a request of its own.
        tags.append({"id": "r500", "table": "holding", "address": 500, "type": "uint16"})
        fields = {
            "id": "d", "driver": "modbus", "link": {"kind": "tcp", "host": "127.0.0.1", "port": device.port},
            "poll": "40ms", "timeout": "150ms", "tags": tags, **keys,
        }  # fmt: skip
        self.device = device
        self.counters = Counters()
        self.inbox = CollectingInbox()
        self.driver = make(Config.model_validate(fields), DriverContext(SystemClock(), self.counters))

    async def good(self) -> None:
        await self.inbox.until(lambda batch: batch.quality is None)

    async def bad(self) -> Batch:
        return await self.inbox.until(lambda batch: batch.quality is not None)

    def errors(self, kind: str) -> int:
        return self.counters.count("request_errors", labels(device="d", error=kind))

    def check_every_value(self) -> None:
        """A usable reading holds what the device holds; any other holds none."""
        assert self.inbox.batches
        for batch in self.inbox.batches:
            for tag, (value, quality) in readings(batch).items():
                assert value == float(tag[1:]) if quality == 0 else math.isnan(value), f"{tag}: {value} ({quality})"


@asynccontextmanager
async def bench_of(device: ModbusDevice, **keys: object):
    async with running(device):
        bench = Bench(device, **keys)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(bench.driver.run(bench.inbox))
            await bench.good()
            yield bench
            task.cancel()
        bench.check_every_value()


BAD_REPLIES = {
    "disconnect": (faults.disconnect, 101, "disconnected"),
    "silence": (faults.silence, 101, "timeout"),
    "wrong_transaction": (faults.wrong_transaction, 101, "foreign"),
    "transaction_zero": (faults.transaction_zero, 101, "foreign"),
    "wrong_unit": (faults.wrong_unit, 101, "foreign"),
    "empty_frame": (faults.empty_frame, 101, "broken_stream"),
    "wrong_protocol": (faults.wrong_protocol, 101, "broken_stream"),
    "wrong_function": (faults.wrong_function, 106, "malformed"),
    "short": (faults.short, 106, "malformed"),
    "too_long": (faults.too_long, 106, "malformed"),
    "lying_count": (faults.lying_count, 106, "malformed"),
    "exception_4": (faults.exception(4), 106, "exception_4"),
    "exception_6": (faults.exception(6), 106, "exception_6"),
}


@pytest.mark.parametrize("name", BAD_REPLIES)
async def test_a_bad_reply_is_a_bad_reading_with_its_reason_once(name):
    fault, quality, kind = BAD_REPLIES[name]
    async with bench_of(ModbusDevice(), timeout="400ms") as bench:
        bench.device.script.append(fault)
        found = readings(await bench.bad())
        assert {found[f"r{a}"][1] for a in ADDRESSES} == {quality} or found["r500"][1] == quality
        await bench.good()
        assert bench.errors(kind) >= 1


@pytest.mark.parametrize("name", BAD_REPLIES)
async def test_a_device_that_answers_only_wrongly_is_bad_all_along_and_good_again_afterwards(name):
    fault, quality, _ = BAD_REPLIES[name]
    async with bench_of(ModbusDevice()) as bench:
        bench.device.always = fault
        seen = len(bench.inbox.batches)
        await bench.inbox.until(lambda batch: batch.quality is not None and set(batch.quality) == {quality})
        while len(bench.inbox.batches) < seen + 8:
            await bench.inbox.until(lambda _: True)
        assert all(batch.quality is not None for batch in bench.inbox.batches[seen + 1 :])
        bench.device.always = None
        await bench.good()
        assert bench.driver.status()["state"] == "up"


async def test_exception_2_takes_the_bad_register_and_no_other():
    async with bench_of(ModbusDevice(), timeout="2s") as bench:
        bench.device.holes = {107}
        found = readings(await bench.bad())
        assert {tag: quality for tag, (_, quality) in found.items() if quality} == {"r107": 104}
        assert bench.driver.status()["quarantined"] == ["r107"]


async def test_a_late_reply_is_never_the_next_request_s_value():
    """Each late reply comes right in front of the reply to a request for other registers."""
    async with bench_of(ModbusDevice()) as bench:
        for _ in range(5):
            bench.device.script += [faults.late, faults.with_late]
            found = readings(await bench.bad())
            assert 101 in {quality for _, quality in found.values()}
            await bench.good()
        assert bench.device.connections == 1, "the transaction id protects: no need to connect anew"


async def test_the_rest_of_a_half_reply_is_never_taken_for_a_reply():
    async with bench_of(ModbusDevice()) as bench:
        bench.device.script += [faults.late_in_halves, faults.with_late]
        await bench.bad()
        await bench.good()
        # The scripted rest even comes on the new connection, in front of its first reply.
        assert bench.errors("broken_stream") >= 1
        assert bench.device.connections >= 2


@pytest.mark.parametrize("fault", [faults.split_segments, faults.doubled])
async def test_how_replies_are_cut_into_segments_does_not_matter(fault):
    async with bench_of(ModbusDevice(), timeout="2s") as bench:
        bench.device.always = fault
        before = len(bench.inbox.batches)
        while len(bench.inbox.batches) < before + 10:
            await bench.inbox.until(lambda _: True)
        assert all(batch.quality is None for batch in bench.inbox.batches)
        assert bench.device.connections == 1


async def test_a_device_that_restarts_is_bad_meanwhile_and_comes_back_by_itself():
    device = ModbusDevice()
    async with bench_of(device) as bench:
        await device.stop()
        for _ in range(5):
            assert set((await bench.bad()).quality or b"") == {101}
        assert bench.driver.status()["state"] == "down"
        assert "refused" in bench.driver.status()["last_error"]
        await device.start()
        await bench.good()


async def test_a_lost_connection_fails_the_waiting_request_at_once_not_after_its_timeout():
    async with bench_of(ModbusDevice(), timeout="5s") as bench:
        bench.device.script += [faults.disconnect]
        start = SystemClock()
        before = start.monotonic_ns()
        await bench.bad()
        await bench.good()
        assert start.monotonic_ns() - before < 3_000_000_000


async def test_a_device_that_hangs_up_after_every_reply_still_gives_readings():
    def reply_then_hang_up(device: ModbusDevice, asked: faults.Asked) -> list[bytes]:
        asyncio.get_running_loop().call_soon(device.hang_up)
        return device.reply(asked)

    async with bench_of(ModbusDevice(), poll="500ms") as bench:
        bench.device.always = reply_then_hang_up
        await bench.inbox.until(lambda batch: readings(batch)["r500"][1] == 0 or readings(batch)["r100"][1] == 0)


async def test_another_unit_behind_the_same_gateway_is_told_apart():
    async with bench_of(ModbusDevice(unit=7), unit_id=7) as bench:
        assert {asked.unit for asked in bench.device.asked} == {7}


async def test_nothing_is_logged_by_pymodbus_and_one_line_a_change_by_us(caplog):
    caplog.set_level(logging.INFO)
    async with bench_of(ModbusDevice()) as bench:
        caplog.clear()
        bench.device.always = faults.silence
        await bench.inbox.until(lambda _: bench.driver.status()["state"] == "down")
        await bench.bad()
        bench.device.always = None
        await bench.inbox.until(lambda _: bench.driver.status()["state"] == "up")
        assert [(r.name, r.message) for r in caplog.records] == [
            ("davy.modbus", "device down"),
            ("davy.modbus", "device up"),
        ]


async def test_cancelling_the_driver_closes_its_connection():
    device = ModbusDevice()
    async with bench_of(device):
        pass
    assert not device._writers
