"""Recorded data as batches: CSV and Parquet with the columns time, tag, value, quality (spec/config.md)."""

from array import array
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Final

from agent.core.batch import READINGS_MAX, Batch, Layout, split
from drivers.recorded.csv_file import csv_runs
from drivers.recorded.parquet_file import parquet_runs
from drivers.recorded.run import Progress, ReplayError, Run, TagPositions

__all__ = ["DEVICE", "ReplayError", "batches"]

DEVICE: Final = "replay"
_LONG_AGO: Final = -(1 << 62)


def batches(path: Path, *, is_sorted: bool, progress: Progress | None = None) -> Iterator[Batch]:
    """The rows in file order, or by time where they are to be sorted first (``is_sorted``, which holds them all).

    ``at`` of a row is the greatest time so far, its ``t`` its own time; a row at or before its tag's last time is
    historical. Raises ReplayError, for a bad row when it is reached.
    """
    tags = TagPositions()
    read = parquet_runs if path.suffix.lower() in {".parquet", ".pq"} else csv_runs
    runs = read(path, tags, progress)
    if is_sorted:
        runs = iter(sorted(runs, key=lambda run: run.t_ns))
    builder = _Builder(tags)
    for run in runs:
        yield from builder.add(run)
    yield from builder.flush()


class _Builder:
    """Gathers rows of one ``at`` and one mark. The layout grows with the tags met, so most batches share one."""

    def __init__(self, tags: TagPositions) -> None:
        self._tags = tags
        self._layout = Layout(DEVICE, ())
        self._whole = array("I")
        self._last_ns: dict[int, int] = {}
        """Time of each tag's last row, where it is later than what ``_whole_ns`` says."""
        self._whole_count = 0
        self._whole_ns = _LONG_AGO
        """The first ``_whole_count`` tags had a row at this time."""
        self._at_ns = _LONG_AGO
        self._is_historical: bool = False
        self._is_whole_step = False
        """All rows of the present ``at`` are in what is gathered, each tag once."""
        self._clear()

    def _clear(self) -> None:
        self._index = array("I")
        self._values = array("d")
        self._quality: bytearray | bytes | None = None
        self._dt_ns: array[int] | None = None

    def add(self, run: Run) -> Iterator[Batch]:
        """Take a run; yields the batches before it where it begins another."""
        if len(self._layout.tags) != len(self._tags.by_name):
            yield from self.flush()
            self._layout = Layout(DEVICE, tuple(self._tags.by_name))
            self._whole = array("I", range(len(self._layout.tags)))
        if run.t_ns > self._at_ns and self._are_first(run):
            # The common case: a poll later than all before it, each tag once. Nothing is done row by row.
            yield from self.flush()
            self._at_ns, self._is_historical, self._is_whole_step = run.t_ns, False, True
            self._index, self._values, self._quality = run.positions, run.values, run.quality
            return
        if run.t_ns == self._at_ns and self._is_whole_step and self._continues(run):
            return
        self._is_whole_step = False
        qualities = repeat(0) if run.quality is None else run.quality
        for position, value, quality in zip(run.positions, run.values, qualities, strict=False):
            yield from self._begin(run.t_ns, position)
            self._append(run.t_ns, position, value, quality)

    def _are_first(self, run: Run) -> bool:
        """No tag occurs twice in a run that is later than all before it; then it is each one's last row so far."""
        positions = run.positions
        if positions == self._whole:
            self._whole_count, self._whole_ns = len(positions), run.t_ns
            self._last_ns.clear()
            return True
        if len(set(positions)) != len(positions):
            return False
        self._last_ns.update(zip(positions, repeat(run.t_ns), strict=False))
        return True

    def _continues(self, run: Run) -> bool:
        """Take the rest of a poll that was cut in reading; False, and nothing is done, where a tag occurs again."""
        count = len(self._index)
        if len(set(self._index).union(run.positions)) != count + len(run.positions):
            return False
        if self._quality is not None or run.quality is not None:
            first = self._quality or bytes(count)
            self._quality = bytes(first) + (run.quality or bytes(len(run.positions)))
        self._index.extend(run.positions)
        self._values.extend(run.values)
        self._last_ns.update(zip(run.positions, repeat(run.t_ns), strict=False))
        return True

    def _begin(self, t_ns: int, position: int) -> Iterator[Batch]:
        """Yield what was gathered where a row does not belong to it."""
        last_ns = self._last_ns.get(position, _LONG_AGO)
        if position < self._whole_count:
            last_ns = max(last_ns, self._whole_ns)
        is_historical = t_ns <= last_ns
        if not is_historical:
            self._last_ns[position] = t_ns
        if t_ns > self._at_ns or is_historical != self._is_historical:
            yield from self.flush()
            self._at_ns, self._is_historical = max(self._at_ns, t_ns), is_historical

    def _append(self, t_ns: int, position: int, value: float, quality: int) -> None:
        count = len(self._values)
        if quality and self._quality is None:
            self._quality = bytes(count)
        if t_ns != self._at_ns and self._dt_ns is None:
            self._dt_ns = array("q", bytes(8 * count))
        self._index.append(position)
        self._values.append(value)
        if self._quality is not None:
            if isinstance(self._quality, bytes):
                self._quality = bytearray(self._quality)
            self._quality.append(quality)
        if self._dt_ns is not None:
            self._dt_ns.append(t_ns - self._at_ns)

    def flush(self) -> Iterator[Batch]:
        """The rows gathered so far; what follows at the same time is looked at row by row."""
        self._is_whole_step = False
        if not self._values:
            return
        batch = Batch(
            self._layout,
            self._at_ns,
            self._values,
            None if self._quality is None else bytes(self._quality),
            None if self._index == self._whole else self._index,
            self._dt_ns,
            historical=self._is_historical,
        )
        self._clear()
        if len(batch.values) > READINGS_MAX:
            yield from split(batch, READINGS_MAX)
        else:
            yield batch
