"""The event log: alarm, audit and tick records of sealed segments, byte for byte, kept when segments are evicted.

Files of the segment format whose frames carry a seq with each record. A copy is durable before its segment may go.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.journal.errors import JournalError
from agent.journal.format import (
    EVENTS,
    EXPLICIT_SEQS,
    SEGMENT_HEADER_SIZE,
    TICKS,
    Compressor,
    RawRecord,
    SegmentHeader,
    group,
)
from agent.journal.fs import FileSystem, set_aside, write_all
from agent.journal.segment import Damage, Frame, FrameScanner, Segment, read_segment_header

ENDING: Final = ".evt"


class EventLog:
    """Appends copies and reads them again. One thread writes; others may read."""

    def __init__(self, fs: FileSystem, directory: Path, file_size: int) -> None:
        self._fs = fs
        self._directory = directory
        self._file_size = file_size
        self._compressor = Compressor()
        self.files: list[Segment] = []
        self.moved_aside: list[str] = []
        fs.make_directory(directory)
        self._load()

    @property
    def last_seq(self) -> int:
        """Every alarm, audit and tick record up to this seq is durably here; 0 where nothing was copied yet."""
        return self.files[-1].last_seq if self.files else 0

    @property
    def size(self) -> int:
        """What the event log takes on disk."""
        return sum(file.size for file in self.files)

    def _load(self) -> None:
        names = [name for name in self._fs.names(self._directory) if name.endswith(ENDING)]
        for name in names:
            path = self._directory / name
            file = self._fs.open(path)
            try:
                header = read_segment_header(file)
                size = file.size()
                known = None if header is None else self._scan(path, header, size)
            finally:
                file.close()
            if known is None:
                self.moved_aside.append(set_aside(self._fs, path, "bad").name)
            else:
                self.files.append(known)
        for earlier, later in zip(self.files, self.files[1:], strict=False):
            earlier.last_seq = later.first_seq - 1
        if self.files:
            self._find_end(self.files[-1])

    @staticmethod
    def _scan(path: Path, header: SegmentHeader, size: int) -> Segment:
        return Segment(
            header.number, path, header.epoch, header.first_seq, header.first_seq - 1, size, size, header.created_ns
        )

    def _find_end(self, last: Segment) -> None:
        """Where the newest file ends; what is torn there stands in its segment still and is copied again."""
        file = self._fs.open(last.path, writable=True)
        try:
            items = list(FrameScanner(file, last.seed, SEGMENT_HEADER_SIZE, last.size).scan())
            # The mark at the end of a copy was written with it, so it proves nothing about it.
            proof = max((i.header.synced_to for i in items if isinstance(i, Frame) and i.header.records), default=0)
            last.end = SEGMENT_HEADER_SIZE
            for item in items:
                if isinstance(item, Damage) and proof <= last.last_seq:
                    break
                if isinstance(item, Frame):
                    last.end = item.end
                    last.last_seq = item.header.last_seq
            if last.end < last.size:
                file.truncate(last.end)
                last.size = last.end
        finally:
            file.close()

    def append(self, records: Sequence[RawRecord], upto: int, epoch: str, now_ns: int) -> None:
        """Copy what is above ``last_seq``, durably; ``records`` are all there are up to ``upto``.

        OSError: nothing counts as copied.
        """
        if upto <= self.last_seq:
            return
        fresh = [record for record in records if record.seq > self.last_seq]
        current = self.files[-1] if self.files else None
        if current is None or current.epoch != epoch or current.end >= self._file_size:
            current = self._begin(epoch, self.last_seq + 1, now_ns)
        data = b"".join(
            self._compressor.frame(part, 0, self.last_seq, seed=current.seed, flags=EXPLICIT_SEQS)
            for part in group(fresh)
        ) + self._compressor.frame([], 0, upto, seed=current.seed)
        file = self._fs.open(current.path, create=True)
        try:
            write_all(file, data, current.end)
            file.sync()
        except OSError:
            # What was torn is cut or, if even that fails, overwritten by the next copy.
            with suppress(OSError):
                file.truncate(current.end)
            raise
        finally:
            file.close()
        current.end += len(data)
        current.size = max(current.size, current.end)
        current.last_seq = upto

    def _begin(self, epoch: str, first_seq: int, now_ns: int) -> Segment:
        number = self.files[-1].number + 1 if self.files else 1
        path = self._directory / f"{number:010d}{ENDING}"
        header = SegmentHeader(epoch, number, first_seq, now_ns, 0, self.last_seq, self.last_seq)
        file = self._fs.open(path, create=True)
        try:
            file.truncate(0)
            write_all(file, header.pack(), 0)
            file.sync()
        finally:
            file.close()
        self._fs.sync_directory(self._directory)
        begun = Segment(number, path, epoch, first_seq, self.last_seq, SEGMENT_HEADER_SIZE, SEGMENT_HEADER_SIZE, now_ns)
        self.files.append(begun)
        return begun

    def records(self, after: int, *, ticks: bool) -> Iterator[RawRecord | Damage]:
        """Records with seq > ``after`` in order; damage where some cannot be read."""
        for known in list(self.files):
            if known.last_seq <= after:
                continue
            try:
                file = self._fs.open(known.path)
            except FileNotFoundError:
                if known in self.files:
                    yield Damage(0, known.end)
                continue
            try:
                scanner = FrameScanner(file, known.seed, SEGMENT_HEADER_SIZE, known.end)
                for item in scanner.scan(EVENTS | (TICKS if ticks else 0), after):
                    if isinstance(item, Damage):
                        yield item
                    elif isinstance(item, Frame):
                        yield from (record for record in item.records() if record.seq > after)
            finally:
                file.close()

    def evict(self, file: Segment) -> None:
        """Unlink the oldest file (its records are past ``keep_alarms``)."""
        if not self.files or file is not self.files[0]:
            raise JournalError(errno.EINVAL, f"{file.path.name} is not the oldest file of the event log")
        self.files.pop(0)  # before the unlink, so that a reader who misses the file knows why
        try:
            self._fs.unlink(file.path)
        except OSError:
            self.files.insert(0, file)
            raise
