"""The time-weighted mean of a tag, over a sliding window or since the start of a shift (spec/rules.md C5, C10)."""

import math
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from agent.core.quality import Quality
from rules.conditions._shift import ShiftStarts
from rules.conditions._window import COARSE, NS_PER_S, WindowCondition
from rules.conditions.base import Condition

_BAND = Quality.NE43_BAND.value
_NAN = math.nan


@dataclass(frozen=True, slots=True)
class Bounds:
    """True at or beyond ``limit``, false beyond ``edge``; between them the state is kept."""

    limit: float
    edge: float
    is_high: bool

    def judge(self, value: float, quality: int, memory: bool | None) -> bool | None:
        """What a value says; None where it is no evidence (Q3)."""
        if self.is_high:
            is_true = value >= self.limit or (value >= self.edge and bool(memory))
        else:
            is_true = value <= self.limit or (value <= self.edge and bool(memory))
        return None if not is_true and quality == _BAND else is_true


class _Mean(Condition):
    """What both share: the bounds, their memory, and the coverage that events carry."""

    __slots__ = ()
    # Their slots are the subclasses': one of them has slots from another base, and two bases with slots do not mix.
    _bounds: Bounds
    _coverage: float | None
    _memory: bool | None

    @property
    @override
    def coverage(self) -> float | None:
        """See :class:`Condition`."""
        return self._coverage

    @override
    def worse(self, value: float | None, extreme: float | None) -> float | None:
        """See :class:`Condition`."""
        if value is None or extreme is None:
            return extreme if value is None else value
        return max(value, extreme) if self._bounds.is_high else min(value, extreme)

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._memory = True


class Average(WindowCondition, _Mean):
    """Mean over [t - window, t]. A usable reading holds until the next of any quality or ``hold_ns``.

    ``_area`` (unit x s) and ``_covered_ns`` are those of the stretches that begin with each reading from ``_first`` on,
    the newest left out; what of the oldest lies before the window is taken off when the mean is asked.
    A time that falls behind the reading before it counts as that reading's.
    """

    __slots__ = (
        *("_area", "_begin_ns", "_bounds", "_coarse", "_coverage", "_covered_ns", "_hold_ns", "_memory", "_partial"),
        "_sum_ns",
    )
    keeps_bad = True

    def __init__(self, bounds: Bounds, window_ns: int, hold_ns: int, *, is_partial: bool) -> None:
        super().__init__(window_ns)
        self._bounds = bounds
        self._hold_ns = hold_ns
        self._partial = is_partial
        self._coarse = COARSE * (abs(bounds.limit) or 1.0)
        self._memory: bool | None = None
        self._coverage: float | None = None
        self._area = 0.0
        self._covered_ns = 0
        self._sum_ns: int | None = None
        self._begin_ns: int | None = None

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        t_ns = self._add(value, t_ns)
        if self._begin_ns is None:
            self._begin_ns = t_ns
        area, covered_ns = self._inside(t_ns)
        elapsed_ns = self._window_ns
        if self._partial and covered_ns:
            filled_ns = max(covered_ns, min(elapsed_ns, t_ns - self._begin_ns))
            area, covered_ns = area * (filled_ns / covered_ns), filled_ns
        self._coverage = covered_ns / elapsed_ns
        if not covered_ns or area - area != 0.0:
            return None
        if 2 * covered_ns >= elapsed_ns:
            self.value = area / (covered_ns / NS_PER_S)
        elif self._bounds.is_high and area >= self._bounds.limit * (elapsed_ns / NS_PER_S):
            self.value = area / (elapsed_ns / NS_PER_S)  # even with nothing in the rest it is reached
        else:
            return None
        truth = self._bounds.judge(self.value, quality, self._memory)
        if truth is not None:
            self._memory = truth
        return truth

    @override
    def meet_bad(self, value: float, quality: int, t_ns: int) -> bool:
        """See :class:`Condition`: it ends what the reading before it held."""
        if len(self._v) == self._first or not math.isnan(self._v[-1]):
            self._add(_NAN, t_ns)
        return False

    def _add(self, value: float, t_ns: int) -> int:
        """Take a reading, bad or not, and slide the window; returns the time it counts at."""
        is_anew = self._missing is not None and not self._end_refill()
        t, v, first, hold_ns = self._t, self._v, self._first, self._hold_ns
        newest = len(t)
        if newest > first:
            last_ns, last = t[-1], v[-1]
            t_ns = max(t_ns, last_ns)
            if last == last:
                held_ns = min(t_ns - last_ns, hold_ns)
                self._area += last * (held_ns / NS_PER_S)
                self._covered_ns += held_ns
        t.append(t_ns)
        v.append(value)
        start_ns = t_ns - self._window_ns
        while first < newest:
            from_ns, old = t[first], v[first]
            held_ns = t[first + 1] - from_ns
            held_ns = held_ns if held_ns < hold_ns else hold_ns
            if from_ns + held_ns > start_ns:
                break
            if old == old:
                self._area -= old * (held_ns / NS_PER_S)
                self._covered_ns -= held_ns
                if not -self._coarse < old < self._coarse:
                    is_anew = True
            first += 1
        if first != self._first:
            self._drop_before(first)
        if is_anew or self._sum_ns is None or t_ns - self._sum_ns >= self._window_ns:
            self._sum_anew(t_ns)
        return t_ns

    def _sum_anew(self, t_ns: int) -> None:
        t, v = self._t, self._v
        self._sum_ns = t_ns
        area, covered_ns = 0.0, 0
        for i in range(self._first, len(t) - 1):
            if v[i] == v[i]:
                held_ns = min(t[i + 1] - t[i], self._hold_ns)
                area += v[i] * (held_ns / NS_PER_S)
                covered_ns += held_ns
        self._area, self._covered_ns = area, covered_ns

    def _inside(self, t_ns: int) -> tuple[float, int]:
        """Area and covered time within the window."""
        first = self._first
        before_ns = t_ns - self._window_ns - self._t[first]
        if before_ns <= 0 or self._v[first] != self._v[first] or first == len(self._t) - 1:
            return self._area, self._covered_ns
        return self._area - self._v[first] * (before_ns / NS_PER_S), self._covered_ns - before_ns

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        super().shift(step_ns)
        if self._sum_ns is not None:
            self._sum_ns += step_ns
        if self._begin_ns is not None:
            self._begin_ns += step_ns

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        sums = [self._area, self._covered_ns, self._sum_ns, self._begin_ns]
        return [self.value, self._memory, self._coverage, sums, self._readings_row(is_whole=is_whole)]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._memory, self._coverage, sums, readings = row
        area, self._covered_ns, self._sum_ns, self._begin_ns = sums
        self._area = _NAN if area is None else area
        self._readings_from_row(readings)


