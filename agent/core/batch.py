"""Batches: the columns of readings that travel from a driver through the journal to rules and destinations."""

import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

READINGS_MAX: Final = 1_000
"""Most readings in one batch (spec/wire.md); drivers split what is larger."""


class Source(StrEnum):
    """Where readings come from: a mark of the batch, never a quality."""

    SENSOR = "sensor"
    SIMULATOR = "simulator"
    DEVICE = "device"


@dataclass(frozen=True)
class Layout:
    """What the columns of a device's batches mean: the tags, in order.

    Content-addressed: ``id`` is a function of the fields, so a layout may be shared, stored once and compared by id.
    """

    device: str
    tags: tuple[str, ...]
    source: Source = Source.SENSOR

    @cached_property
    def id(self) -> bytes:
        """First 8 bytes of the SHA-256 of the canonical JSON form."""
        return hashlib.sha256(self.to_json()).digest()[:8]

    def to_json(self) -> bytes:
        """The layout as canonical JSON (UTF-8)."""
        fields = {"device": self.device, "source": self.source.value, "tags": list(self.tags)}
        return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def from_json(text: bytes) -> "Layout":
        """The inverse of :meth:`to_json`; ValueError or KeyError when the text is something else."""
        fields = json.loads(text)
        return Layout(fields["device"], tuple(fields["tags"]), Source(fields["source"]))


@dataclass(frozen=True, slots=True)
class Batch:
    """One poll of one device, or one burst of notifications; at most ``READINGS_MAX`` readings.

    A missing value is a reading with a bad quality and NaN, never an absence. The arrays belong to the batch:
    nobody changes them after it was built.
    """

    layout: Layout
    at_ns: int
    """When the agent took the readings in (ns UTC); one value for the whole batch."""
    values: "array[float]"
    """float64 by reading; NaN where there is no value."""
    quality: bytes | None = None
    """Quality code by reading; None: all good."""
    index: "array[int] | None" = None
    """Position in ``layout.tags`` by reading (typecode 'I'); None: all tags in order."""
    dt_ns: "array[int] | None" = None
    """Event time minus ``at_ns`` by reading (typecode 'q'); None: all zero (t = at)."""
    source_dt_ns: "array[int] | None" = None
    """The source's own time minus ``at_ns`` by reading, where it was kept and differs from the event time."""
    exact: Mapping[int, str] = field(default_factory=dict[int, str])
    """By reading: what float64 cannot hold (integers beyond 2**53, strings), as text."""
    historical: bool = False
    """Back-filled: journaled and forwarded, but no rule state changes by it (spec/rules.md T2)."""
    exercise: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def tag_ids(self) -> tuple[str, ...]:
        """The tag of each reading."""
        tags = self.layout.tags
        return tags if self.index is None else tuple(tags[i] for i in self.index)

    def t_ns(self, position: int) -> int:
        """Event time of the reading at ``position``, ns UTC."""
        return self.at_ns if self.dt_ns is None else self.at_ns + self.dt_ns[position]


def all_bad(layout: Layout, at_ns: int, quality: int) -> Batch:
    """A batch in which every tag of the layout is bad for one reason."""
    count = len(layout.tags)
    return Batch(layout, at_ns, array("d", [float("nan")]) * count, bytes([quality]) * count)


def split(batch: Batch, most: int = READINGS_MAX) -> list[Batch]:
    """Cut a batch into batches of at most ``most`` readings; the same list in one piece where it is small enough."""
    count = len(batch.values)
    if count <= most:
        return [batch]
    index = batch.index if batch.index is not None else array("I", range(count))
    pieces: list[Batch] = []
    for start in range(0, count, most):
        end = min(start + most, count)
        pieces.append(
            replace(
                batch,
                values=batch.values[start:end],
                quality=None if batch.quality is None else batch.quality[start:end],
                index=index[start:end],
                dt_ns=None if batch.dt_ns is None else batch.dt_ns[start:end],
                source_dt_ns=None if batch.source_dt_ns is None else batch.source_dt_ns[start:end],
                exact={i - start: text for i, text in batch.exact.items() if start <= i < end},
            )
        )
    return pieces
