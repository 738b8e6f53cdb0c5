"""Readings of the last stretch of time, compactly kept: what every condition with a window shares (C10, G1)."""

import math
from array import array
from typing import Any, ClassVar, Final

from typing_extensions import override

from rules.conditions.base import Condition

NS_PER_S: Final = 1e9
SNAPSHOT_WINDOW_NS: Final = 300 * 1_000_000_000
"""A snapshot holds no window longer than this (G1)."""
COARSE: Final = 1e5
"""A value so many times the limit costs running sums too many digits: they are made anew when it goes."""
_SLACK: Final = 256
"""Readings that are out are cut off in blocks of at least so many."""


class WindowCondition(Condition):
    """Times and values from index ``_first`` on are in the window; NaN stands for a bad reading where those count.

    After a restore ``_missing`` holds how many readings the snapshot left out and since when, until the next reading.
    """

    __slots__ = ("_first", "_missing", "_t", "_v", "_window_ns")
    is_derived: ClassVar[bool] = True

    def __init__(self, window_ns: int) -> None:
        super().__init__()
        self._window_ns = window_ns
        self._t = array("q")
        self._v = array("d")
        self._first = 0
        self._missing: tuple[int, int] | None = None

    def _drop_before(self, first: int) -> None:
        """Readings before an index have left the window."""
        if first > _SLACK and 2 * first > len(self._t):
            del self._t[:first]
            del self._v[:first]
            first = 0
        self._first = first

    def _clear(self) -> None:
        self._t = array("q")
        self._v = array("d")
        self._first = 0
        self._missing = None

    def _end_refill(self) -> bool:
        """The first reading after a restore has come; False where the journal no longer had the whole window."""
        assert self._missing is not None
        count, _ = self._missing
        self._missing = None
        return len(self._t) - self._first == count

    @property
    @override
    def window_ns(self) -> int:
        """See :class:`Condition`."""
        return self._window_ns

    @property
    @override
    def missing_from_ns(self) -> int | None:
        """See :class:`Condition`."""
        if self._missing is None or len(self._t) - self._first >= self._missing[0]:
            return None
        return self._missing[1]

    @override
    def refill(self, value: float, t_ns: int) -> None:
        """See :class:`Condition`; of all that comes, the newest are kept, as many as the snapshot left out."""
        if self._missing is None or self._missing[0] == 0 or (value != value and not self.keeps_bad):
            return
        if value != value and len(self._v) > self._first and math.isnan(self._v[-1]):
            return  # of bad readings in a row only the first counts
        self._t.append(t_ns)
        self._v.append(value)
        if len(self._t) - self._first > self._missing[0]:
            self._drop_before(self._first + 1)

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        self._t = array("q", [t_ns + step_ns for t_ns in self._t])
        if self._missing is not None:
            self._missing = (self._missing[0], self._missing[1] + step_ns)

    def _readings_row(self, *, is_whole: bool) -> list[Any]:
        """The window for a snapshot; one of more than five minutes is left out and refilled from the journal."""
        if self._missing is not None:
            return [*self._missing, None]
        times, values = self._t[self._first :], self._v[self._first :]
        if self._window_ns > SNAPSHOT_WINDOW_NS and not is_whole and times:
            return [len(times), min(times), None]
        return [len(times), 0, [list(times), [None if value != value else value for value in values]]]

    def _readings_from_row(self, row: list[Any]) -> None:
        count, from_ns, readings = row
        self._clear()
        if readings is None:
            self._missing = (count, from_ns)
            return
        self._t = array("q", readings[0])
        self._v = array("d", [math.nan if value is None else value for value in readings[1]])
