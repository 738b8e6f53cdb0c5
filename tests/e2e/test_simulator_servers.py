"""The simulator's servers against clients that are not ours."""

import asyncio
import math
import struct

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from agent.core.clock import SystemClock
from simulator.instruments import Fault
from simulator.registers import RegisterConfig, RegisterMap
from simulator.run import LiveSite
from simulator.scenario import Scenario
from simulator.servers.modbus import MapDevice, ModbusServer
from simulator.site import Site, find_site, load_site

REGISTERS = [
    RegisterConfig(instrument="level", table="holding", address=0, type="float32", order="CDAB"),
    RegisterConfig(instrument="temp", table="holding", address=2, type="int16", scale=0.1),
    RegisterConfig(
        instrument="press", table="input", address=7, type="uint16", scale=0.001, signal="4-20mA", span=(0, 16)
    ),
    RegisterConfig(instrument="hh", table="discrete", address=9, type="bool"),
    RegisterConfig(instrument="run", table="coil", address=3, type="bool"),
    RegisterConfig(instrument="flag3", unit_id=7, table="holding", address=0, type="bit", bit=3),
    RegisterConfig(instrument="flag5", unit_id=7, table="holding", address=0, type="bit", bit=5),
]


class Bench:
    def __init__(self) -> None:
        self.values = {"level": 7.25, "temp": -3.2, "press": 8.0, "hh": 1.0, "run": 1.0, "flag3": 1.0, "flag5": 0.0}
        self.trouble: tuple[Fault, float] | None = None
        self.served: list[dict[str, float]] = []
        self.server = ModbusServer(
            MapDevice(
                RegisterMap(REGISTERS),
                lambda name: self.values[name],
                lambda: self.trouble,
                lambda reply: self.served.append(dict(reply.values)),
            )
        )


@pytest.fixture
async def bench():
    made = Bench()
    made.port = await made.server.start()
    yield made
    await made.server.stop()


@pytest.fixture
async def client(bench):
    made = AsyncModbusTcpClient(
        "127.0.0.1", port=bench.port, framer=FramerType.SOCKET, timeout=0.3, retries=0, reconnect_delay=0
    )
    assert await made.connect()
    yield made
    made.close()


async def test_a_foreign_client_reads_every_table(bench, client):
    holding = await client.read_holding_registers(0, count=3, device_id=1)
    swapped = struct.pack(">2H", holding.registers[1], holding.registers[0])
    assert struct.unpack(">f", swapped) == (7.25,)
    assert holding.registers[2] == 0x10000 - 32
    assert (await client.read_input_registers(7, count=1, device_id=1)).registers == [12_000]
    assert (await client.read_discrete_inputs(9, count=1, device_id=1)).bits[0] is True
    assert (await client.read_coils(3, count=1, device_id=1)).bits[0] is True
    assert (await client.read_holding_registers(0, count=1, device_id=7)).registers == [1 << 3]


async def test_every_reply_is_noted_with_the_values_that_it_holds_whole(bench, client):
    await client.read_holding_registers(0, count=3, device_id=1)
    await client.read_holding_registers(1, count=2, device_id=1)
    assert bench.served == [{"level": 7.25, "temp": pytest.approx(-3.2)}, {"temp": pytest.approx(-3.2)}]


async def test_a_cut_wire_sends_0_ma(bench, client):
    bench.values["press"] = math.nan
    assert (await client.read_input_registers(7, count=1, device_id=1)).registers == [0]


@pytest.mark.parametrize(("first", "count", "unit", "code"), [(3, 1, 1, 2), (0, 4, 1, 2), (0, 1, 9, 0x0B)])
async def test_what_the_map_does_not_have_is_an_exception(bench, client, first, count, unit, code):
    reply = await client.read_holding_registers(first, count=count, device_id=unit)
    assert reply.isError()
    assert reply.exception_code == code
    assert bench.served == []


async def test_writing_is_refused(client):
    assert (await client.write_register(0, 1, device_id=1)).exception_code == 1


async def test_a_silent_device_answers_nothing_and_notes_nothing(bench, client):
    bench.trouble = (Fault.SILENT, 0)
    with pytest.raises(Exception, match="No response"):
        await client.read_holding_registers(0, count=3, device_id=1)
    assert bench.served == []


async def test_a_device_in_trouble_answers_with_the_exception_it_was_told(bench, client):
    bench.trouble = (Fault.EXCEPTION, 6)
    assert (await client.read_holding_registers(0, count=3, device_id=1)).exception_code == 6


def request(transaction: int, first: int, count: int) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, 1, 3, first, count)


async def test_pipelined_requests_in_odd_segments_are_answered_in_order(bench):
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    stream = b"".join(request(number, 0, 3) for number in range(40))
    for start in range(0, len(stream), 7):
        writer.write(stream[start : start + 7])
        await writer.drain()
    async with asyncio.timeout(5):
        replies = await reader.readexactly(40 * 15)
    assert [struct.unpack_from(">H", replies, 15 * n)[0] for n in range(40)] == list(range(40))
    writer.close()


async def test_what_is_not_modbus_closes_the_connection(bench):
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(5):
            await reader.readexactly(1)
    writer.close()


async def test_a_hundred_connections_at_once_are_served(bench):
    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(request(1, 0, 3))
        reply = await reader.readexactly(15)
        writer.close()
        return reply

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        jobs = [tasks.create_task(one()) for _ in range(100)]
    assert len({job.result() for job in jobs}) == 1


def modbus_only() -> Site:
    site = load_site(find_site("tank_farm"))
    raw = site.model_dump(mode="json")
    raw["devices"] = [device for device in raw["devices"] if device["server"] == "modbus"]
    raw["scenarios"] = {}
    return Site.model_validate(raw)


async def test_a_live_site_plays_a_scenario_over_its_socket():
    live = LiveSite(modbus_only(), SystemClock())
    happened: list[str] = []
    silence = asyncio.Event()

    def note(action):
        happened.append(f"{action.step.set or action.step.target} {action.begins}")
        if action.step.target == "tankfarm" and not action.begins:
            silence.set()

    ports = await live.start()
    client = AsyncModbusTcpClient("127.0.0.1", port=ports["tankfarm"], timeout=0.3, retries=0, reconnect_delay=0)
    assert await client.connect()
    scenario = Scenario.model_validate(
        {
            "duration": "100s",
            "steps": [
                {"at": 0.0, "set": "T101.inflow", "to": 0.5},
                {"at": 0.3, "until": 0.6, "fault": "silent", "target": "tankfarm"},
            ],
        }
    )
    try:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(live.run(note))
            live.play(scenario, 100.0)
            await silence.wait()
            reply = await client.read_holding_registers(0, count=2, device_id=1)
            level = struct.unpack(">f", struct.pack(">2H", *reply.registers))[0]
            running.cancel()
    finally:
        client.close()
        await live.stop()
    assert happened == ["T101.inflow True", "tankfarm True", "tankfarm False"]
    assert 9.65 + 0.25 < level < 9.65 + 0.6
    assert live.history["tankfarm"].last_before("T101.level", SystemClock().now_ns())[1] == level
