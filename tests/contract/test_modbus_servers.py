"""The driver against a Modbus server that our code did not write: pymodbus's own."""

import asyncio
import math
import socket

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.core.clock import SystemClock
from agent.core.counters import Counters
from agent.core.ports import DriverContext
from drivers.modbus.config import Config
from drivers.modbus.driver import make
from tests.support.modbus_device import CollectingInbox, readings, registers_of

UNIT = 3
VALUES = {
    "f32": ("float32", None, 7.25), "f32s": ("float32", "CDAB", -1.5), "f64": ("float64", None, 1e-300),
    "i16": ("int16", None, -12345), "u16": ("uint16", "BA", 54321), "i32": ("int32", "DCBA", -(10**9)),
    "u32": ("uint32", "BADC", 4_000_000_000), "i64": ("int64", "GHEFCDAB", -(2**52)), "u64": ("uint64", None, 2**40),
}  # fmt: skip
HOLE = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def port():
    cells: list[int] = []
    for type_, order, value in VALUES.values():
        cells += registers_of(value, type_, order)
    cells += [0] * (100 - len(cells))

    async def action(function, start, address, count, registers, values):
        return ExcCodes.ILLEGAL_ADDRESS if address <= HOLE < address + count else None

    data = [SimData(0, values=cells, datatype=DataType.REGISTERS)]
    free = free_port()
    server = ModbusTcpServer([SimDevice(UNIT, simdata=data, action=action)], address=("127.0.0.1", free))
    await server.serve_forever(background=True)
    yield free
    await server.shutdown()


async def test_every_type_is_read_and_a_refused_register_found(port):
    tags, address = [], 0
    for tag, (type_, order, value) in VALUES.items():
        tags.append({"id": tag, "table": "holding", "address": address, "type": type_, "order": order})
        address += len(registers_of(value, type_, order))
    tags += [{"id": f"z{a}", "table": "holding", "address": a, "type": "int16"} for a in range(address, 100)]
    config = Config.model_validate({
        "id": "d", "driver": "modbus", "link": {"kind": "tcp", "host": "127.0.0.1", "port": port}, "unit_id": UNIT,
        "poll": "50ms", "tags": tags,
    })  # fmt: skip
    inbox = CollectingInbox()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(make(config, DriverContext(SystemClock(), Counters())).run(inbox))
        found = readings(await inbox.until(lambda _: True))
        task.cancel()
    for tag, (_, _, value) in VALUES.items():
        assert found[tag] == (float(value), 0)
    refused, quality = found.pop(f"z{HOLE}")
    assert (math.isnan(refused), quality) == (True, 104)
    assert all(found[f"z{a}"] == (0.0, 0) for a in range(address, 100) if a != HOLE)
