"""Size and speed of the journal. Run: python -m benchmarks.journal [directory] ; prints one JSON object per case.

The readings are 1 Hz process data: 1,000 tags on 10 devices; of each device 50 tags are binary32 with sensor noise, 50
are int16 registers scaled by 0.1 or 0.01. Bytes reaching the device are the sectors written to the block device
(/sys/dev/block/*/stat), so other processes are in it: run it on a quiet machine.
"""

import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.core.batch import Batch, Layout
from agent.core.records import Event, Kind, Lane
from agent.journal.log import Journal, JournalOptions

SECOND = 1_000_000_000
T0 = 1_795_248_000 * SECOND
DEVICES = 10
TAGS = 100


def polls(count: int, devices: int = DEVICES) -> Iterator[list[Batch]]:
    """One batch a device and second; values wander by a thousandth of themselves."""
    rng = random.Random(2)
    layouts = [Layout(f"d{d}", tuple(f"d{d}.t{t}" for t in range(TAGS))) for d in range(devices)]
    base = [rng.uniform(1, 300) for _ in range(devices * TAGS)]
    for second in range(count):
        batches: list[Batch] = []
        for d, layout in enumerate(layouts):
            values = array("d")
            for t in range(TAGS):
                place = d * TAGS + t
                value = base[place] = base[place] * (1 + rng.gauss(0, 0.001))
                if t % 2:
                    values.append(array("f", [value])[0])
                elif t % 4:
                    values.append(round(value * 10) * 0.1)
                else:
                    values.append(round(value * 100) * 0.01)
            batches.append(Batch(layout, T0 + second * SECOND + d * 1_000_000, values))
        yield batches


def open_journal(directory: Path) -> Journal:
    return Journal.open(JournalOptions(directory), now_ns=T0, machine_id="bench", delivered={})


def cpu_ns() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


def device_bytes(directory: Path) -> int:
    number = directory.stat().st_dev
    path = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    return int(path.read_text().split()[6]) * 512 if path.exists() else -1


def show(case: str, **figures: Any) -> None:
    print(json.dumps({"benchmark": "journal", "case": case, **figures}), flush=True)


def frame_bytes(directory: Path) -> int:
    """Bytes up to the end of the last frame, over all segments."""
    return sum(len(path.read_bytes().rstrip(b"\0")) for path in (directory / "segments").glob("*.seg"))


def append_and_read(directory: Path, per_append: int) -> None:
    """CPU of append (encode, compress, write) and of reading back, and the size in the journal."""
    journal = open_journal(directory)
    story = list(polls(100))
    for batches in story[:20]:
        journal.append(batches, T0)  # the encoder learns
    journal.sync()
    before = frame_bytes(directory)
    readings = 0
    start = cpu_ns()
    for batches in story[20:]:
        for k in range(0, len(batches), per_append):
            journal.append(batches[k : k + per_append], T0)
            readings += TAGS * per_append
    append_us = (cpu_ns() - start) / 1e3 / readings
    journal.sync()
    size = frame_bytes(directory) - before
    start = cpu_ns()
    after = read = 0
    while (chunk := journal.read(Lane.READINGS, after, 256 << 10)).records:
        read += sum(record.readings for record in chunk.records)
        after = chunk.seen
    show(
        f"{per_append} batches of {TAGS} per append",
        bytes_per_reading=round(size / readings, 2),
        append_cpu_us_per_reading=round(append_us, 3),
        read_cpu_us_per_reading=round((cpu_ns() - start) / 1e3 / read, 3),
    )
    journal.close()


def reaching_the_device(directory: Path, rate: int, seconds: int, per_append: int) -> None:
    """One sync for each second of data; what the disk sees of it."""
    journal = open_journal(directory)
    story = list(polls(seconds + 10, rate // TAGS))
    for batches in story[:10]:
        journal.append(batches, T0)
        journal.sync()
    os.sync()
    before = frame_bytes(directory)
    device = device_bytes(directory)
    took: list[float] = []
    for batches in story[10:]:
        for k in range(0, len(batches), per_append):
            journal.append(batches[k : k + per_append], T0)
        start = time.perf_counter()
        journal.sync()
        took.append((time.perf_counter() - start) * 1e3)
    device = device_bytes(directory) - device
    readings = rate * seconds
    size = frame_bytes(directory) - before
    show(
        f"{rate} readings/s, {per_append} batches per append, one sync a second",
        bytes_per_reading=round(size / readings, 2),
        device_bytes_per_reading=round(device / readings, 2),
        aim_bytes_per_reading=round((1.5 * size + 8192 * seconds) / readings, 2),
        sync_ms_p50=round(statistics.median(took), 2),
        sync_ms_max=round(max(took), 2),
    )
    journal.close()


def alarms(directory: Path) -> None:
    """One alarm record per append and sync."""
    journal = open_journal(directory)
    fields = {
        "id": "0195",
        "alarm": "T101-level-h",
        "message": {"zh-CN": "1号罐液位高", "en": "Tank 101 level high"},
        "limit": 10.5,
    }
    took: list[float] = []
    start = cpu_ns()
    for n in range(1000):
        begin = time.perf_counter()
        journal.append([Event(Kind.ALARM, {**fields, "n": n})], T0)
        journal.sync()
        took.append((time.perf_counter() - begin) * 1e3)
    took.sort()
    show(
        "one alarm per append and sync",
        cpu_us=round((cpu_ns() - start) / 1e6, 1),
        commit_ms_p50=round(took[500], 3),
        commit_ms_p99=round(took[990], 3),
        bytes_per_alarm=round(frame_bytes(directory) / 1000),
    )
    journal.close()


def main() -> None:
    """All cases, in fresh directories under the one named (default: the temporary directory)."""
    base = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=base) as root:
        for per_append in (10, 1):
            append_and_read(Path(root) / f"append{per_append}", per_append)
        for rate in (1000, 5000):
            for per_append in (1, 10):
                reaching_the_device(Path(root) / f"rate{rate}-{per_append}", rate, 60, per_append)
        alarms(Path(root) / "alarms")


if __name__ == "__main__":
    main()
