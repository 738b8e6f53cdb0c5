"""Speed of davy replay: an hour of 1,000 tags at 1 Hz from CSV, Parquet and a journal, each tag with a limit rule.

Run: python -m benchmarks.replay [MINUTES] ; one JSON object per source. A month in an hour: 720,000 readings/s.
"""

import contextlib
import io
import json
import random
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from agent.core.batch import Batch, Layout
from agent.core.tags import Tag
from agent.replay import Recording, replay
from benchmarks.rules import T0, S, limit_rule
from drivers.replay import batches

TAGS = 1_000
TO_MONTH = 30 * 24 * 60


def polls(minutes: int) -> Iterator[tuple[int, list[str]]]:
    """A quiet plant: values wander with four digits; one reading in 5,000 is over its limit."""
    dice = random.Random(1)
    columns = [[f"{40 + dice.random() * 30:.4f}" for _ in range(TAGS)] for _ in range(61)]
    for second in range(minutes * 60):
        column = columns[second % 61]
        for _ in range(TAGS // 5_000 + (dice.random() < TAGS % 5_000 / 5_000)):
            column = [*column]
            column[dice.randrange(TAGS)] = "95.5"
        yield T0 + second * S, column


def write_csv(path: Path, tags: list[str], minutes: int) -> None:
    with path.open("w") as file:
        file.write("time,tag,value,quality\n")
        for at_ns, column in polls(minutes):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ns // S))
            file.writelines(f"{moment},{tag},{text},\n" for tag, text in zip(tags, column, strict=True))


def write_parquet(path: Path, tags: list[str], minutes: int) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([("time", pyarrow.timestamp("ns", "UTC")), ("tag", "string"), ("value", "float64")])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for at_ns, column in polls(minutes):
            times = pyarrow.array([at_ns] * TAGS, schema.field("time").type)
            writer.write_table(pyarrow.table([times, tags, [float(text) for text in column]], schema=schema))


def write_journal(path: Path, tags: list[str], minutes: int) -> None:
    from agent.journal.log import Journal, JournalOptions

    layout = Layout("D", tuple(tags))
    journal = Journal.open(JournalOptions(path, max_size=4 << 30), now_ns=T0, machine_id="m", delivered={})
    with contextlib.closing(journal):
        for at_ns, column in polls(minutes):
            journal.append([Batch(layout, at_ns, array("d", map(float, column)))], at_ns)


def measure(source: str, path: Path, readings: int) -> dict[str, object]:
    rules = [limit_rule(f"T{i:04d}") for i in range(TAGS)]
    tags = [Tag(f"T{i:04d}") for i in range(TAGS)]
    begin = time.process_time()
    events = sum(1 for _ in replay(Recording(path), rules, tags))
    used = time.process_time() - begin
    month_s = used * TO_MONTH * TAGS * 60 / readings
    return {
        "case": f"replay {source}",
        "readings": readings,
        "events": events,
        "cpu_s": round(used, 2),
        "readings_per_s": round(readings / used),
        "month_of_1000_tags_minutes": round(month_s / 60, 1),
    }


def reading_alone(path: Path, readings: int) -> dict[str, object]:
    begin = time.process_time()
    for _ in batches(path, is_sorted=False):
        pass
    used = time.process_time() - begin
    return {"case": f"read {path.suffix}", "readings": readings, "readings_per_s": round(readings / used)}


def main() -> None:
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    readings = minutes * 60 * TAGS
    tags = [f"T{i:04d}" for i in range(TAGS)]
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stderr(io.StringIO()):
        for source, write in (("csv", write_csv), ("parquet", write_parquet), ("journal", write_journal)):
            path = Path(directory) / ("journal" if source == "journal" else f"data.{source}")
            write(path, tags, minutes)
            if source != "journal":
                print(json.dumps(reading_alone(path, readings)), flush=True)
            print(json.dumps(measure(source, path, readings)), flush=True)


if __name__ == "__main__":
    main()
