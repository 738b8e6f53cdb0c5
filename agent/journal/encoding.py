"""The bodies of records: batches as columns, events as canonical JSON with their place in the chain; pure."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agent.core.batch import Batch, Layout
from agent.core.records import Event, Kind, Record, Tick, canonical_json, chain_hash
from agent.journal.columns import (
    FLOAT32,
    UNKNOWN,
    CodecError,
    Reader,
    classify,
    decode_integers,
    decode_values,
    encode_integers,
    encode_values,
    merge,
)
from agent.journal.format import RECORD_MAX, FormatError, RawRecord

_BATCH: Final = struct.Struct("<BH8sq")
_HAS_QUALITY: Final = 1
_HAS_INDEX: Final = 2
_HAS_DT: Final = 4
_HAS_SOURCE_DT: Final = 8
_HAS_EXACT: Final = 16
_IS_HISTORICAL: Final = 32
_IS_EXERCISE: Final = 64

_TICK: Final = struct.Struct("<q")
_CHAIN: Final = struct.Struct("<32s32s")
COUNT_MAX: Final = 0xFFFF


@dataclass(slots=True)
class _Learned:
    classes: bytearray
    whole: bytes
    """The classes as the plan of a batch with all tags."""
    batches_until_next: int = 0
    patience: int = 1


class BatchEncoder:
    """Writes batches. It learns how the values of each tag are written shortest; the bytes carry that with them."""

    def __init__(self) -> None:
        self._learned: dict[bytes, _Learned] = {}

    def encode(self, batch: Batch, seq: int) -> RawRecord:
        """The batch as a stored record; ValueError: more than 65,535 readings, uneven columns, too large."""
        count = len(batch.values)
        if count > COUNT_MAX:
            raise ValueError(f"{batch.layout.device}: {count} readings in a batch, at most {COUNT_MAX}")
        flags = 0
        values, noise = self._values(batch)
        parts = [b"", values]
        if batch.quality is not None:
            flags |= _HAS_QUALITY
            parts.append(_same_length(batch.quality, count))
        for flag, column in ((_HAS_INDEX, batch.index), (_HAS_DT, batch.dt_ns), (_HAS_SOURCE_DT, batch.source_dt_ns)):
            if column is not None:
                flags |= flag
                _same_length(column, count)
                parts.append(encode_integers(column))
        if batch.exact:
            flags |= _HAS_EXACT
            text = orjson.dumps([[position, exact] for position, exact in batch.exact.items()])
            parts += (len(text).to_bytes(4, "little"), text)
        flags |= (_IS_HISTORICAL if batch.historical else 0) | (_IS_EXERCISE if batch.exercise else 0)
        parts[0] = _BATCH.pack(flags, count, batch.layout.id, batch.at_ns)
        body = b"".join(parts)
        if len(body) + len(noise) > RECORD_MAX:
            raise ValueError(f"{batch.layout.device}: batch of {len(body) + len(noise)} bytes, at most {RECORD_MAX}")
        return RawRecord(seq, Kind.READINGS, body, noise)

    def _values(self, batch: Batch) -> tuple[bytes, bytes]:
        learned = self._learned.get(batch.layout.id)
        if learned is None:
            learned = self._learned[batch.layout.id] = _Learned(bytearray(), b"")
            learned.classes = bytearray([UNKNOWN]) * len(batch.layout.tags)
        if not learned.whole:
            learned.whole = bytes(learned.classes).replace(bytes((UNKNOWN,)), bytes((FLOAT32,)))
        classes = learned.whole if batch.index is None else bytes([learned.whole[i] for i in batch.index])
        encoded, noise, misfits = encode_values(batch.values, classes)
        if misfits:
            learned.batches_until_next -= 1
            if learned.batches_until_next < 0 and _learn(learned, batch, misfits):
                return self._values(batch)
        return encoded, noise


def _learn(learned: _Learned, batch: Batch, misfits: Mapping[int, float]) -> bool:
    """Change the classes of what did not fit; true where that changed anything. Less and less often."""
    changed = False
    for position, value in misfits.items():
        if value - value != 0.0:  # NaN and infinity fit nothing and teach nothing
            continue
        tag = position if batch.index is None else batch.index[position]
        better = merge(learned.classes[tag], classify(value, learned.classes[tag]))
        changed = changed or better != learned.classes[tag]
        learned.classes[tag] = better
    learned.patience = min(learned.patience * 2, 4096)
    learned.batches_until_next = learned.patience
    learned.whole = b""
    return changed


def _same_length(column: Any, count: int) -> Any:
    if len(column) != count:
        raise ValueError(f"column of {len(column)} for {count} readings")
    return column


def layout_id_of(raw: RawRecord) -> tuple[bytes, int]:
    """Layout id and number of readings of a stored batch."""
    _, count, layout_id, _ = _BATCH.unpack_from(raw.body)
    return layout_id, count


def decode_batch(raw: RawRecord, layout_of: Callable[[bytes, int], Layout]) -> Batch:
    """The inverse of :meth:`BatchEncoder.encode`; CodecError. ``layout_of`` gets id and least number of tags."""
    reader, noise = Reader(raw.body), Reader(raw.noise)
    flags, count, layout_id, at_ns = _BATCH.unpack(reader.take(_BATCH.size))
    values = decode_values(reader, noise, count)
    quality = reader.take(count) if flags & _HAS_QUALITY else None
    index = decode_integers(reader, count, "I") if flags & _HAS_INDEX else None
    dt_ns = decode_integers(reader, count, "q") if flags & _HAS_DT else None
    source_dt_ns = decode_integers(reader, count, "q") if flags & _HAS_SOURCE_DT else None
    exact: dict[int, str] = {}
    if flags & _HAS_EXACT:
        exact = dict(orjson.loads(reader.take(int.from_bytes(reader.take(4), "little"))))
    if reader.offset != len(raw.body) or noise.offset != len(raw.noise):
        raise CodecError("bytes left over")
    tags = count if index is None else max(index, default=-1) + 1
    return Batch(
        layout_of(layout_id, tags),
        at_ns,
        values,
        quality,
        index,
        dt_ns,
        source_dt_ns,
        exact,
        historical=bool(flags & _IS_HISTORICAL),
        exercise=bool(flags & _IS_EXERCISE),
    )


@dataclass(frozen=True, slots=True)
class Chain:
    """The end of the hash chain over alarm and audit records."""

    head: bytes
    last_seq: int


def encode_event(event: Event, seq: int, epoch: str, recorded_ns: int, prev: bytes) -> tuple[Record, RawRecord]:
    """An event with its place in the journal, as a record and as stored; ValueError for what is no JSON."""
    if event.kind not in (Kind.ALARM, Kind.AUDIT):
        raise ValueError(f"an event is an alarm or audit record, not {event.kind.name}")
    fields = {**event.fields, "seq": seq, "epoch": epoch, "recorded": recorded_ns}
    body = canonical_json(fields)
    if len(body) > RECORD_MAX - _CHAIN.size:
        raise ValueError(f"record of {len(body)} bytes, at most {RECORD_MAX - _CHAIN.size}")
    own = chain_hash(prev, body)
    record = Record(seq, event.kind, fields=fields, body=body, prev=prev, hash=own)
    return record, RawRecord(seq, event.kind, _CHAIN.pack(prev, own) + body)


def chain_of(raw: RawRecord) -> tuple[bytes, bytes, bytes]:
    """``prev``, ``hash`` and the hashed bytes of a stored alarm or audit record."""
    prev, own = _CHAIN.unpack_from(raw.body)
    return prev, own, raw.body[_CHAIN.size :]


def encode_tick(tick: Tick, seq: int) -> tuple[Record, RawRecord]:
    """A tick as a record and as stored."""
    return Record(seq, Kind.TICK, at_ns=tick.at_ns), RawRecord(seq, Kind.TICK, _TICK.pack(tick.at_ns))


def decode(raw: RawRecord, layout_of: Callable[[bytes, int], Layout]) -> Record:
    """A stored record as it was appended; FormatError where its bytes are none."""
    try:
        if raw.kind is Kind.READINGS:
            return Record(raw.seq, Kind.READINGS, batch=decode_batch(raw, layout_of))
        if raw.kind is Kind.TICK:
            return Record(raw.seq, Kind.TICK, at_ns=_TICK.unpack(raw.body)[0])
        prev, own, body = chain_of(raw)
        return Record(raw.seq, raw.kind, fields=orjson.loads(body), body=body, prev=prev, hash=own)
    except (CodecError, struct.error, orjson.JSONDecodeError) as error:
        raise FormatError(f"record {raw.seq}: {error}") from error


def time_of(raw: RawRecord) -> int:
    """When a stored record was taken in or recorded, ns UTC."""
    if raw.kind is Kind.READINGS:
        return _BATCH.unpack_from(raw.body)[3]
    if raw.kind is Kind.TICK:
        return _TICK.unpack(raw.body)[0]
    return int(orjson.loads(raw.body[_CHAIN.size :])["recorded"])
