"""Frames and records as bytes and back; pure. Everything is little-endian.

A *segment* file is a header and then frames. A *frame* is records that were appended together:

    2s magic  B version  B flags  I stored length  I raw length  I records
    Q first seq  Q last seq  I frame number  Q synced_to  4s reserved (signatures, archive)
    I CRC of the payload  I CRC of this header

The CRCs (CRC32C) start from one of epoch and segment number, so a frame of another file is no frame here. The payload
is two parts, each compressed with zstd where that makes it smaller: the records one after the other (``B kind``,
``I length``, ``I length of its noise``, body), led by its stored length, then the noise of the records one after the
other. Records of a segment have consecutive seqs; in the event log, where they have not, each body is led by its seq.
"""

import struct
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

import google_crc32c
import zstandard

from agent.core.records import GENESIS, Kind

RAW_MAX: Final = 64 << 10
"""Most raw bytes of a frame with more than one record."""
RECORD_MAX: Final = 64 << 20
"""Most bytes of one record."""
FORMAT_VERSION: Final = 1

FRAME_MAGIC: Final = b"\xd5F"
_FRAME: Final = struct.Struct("<2sBBIIIQQIQ4sI")
_CRC: Final = struct.Struct("<I")
FRAME_HEADER_SIZE: Final = _FRAME.size + _CRC.size

READINGS: Final = 1
EVENTS: Final = 2
TICKS: Final = 4
COMPRESSED: Final = 8
END_OF_APPEND: Final = 16
"""The last frame of what one append wrote: without it nothing of that append counts."""
EXPLICIT_SEQS: Final = 32
NOISE_COMPRESSED: Final = 64
CHAINED_KINDS: Final = frozenset({Kind.ALARM, Kind.AUDIT})

_FLAG_OF: Final = {Kind.READINGS: READINGS, Kind.ALARM: EVENTS, Kind.AUDIT: EVENTS, Kind.TICK: TICKS}

SEGMENT_MAGIC: Final = b"DAVYSEG\n"
_SEGMENT: Final = struct.Struct("<8sHH16sQQqQQQ32sQ8s")
SEGMENT_HEADER_SIZE: Final = _SEGMENT.size + _CRC.size

_RECORD: Final = struct.Struct("<BII")
_LENGTH: Final = struct.Struct("<I")
_SEQ: Final = struct.Struct("<Q")


class _Crc32c(Protocol):
    def extend(self, crc: int, chunk: bytes, /) -> int: ...


_crc32c: Final = cast(_Crc32c, google_crc32c)


def crc32c(data: bytes, seed: int = 0) -> int:
    """CRC32C of ``data``, going on from ``seed``."""
    return _crc32c.extend(seed, data)


class FormatError(ValueError):
    """The bytes are not what they should be: damaged, or of another version."""


class UnknownVersionError(FormatError):
    """Intact, but written by a newer version of Davy: touch nothing."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What stands at the start of a segment; ``previous_*`` tell where the segment before it ends for good."""

    epoch: str
    number: int
    first_seq: int
    created_ns: int
    previous_end: int
    previous_last_seq: int
    synced_to: int
    """The last seq known to be synced when the segment was begun."""
    chain_head: bytes = GENESIS
    last_chained_seq: int = 0

    def pack(self) -> bytes:
        """The header as bytes."""
        head = _SEGMENT.pack(
            SEGMENT_MAGIC,
            FORMAT_VERSION,
            SEGMENT_HEADER_SIZE,
            uuid.UUID(self.epoch).bytes,
            self.number,
            self.first_seq,
            self.created_ns,
            self.previous_end,
            self.previous_last_seq,
            self.synced_to,
            self.chain_head,
            self.last_chained_seq,
            bytes(8),
        )
        return head + _CRC.pack(crc32c(head))

    @staticmethod
    def unpack(data: bytes) -> "SegmentHeader":
        """The inverse of :meth:`pack`; FormatError."""
        if len(data) < SEGMENT_HEADER_SIZE:
            raise FormatError(f"segment header of {len(data)} bytes")
        head = data[: _SEGMENT.size]
        magic, version, _, epoch, *numbers, _ = _SEGMENT.unpack(head)
        if magic != SEGMENT_MAGIC or _CRC.unpack_from(data, _SEGMENT.size)[0] != crc32c(head):
            raise FormatError("segment header damaged")
        if version > FORMAT_VERSION:
            raise UnknownVersionError(f"segment of format {version}; this version reads up to {FORMAT_VERSION}")
        return SegmentHeader(str(uuid.UUID(bytes=epoch)), *numbers)


