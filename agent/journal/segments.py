"""The segment files of an open journal: the one being written, the reserve, rolling, sealing, giving up."""

import errno
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from agent.core.records import Kind
from agent.journal.encoding import Chain, layout_id_of
from agent.journal.errors import JournalFullError
from agent.journal.events_log import EventLog
from agent.journal.format import EVENTS, READINGS, SEGMENT_HEADER_SIZE, TICKS, RawRecord, SegmentHeader
from agent.journal.fs import File, FileSystem, write_all
from agent.journal.layouts import LayoutStore
from agent.journal.recovery import Found
from agent.journal.retention import Eviction, JournalOptions, eviction_of, joined, next_to_evict
from agent.journal.segment import Frame, FrameScanner, Segment, segment_name

log: Final = logging.getLogger("davy.journal")

RESERVE_NAME: Final = "reserve"
ZERO_CHUNK: Final = 256 << 10
"""Zeros are written this far ahead of the records."""
COMMIT_BYTES_SMALL: Final = 4096
"""Zeros are written ahead while a sync has fewer bytes than this on average. Then they cost the device less than the
file system's own note of each block's first use; with larger commits it is the other way round (measured on ext4)."""
RESERVE_RETRY_NS: Final = 1_000_000_000
EVICTIONS_KEPT: Final = 1_000
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


class Tail:
    """The segment that is being written. Its space is allocated; zeros may be written shortly before the records."""

    def __init__(self, file: File, segment: Segment, *, zeroed_to: int, commit_bytes: float = 0.0) -> None:
        self.file = file
        self.segment = segment
        self.is_dirty = False
        """A write failed and may have left something behind ``end``: nothing more may be written here."""
        self._zeroed_to = zeroed_to
        self.written_end = segment.end
        """Where the last append that succeeded ends; what :attr:`synced_end` becomes by a sync."""
        self.synced_end = segment.end
        self.commit_bytes = commit_bytes
        """How many bytes a sync has, on average of the last dozen or so."""

    def has_room(self, size: int) -> bool:
        """Tell whether ``size`` bytes fit."""
        return not self.is_dirty and self.segment.end + size <= self.segment.size

    def write(self, data: bytes) -> None:
        """Write behind the last frame; OSError, after which nothing counts as written."""
        start = self.segment.end
        end = start + len(data)
        if end > self._zeroed_to:
            # Overwriting blocks that were written before spares the device the file system's own bookkeeping.
            ahead = end
            if self.commit_bytes < COMMIT_BYTES_SMALL:
                ahead = min(end + ZERO_CHUNK, self.segment.size)
                write_all(self.file, bytes(ahead - start), start)
            self._zeroed_to = ahead
        try:
            write_all(self.file, data, start)
        except OSError:
            try:
                write_all(self.file, bytes(len(data)), start)
            except OSError:
                self.is_dirty = True
            raise
        self.segment.end = end

    def mark_synced(self, end: int) -> None:
        """Note that everything before ``end`` is durable."""
        self.commit_bytes += (end - self.synced_end - self.commit_bytes) / 12
        self.synced_end = end


