"""One segment file: what is known of it, and finding its frames, damaged places included."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.journal.format import (
    FRAME_HEADER_SIZE,
    FRAME_MAGIC,
    SEGMENT_HEADER_SIZE,
    FormatError,
    FrameHeader,
    RawRecord,
    SegmentHeader,
    UnknownVersionError,
    is_intact,
    parse_frame_header,
    seed_of,
    unpack_payload,
)
from agent.journal.fs import File, FileSystem

ENDING: Final = ".seg"
WINDOW: Final = 256 << 10


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:010d}{ENDING}"


@dataclass(slots=True)
class Segment:
    """What is known of a segment without reading it. ``end`` is where its valid frames end."""

    number: int
    path: Path
    epoch: str
    first_seq: int
    last_seq: int
    end: int
    size: int
    created_ns: int
    is_sealed: bool = False
    """Its alarm, audit and tick records are durably in the event log: it may be unlinked."""
    readings: dict[bytes, int] | None = field(default_factory=dict[bytes, int])
    """Readings by layout id; None where that was not counted yet."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.seed = seed_of(self.epoch, self.number)


@dataclass(frozen=True, slots=True)
class Frame:
    """An intact frame and where it stands."""

    offset: int
    header: FrameHeader
    payload: bytes

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + self.header.size

    def records(self) -> list[RawRecord]:
        """Its records; FormatError only for what was written wrongly."""
        return unpack_payload(self.header, self.payload)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A frame passed over unread because it holds nothing that was asked for."""

    offset: int
    header: FrameHeader

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + self.header.size


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no frame, though a frame was expected there."""

    offset: int
    end: int


class FrameScanner:
    """Goes through the frames between two offsets of a file, in windows, so that memory stays small."""

    def __init__(self, file: File, seed: int, offset: int, end: int) -> None:
        self._file = file
        self._seed = seed
        self._offset = offset
        self._end = end
        self._window = b""
        self._window_offset = offset

    def _bytes(self, offset: int, size: int) -> bytes:
        start = offset - self._window_offset
        if start < 0 or start + size > len(self._window):
            wanted = min(max(size, WINDOW), self._end - offset)
            self._window = self._file.pread(wanted, offset) if wanted > 0 else b""
            self._window_offset = offset
            start = 0
        return self._window[start : start + size]

    def _header(self, offset: int) -> FrameHeader | None:
        header = parse_frame_header(self._bytes(offset, FRAME_HEADER_SIZE), 0, self._seed)
        return header if header is not None and offset + header.size <= self._end else None

    def _frame(self, offset: int, header: FrameHeader) -> Frame | None:
        payload = self._bytes(offset + FRAME_HEADER_SIZE, header.stored_length)
        return Frame(offset, header, payload) if is_intact(header, payload, self._seed) else None

    def _next_frame_offset(self, offset: int) -> int | None:
        """Where the next intact frame begins, searching byte by byte (at the speed of ``find``)."""
        while offset + FRAME_HEADER_SIZE <= self._end:
            window = self._bytes(offset, min(WINDOW, self._end - offset))
            if len(window) < FRAME_HEADER_SIZE:
                return None
            found = window.find(FRAME_MAGIC)
            if found < 0:
                offset += len(window) - 1
                continue
            offset += found
            header = self._header(offset)
            if header is not None and self._frame(offset, header) is not None:
                return offset
            offset += 1
        return None

    def scan(self, flags: int = 0, above: int = -1) -> Iterator[Frame | Skipped | Damage]:
        """Frames and damage in order. With ``flags``, frames without one of them, and those not above, are skipped.

        The last damage reaches to the end, or covers the zeros behind the last frame.
        """
        offset = self._offset
        while offset < self._end:
            header = self._header(offset)
            if header is not None and ((flags and not header.flags & flags) or header.last_seq <= above):
                yield Skipped(offset, header)
                offset += header.size
                continue
            frame = None if header is None else self._frame(offset, header)
            if frame is not None:
                yield frame
                offset = frame.end
                continue
            next_offset = self._next_frame_offset(offset + 1)
            end = self._end if next_offset is None else next_offset
            yield Damage(offset, end)
            offset = end


def read_segment_header(file: File) -> SegmentHeader | None:
    """The header; None where it is damaged or was never written. UnknownVersionError."""
    try:
        return SegmentHeader.unpack(file.pread(SEGMENT_HEADER_SIZE, 0))
    except UnknownVersionError:
        raise
    except FormatError:
        return None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file found by :func:`list_files`."""

    path: Path
    header: SegmentHeader
    end: int
    """Where its valid frames end at the latest: what stands behind was given up or is zeros."""
    is_last: bool


def list_files(fs: FileSystem, directory: Path, ending: str) -> tuple[list[ListedFile], list[str]]:
    """The files of a journal from outside, oldest first, and the names of those without a sound header; read only."""
    found: list[tuple[Path, SegmentHeader, int]] = []
    unreadable: list[str] = []
    for name in fs.names(directory):
        if not name.endswith(ending):
            continue
        try:
            file = fs.open(directory / name)
        except FileNotFoundError:
            continue  # given up while we looked
        try:
            header = read_segment_header(file)
            size = file.size()
        finally:
            file.close()
        if header is None:
            unreadable.append(name)
        else:
            found.append((directory / name, header, size))
    listed: list[ListedFile] = []
    for (path, header, size), following in zip(found, [*found[1:], None], strict=False):
        end = size
        if following is not None and ending == ENDING and following[1].number == header.number + 1:
            end = min(size, following[1].previous_end)
        listed.append(ListedFile(path, header, end, is_last=following is None))
    return listed, unreadable
