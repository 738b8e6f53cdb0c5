"""Condition ``rate``: the slope over a window, by its endpoints or by least squares (spec/rules.md C3)."""

from collections import deque
from typing import Any, Final, Literal

from pydantic import Field
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.conditions.base import Condition
from rules.model import LimitRule

_BAND = Quality.NE43_BAND.value
_NS_PER_S: Final = 1e9
_SECONDS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SNAPSHOT_WINDOW_NS: Final = 300 * 1_000_000_000
"""A snapshot holds no window longer than this (G1)."""

Direction = Literal["rising", "falling", "both"]


class Rate(Condition):
    """Slope against a limit, in units per ``per_s`` seconds, from the usable samples with t > t_now - window.

    ``min_samples`` > 0 asks for least squares. Its sums run along with the window and are made anew from the samples
    once per window length (C10); x and y count from a reference sample, so neither large times nor a large offset of
    the value costs digits.
    """

    __slots__ = (
        *("_count", "_direction", "_edge", "_first_ns", "_limit", "_memory", "_min_samples", "_per_s", "_ref"),
        *("_ref_ns", "_sums", "_t", "_v", "_window_ns"),
    )
    is_derived = True

    def __init__(self, limit: float, edge: float, direction: Direction, window_ns: int, per_s: float) -> None:
        super().__init__()
        self._limit = limit
        self._edge = edge
        self._direction: Direction = direction
        self._window_ns = window_ns
        self._per_s = per_s
        self._min_samples = 0
        self._memory: bool | None = None
        self._t: deque[int] = deque()
        self._v: deque[float] = deque()
        self._sums = [0.0, 0.0, 0.0, 0.0]
        self._ref_ns: int | None = None
        self._ref = 0.0
        self._count = 0
        self._first_ns: int | None = None

    def use_least_squares(self, min_samples: int) -> None:
        """Fit a line through all samples instead of taking the endpoints."""
        self._min_samples = min_samples

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self._slide(value, t_ns)
        slope = self._slope(value, t_ns)
        if slope is None:
            return None
        self.value = slope
        size = self._size(slope)
        if size >= self._limit or (size >= self._edge and self._memory):
            self._memory = True
        elif quality == _BAND:
            return None  # Q3: no evidence that it is false
        else:
            self._memory = False
        return self._memory

    def _size(self, slope: float) -> float:
        if self._direction == "rising":
            return slope
        return -slope if self._direction == "falling" else abs(slope)

    @override
    def worse(self, value: float | None, extreme: float | None) -> float | None:
        """See :class:`Condition`."""
        if value is None or (extreme is not None and self._size(extreme) >= self._size(value)):
            return extreme
        return value

    def _slide(self, value: float, t_ns: int) -> None:
        times, values = self._t, self._v
        start_ns = t_ns - self._window_ns
        is_fitted = self._min_samples > 0
        while times and times[0] <= start_ns:
            old_ns, old = times.popleft(), values.popleft()
            if is_fitted:
                self._add(old_ns, old, -1.0)
        times.append(t_ns)
        values.append(value)
        if not is_fitted:
            return
        is_short = self._first_ns is not None  # the journal no longer had the whole window
        if is_short or self._ref_ns is None or t_ns - self._ref_ns >= self._window_ns or len(times) == 1:
            self._first_ns = None
            self._sum_anew(value, t_ns)
        else:
            self._add(t_ns, value, 1.0)

    def _sum_anew(self, value: float, t_ns: int) -> None:
        self._ref_ns, self._ref = t_ns, value
        self._sums = [0.0, 0.0, 0.0, 0.0]
        for sample_ns, sample in zip(self._t, self._v, strict=True):
            self._add(sample_ns, sample, 1.0)

    def _add(self, t_ns: int, value: float, sign: float) -> None:
        assert self._ref_ns is not None
        x = (t_ns - self._ref_ns) / _NS_PER_S
        y = value - self._ref
        sums = self._sums
        sums[0] += sign * x
        sums[1] += sign * y
        sums[2] += sign * x * x
        sums[3] += sign * x * y

    def _slope(self, value: float, t_ns: int) -> float | None:
        covered_ns = t_ns - self._t[0]
        if covered_ns <= 0 or 2 * covered_ns < self._window_ns:
            return None
        if not self._min_samples:
            return (value - self._v[0]) / (covered_ns / _NS_PER_S) * self._per_s
        count = len(self._t)
        if count < self._min_samples:
            return None
        x, y, xx, xy = self._sums
        spread = count * xx - x * x
        return None if spread <= 0.0 else (count * xy - x * y) / spread * self._per_s

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        self._t = deque(t_ns + step_ns for t_ns in self._t)
        if self._ref_ns is not None:
            self._ref_ns += step_ns
        if self._first_ns is not None:
            self._first_ns += step_ns

    @property
    @override
    def window_ns(self) -> int:
        """See :class:`Condition`."""
        return self._window_ns

    @property
    @override
    def missing_from_ns(self) -> int | None:
        """See :class:`Condition`."""
        return self._first_ns

    @override
    def refill(self, value: float, t_ns: int) -> None:
        """See :class:`Condition`; samples come oldest first, the last of them is the newest before the snapshot."""
        if self._first_ns is None or t_ns < self._first_ns or self._count == 0:
            return
        self._t.append(t_ns)
        self._v.append(value)
        self._count -= 1
        if self._count == 0:
            self._first_ns = None

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`; a window of more than five minutes is left out and refilled from the journal."""
        samples = None if self._window_ns > SNAPSHOT_WINDOW_NS and not is_whole else [list(self._t), list(self._v)]
        extent = [len(self._t), self._t[0] if self._t else None]
        return [self.value, self._memory, self._ref_ns, self._ref, self._sums, extent, samples]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._memory, self._ref_ns, self._ref, sums, extent, samples = row
        self._sums = list(sums)
        if samples is None:
            self._count, self._first_ns = extent
            self._t, self._v = deque(), deque()
        else:
            self._t, self._v = deque(samples[0]), deque(samples[1])


class Config(LimitRule):
    """Keys of a ``rate`` rule. The limit is in units of the tag per ``per``."""

    condition: Literal["rate"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    window: Duration = Field(description="how far back; at least four polls")
    direction: Direction = "rising"
    per: Literal["s", "min", "h", "d"] = Field("min", description="the time in the limit's unit")
    method: Literal["endpoints", "least_squares"] = "endpoints"
    min_samples: int = Field(5, ge=2, description="for least_squares")

    @override
    def text_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`."""
        return f"{tag.unit or self.unit or ''}/{self.per}"

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`; a slope is derived, so its limit stays as configured (C2)."""
        edge = self.limit - self.deadband_of(tag)
        condition = Rate(self.limit, edge, self.direction, self.window.ns, _SECONDS[self.per])
        if self.method == "least_squares":
            condition.use_least_squares(self.min_samples)
        return condition
