"""Small journals on a fake file system, and what tests ask of them."""

from array import array
from collections.abc import Iterable
from pathlib import Path

from agent.core.batch import Batch, Layout
from agent.core.records import Draft, Event, Kind, Lane, Record, Tick, chain_hash
from agent.journal.log import Journal, JournalOptions
from tests.support.fake_fs import FakeFileSystem

DIRECTORY = Path("/state/journal")
LAYOUT = Layout("tankfarm", ("T101.level", "T101.temp", "T101.mA"))
OTHER = Layout("dcs", ("R201.temp",))
SECOND = 1_000_000_000
START = 1_795_248_000 * SECOND


def options(**changes: object) -> JournalOptions:
    return JournalOptions(DIRECTORY, **{"max_size": 64 << 20, "segment_size": 16 << 10, **changes})  # type: ignore[arg-type]


def open_journal(
    fs: FakeFileSystem,
    opts: JournalOptions | None = None,
    *,
    machine: str = "m1",
    delivered: dict[str, int] | None = None,
) -> Journal:
    return Journal.open(opts or options(), fs=fs, now_ns=START, machine_id=machine, delivered=delivered or {})


def batch(n: int, at_ns: int = START) -> Batch:
    return Batch(LAYOUT, at_ns + n * SECOND, array("d", [n * 0.1, n / 7.0, float("nan")]), bytes((0, 0, 103)))


def alarm(n: int) -> Event:
    return Event(Kind.ALARM, {"id": f"e{n}", "alarm": "T101-level-h", "value": n * 0.1, "message": {"zh-CN": "液位高"}})


def audit(n: int) -> Event:
    return Event(Kind.AUDIT, {"kind": "configuration", "n": n})


def tick(n: int) -> Tick:
    return Tick(START + n * SECOND)


def read_all(journal: Journal, lane: Lane | None = None, after: int = 0, max_bytes: int = 1_000) -> list[Record]:
    records: list[Record] = []
    while True:
        chunk = journal.read(lane, after, max_bytes)
        if not chunk.records:
            return records
        assert chunk.seen >= chunk.records[-1].seq
        records += chunk.records
        after = chunk.seen


def essence(record: Record) -> tuple[object, ...]:
    """A record as something that compares, NaN included."""
    if record.batch is None:
        return (record.seq, record.kind, record.body, record.prev, record.hash, record.at_ns)
    return (record.seq, record.kind, *content(record.batch))


def content(item: Batch) -> tuple[object, ...]:
    return (
        item.layout,
        item.at_ns,
        item.values.tobytes(),
        item.quality,
        None if item.index is None else item.index.tolist(),
        None if item.dt_ns is None else item.dt_ns.tolist(),
        None if item.source_dt_ns is None else item.source_dt_ns.tolist(),
        dict(item.exact),
        item.historical,
        item.exercise,
    )


def essences(records: Iterable[Record]) -> list[tuple[object, ...]]:
    return [essence(record) for record in records]


def assert_chain(records: Iterable[Record]) -> None:
    previous: Record | None = None
    for record in records:
        if record.kind not in (Kind.ALARM, Kind.AUDIT):
            continue
        assert record.hash == chain_hash(record.prev, record.body), f"seq {record.seq}"
        if previous is not None and previous.fields["epoch"] == record.fields["epoch"]:
            assert record.prev == previous.hash, f"seq {record.seq} does not follow {previous.seq}"
        previous = record


def fill(journal: Journal, count: int, *, sync_every: int = 5) -> list[Record]:
    """Appends of a batch, and now and then an alarm or a tick."""
    records: list[Record] = []
    for n in range(count):
        drafts: list[Draft] = [batch(n)]
        if n % 3 == 0:
            drafts.append(alarm(n))
        if n % 7 == 0:
            drafts.append(tick(n))
        records += journal.append(drafts, START + n * SECOND)
        if n % sync_every == 0:
            journal.sync()
    journal.sync()
    return records