def seed_of(epoch: str, number: int) -> int:
    """Where the CRCs of a file begin: its epoch and number."""
    return crc32c(uuid.UUID(epoch).bytes + _SEQ.pack(number))


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a reader must know of a frame without decompressing it."""

    flags: int
    stored_length: int
    raw_length: int
    records: int
    first_seq: int
    last_seq: int
    number: int
    synced_to: int
    payload_crc: int

    @property
    def size(self) -> int:
        """Bytes of header and payload."""
        return FRAME_HEADER_SIZE + self.stored_length


def parse_frame_header(data: bytes, offset: int, seed: int) -> FrameHeader | None:
    """The frame header at ``offset``; None where there is none."""
    if data[offset : offset + 2] != FRAME_MAGIC or len(data) - offset < FRAME_HEADER_SIZE:
        return None
    (crc,) = _CRC.unpack_from(data, offset + _FRAME.size)
    if crc != crc32c(data[offset : offset + _FRAME.size], seed):
        return None
    _, version, flags, stored, raw, records, first, last, number, synced_to, _, payload_crc = _FRAME.unpack_from(
        data, offset
    )
    if version > FORMAT_VERSION:
        raise UnknownVersionError(f"frame of format {version}; this version reads up to {FORMAT_VERSION}")
    return FrameHeader(flags, stored, raw, records, first, last, number, synced_to, payload_crc)


def is_intact(header: FrameHeader, payload: bytes, seed: int) -> bool:
    """Tell whether the payload is the one that was written."""
    return len(payload) == header.stored_length and crc32c(payload, seed) == header.payload_crc


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as stored: its seq, kind and bytes, those that are mostly noise apart."""

    seq: int
    kind: Kind
    body: bytes
    noise: bytes = b""

    @property
    def size(self) -> int:
        """Bytes it takes before compression."""
        return _RECORD.size + len(self.body) + len(self.noise)


class Compressor:
    """Makes frames; not for two threads at once."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=1, write_content_size=True)

    def frame(self, records: Sequence[RawRecord], number: int, synced_to: int, *, seed: int, flags: int = 0) -> bytes:
        """Records with consecutive seqs (any seqs with EXPLICIT_SEQS) as one frame; an empty one has none."""
        pieces: list[bytes] = []
        explicit = flags & EXPLICIT_SEQS
        for record in records:
            pieces.append(_RECORD.pack(record.kind, len(record.body), len(record.noise)))
            if explicit:
                pieces.append(_SEQ.pack(record.seq))
            pieces.append(record.body)
            flags |= _FLAG_OF[record.kind]
        first, last = (records[0].seq, records[-1].seq) if records else (synced_to + 1, synced_to)
        raw = b"".join(pieces)
        noise = b"".join([record.noise for record in records])
        quiet, flags = self._shrink(raw, flags, COMPRESSED)
        noise, flags = self._shrink(noise, flags, NOISE_COMPRESSED)
        payload = _LENGTH.pack(len(quiet)) + quiet + noise if records else b""
        head = _FRAME.pack(
            FRAME_MAGIC,
            FORMAT_VERSION,
            flags,
            len(payload),
            len(raw),
            len(records),
            first,
            last,
            number,
            synced_to,
            bytes(4),
            crc32c(payload, seed),
        )
        return head + _CRC.pack(crc32c(head, seed)) + payload

    def append(self, records: Sequence[RawRecord], number: int, synced_to: int, seed: int) -> tuple[bytes, int]:
        """Records with consecutive seqs as frames numbered after ``number``, the last of which closes the append."""
        parts = list(group(records))
        frames: list[bytes] = []
        for part in parts:
            number += 1
            flags = END_OF_APPEND if part is parts[-1] else 0
            frames.append(self.frame(part, number, synced_to, seed=seed, flags=flags))
        return b"".join(frames), number

    def _shrink(self, data: bytes, flags: int, flag: int) -> tuple[bytes, int]:
        if not data:
            return data, flags
        smaller = self._zstd.compress(data)
        return (smaller, flags | flag) if len(smaller) < len(data) else (data, flags)


def group(records: Sequence[RawRecord]) -> Iterator[list[RawRecord]]:
    """Cut what was appended together into frames of at most ``RAW_MAX`` raw bytes, or one bigger record."""
    pending: list[RawRecord] = []
    size = 0
    for record in records:
        if pending and size + record.size > RAW_MAX:
            yield pending
            pending, size = [], 0
        pending.append(record)
        size += record.size
    if pending:
        yield pending


class _Decompressors(threading.local):
    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor()


_decompressors: Final = _Decompressors()


def unpack_payload(header: FrameHeader, payload: bytes) -> list[RawRecord]:
    """The records of an intact frame; FormatError where the bytes are none."""
    if not header.records:
        return []
    try:
        (length,) = _LENGTH.unpack_from(payload)
        raw = payload[_LENGTH.size : _LENGTH.size + length]
        noise = payload[_LENGTH.size + length :]
        if header.flags & COMPRESSED:
            raw = _decompressors.zstd.decompress(raw)
        if header.flags & NOISE_COMPRESSED:
            noise = _decompressors.zstd.decompress(noise)
        records = list(_split(header, raw, noise))
    except (zstandard.ZstdError, struct.error, ValueError) as error:
        raise FormatError(f"frame with seq {header.first_seq}: {error}") from error
    if len(raw) != header.raw_length or len(records) != header.records:
        raise FormatError(f"frame with seq {header.first_seq}: {len(records)} records, {header.records} expected")
    return records


def _split(header: FrameHeader, raw: bytes, noise: bytes) -> Iterator[RawRecord]:
    offset = noise_offset = 0
    seq = header.first_seq
    while offset < len(raw):
        kind, size, noise_size = _RECORD.unpack_from(raw, offset)
        offset += _RECORD.size
        if header.flags & EXPLICIT_SEQS:
            (seq,) = _SEQ.unpack_from(raw, offset)
            offset += _SEQ.size
        end, noise_end = offset + size, noise_offset + noise_size
        if end > len(raw) or noise_end > len(noise):
            raise FormatError("record longer than its frame")
        yield RawRecord(seq, Kind(kind), raw[offset:end], noise[noise_offset:noise_end])
        offset, noise_offset = end, noise_end
        seq += 1
