"""Which watches look at which column of a layout; worked out once per layout."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from agent.core.batch import Batch, Layout
from agent.core.quality import FIRST_BAD
from rules.joint import Input
from rules.watch import Watch


class Plan:
    """The dispatch of one layout's batches."""

    __slots__ = ("_positions", "by_position", "inputs", "layout", "watches")

    def __init__(
        self, layout: Layout, by_tag: Mapping[str, Sequence[Watch]], inputs: Mapping[str, Input] | None = None
    ) -> None:
        self.layout = layout
        self.inputs = {i: inputs[tag] for i, tag in enumerate(layout.tags) if tag in inputs} if inputs else {}
        """Columns that rules over several tags look at."""
        self.by_position = [tuple(by_tag.get(tag, ())) for tag in layout.tags]
        """Watches of each column, by rule id."""
        self.watches = [watch for watches in self.by_position for watch in watches]
        """All of them, in the order in which a full batch is applied."""
        positions = [i for i, watches in enumerate(self.by_position) for _ in watches]
        self._positions = None if positions == list(range(len(layout.tags))) else positions

    def pairs(self, values: "Sequence[float]") -> Iterator[tuple[Watch, float]]:
        """Each watch with its value, for a batch that has all columns."""
        columns: Iterable[float] = values if self._positions is None else map(values.__getitem__, self._positions)
        return zip(self.watches, columns, strict=True)

    def refill(self, batch: Batch) -> None:
        """Give a batch older than the snapshot to the windows that miss it (G1)."""
        for i, value in enumerate(batch.values):
            quality = 0 if batch.quality is None else batch.quality[i]
            if quality >= FIRST_BAD or not math.isfinite(value):
                value = math.nan  # what a window keeps of a bad reading
            position = i if batch.index is None else batch.index[i]
            for watch in self.by_position[position]:
                if value == value or watch.condition.keeps_bad:
                    watch.condition.refill(value, batch.t_ns(i))
            heard = self.inputs.get(position)
            if heard is not None:
                heard.refill(value, batch.t_ns(i))
