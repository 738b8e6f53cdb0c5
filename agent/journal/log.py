"""The journal: every record of the gateway in one sequence, in segment files; blocking calls.

One thread appends and one (the same or another) syncs; any thread may read. Locks are taken in the order write, sync.
Assumed of the machine: a completed fdatasync is durable; what was being written during a power cut may be there in part
or in any order; a failed fdatasync means that everything since the last good one may be lost.
"""

import errno
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from agent.core.batch import Batch, Layout
from agent.core.ports import Chunk
from agent.core.records import Draft, Event, Kind, Lane, Record
from agent.journal.encoding import BatchEncoder, Chain, chain_of, encode_event, encode_tick
from agent.journal.errors import JournalError, JournalFullError
from agent.journal.events_log import EventLog
from agent.journal.format import CHAINED_KINDS, END_OF_APPEND, Compressor, RawRecord, UnknownVersionError
from agent.journal.fs import FileSystem, OsFileSystem
from agent.journal.layouts import LayoutStore
from agent.journal.reading import Damaged, JournalReading
from agent.journal.recovery import Opening, Recovery
from agent.journal.retention import Eviction, JournalOptions, sizes_of
from agent.journal.segments import SegmentFiles, Tail

__all__ = ["Eviction", "Journal", "JournalError", "JournalFullError", "JournalOptions", "Recovery"]

log: Final = logging.getLogger("davy.journal")

UNSYNCED_MAX: Final = 32 << 20
"""Raw bytes appended since the last sync; an append that finds more waits for a sync first."""


