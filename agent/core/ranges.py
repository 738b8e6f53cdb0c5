"""Readings outside their tag's range are marked, wherever they come from (spec/rules.md Q2); pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from agent.core.batch import Batch, Layout
from agent.core.quality import Quality

_MARKED: Final = Quality.OUT_OF_RANGE.value


class Ranges:
    """Measuring ranges by tag; for data that no driver has marked (recordings, rule tests)."""

    def __init__(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        self._ranges = ranges
        self._known: dict[bytes, list[tuple[int, float, float]]] = {}

    def mark(self, batch: Batch) -> Batch:
        """The batch with quality 2 for good and uncertain values outside; the same one where there is none."""
        if not self._ranges:
            return batch
        limits = self._limits(batch.layout)
        values = batch.values
        if batch.index is None:
            outside = [i for i, low, high in limits if not low <= values[i] <= high]
        else:
            of = {i: (low, high) for i, low, high in limits}
            known = ((at, of[column]) for at, column in enumerate(batch.index) if column in of)
            outside = [at for at, (low, high) in known if not low <= values[at] <= high]
        if not outside:
            return batch
        quality = bytearray(batch.quality or bytes(len(values)))
        for at in outside:
            if quality[at] < _MARKED and values[at] == values[at]:  # NaN is no value, and 103 before any rule sees it
                quality[at] = _MARKED
        return replace(batch, quality=bytes(quality))

    def _limits(self, layout: Layout) -> list[tuple[int, float, float]]:
        limits = self._known.get(layout.id)
        if limits is None:
            pairs = ((i, self._ranges.get(tag)) for i, tag in enumerate(layout.tags))
            limits = self._known[layout.id] = [(i, pair[0], pair[1]) for i, pair in pairs if pair is not None]
        return limits
