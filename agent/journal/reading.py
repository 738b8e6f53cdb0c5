"""Reading a journal: a lane's next records, from the event log or the segments; any thread."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from agent.core.ports import Chunk
from agent.core.records import Kind, Lane, Record
from agent.journal.encoding import decode
from agent.journal.format import EVENTS, READINGS, SEGMENT_HEADER_SIZE, FormatError, RawRecord
from agent.journal.fs import FileSystem
from agent.journal.segment import Damage, Frame, FrameScanner, Segment
from agent.journal.segments import SegmentFiles

log: Final = logging.getLogger("davy.journal")

HINTS_MAX: Final = 64
DAMAGE_MAX: Final = 1_000
_FLAGS: Final = {Lane.ALARMS: EVENTS, Lane.READINGS: READINGS, None: 0}
_ALL_KINDS: Final = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Damaged:
    """Seqs that were synced and cannot be read any more."""

    file: str
    first_seq: int
    last_seq: int


class _GivenUpError(Exception):
    """A segment was given up between looking and opening."""


class JournalReading:
    """Reads on behalf of destinations and replay; remembers where each stopped, so that going on is cheap."""

    def __init__(self, fs: FileSystem, files: SegmentFiles) -> None:
        self._fs = fs
        self._files = files
        self._hints: OrderedDict[tuple[Lane | None, int], tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._damage: dict[tuple[str, int], Damaged] = {}
        self.known_gaps: frozenset[tuple[int, int]] = frozenset()
        """What recovery reported already."""
        self._reported: set[tuple[str, int]] = set()

    def read(self, lane: Lane | None, after: int, max_bytes: int, limit: int) -> Chunk:
        """See Journal.read."""
        kinds = _ALL_KINDS if lane is None else lane.kinds
        records: list[Record] = []
        size = 0
        with closing(self._raws(lane, after, limit)) as raws:
            for raw in raws:
                if raw.seq > limit:
                    break
                if raw.kind not in kinds:
                    continue
                record = decode(raw, self._files.layouts.get)
                records.append(record)
                size += weight_of(record)
                if size >= max_bytes:
                    return Chunk(records, raw.seq)
        return Chunk(records, max(after, limit))

    def _raws(self, lane: Lane | None, after: int, limit: int) -> Generator[RawRecord, None, None]:
        """What is stored with seq > ``after``, in order, though segments may be given up meanwhile."""
        while True:
            try:
                for raw in self._pass(lane, after, limit):
                    after = raw.seq
                    yield raw
            except _GivenUpError:
                continue  # its events are in the event log by now
            return

    def _pass(self, lane: Lane | None, after: int, limit: int) -> Iterator[RawRecord]:
        """What is stored with seq > ``after``, in order; from the event log where the segments have nothing to add."""
        events = self._files.events
        segments = list(self._files.segments)
        upto = 0
        if lane is Lane.ALARMS:
            upto = events.last_seq
        elif lane is None and segments and segments[0].first_seq > after + 1:
            upto = min(events.last_seq, segments[0].first_seq - 1)
        if upto > after:
            for item in events.records(after, ticks=lane is None):
                if isinstance(item, Damage):
                    self._note("events", after + 1, upto)
                elif item.seq <= upto:
                    yield item
            after = upto
        for segment in segments:
            if segment.last_seq > after and segment.first_seq <= limit:
                yield from self._segment(segment, lane, after, limit)

    def _segment(self, segment: Segment, lane: Lane | None, after: int, limit: int) -> Iterator[RawRecord]:
        try:
            file = self._fs.open(segment.path)
        except FileNotFoundError:
            if all(segment is not known for known in self._files.segments):
                raise _GivenUpError from None
            self._note(segment.path.name, max(after + 1, segment.first_seq), segment.last_seq)
            return
        try:
            offset = self._hint(lane, after, segment)
            expected = after + 1 if offset > SEGMENT_HEADER_SIZE else segment.first_seq
            stopped = offset
            damaged: Damage | None = None
            for item in FrameScanner(file, segment.seed, offset, segment.end).scan(_FLAGS[lane], after):
                if isinstance(item, Damage):
                    damaged = item
                    continue
                header = item.header
                if damaged is not None and header.first_seq > expected:
                    self._note(segment.path.name, expected, header.first_seq - 1)
                damaged = None
                expected = header.last_seq + 1
                if header.first_seq > limit:
                    break
                if isinstance(item, Frame):
                    yield from self._frame(item, segment, lane, after)
                stopped = item.end if header.last_seq <= limit else item.offset
            self._remember(lane, limit, segment, stopped)
            if damaged is not None and expected <= segment.last_seq:
                self._note(segment.path.name, expected, segment.last_seq)
        finally:
            file.close()

    def _frame(self, frame: Frame, segment: Segment, lane: Lane | None, after: int) -> Iterator[RawRecord]:
        try:
            raws = frame.records()
        except FormatError:
            self._note(segment.path.name, frame.header.first_seq, frame.header.last_seq)
            return
        seq = after
        try:
            for raw in raws:
                if raw.seq > after:
                    seq = raw.seq
                    yield raw
        finally:
            # The reader comes back with the last seq it took: in the middle of this frame, or behind it.
            if seq > after:
                self._remember(lane, seq, segment, frame.end if seq >= frame.header.last_seq else frame.offset)

    def _hint(self, lane: Lane | None, after: int, segment: Segment) -> int:
        with self._lock:
            number, offset = self._hints.get((lane, after), (-1, 0))
        return offset if number == segment.number and offset <= segment.end else SEGMENT_HEADER_SIZE

    def _remember(self, lane: Lane | None, seq: int, segment: Segment, offset: int) -> None:
        with self._lock:
            self._hints[lane, seq] = (segment.number, offset)
            if len(self._hints) > HINTS_MAX:
                self._hints.popitem(last=False)

    def _note(self, file: str, first: int, last: int) -> None:
        key = (file, first)
        with self._lock:
            if key in self._reported or (first, last) in self.known_gaps or len(self._reported) >= DAMAGE_MAX:
                return
            self._reported.add(key)
            self._damage[key] = Damaged(file, first, last)
        log.error("journal damaged", extra={"file": file, "first_seq": first, "last_seq": last})

    def take_damage(self) -> list[Damaged]:
        """What was found damaged since the last call, each place once."""
        with self._lock:
            taken = list(self._damage.values())
            self._damage.clear()
        return taken

    def close(self) -> None:
        """Forget the hints."""
        with self._lock:
            self._hints.clear()


def weight_of(record: Record) -> int:
    """About how many bytes a record takes on the wire."""
    if record.batch is not None:
        return 64 + 10 * len(record.batch.values)
    return len(record.body) + 200
