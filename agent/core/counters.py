"""Counters and gauges that every part may raise; health.py shows them. No lock: one event loop writes them."""

from collections.abc import Iterator
from typing import Final

Labels = tuple[tuple[str, str], ...]


def labels(**values: str) -> Labels:
    """Labels of a metric in a fixed order; make them once, outside the hot path."""
    return tuple(sorted(values.items()))


NO_LABELS: Final[Labels] = ()


class Counters:
    """Named numbers with labels. ``add`` for what only grows, ``put`` for what goes up and down."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Labels], int] = {}
        self._gauges: dict[tuple[str, Labels], float] = {}

    def add(self, name: str, amount: int = 1, of: Labels = NO_LABELS) -> None:
        """Raise a counter; its name ends without ``_total``."""
        key = (name, of)
        self._counts[key] = self._counts.get(key, 0) + amount

    def put(self, name: str, value: float, of: Labels = NO_LABELS) -> None:
        """Set a gauge."""
        self._gauges[name, of] = value

    def drop(self, name: str, of: Labels = NO_LABELS) -> None:
        """Forget a gauge."""
        self._gauges.pop((name, of), None)

    def count(self, name: str, of: Labels = NO_LABELS) -> int:
        """The value of a counter; 0 where it was never raised."""
        return self._counts.get((name, of), 0)

    def total(self, name: str) -> int:
        """The sum of a counter over all labels."""
        return sum(value for (key, _), value in self._counts.items() if key == name)

    def counts(self) -> Iterator[tuple[str, Labels, int]]:
        """All counters."""
        for (name, of), value in sorted(self._counts.items()):
            yield name, of, value

    def gauges(self) -> Iterator[tuple[str, Labels, float]]:
        """All gauges."""
        for (name, of), value in sorted(self._gauges.items()):
            yield name, of, value
