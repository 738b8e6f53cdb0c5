"""The slope of a tag over a window, by its endpoints or by a line through all samples (spec/rules.md C3, C10)."""

from typing import Any, Literal

from typing_extensions import override

from rules.conditions._window import COARSE, NS_PER_S, WindowCondition

Direction = Literal["rising", "falling", "both"]


class SlopeWindow(WindowCondition):
    """Usable samples with t > t_now - window, in units per second.

    The sums of the fit run along with the window and are made anew from the samples once per window length (C10);
    x and y count from a reference sample, so neither large times nor a large offset of the value costs digits.
    ``coarse`` is the distance from the reference beyond which a sample that goes has the sums made anew at once.
    """

    __slots__ = ("_coarse", "_memory", "_min_samples", "_ref", "_ref_ns", "_sx", "_sxx", "_sxy", "_sy")

    def __init__(self, window_ns: int, min_samples: int, scale: float) -> None:
        super().__init__(window_ns)
        self._min_samples = min_samples
        self._coarse = COARSE * (abs(scale) or 1.0)
        self._memory: bool | None = None
        self._ref_ns: int | None = None
        self._ref = 0.0
        self._sx = self._sy = self._sxx = self._sxy = 0.0

    def _ends(self, value: float, t_ns: int) -> float | None:
        """The slope between the oldest sample and this one; None while less than half the window is covered."""
        if self._missing is not None:
            self._end_refill()
        t = self._t
        t.append(t_ns)
        self._v.append(value)
        first = self._first
        start_ns = t_ns - self._window_ns
        if t[first] <= start_ns:
            while t[first] <= start_ns:
                first += 1
            self._drop_before(first)
            first = self._first
        covered_ns = t_ns - t[first]
        if covered_ns <= 0 or 2 * covered_ns < self._window_ns:
            return None
        return (value - self._v[first]) / (covered_ns / NS_PER_S)

    def _fit(self, value: float, t_ns: int) -> float | None:
        """The slope of the line through all samples; None, too, for fewer than ``min_samples``."""
        is_short = self._missing is not None and not self._end_refill()
        t, v = self._t, self._v
        t.append(t_ns)
        v.append(value)
        start_ns = t_ns - self._window_ns
        ref_ns, ref, first = self._ref_ns, self._ref, self._first
        # One function on purpose: at a thousand tags the calls would cost as much as the sums.
        is_anew = is_short or ref_ns is None or t_ns - ref_ns >= self._window_ns
        if is_anew or ref_ns is None:
            is_anew = True
            while t[first] <= start_ns:
                first += 1
        else:
            x, y = (t_ns - ref_ns) / NS_PER_S, value - ref
            sx, sy, sxx, sxy = self._sx + x, self._sy + y, self._sxx + x * x, self._sxy + x * y
            while t[first] <= start_ns:
                x, y = (t[first] - ref_ns) / NS_PER_S, v[first] - ref
                if not -self._coarse < y < self._coarse:
                    is_anew = True
                sx -= x
                sy -= y
                sxx -= x * x
                sxy -= x * y
                first += 1
            self._sx, self._sy, self._sxx, self._sxy = sx, sy, sxx, sxy
        if first != self._first:
            self._drop_before(first)
            first = self._first
        if is_anew:
            self._sum_anew(value, t_ns)
        covered_ns = t_ns - t[first]
        count = len(t) - first
        if covered_ns <= 0 or 2 * covered_ns < self._window_ns or count < self._min_samples:
            return None
        spread = count * self._sxx - self._sx * self._sx
        return None if spread <= 0.0 else (count * self._sxy - self._sx * self._sy) / spread

    def _sum_anew(self, value: float, t_ns: int) -> None:
        t, v = self._t[self._first :], self._v[self._first :]
        self._ref_ns, self._ref = t_ns, value
        sx = sy = sxx = sxy = 0.0
        for sample_ns, sample in zip(t, v, strict=True):
            x, y = (sample_ns - t_ns) / NS_PER_S, sample - value
            sx += x
            sy += y
            sxx += x * x
            sxy += x * y
        self._sx, self._sy, self._sxx, self._sxy = sx, sy, sxx, sxy

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        super().shift(step_ns)
        if self._ref_ns is not None:
            self._ref_ns += step_ns

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        sums = [self._sx, self._sy, self._sxx, self._sxy]
        slope = [self._ref_ns, self._ref, sums, self._readings_row(is_whole=is_whole)]
        return [self.value, self._memory, slope]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._memory, slope = row
        self._ref_ns, self._ref, sums, readings = slope
        self._sx, self._sy, self._sxx, self._sxy = (float("nan") if each is None else each for each in sums)
        self._readings_from_row(readings)
