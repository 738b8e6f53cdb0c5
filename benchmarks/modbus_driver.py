"""CPU of the Modbus driver per poll of 100 registers, as JSON lines: python -m benchmarks.modbus_driver [polls]."""

import asyncio
import json
import multiprocessing
import os
import sys
from multiprocessing.connection import Connection

import uvloop

from agent.core.batch import Batch
from agent.core.clock import SystemClock, process_cpu_ns
from agent.core.counters import Counters
from agent.core.ports import DriverContext
from drivers.modbus.config import Config
from drivers.modbus.driver import ModbusDriver, make
from tests.support.modbus_device import ModbusDevice, running

REGISTERS = 100
CASES = {
    "uint16": {"type": "uint16"},
    "int16 scaled, with range": {"type": "int16", "scale": 0.1, "range": [-5000, 5000]},
    "float32": {"type": "float32"},
    "float32 CDAB, with range": {"type": "float32", "order": "CDAB", "range": [-1e6, 1e6]},
    "uint16 4-20 mA": {"type": "uint16", "scale": 0.01, "signal": "4-20mA", "span": [0, 10]},
}


class CountingInbox:
    """Counts batches that are not all good."""

    def __init__(self) -> None:
        self.bad = 0

    async def room(self) -> None:
        """There always is."""

    def put(self, batch: Batch) -> None:
        """Count."""
        self.bad += batch.quality is not None


def config(port: int, keys: dict[str, object]) -> Config:
    """A device of 100 registers full of tags of one type."""
    step = 2 if keys["type"] == "float32" else 1
    tags = [{"id": f"r{a}", "table": "holding", "address": a, **keys} for a in range(0, REGISTERS, step)]
    link = {"kind": "tcp", "host": "127.0.0.1", "port": port}
    return Config.model_validate({"id": "bench", "driver": "modbus", "link": link, "poll": "1ms", "tags": tags})


def serve(pipe: Connection) -> None:
    """The device, in a process of its own."""

    async def answer() -> None:
        # 1200 is a sound value as uint16, mA and half of a float32
        async with running(ModbusDevice(registers=dict.fromkeys(range(REGISTERS), 1200))) as device:
            pipe.send(device.port)
            await asyncio.Event().wait()

    uvloop.run(answer())


async def measure(port: int, keys: dict[str, object], devices: int, polls: int) -> dict[str, object]:
    """The best of four rounds, each of ``polls`` polls by ``devices`` drivers at once: others use the machine too."""
    inbox = CountingInbox()
    drivers: list[ModbusDriver] = []
    for _ in range(devices):
        driver = make(config(port, keys), DriverContext(SystemClock(), Counters()))
        assert isinstance(driver, ModbusDriver)
        await driver._connect()
        drivers.append(driver)

    async def poll(driver: ModbusDriver, times: int) -> None:
        for _ in range(times):
            await driver._poll(inbox)

    best_us = float("inf")
    for _ in range(4):
        before = process_cpu_ns()
        async with asyncio.TaskGroup() as tasks:
            for driver in drivers:
                tasks.create_task(poll(driver, polls // devices))
        best_us = min(best_us, (process_cpu_ns() - before) / 1000 / (polls // devices * devices))
    for driver in drivers:
        driver._link.close()
    per_poll = len(drivers[0].tags)
    return {
        "cpu_us_per_poll": round(best_us, 1),
        "cpu_us_per_reading": round(best_us / per_poll, 3),
        "readings_per_poll": per_poll,
        "bad_batches": inbox.bad,
    }


def main() -> None:
    """Print one JSON object a case."""
    polls = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    ours, theirs = multiprocessing.Pipe()
    device = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    device.start()
    port = ours.recv()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    os.sched_setaffinity(device.pid or 0, {cores[-1]})
    for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
        for name, keys in CASES.items():
            for devices in (1, 20):
                figures = run(measure(port, keys, devices, polls))
                case = {"bench": "modbus_driver", "loop": loop, "case": name, "devices": devices}
                print(json.dumps({**case, **figures}), flush=True)
    device.terminate()


if __name__ == "__main__":
    main()
