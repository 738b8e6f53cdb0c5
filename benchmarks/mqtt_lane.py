"""CPU µs per reading of the MQTT readings lane: encoding alone, and encode + publish to a real mosquitto.

Prints one JSON object per case. ``python -m benchmarks.mqtt_lane [--seconds N]``
"""

import argparse
import asyncio
import json
import random
import resource
import struct
import tempfile
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from agent.core.batch import Batch, Layout
from agent.core.clock import SystemClock, process_cpu_ns
from agent.core.records import Kind, Lane, Record
from agent.destinations.mqtt.config import Config
from agent.destinations.mqtt.destination import make
from agent.destinations.readings import Encoder, Origin, plan
from tests.support.memory_journal import Site
from tests.support.mosquitto import Mosquitto

DEVICES, TAGS = 80, 100
MESSAGE_BYTES = 64 << 10


def two_decimals() -> float:
    return round(random.uniform(0, 100), 2)


def float32() -> float:
    return struct.unpack("f", struct.pack("f", random.uniform(0, 100)))[0]


class Plant:
    """Batches of 80 devices with 100 tags each, made beforehand."""

    def __init__(self, value: Callable[[], float]) -> None:
        layouts = [Layout(f"dev{n}", tuple(f"dev{n}.tag{i:03d}" for i in range(TAGS))) for n in range(DEVICES)]
        self._batches = [Batch(each, 0, array("d", [value() for _ in range(TAGS)])) for each in layouts]

    def record(self, seq: int) -> Record:
        made = self._batches[seq % DEVICES]
        return Record(seq, Kind.READINGS, Batch(made.layout, 1_795_248_000_000_000_000 + seq, made.values))


def report(case: str, **figures: Any) -> None:
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"benchmark": "mqtt_lane", "case": case, **figures, "max_rss_mb": round(rss_mb)}), flush=True)


def encoding(name: str, value: Callable[[], float]) -> None:
    plant, encoder = Plant(value), Encoder(Origin("s1", "gw1", "e"))
    records = [plant.record(n) for n in range(1, 4_001)]
    started, size, messages = process_cpu_ns(), 0, 0
    for part in plan(records, MESSAGE_BYTES):
        size += len(encoder.encode(part, 0))
        messages += 1
    readings = len(records) * TAGS
    us = (process_cpu_ns() - started) / 1e3 / readings
    report(
        f"encode, {name}",
        cpu_us_per_reading=round(us, 4),
        bytes_per_reading=round(size / readings, 1),
        readings_per_message=round(readings / messages),
    )


async def caught_up(site: Site) -> None:
    while (site.cursors.get("p", Lane.READINGS) or 0) < site.journal.synced_seq:
        await asyncio.sleep(0.01)


async def live(port: int, per_s: int, seconds: float, *, sync_s: float = 1.0, compress: str = "none") -> None:
    """Batches as they come from polling: ``per_s`` readings a second, synced every ``sync_s``."""
    site, plant, clock = Site(), Plant(two_decimals), SystemClock()
    url = f"mqtt://127.0.0.1:{port}"
    settings = {"id": "p", "kind": "mqtt", "url": url, "start": "oldest", "send": ["readings"], "compress": compress}
    destination = make(Config.model_validate(settings), site.context)
    batches_per_turn = max(1, round(per_s * sync_s / TAGS))
    pause_s = batches_per_turn * TAGS / per_s
    async with asyncio.TaskGroup() as group:
        task = group.create_task(destination.run())
        site.journal.add(plant.record(1))
        await caught_up(site)
        start_cpu, start_ns, seq = process_cpu_ns(), clock.monotonic_ns(), 1
        making_ns = 0
        while clock.monotonic_ns() - start_ns < seconds * 1e9:
            before = process_cpu_ns()
            for _ in range(batches_per_turn):
                seq += 1
                site.journal.add(plant.record(seq))
            making_ns += process_cpu_ns() - before
            await asyncio.sleep(pause_s)
        await caught_up(site)
        cpu_ns, took_s = process_cpu_ns() - start_cpu - making_ns, (clock.monotonic_ns() - start_ns) / 1e9
        task.cancel()
    readings = (seq - 1) * TAGS
    report(
        f"live, {per_s}/s, synced every {sync_s} s, compress {compress}",
        cpu_us_per_reading=round(cpu_ns / 1e3 / readings, 3),
        readings_per_s=round(readings / took_s),
        cpu_percent=round(cpu_ns / 1e7 / took_s, 1),
    )


async def catch_up(port: int, readings: int) -> None:
    site, plant, clock = Site(), Plant(two_decimals), SystemClock()
    for seq in range(1, readings // TAGS + 1):
        site.journal.add(plant.record(seq))
    settings = {"id": "p", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "start": "oldest", "send": ["readings"]}
    destination = make(Config.model_validate(settings), site.context)
    async with asyncio.TaskGroup() as group:
        start_cpu, start_ns = process_cpu_ns(), clock.monotonic_ns()
        task = group.create_task(destination.run())
        await caught_up(site)
        cpu_ns, took_s = process_cpu_ns() - start_cpu, (clock.monotonic_ns() - start_ns) / 1e9
        task.cancel()
    report(
        "catch-up",
        cpu_us_per_reading=round(cpu_ns / 1e3 / readings, 3),
        readings_per_s=round(readings / took_s),
    )


async def main(seconds: float) -> None:
    for name, value in (("two decimals", two_decimals), ("float32", float32)):
        encoding(name, value)
    with tempfile.TemporaryDirectory() as directory, Mosquitto(Path(directory)) as broker:
        for per_s in (1_000, 10_000, 40_000):
            await live(broker.port, per_s, seconds)
        await live(broker.port, 40_000, seconds, sync_s=0.05)
        await live(broker.port, 40_000, seconds, compress="zstd")
        await catch_up(broker.port, 4_000_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    uvloop.run(main(parser.parse_args().seconds))
