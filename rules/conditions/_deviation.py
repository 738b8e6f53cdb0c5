"""How far a tag is from its reference: a number, or the mean of its own past (spec/rules.md C)."""

from typing import Any

from typing_extensions import override

from agent.core.quality import Quality
from rules.conditions._window import COARSE, WindowCondition
from rules.conditions.base import Condition

_BAND = Quality.NE43_BAND.value


class Distance:
    """abs(value - reference) against a limit, with the deadband's memory. Whoever has the two values may use it."""

    __slots__ = ("edge", "limit", "memory")

    def __init__(self, limit: float, edge: float) -> None:
        self.limit = limit
        self.edge = edge
        self.memory: bool | None = None

    def judge(self, distance: float, quality: int) -> bool | None:
        """What a distance says; None where it is no number or no evidence (Q3). ``quality``: the worst of the two."""
        if distance - distance != 0.0:
            return None
        is_true = distance >= self.limit or (distance >= self.edge and bool(self.memory))
        if not is_true and quality == _BAND:
            return None
        self.memory = is_true
        return is_true


class FromNumber(Condition):
    """Deviation from a number."""

    __slots__ = ("_distance", "_reference")
    is_derived = True
    side = 1

    def __init__(self, distance: Distance, reference: float) -> None:
        super().__init__()
        self._distance = distance
        self._reference = reference

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self.value = abs(value - self._reference)
        return self._distance.judge(self.value, quality)

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._distance.memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self._distance.memory]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._distance.memory = row


class FromMean(WindowCondition):
    """Deviation from the mean of the tag's own usable samples in [t - window, t).

    The sum counts from a reference sample and is made anew from the samples once per window length (C10).
    """

    __slots__ = ("_coarse", "_distance", "_min_samples", "_ref", "_sum", "_sum_ns")
    side = 1

    def __init__(self, distance: Distance, window_ns: int, min_samples: int) -> None:
        super().__init__(window_ns)
        self._distance = distance
        self._min_samples = min_samples
        self._coarse = COARSE * (abs(distance.limit) or 1.0)
        self._ref = 0.0
        self._sum = 0.0
        self._sum_ns: int | None = None

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        is_anew = self._missing is not None and not self._end_refill()
        t, v, first, ref = self._t, self._v, self._first, self._ref
        start_ns, end = t_ns - self._window_ns, len(t)
        while first < end and t[first] < start_ns:
            y = v[first] - ref
            self._sum -= y
            if not -self._coarse < y < self._coarse:
                is_anew = True
            first += 1
        if first != self._first:
            self._drop_before(first)
        count = len(t) - self._first
        if is_anew or self._sum_ns is None or t_ns - self._sum_ns >= self._window_ns or count == 0:
            self._sum_ns, self._ref = t_ns, value
            self._sum = sum(sample - value for sample in v[self._first :])
        truth = None
        if count >= self._min_samples:
            self.value = abs(value - (self._ref + self._sum / count))
            truth = self._distance.judge(self.value, quality)
        t.append(t_ns)
        v.append(value)
        self._sum += value - self._ref
        return truth

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._distance.memory = True

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        super().shift(step_ns)
        if self._sum_ns is not None:
            self._sum_ns += step_ns

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        sums = [self._sum, self._ref, self._sum_ns]
        return [self.value, self._distance.memory, sums, self._readings_row(is_whole=is_whole)]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._distance.memory, sums, readings = row
        total, self._ref, self._sum_ns = sums
        self._sum = float("nan") if total is None else total
        self._readings_from_row(readings)
