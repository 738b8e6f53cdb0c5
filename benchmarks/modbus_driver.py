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

    async def main() -> None:
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