class ShiftAverage(_Mean):
    """The sum since the last shift start divided by ``over_ns``; readings hold as in :class:`Average`.

    Coverage is that of the time since the shift's start; at the start itself the sum is 0 and false.
    """

    __slots__ = (
        *("_area", "_begin_ns", "_bounds", "_coverage", "_covered_ns", "_from_ns", "_hold_ns", "_last", "_last_ns"),
        *("_memory", "_over_ns", "_partial", "_starts", "_until_ns"),
    )
    is_derived = True

    def __init__(self, bounds: Bounds, starts: ShiftStarts, over_ns: int, hold_ns: int, *, is_partial: bool) -> None:
        super().__init__()
        self._bounds = bounds
        self._starts = starts
        self._over_ns = over_ns
        self._hold_ns = hold_ns
        self._partial = is_partial
        self._memory: bool | None = None
        self._coverage: float | None = None
        self._area = 0.0
        self._covered_ns = 0
        self._from_ns = 0
        """The running shift's start; ``_until_ns`` the next one's."""
        self._until_ns = 0
        self._last_ns: int | None = None
        """The newest reading; its value, or None where it is bad."""
        self._last: float | None = None
        self._begin_ns: int | None = None

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        t_ns = self._add(value, t_ns)
        if self._begin_ns is None:
            self._begin_ns = t_ns
        elapsed_ns, area, covered_ns = t_ns - self._from_ns, self._area, self._covered_ns
        if self._partial and covered_ns:
            filled_ns = max(covered_ns, min(elapsed_ns, t_ns - self._begin_ns))
            area, covered_ns = area * (filled_ns / covered_ns), filled_ns
        self._coverage = covered_ns / elapsed_ns if elapsed_ns else 1.0
        mean = self.value = area / (self._over_ns / NS_PER_S)
        is_reached = self._bounds.is_high and covered_ns > 0 and mean >= self._bounds.limit
        if mean - mean != 0.0 or (2 * covered_ns < elapsed_ns and not is_reached):
            return None
        if elapsed_ns == 0:
            truth = None if quality == _BAND else False
        else:
            truth = self._bounds.judge(mean, quality, self._memory)
        if truth is not None:
            self._memory = truth
        return truth

    @override
    def meet_bad(self, value: float, quality: int, t_ns: int) -> bool:
        """See :class:`Condition`: it ends what the reading before it held."""
        self._add(None, t_ns)
        return False

    def _add(self, value: float | None, t_ns: int) -> int:
        """Take a reading, None for a bad one, and begin a shift where one starts; returns the time it counts at."""
        last_ns = self._last_ns
        if last_ns is not None:
            t_ns = max(t_ns, last_ns)
        if not self._from_ns <= t_ns < self._until_ns:
            self._from_ns, self._until_ns = self._starts.around(t_ns)
            self._area, self._covered_ns = 0.0, 0
        if self._last is not None and last_ns is not None:
            held_ns = min(t_ns, last_ns + self._hold_ns) - max(last_ns, self._from_ns)
            if held_ns > 0:
                self._area += self._last * (held_ns / NS_PER_S)
                self._covered_ns += held_ns
        self._last_ns, self._last = t_ns, value
        return t_ns

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        self._from_ns += step_ns
        self._until_ns += step_ns
        if self._last_ns is not None:
            self._last_ns += step_ns
        if self._begin_ns is not None:
            self._begin_ns += step_ns

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        sums = [self._area, self._covered_ns, self._from_ns, self._until_ns, self._begin_ns]
        return [self.value, self._memory, self._coverage, sums, self._last_ns, self._last]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._memory, self._coverage, sums, self._last_ns, self._last = row
        self._area, self._covered_ns, self._from_ns, self._until_ns, self._begin_ns = sums
