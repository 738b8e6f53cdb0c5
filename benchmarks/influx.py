"""CPU of the InfluxDB destination per reading, as JSON lines: python -m benchmarks.influx."""

import asyncio
import json
import multiprocessing
import time
from array import array
from multiprocessing.connection import Connection

from agent.core.batch import Batch, Layout
from agent.core.clock import SystemClock, process_cpu_ns
from agent.core.counters import Counters
from agent.core.records import Kind, Record
from agent.destinations.influxdb.config import Config
from agent.destinations.influxdb.lines import Lines
from agent.destinations.influxdb.sender import InfluxSender

AT = 1_795_248_000_000_000_000
TAGS = 100
SENDS = 50


def records(count: int) -> list[Record]:
    """Batches of 100 good readings with two decimals."""
    layout = Layout("tankfarm", tuple(f"T{i}.level" for i in range(TAGS)))
    return [
        Record(
            seq,
            Kind.READINGS,
            Batch(layout, AT + seq, array("d", [round(7 + i * seq % 997 / 100, 2) for i in range(TAGS)])),
        )
        for seq in range(1, count + 1)
    ]


def encode() -> None:
    """Lines alone."""
    lines, some = Lines("s1", "gw1", "davy"), records(1_000)
    started = process_cpu_ns()
    size = sum(len(line) + 1 for record in some for line in lines.record(record))
    spent = process_cpu_ns() - started
    count = len(some) * TAGS
    print(
        json.dumps({"case": "line protocol", "us_per_reading": round(spent / count / 1e3, 3), "bytes": size // count})
    )


def accept_all(ready: Connection) -> None:
    """A server that answers 204 to everything, in a process of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                int(line[15:]) for line in head.decode().split("\r\n") if line.lower().startswith("content-length:")
            )
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def send(port: int) -> None:
    """Lines and HTTP, 4,000 readings per send."""
    config = Config(id="tsdb", kind="influxdb", url=f"http://127.0.0.1:{port}", bucket="davy")
    sender = InfluxSender(config, Lines("s1", "gw1", "davy"), SystemClock(), Counters())
    await sender.open()
    some = records(40)
    await sender.send(some, 0)
    cpu, started = process_cpu_ns(), time.perf_counter()
    for _ in range(SENDS):
        await sender.send(some, 0)
    count = SENDS * len(some) * TAGS
    figures = {
        "case": "lines and write API, 4,000 readings a request",
        "us_per_reading": round((process_cpu_ns() - cpu) / count / 1e3, 3),
        "readings_per_s": round(count / (time.perf_counter() - started)),
    }
    print(json.dumps(figures))
    await sender.close()


if __name__ == "__main__":
    encode()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=accept_all, args=(there,), daemon=True)
    server.start()
    asyncio.run(send(here.recv()))
    server.terminate()
