"""Records of readings as the ``readings`` JSON of spec/wire.md (pure)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agent.core.batch import Batch, Layout
from agent.core.records import Record

READING_BYTES: Final = 20
"""About what one reading takes in a message; decides how many go into one."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sends: the identity on every message."""

    site: str
    agent: str
    epoch: str


def plan(records: Sequence[Record], message_bytes: int) -> Iterator[Sequence[Record]]:
    """Cut records, in order, into messages of about ``message_bytes``: one source, one kind of history each."""
    most = max(1, message_bytes // READING_BYTES)
    start = count = 0
    mark: object = None
    for at, record in enumerate(records):
        batch = _batch(record)
        new_mark = (batch.layout.source, batch.historical, batch.exercise)
        if at > start and (new_mark != mark or count + len(batch) > most):
            yield records[start:at]
            start, count = at, 0
        mark = new_mark
        count += len(batch)
    if start < len(records):
        yield records[start:]


def encode(records: Sequence[Record], after: int, origin: Origin) -> bytes:
    """One message. The records are of one source and history (see :func:`plan`); ``after``: last record sent before."""
    first = _batch(records[0])
    tags, columns = _union([_batch(record).layout for record in records])
    message: dict[str, Any] = {
        "v": 1,
        "site": origin.site,
        "agent": origin.agent,
        "epoch": origin.epoch,
        "after": after,
        "historical": first.historical,
        "source": first.layout.source.value,
        "tags": tags,
        "blocks": [_block(record.seq, _batch(record), columns) for record in records],
    }
    if first.exercise:
        message["exercise"] = True
    return orjson.dumps(message)


def _batch(record: Record) -> Batch:
    if record.batch is None:
        raise TypeError(f"record {record.seq} of kind {record.kind.name} holds no readings")
    return record.batch


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the tags of one layout stand in the message; ``text``: the same, encoded once for all its blocks."""

    positions: range | list[int]
    text: orjson.Fragment | None
    """None: the layout is the whole table, in order."""


def _union(layouts: Sequence[Layout]) -> tuple[list[str], dict[bytes, _Columns]]:
    """The tag table of a message, and the columns of each layout in it."""
    different = {layout.id: layout for layout in layouts}
    at: dict[str, int] = {}
    for layout in different.values():
        for tag in layout.tags:
            at.setdefault(tag, len(at))
    columns: dict[bytes, _Columns] = {}
    for key, layout in different.items():
        positions = [at[tag] for tag in layout.tags]
        if positions == list(range(len(at))):
            columns[key] = _Columns(positions, None)
        else:
            columns[key] = _Columns(positions, orjson.Fragment(orjson.dumps(positions)))
    return list(at), columns


def _block(seq: int, batch: Batch, columns: dict[bytes, _Columns]) -> dict[str, Any]:
    block: dict[str, Any] = {"seq": seq, "t": batch.at_ns}
    own = columns[batch.layout.id]
    if batch.index is not None:
        block["i"] = [own.positions[i] for i in batch.index]
    elif own.text is not None:
        block["i"] = own.text
    _add_values(block, batch)
    if batch.dt_ns is not None:
        block["dt"] = batch.dt_ns.tolist()
    return block


def _add_values(block: dict[str, Any], batch: Batch) -> None:
    values, quality = batch.values, batch.quality
    exact: dict[str, str] = {str(at): text for at, text in batch.exact.items()}
    # The sum is finite unless a value is not (or it overflows, which costs only the closer look).
    if not math.isfinite(sum(values)):
        if quality and not exact and quality[0] and quality.count(quality[0]) == len(quality) and _is_empty(batch):
            block["v"], block["q"] = None, quality[0]
            return
        exact |= {str(at): repr(value) for at, value in enumerate(values) if math.isinf(value)}
    # orjson writes NaN and infinity as null; the latter stands in x.
    column: list[float | None] = [*values]
    block["v"] = column
    if exact:
        for at in batch.exact:
            column[at] = None
        block["x"] = exact
    if quality is not None and any(quality):
        block["q"] = list(quality)


def _is_empty(batch: Batch) -> bool:
    return all(math.isnan(value) for value in batch.values)