class SegmentFiles:
    """Owns the files; the journal's locks say when it may be called."""

    def __init__(
        self,
        fs: FileSystem,
        options: JournalOptions,
        max_size: int,
        segment_size: int,
        events: EventLog,
        layouts: LayoutStore,
    ) -> None:
        self._fs = fs
        self._options = options
        self._directory = options.directory / "segments"
        self.max_size = max_size
        self.segment_size = segment_size
        self.events = events
        self.layouts = layouts
        self.segments: list[Segment] = []
        self.tail: Tail | None = None
        self.epoch = ""
        self.delivered_seq = 0
        self.newest_ns = 0
        self._has_reserve = False
        self._reserve_tried_ns = -RESERVE_RETRY_NS
        self._evictions: list[Eviction] = []
        self._evicted_readings = 0

    def begin_with(self, found: Found, now_ns: int) -> None:
        """Take over what recovery found; a full disk is no reason to fail."""
        self.epoch = found.epoch
        self.segments = found.segments
        self.newest_ns = now_ns
        for segment in self.segments[:-1]:
            segment.is_sealed = segment.last_seq <= self.events.last_seq
        reserve = self._directory / RESERVE_NAME
        if RESERVE_NAME in self._fs.names(self._directory):
            file = self._fs.open(reserve)
            self._has_reserve = file.size() == self.segment_size
            file.close()
            if not self._has_reserve:
                self._fs.unlink(reserve)
        if found.is_tail_usable:
            self._go_on(self.segments[-1])
        self._make_reserve(now_ns)

    def _go_on(self, last: Segment) -> None:
        file = self._fs.open(last.path, writable=True)
        try:
            if last.size < self.segment_size:
                file.allocate(self.segment_size)
                zeroed_to, last.size = last.size, self.segment_size
            else:
                zeroed_to = last.end
        except OSError:
            file.close()  # no room to go on here: the next append begins a segment, or says why not
            return
        self.tail = Tail(file, last, zeroed_to=zeroed_to)

    # ── room ──────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        """Everything the journal takes on disk, but for layouts."""
        reserve = self.segment_size if self._has_reserve else 0
        return sum(segment.size for segment in self.segments) + self.events.size + reserve

    def require_reserve(self, now_ns: int) -> None:
        """Refuse readings with JournalFullError while there is no reserve for alarms; try to get one now and then."""
        if not self._has_reserve and not self._make_reserve(now_ns):
            raise JournalFullError(errno.ENOSPC, "journal: disk full, the rest is kept for alarm records")

    def _make_reserve(self, now_ns: int) -> bool:
        if self._has_reserve:
            return True
        if abs(now_ns - self._reserve_tried_ns) < RESERVE_RETRY_NS:
            return False
        self._reserve_tried_ns = now_ns
        try:
            self._allocate(RESERVE_NAME, self.segment_size, now_ns).close()
        except OSError:
            return False
        self._has_reserve = True
        return True

    def _allocate(self, name: str, size: int, now_ns: int) -> File:
        """A new file whose space is guaranteed; gives up old readings for it. OSError, JournalFullError."""
        while self.size + size > self.max_size:
            if not self._evict(now_ns):
                raise JournalFullError(errno.ENOSPC, f"journal: max_size of {self.max_size} bytes reached")
        while True:
            path = self._directory / name
            file = self._fs.open(path, create=True)
            try:
                file.truncate(0)
                file.allocate(size)
            except OSError as error:
                file.close()
                with suppress(OSError):
                    self._fs.unlink(path)
                if error.errno in _NO_SPACE and self._evict(now_ns):
                    continue
                raise
            return file

    def _evict(self, now_ns: int) -> bool:
        """Give up the oldest segment; false where none may be given up."""
        oldest = next_to_evict(self.segments)
        if oldest is None:
            return self._evict_events(now_ns)
        readings: dict[str, int] = {}
        for layout_id, count in self._readings_of(oldest).items():
            device = self.layouts.device_of(layout_id)
            readings[device] = readings.get(device, 0) + count
        self.segments.pop(0)  # before the unlink, so that a reader who misses the file knows why
        try:
            self._fs.unlink(oldest.path)
        except OSError:
            self.segments.insert(0, oldest)
            raise
        ended_ns = self.segments[0].created_ns
        eviction = eviction_of(oldest, readings, self.delivered_seq, now_ns, ended_ns, self._options.keep_ns)
        self._evicted_readings += sum(readings.values())
        if len(self._evictions) >= EVICTIONS_KEPT:  # nobody takes them: fewer, larger ones
            eviction = joined(self._evictions.pop(), eviction)
        self._evictions.append(eviction)
        log.info("readings given up", extra={"first_seq": oldest.first_seq, "last_seq": oldest.last_seq})
        return True

    def _evict_events(self, now_ns: int) -> bool:
        """Give up the oldest file of the event log once all in it is older than ``keep_alarms``."""
        files = self.events.files
        if len(files) < 2 or now_ns - files[1].created_ns < self._options.keep_alarms_ns:
            return False
        self.events.evict(files[0])
        return True

    def _readings_of(self, segment: Segment) -> dict[bytes, int]:
        if segment.readings is None:
            counts: dict[bytes, int] = {}
            file = self._fs.open(segment.path)
            try:
                for item in FrameScanner(file, segment.seed, SEGMENT_HEADER_SIZE, segment.end).scan(READINGS):
                    if isinstance(item, Frame):
                        _count(counts, item.records())
            finally:
                file.close()
            segment.readings = counts
        return segment.readings

    def count_readings(self, segment: Segment, raws: Sequence[RawRecord]) -> None:
        """Note what a segment got, so that nobody must read it again to tell."""
        if segment.readings is not None:
            _count(segment.readings, raws)

    def take_evictions(self) -> list[Eviction]:
        """What was given up since the last call."""
        taken, self._evictions = self._evictions, []
        return taken

    # ── rolling ───────────────────────────────────────────────────────────

    def roll(self, size: int, last_seq: int, chain: Chain, now_ns: int, *, has_readings: bool) -> Tail:
        """Begin a segment with room for ``size`` bytes. JournalFullError, OSError: the old one stays as it is."""
        wanted = max(self.segment_size, size + SEGMENT_HEADER_SIZE)
        if has_readings:
            self.require_reserve(now_ns)
        number = self.segments[-1].number + 1 if self.segments else 1
        try:
            file = self._allocate(segment_name(number), wanted, now_ns)
        except OSError as error:
            if has_readings or error.errno not in _NO_SPACE or not self._has_reserve or wanted > self.segment_size:
                raise
            file = self._use_reserve(number)
        try:
            tail = self._begin(file, number, last_seq, chain, now_ns, wanted)
        except OSError:
            file.close()
            with suppress(OSError):
                self._fs.unlink(self._directory / segment_name(number))
            raise
        self._take_over(tail)
        self._make_reserve(now_ns)
        return tail

    def _use_reserve(self, number: int) -> File:
        self._fs.rename(self._directory / RESERVE_NAME, self._directory / segment_name(number))
        self._has_reserve = False
        log.warning("journal uses its reserve: readings are refused, alarms go on")
        return self._fs.open(self._directory / segment_name(number), writable=True)

    def _begin(self, file: File, number: int, last_seq: int, chain: Chain, now_ns: int, size: int) -> Tail:
        previous = self.segments[-1] if self.segments else None
        header = SegmentHeader(
            self.epoch,
            number,
            last_seq + 1,
            now_ns,
            previous.end if previous else 0,
            previous.last_seq if previous else last_seq,
            last_seq,
            chain.head,
            chain.last_seq,
        )
        write_all(file, header.pack(), 0)
        file.sync()
        self._fs.sync_directory(self._directory)
        path = self._directory / segment_name(number)
        segment = Segment(number, path, self.epoch, last_seq + 1, last_seq, SEGMENT_HEADER_SIZE, size, now_ns)
        commit_bytes = 0.0 if self.tail is None else self.tail.commit_bytes
        return Tail(file, segment, zeroed_to=SEGMENT_HEADER_SIZE, commit_bytes=commit_bytes)

    def _take_over(self, tail: Tail) -> None:
        if self.tail is not None:
            self.tail.file.close()
        self.segments.append(tail.segment)
        self.tail = tail
        self.newest_ns = tail.segment.created_ns

    def leave_tail_if_dirty(self) -> None:
        """After a failed write whose traces could not be wiped: the next append begins a segment."""
        if self.tail is not None and self.tail.is_dirty:
            log.warning("segment left after a failed write", extra={"segment": self.tail.segment.path.name})

    def replace_tail(self, size: int, synced_seq: int, chain: Chain, now_ns: int, fill: Callable[[Tail], None]) -> Tail:
        """End the tail where it was synced last; ``fill`` writes the rest to a new segment. OSError: all as before."""
        old = self.tail
        if old is None:
            raise JournalFullError(errno.EINVAL, "journal: nothing was written yet")
        before = (old.segment.end, old.segment.last_seq)
        old.segment.end, old.segment.last_seq = old.synced_end, synced_seq
        number = old.segment.number + 1
        wanted = max(self.segment_size, size + SEGMENT_HEADER_SIZE)
        file: File | None = None
        try:
            if self._has_reserve and wanted <= self.segment_size:
                file = self._use_reserve(number)
            else:
                file = self._allocate(segment_name(number), wanted, now_ns)
            tail = self._begin(file, number, synced_seq, chain, now_ns, wanted)
            fill(tail)
        except OSError:
            old.segment.end, old.segment.last_seq = before
            if file is not None:
                file.close()
                with suppress(OSError):
                    self._fs.unlink(self._directory / segment_name(number))
            raise
        old.segment.readings = None
        self._take_over(tail)
        self._make_reserve(now_ns + RESERVE_RETRY_NS)
        return tail

    # ── sealing ───────────────────────────────────────────────────────────

    def seal(self) -> None:
        """Copy alarm, audit and tick records of finished, synced segments to the event log; OSError."""
        for segment in self.segments[:-1]:
            if segment.is_sealed:
                continue
            copies: list[RawRecord] = []
            file = self._fs.open(segment.path)
            try:
                scanner = FrameScanner(file, segment.seed, SEGMENT_HEADER_SIZE, segment.end)
                for item in scanner.scan(EVENTS | TICKS, self.events.last_seq):
                    if isinstance(item, Frame):
                        copies += [raw for raw in item.records() if raw.kind is not Kind.READINGS]
            finally:
                file.close()
            self.events.append(copies, segment.last_seq, segment.epoch, segment.created_ns)
            segment.is_sealed = True

    def stats(self) -> dict[str, Any]:
        """Figures for operators; JSON types."""
        return {
            "segments": len(self.segments),
            "bytes": self.size,
            "max_size": self.max_size,
            "event_log_bytes": self.events.size,
            "has_reserve": self._has_reserve,
            "evicted_readings": self._evicted_readings,
            "delivered_seq": self.delivered_seq,
        }

    def close(self) -> None:
        """Let go of the files."""
        if self.tail is not None:
            self.tail.file.close()
            self.tail = None


def _count(counts: dict[bytes, int], raws: Sequence[RawRecord]) -> None:
    for raw in raws:
        if raw.kind is Kind.READINGS:
            layout_id, count = layout_id_of(raw)
            counts[layout_id] = counts.get(layout_id, 0) + count