class Journal:
    """An open journal. Only one process has it: a second gets LockedError from :meth:`open`."""

    def __init__(
        self, options: JournalOptions, fs: FileSystem, files: SegmentFiles, unlock: Callable[[], None]
    ) -> None:
        """Use :meth:`open`."""
        self._options = options
        self._fs = fs
        self._files = files
        self._unlock = unlock
        self._write_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._encoder = BatchEncoder()
        self._compressor = Compressor()
        self._state_lock = threading.Lock()
        """Short, innermost: keeps seq, end of the tail and what is unsynced together."""
        self._unsynced: deque[tuple[int, list[RawRecord]]] = deque()
        self._unsynced_bytes = 0
        self._is_suspect = False
        self._is_seal_failing = False
        self._is_closed = False
        self._counts = dict.fromkeys(Kind, 0)
        self._readings = 0
        self._last_events: dict[str, Mapping[str, Any]] = {}
        self._reading = JournalReading(fs, files)

    @classmethod
    def open(
        cls,
        options: JournalOptions,
        *,
        fs: FileSystem | None = None,
        now_ns: int,
        machine_id: str,
        delivered: Mapping[str, int],
    ) -> Self:
        """Open or create. ``delivered``: the highest seq each cursor stands at. OSError, LockedError, JournalError."""
        fs = OsFileSystem() if fs is None else fs
        fs.make_directory(options.directory)
        unlock = fs.lock(options.directory / "LOCK")
        try:
            max_size, segment_size = sizes_of(options, fs.space(options.directory))
            layouts = LayoutStore(fs, options.directory / "layouts")
            events = EventLog(fs, options.directory / "events", segment_size)
            opening = Opening(fs, options.directory, events.last_seq, delivered)
            found = opening.run(now_ns, machine_id, str(options.directory.absolute()))
            files = SegmentFiles(fs, options, max_size, segment_size, events, layouts)
            files.begin_with(found, now_ns)
            journal = cls(options, fs, files, unlock)
            journal._start(found.recovery, found.last_seq, found.chain, found.frame_number)
            if not files.segments:
                with suppress(OSError):  # a full disk is no reason not to start; the first append tries again
                    files.roll(0, found.last_seq, found.chain, now_ns, has_readings=False)
            fs.sync_directory(options.directory)
        except UnknownVersionError as error:
            unlock()
            raise JournalError(errno.ENOTSUP, f"journal: {error}") from error
        except BaseException:
            unlock()
            raise
        journal.recovery.moved_aside += [*layouts.moved_aside, *events.moved_aside]
        return journal

    def _start(self, recovery: Recovery, last_seq: int, chain: Chain, frame_number: int) -> None:
        self.recovery = recovery
        self._reading.known_gaps = frozenset(recovery.gaps)
        self._chain = chain
        self._synced_chain = chain
        self._last_seq = last_seq
        self._synced_seq = last_seq
        self._frame_number = frame_number
        for first, last in recovery.gaps:
            log.error("journal gap", extra={"first_seq": first, "last_seq": last})

    @property
    def epoch(self) -> str:
        """Id of this journal's life; what is appended now belongs to it."""
        return self._files.epoch

    @property
    def next_seq(self) -> int:
        """The seq of the next record."""
        return self._last_seq + 1

    @property
    def last_seq(self) -> int:
        """The seq of the last record, synced or not."""
        return self._last_seq

    @property
    def synced_seq(self) -> int:
        """The last seq that is known to be on disk."""
        return self._synced_seq

    @property
    def size(self) -> int:
        """What the journal takes on disk, bytes."""
        return self._files.size

    @property
    def oldest_seq(self) -> int:
        """The first seq whose readings are still here."""
        return self._files.segments[0].first_seq if self._files.segments else self.next_seq

    @property
    def chain_head(self) -> bytes:
        """Hash of the last alarm or audit record of the epoch."""
        return self._chain.head

    @property
    def last_chained_seq(self) -> int:
        """Seq of that record."""
        return self._chain.last_seq

    def register_layout(self, layout: Layout) -> None:
        """Make a layout known ahead of its first batch, or again after its file was lost."""
        self._files.layouts.register(layout)

    def set_delivered(self, seq: int) -> None:
        """Tell up to which seq every destination has proved its readings."""
        self._files.delivered_seq = seq

    def take_evictions(self) -> list[Eviction]:
        """What was given up since the last call; the caller makes ``evicted`` audit records of it."""
        return self._files.take_evictions()

    def take_damage(self) -> list[Damaged]:
        """What readers found damaged since the last call; the caller makes ``gap`` audit records of it."""
        return self._reading.take_damage()

    def append(self, drafts: Sequence[Draft], recorded_ns: int) -> list[Record]:
        """Write records; they have a seq and survive a kill, but not yet a power cut.

        All or none: with JournalFullError, JournalError or ValueError (a draft that cannot be written) no seq is used.
        """
        if not drafts:
            return []
        with self._write_lock:
            if self._is_suspect or self._unsynced_bytes > UNSYNCED_MAX:
                self._sync_locked()
            try:
                return self._append(drafts, recorded_ns)
            except JournalError:
                raise
            except OSError as error:
                kind = JournalFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else JournalError
                raise kind(error.errno, f"journal: {error.strerror or error}") from error

    def _append(self, drafts: Sequence[Draft], recorded_ns: int) -> list[Record]:
        records, raws, chain = self._encode(drafts, recorded_ns)
        has_readings = any(record.kind is Kind.READINGS for record in records)
        frame_number = self._write(raws, recorded_ns, has_readings=has_readings)
        # Nothing below can fail: the records are in the journal.
        tail = self._files.tail
        with self._state_lock:
            self._frame_number = frame_number
            self._last_seq = raws[-1].seq
            self._chain = chain
            self._unsynced.append((raws[-1].seq, raws))
            self._unsynced_bytes += _size_of(raws)
            if tail is not None:
                tail.written_end = tail.segment.end
        self._count(records)
        return records

    def _encode(self, drafts: Sequence[Draft], recorded_ns: int) -> tuple[list[Record], list[RawRecord], Chain]:
        records: list[Record] = []
        raws: list[RawRecord] = []
        chain = self._chain
        for seq, draft in enumerate(drafts, self._last_seq + 1):
            if isinstance(draft, Batch):
                self._files.layouts.register(draft.layout)
                record = Record(seq, Kind.READINGS, draft)
                raw = self._encoder.encode(draft, seq)
            elif isinstance(draft, Event):
                record, raw = encode_event(draft, seq, self.epoch, recorded_ns, chain.head)
                chain = Chain(record.hash, seq)
            else:
                record, raw = encode_tick(draft, seq)
            records.append(record)
            raws.append(raw)
        return records, raws, chain

    def _write(self, raws: list[RawRecord], recorded_ns: int, *, has_readings: bool) -> int:
        tail = self._files.tail
        data, number = self._frames(raws, 0 if tail is None else tail.segment.seed)
        if tail is None or not tail.has_room(len(data)):
            tail = self._roll(len(data), recorded_ns, has_readings=has_readings)
            data, number = self._frames(raws, tail.segment.seed)
        elif has_readings:
            self._files.require_reserve(recorded_ns)
        try:
            tail.write(data)
        except OSError:
            # What was written in part must never be read as a record of a later append.
            self._files.leave_tail_if_dirty()
            raise
        tail.segment.last_seq = raws[-1].seq
        self._files.count_readings(tail.segment, raws)
        return number

    def _frames(self, raws: list[RawRecord], seed: int) -> tuple[bytes, int]:
        return self._compressor.append(raws, self._frame_number, self._synced_seq, seed)

    def _roll(self, size: int, now_ns: int, *, has_readings: bool) -> Tail:
        """Begin the next segment. All before it is synced first, so only the last segment can have a torn end."""
        if self._unsynced:
            self._sync_locked()
        with self._sync_lock:
            self._seal()
            return self._files.roll(size, self._last_seq, self._chain, now_ns, has_readings=has_readings)

    def sync(self) -> int:
        """Make everything appended so far durable; the synced seq. JournalError: nothing more is known to be durable.

        After a failed fdatasync its pages count as lost: what was unsynced is written again, to a new segment.
        """
        if not self._is_suspect:
            try:
                with self._sync_lock:
                    self._sync_tail()
                    self._seal()
                return self._synced_seq
            except OSError as error:
                self._is_suspect = True
                log.error("fdatasync failed", extra={"error": str(error)})
        with self._write_lock:
            self._sync_locked()
        return self._synced_seq

    def _sync_locked(self) -> None:
        """Sync with the write lock held; JournalError."""
        with self._sync_lock:
            if not self._is_suspect:
                try:
                    self._sync_tail()
                    return
                except OSError as error:
                    self._is_suspect = True
                    log.error("fdatasync failed", extra={"error": str(error)})
            if self._files.tail is None:
                return
            try:
                self._write_again()
            except OSError as error:
                raise JournalError(error.errno, f"journal: sync: {error.strerror or error}") from error
            self._is_suspect = False

    def _sync_tail(self) -> None:
        tail = self._files.tail
        if tail is None:
            return
        with self._state_lock:
            target, end = self._last_seq, tail.written_end
        if target > self._synced_seq:
            tail.file.sync()
            self._mark_synced(tail, target, end)

    def _mark_synced(self, tail: Tail, target: int, end: int) -> None:
        with self._state_lock:
            while self._unsynced and self._unsynced[0][0] <= target:
                self._unsynced_bytes -= _size_of(self._unsynced.popleft()[1])
            tail.mark_synced(end)
            self._synced_seq = target

    def _write_again(self) -> None:
        """Put what is unsynced into a new segment and sync that; the old one ends where it was synced."""
        appends = list(self._unsynced)
        chain = self._chain
        for _, raws in appends:
            chained = next((raw for raw in raws if raw.kind in CHAINED_KINDS), None)
            if chained is not None:
                chain = Chain(chain_of(chained)[0], 0)
                break
        now_ns = self._files.newest_ns
        number = self._frame_number

        def fill(tail: Tail) -> None:
            for _, raws in appends:
                data, self._frame_number = self._frames(raws, tail.segment.seed)
                tail.write(data)
                tail.segment.last_seq = raws[-1].seq
                self._files.count_readings(tail.segment, raws)
            tail.written_end = tail.segment.end
            tail.file.sync()

        size = sum([_size_of(raws) + 16 * len(raws) + 8192 for _, raws in appends])
        try:
            tail = self._files.replace_tail(size, self._synced_seq, chain, now_ns, fill)
        except OSError:
            self._frame_number = number
            raise
        self._mark_synced(tail, self._last_seq, tail.written_end)

    def _seal(self) -> None:
        """Copy what must outlive the readings to the event log; called with all but the tail synced."""
        try:
            self._files.seal()
        except OSError as error:
            if not self._is_seal_failing:
                log.error("event log cannot be written", extra={"error": str(error)})
            self._is_seal_failing = True
        else:
            if self._is_seal_failing:
                log.warning("event log is written again")
            self._is_seal_failing = False

    def read(self, lane: Lane | None, after: int, max_bytes: int, upto: int | None = None) -> Chunk:
        """The next synced records of a lane (None: all kinds) with ``after`` < seq <= ``upto``; any thread."""
        limit = self._synced_seq if upto is None else min(upto, self._synced_seq)
        return self._reading.read(lane, after, max_bytes, limit)

    def _count(self, records: Sequence[Record]) -> None:
        for record in records:
            self._counts[record.kind] += 1
            self._readings += record.readings
            if record.kind is Kind.AUDIT and record.fields.get("kind") in ("start", "stop"):
                self._last_events[str(record.fields["kind"])] = record.fields

    def stats(self) -> dict[str, Any]:
        """Figures for operators; JSON types. ``records`` and ``readings`` count since open."""
        return {
            "epoch": self.epoch,
            "first_seq": self.oldest_seq,
            "last_seq": self._last_seq,
            "synced_seq": self._synced_seq,
            "chain_head": self._chain.head.hex(),
            "last_chained_seq": self._chain.last_seq,
            "records": {kind.name.lower(): count for kind, count in self._counts.items()},
            "readings": self._readings,
            **{f"last_{kind}": dict(fields) for kind, fields in self._last_events.items()},
            **self._files.stats(),
        }

    def close(self) -> None:
        """Sync, prove it with an empty frame, let go of the directory; once. JournalError when the sync failed."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.sync()
            tail = self._files.tail
            if tail is not None and not tail.is_dirty:
                with suppress(OSError):
                    frame = self._compressor.frame(
                        [], self._frame_number + 1, self._synced_seq, seed=tail.segment.seed, flags=END_OF_APPEND
                    )
                    if tail.has_room(len(frame)):
                        tail.write(frame)
                        tail.file.sync()
        finally:
            self._files.close()
            self._reading.close()
            self._unlock()


def _size_of(raws: Sequence[RawRecord]) -> int:
    return sum([raw.size for raw in raws])
