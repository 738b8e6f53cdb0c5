"""What opening a journal finds: where it ends, what is torn, what is missing, and whether a new epoch begins."""

import errno
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from agent.core.ids import new_id
from agent.core.records import GENESIS
from agent.journal.encoding import Chain, chain_of, time_of
from agent.journal.errors import JournalError
from agent.journal.format import (
    CHAINED_KINDS,
    END_OF_APPEND,
    EVENTS,
    SEGMENT_HEADER_SIZE,
    FormatError,
    SegmentHeader,
)
from agent.journal.fs import FileSystem, read_whole, set_aside, write_all, write_atomic
from agent.journal.segment import ENDING, Damage, Frame, FrameScanner, Segment, read_segment_header

log: Final = logging.getLogger("davy.journal")

META_NAME: Final = "META"


@dataclass(slots=True)
class Recovery:
    """What open found; the app makes audit records of it."""

    gaps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Seqs (first, last) that were synced once and cannot be read."""
    torn_bytes: int = 0
    """Unsynced bytes at the end that a crash left unusable; kept in ``*.torn``."""
    new_epoch_reason: str | None = None
    """created, machine, path, meta_lost, segments_missing, behind_delivered; None: the epoch goes on."""
    previous_epoch: str | None = None
    last_at_ns: int | None = None
    """When the last durable record was taken in or recorded (ns UTC)."""
    moved_aside: list[str] = field(default_factory=list[str])
    """Files that could not be read, under their new names."""


@dataclass(frozen=True, slots=True)
class Meta:
    """Whose journal this is."""

    epoch: str
    machine_id: str
    path: str
    created_ns: int

    def pack(self) -> bytes:
        """As JSON."""
        fields = {"epoch": self.epoch, "machine_id": self.machine_id, "path": self.path, "created": self.created_ns}
        return orjson.dumps({"format": 1, **fields})

    @staticmethod
    def unpack(data: bytes) -> "Meta":
        """The inverse of :meth:`pack`; FormatError."""
        try:
            fields: dict[str, Any] = orjson.loads(data)
            return Meta(fields["epoch"], fields["machine_id"], fields["path"], fields["created"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise FormatError(f"{META_NAME}: {error}") from error


@dataclass(slots=True)
class Found:
    """The state in which a journal goes on."""

    epoch: str
    segments: list[Segment]
    last_seq: int
    chain: Chain
    frame_number: int
    recovery: Recovery
    is_tail_usable: bool
    """The last segment may be appended to; else a new one must be begun."""


class Opening:
    """One opening of a journal directory."""

    def __init__(self, fs: FileSystem, directory: Path, events_last_seq: int, delivered: Mapping[str, int]) -> None:
        self._fs = fs
        self._directory = directory
        self._segments_directory = directory / "segments"
        self._delivered = max(delivered.values(), default=0)
        self._proof = max(self._delivered, events_last_seq)
        self._recovery = Recovery()
        self._headers: dict[int, SegmentHeader] = {}
        self._chain = Chain(GENESIS, 0)
        self._frame_number = 0
        self._is_tail_usable = False
        self._newest: Frame | None = None

    def run(self, now_ns: int, machine_id: str, own_path: str) -> Found:
        """Look at everything; OSError where the directory cannot be used at all."""
        self._fs.make_directory(self._segments_directory)
        meta = self._read_meta()
        segments = self._list(meta)
        last_seq = 0
        if segments:
            self._gaps_between(segments)
            self._recover_last(segments[-1], segments[:-1])
            last_seq = segments[-1].last_seq
        reason = self._reason(meta, segments, last_seq, machine_id, own_path)
        epoch = meta.epoch if meta is not None else ""
        if reason is not None:
            if last_seq < self._proof and segments:
                self._recovery.gaps.append((last_seq + 1, self._proof))
            epoch = new_id(now_ns)
            self._recovery.new_epoch_reason = reason
            self._recovery.previous_epoch = meta.epoch if meta else segments[-1].epoch if segments else None
            last_seq = max(last_seq, self._proof)
            write_atomic(self._fs, self._directory / META_NAME, Meta(epoch, machine_id, own_path, now_ns).pack())
            self._chain = Chain(GENESIS, last_seq)
            self._is_tail_usable = False
        elif segments[-1].epoch != epoch:  # a new epoch had begun, but nothing was written in it yet
            self._chain = Chain(GENESIS, last_seq)
            self._is_tail_usable = False
        if reason is not None:
            level = logging.INFO if reason == "created" else logging.WARNING
            log.log(level, "new epoch", extra={"epoch": epoch, "reason": reason, "first_seq": last_seq + 1})
        return Found(epoch, segments, last_seq, self._chain, self._frame_number, self._recovery, self._is_tail_usable)

    def _read_meta(self) -> Meta | None:
        path = self._directory / META_NAME
        try:
            return Meta.unpack(read_whole(self._fs, path))
        except FileNotFoundError:
            return None
        except FormatError:
            self._recovery.moved_aside.append(set_aside(self._fs, path, "bad").name)
            return None

    def _reason(
        self, meta: Meta | None, segments: list[Segment], last_seq: int, machine_id: str, own_path: str
    ) -> str | None:
        if meta is None:
            return "meta_lost" if segments else "created"
        if meta.machine_id != machine_id:
            return "machine"
        if meta.path != own_path:
            return "path"
        if not segments:
            return "segments_missing"
        return "behind_delivered" if last_seq < self._proof else None

    def _list(self, meta: Meta | None) -> list[Segment]:
        """The segments, oldest first; those before the last end where the header of the next says."""
        segments: list[Segment] = []
        for name in self._fs.names(self._segments_directory):
            if not name.endswith(ENDING) or not name.removesuffix(ENDING).isdigit():
                continue
            known = self._describe(self._segments_directory / name, int(name.removesuffix(ENDING)), meta)
            if known is not None:
                segments.append(known)
        for earlier, later in pairwise(segments):
            header = self._headers.get(later.number)
            if header is not None and later.number == earlier.number + 1:
                earlier.end, earlier.last_seq = header.previous_end, header.previous_last_seq
            else:
                self._find_end(earlier)
        return segments

    def _describe(self, path: Path, number: int, meta: Meta | None) -> Segment | None:
        file = self._fs.open(path)
        try:
            size = file.size()
            header = read_segment_header(file)
            if header is not None and header.number == number:
                self._headers[number] = header
                return Segment(
                    number, path, header.epoch, header.first_seq, header.first_seq - 1, size, size, header.created_ns
                )
            # The header is lost; the frames may be intact, for their CRCs need the epoch and number only.
            epochs = {known.epoch for known in self._headers.values()} | ({meta.epoch} if meta else set[str]())
            for epoch in sorted(epochs):
                known = Segment(number, path, epoch, 0, 0, size, size, 0)
                for item in FrameScanner(file, known.seed, SEGMENT_HEADER_SIZE, size).scan():
                    if isinstance(item, Frame):
                        known.first_seq = item.header.first_seq
                        known.last_seq = known.first_seq - 1
                        return known
            is_blank = not file.pread(size, 0).strip(b"\0")
        finally:
            file.close()
        if is_blank:
            self._fs.unlink(path)
        else:
            self._recovery.moved_aside.append(set_aside(self._fs, path, "bad").name)
        return None

    def _find_end(self, segment: Segment) -> None:
        file = self._fs.open(segment.path)
        try:
            end = SEGMENT_HEADER_SIZE
            for item in FrameScanner(file, segment.seed, SEGMENT_HEADER_SIZE, segment.size).scan():
                if isinstance(item, Frame):
                    end, segment.last_seq = item.end, item.header.last_seq
            segment.end = end
        finally:
            file.close()

    def _gaps_between(self, segments: list[Segment]) -> None:
        for earlier, later in pairwise(segments):
            earlier.readings = None
            if later is segments[-1] and later.number not in self._headers:
                # Its first frames may be torn with the header: judged with the rest of it.
                later.first_seq, later.last_seq = earlier.last_seq + 1, earlier.last_seq
            # A new epoch may leave seqs out on purpose, and told of it when it began.
            if later.first_seq > earlier.last_seq + 1 and later.epoch == earlier.epoch:
                self._recovery.gaps.append((earlier.last_seq + 1, later.first_seq - 1))

    def _recover_last(self, last: Segment, earlier: list[Segment]) -> None:
        """Find where the journal ends: DESIGN "Journal", recovery."""
        last.readings = None
        header = self._headers.get(last.number)
        if header is not None:
            self._chain = Chain(header.chain_head, header.last_chained_seq)
            self._recovery.last_at_ns = header.created_ns
        else:
            self._chain_of(earlier)
        file = self._fs.open(last.path, writable=True)
        try:
            items = list(FrameScanner(file, last.seed, SEGMENT_HEADER_SIZE, last.size).scan())
            proof = max([self._proof, *(i.header.synced_to for i in items if isinstance(i, Frame))])
            self._follow(last, items, proof)
            if self._newest is not None:
                self._recovery.last_at_ns = time_of(self._newest.records()[-1])
            self._is_tail_usable = header is not None
            if last.end < last.size:
                self._cut(last, file.pread(last.size - last.end, last.end))
            file.sync()
        finally:
            file.close()

    def _chain_of(self, earlier: list[Segment]) -> None:
        """The chain at the end of the segments before one whose header is lost."""
        for segment in reversed(earlier):
            header = self._headers.get(segment.number)
            if header is None:
                continue
            self._chain = Chain(header.chain_head, header.last_chained_seq)
            for later in earlier[earlier.index(segment) :]:
                file = self._fs.open(later.path)
                try:
                    for item in FrameScanner(file, later.seed, SEGMENT_HEADER_SIZE, later.end).scan(EVENTS):
                        if isinstance(item, Frame):
                            self._chain_through(item)
                finally:
                    file.close()
            return

    def _follow(self, last: Segment, items: list[Any], proof: int) -> None:
        """Take the frames up to where nothing proves that more was synced; whole appends only."""
        last.end = SEGMENT_HEADER_SIZE
        pending: list[Frame] = []
        seen_last = last.last_seq
        for item in items:
            if isinstance(item, Damage):
                if proof <= seen_last:
                    break
                pending.clear()
                continue
            if not isinstance(item, Frame) or (item.header.records and item.header.first_seq <= seen_last):
                continue
            pending.append(item)
            seen_last = max(seen_last, item.header.last_seq)
            if item.header.flags & END_OF_APPEND or item.header.last_seq <= proof:
                for frame in pending:
                    self._take(last, frame)
                pending.clear()

    def _take(self, last: Segment, frame: Frame) -> None:
        header = frame.header
        if header.first_seq > last.last_seq + 1:
            self._recovery.gaps.append((last.last_seq + 1, header.first_seq - 1))
        last.end = frame.end
        self._frame_number = header.number
        last.last_seq = header.last_seq  # an empty frame, the mark of a clean stop, names the last seq before it
        if not header.records:
            return
        self._newest = frame
        if header.flags & EVENTS:
            self._chain_through(frame)

    def _chain_through(self, frame: Frame) -> None:
        for record in frame.records():
            if record.kind in CHAINED_KINDS:
                self._chain = Chain(chain_of(record)[1], record.seq)

    def _cut(self, last: Segment, rest: bytes) -> None:
        """Keep what is torn in a file of its own, then make the place blank again."""
        rest = rest.rstrip(b"\0")
        if not rest:
            return
        self._recovery.torn_bytes = len(rest)
        try:
            self._copy_torn(last, rest)
            file = self._fs.open(last.path, writable=True)
            try:
                file.truncate(last.end)
                file.sync()
                last.size = last.end
            finally:
                file.close()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise JournalError(error.errno, f"{last.path.name}: {error.strerror}") from error
            # No room for a copy: the bytes stay where they are, behind the end that the next segment tells.
            self._is_tail_usable = False

    def _copy_torn(self, last: Segment, rest: bytes) -> None:
        names = set(self._fs.names(self._segments_directory))
        count = 1
        while (name := f"{last.path.name}.{count}.torn") in names:
            count += 1
        copy = self._fs.open(self._segments_directory / name, create=True)
        try:
            write_all(copy, rest, 0)
            copy.sync()
        finally:
            copy.close()
        self._fs.sync_directory(self._segments_directory)
        self._recovery.moved_aside.append(name)
