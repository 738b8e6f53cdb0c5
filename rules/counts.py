"""Chattering and floods: activations counted over a sliding time (spec/rules.md A11)."""

from collections import deque
from typing import Any, Final

from rules.settings import MINUTE_NS

CHATTER_NS: Final = MINUTE_NS
CHATTER_FROM: Final = 3
"""So many activations of one alarm within :data:`CHATTER_NS` are chattering; fewer end it."""
FLOOD_NS: Final = 10 * MINUTE_NS
FLOOD_FROM: Final = 11
FLOOD_UNTIL: Final = 5
"""More than ten annunciated activations in ten minutes, until under five."""


class Burst:
    """Activations within ``window_ns``, (now - window, now]; on from ``starts`` of them, until fewer than ``ends``."""

    __slots__ = ("_ends", "_starts", "_times", "_window_ns", "is_on")

    def __init__(self, window_ns: int, starts: int, ends: int) -> None:
        self._window_ns = window_ns
        self._starts = starts
        self._ends = ends
        # More than that many never matter: while it is on, only the newest ``ends``; before, fewer than ``starts``.
        self._times: deque[int] = deque(maxlen=max(starts, ends))
        self.is_on = False

    @property
    def count(self) -> int:
        """As of the last :meth:`add` or :meth:`expire`."""
        return len(self._times)

    def add(self, at_ns: int) -> bool:
        """Count an activation; True when it begins."""
        self._times.append(at_ns)
        self._forget(at_ns)
        if self.is_on or len(self._times) < self._starts:
            return False
        self.is_on = True
        return True

    @property
    def due_ns(self) -> int | None:
        """When it ends if nothing comes; None while it is not on."""
        if not self.is_on:
            return None
        # The oldest of the newest ``ends``: when that one leaves the window, too few are left.
        return self._times[-self._ends] + self._window_ns

    def end(self, at_ns: int) -> None:
        """The time :attr:`due_ns` has come."""
        self._forget(at_ns)
        self.is_on = False

    def is_idle(self, at_ns: int) -> bool:
        """Nothing is left that could count."""
        self._forget(at_ns)
        return not self._times and not self.is_on

    def _forget(self, at_ns: int) -> None:
        times, before = self._times, at_ns - self._window_ns
        while times and times[0] <= before and not (self.is_on and len(times) <= self._ends):
            times.popleft()

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        self._times = deque((time + step_ns for time in self._times), self._times.maxlen)

    def to_row(self) -> list[Any]:
        """The counts for a snapshot."""
        return [self.is_on, list(self._times)]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        self.is_on = row[0]
        self._times = deque(row[1], self._times.maxlen)


def chatter() -> Burst:
    """Of one alarm."""
    return Burst(CHATTER_NS, CHATTER_FROM, CHATTER_FROM)


def flood() -> Burst:
    """Of all alarms."""
    return Burst(FLOOD_NS, FLOOD_FROM, FLOOD_UNTIL)
