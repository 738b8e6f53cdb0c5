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
CACHE_MAX: Final = 4_096
"""Layouts, and ranges of columns, whose JSON is remembered; beyond it starts anew."""


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


class Encoder:
    """Makes messages; remembers what each layout looks like as JSON, nothing else."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._layouts: dict[bytes, _Known] = {}
        self._ranges: dict[tuple[int, int], orjson.Fragment] = {}
        self._tags: set[str] = set()
        self._share_tags = False

    def encode(self, records: Sequence[Record], after: int) -> bytes:
        """One message; ``after``: the last record sent before. The records are one part of :func:`plan`."""
        first = _batch(records[0])
        tags, columns = self._table({_batch(record).layout.id: _batch(record).layout for record in records})
        message: dict[str, Any] = {
            "v": 1,
            "site": self._origin.site,
            "agent": self._origin.agent,
            "epoch": self._origin.epoch,
            "after": after,
            "historical": first.historical,
            "source": first.layout.source.value,
            "tags": tags,
            "blocks": [_block(record.seq, _batch(record), columns) for record in records],
        }
        if first.exercise:
            message["exercise"] = True
        return orjson.dumps(message)

    def _table(self, layouts: dict[bytes, Layout]) -> tuple[orjson.Fragment, "dict[bytes, _Columns]"]:
        """The tag table of a message as JSON, and where the tags of each layout stand in it."""
        known = [self._know(key, layout) for key, layout in layouts.items()]
        count = sum(len(each.tags) for each in known)
        if self._share_tags and len(set[str]().union(*(each.tags for each in known))) < count:
            return _merged(layouts)
        columns: dict[bytes, _Columns] = {}
        start = 0
        for key, each in zip(layouts, known, strict=True):
            end = start + len(each.tags)
            columns[key] = _Columns(range(start, end), None if end - start == count else self._range(start, end))
            start = end
        return orjson.Fragment(b"[" + b",".join(each.text for each in known) + b"]"), columns

    def _know(self, key: bytes, layout: Layout) -> "_Known":
        known = self._layouts.get(key)
        if known is None:
            if len(self._layouts) >= CACHE_MAX:
                self._layouts.clear()
                self._tags.clear()
            self._share_tags = self._share_tags or not self._tags.isdisjoint(layout.tags)
            self._tags.update(layout.tags)
            known = self._layouts[key] = _Known(frozenset(layout.tags), orjson.dumps(layout.tags)[1:-1])
        return known

    def _range(self, start: int, end: int) -> orjson.Fragment:
        found = self._ranges.get((start, end))
        if found is None:
            if len(self._ranges) >= CACHE_MAX:
                self._ranges.clear()
            found = self._ranges[start, end] = orjson.Fragment(orjson.dumps(list(range(start, end))))
        return found


@dataclass(frozen=True, slots=True)
class _Known:
    tags: frozenset[str]
    text: bytes
    """The tags as JSON, without the brackets."""


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


def _merged(layouts: dict[bytes, Layout]) -> tuple[orjson.Fragment, dict[bytes, _Columns]]:
    """The table of layouts that share tags: each tag once."""
    at: dict[str, int] = {}
    for layout in layouts.values():
        for tag in layout.tags:
            at.setdefault(tag, len(at))
    columns: dict[bytes, _Columns] = {}
    for key, layout in layouts.items():
        positions = [at[tag] for tag in layout.tags]
        is_whole = positions == list(range(len(at)))
        columns[key] = _Columns(positions, None if is_whole else orjson.Fragment(orjson.dumps(positions)))
    return orjson.Fragment(orjson.dumps(list(at))), columns


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
        exact = {str(at): repr(value) for at, value in enumerate(values) if math.isinf(value)} | exact
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
