"""A journal in memory and an agent's view, for tests of destinations."""

import asyncio
import math
import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from agent.core.batch import Batch, Layout, Source
from agent.core.clock import Clock, SystemClock
from agent.core.counters import Counters
from agent.core.ports import Chunk, DestinationContext, Request, SiteView
from agent.core.records import GENESIS, Kind, Lane, Record, canonical_json, chain_hash
from agent.core.tags import Tag

EPOCH = "01956f00-0000-7000-8000-000000000001"
AT = 1_795_248_000_000_000_000
DEADLINE_S = 15.0


class MemoryJournal:
    """Implements JournalReader; what is appended is synced at once unless ``sync`` is held back."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._head = GENESIS
        self._changed = asyncio.Event()

    @property
    def synced_seq(self) -> int:
        return self.records[-1].seq if self.records else 0

    async def read(self, lane: Lane, after: int, max_bytes: int) -> Chunk:
        found: list[Record] = []
        size = 0
        for record in self.records[after:]:
            if record.kind not in lane.kinds:
                continue
            if found and size >= max_bytes:
                return Chunk(found, found[-1].seq)
            found.append(record)
            size += len(record.body) + 9 * record.readings
        return Chunk(found, self.synced_seq)

    async def wait(self, after: int) -> None:
        while self.synced_seq <= after:
            self._changed.clear()
            await self._changed.wait()

    def add(self, record: Record) -> Record:
        self.records.append(record)
        self._changed.set()
        return record

    def batch(self, values: Sequence[float], device: str = "d1", **options: Any) -> Record:
        """Append a batch of a device with one tag per value."""
        source = options.pop("source", Source.SENSOR)
        layout = options.pop("layout", Layout(device, tuple(f"{device}.t{i}" for i in range(len(values))), source))
        seq = self.synced_seq + 1
        return self.add(Record(seq, Kind.READINGS, Batch(layout, AT + seq * 1_000_000, array("d", values), **options)))

    def alarm(self, name: str = "T101-level-h", **fields: Any) -> Record:
        return self._event(Kind.ALARM, {**alarm_fields(name), **fields})

    def audit(self, kind: str = "start", **fields: Any) -> Record:
        common = {"v": 1, "site": "s1", "agent": "gw1", "kind": kind, "time": AT, "actor": "davy", "source": "sensor"}
        return self._event(Kind.AUDIT, {**common, **fields})

    def tick(self) -> Record:
        return self.add(Record(self.synced_seq + 1, Kind.TICK, at_ns=AT))

    def _event(self, kind: Kind, fields: dict[str, Any]) -> Record:
        seq = self.synced_seq + 1
        fields = {**fields, "seq": seq, "epoch": EPOCH, "recorded": AT}
        body = canonical_json(fields)
        prev, self._head = self._head, chain_hash(self._head, body)
        return self.add(Record(seq, kind, fields=fields, body=body, prev=prev, hash=self._head))


class MemoryCursors:
    """Implements Cursors."""

    def __init__(self) -> None:
        self.seqs: dict[tuple[str, Lane], int] = {}

    def get(self, destination: str, lane: Lane) -> int | None:
        return self.seqs.get((destination, lane))

    def put(self, destination: str, lane: Lane, seq: int) -> None:
        assert seq >= self.seqs.get((destination, lane), 0), "a cursor never goes back"
        self.seqs[destination, lane] = seq


class Site:
    """The agent as destinations see it: a journal, cursors, a view; everything settable."""

    def __init__(self, clock: Clock | None = None, tags: Sequence[Tag] = ()) -> None:
        self.journal = MemoryJournal()
        self.cursors = MemoryCursors()
        self.counters = Counters()
        self.standing: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.ended: list[str] = []
        self.quarantined: list[tuple[str, list[int], str]] = []
        self.status: dict[str, Any] = {"health": "ok", "counts": {"active": 0, "waiting": 0}, "rules_version": "r1"}
        self.answer: Callable[[Request], bytes] = lambda _: b'{"v":1,"id":"c1","kind":"receipt","outcome":"done"}'
        self.context = DestinationContext(
            clock=clock or SystemClock(),
            counters=self.counters,
            reader=self.journal,
            cursors=self.cursors,
            view=SiteView(
                lambda: dict(self.status),
                lambda: [{"id": "d1.t0", "unit": "m"}],
                lambda: list(self.standing.values()),
                self._command,
                self._end_unknown,
            ),
            site="s1",
            agent="gw1",
            epoch=EPOCH,
            tags=tags,
            on_quarantine=self._quarantine,
        )

    async def _command(self, request: Request) -> bytes:
        self.requests.append(request)
        return self.answer(request)

    async def _end_unknown(self, alarm: str) -> None:
        self.ended.append(alarm)

    async def _quarantine(self, destination: str, seqs: Sequence[int], reason: str) -> None:
        self.quarantined.append((destination, list(seqs), reason))


async def eventually(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait until something that I/O brings about is true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while not condition():
        assert loop.time() < deadline, f"{what}: not within {DEADLINE_S} s"
        await asyncio.sleep(0.005)


def float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def alarm_fields(name: str, state: str = "unacknowledged") -> dict[str, Any]:
    return {
        "v": 1, "site": "s1", "agent": "gw1", "id": "01956f00-aaaa-7000-8000-000000000001", "alarm": name, "rule": name,
        "kind": "high", "tag": "T101.level", "transition": "activated", "state": state, "previous": "normal",
        "time": AT, "value": 10.52, "limit": 10.5, "unit": "m", "quality": 0, "priority": "high", "colour": "orange",
        "severity": 800, "message": {"zh-CN": "1号罐液位高", "en": "Tank 101 level high"}, "occurrence": 3,
        "event": "01956f00-aaaa-7000-8000-000000000001", "since": AT, "extreme": 10.52, "deadband": 0.1,
        "basis": "SH/T 3007-2014 5.4", "actor": None, "note": None, "cause": None, "cause_seq": 9004, "by": None,
        "annunciated": True, "clock": "synchronised", "source": "sensor", "exercise": False, "rules_version": "r1",
        "tag_name": "1号罐液位", "place": {"site_name": "德清", "lat": 30.5, "lon": 120.0},
    }  # fmt: skip


def is_same(sent: float, received: float | None) -> bool:
    """Tell whether a value survived the way as JSON."""
    if received is None:
        return math.isnan(sent)
    return struct.pack("<d", sent) == struct.pack("<d", received)
