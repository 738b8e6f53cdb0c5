"""Condition ``suspicion.noise_collapse``: the noise of a signal has become much smaller than it used to be (C8).

A covered or replaced sensor is quieter than itself (DOMAIN 7.4). It is a suspicion, never a proof.
"""

from typing import Any, Final, Literal

from pydantic import Field
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.events import Priority
from agent.core.tags import Tag
from rules.conditions._window import COARSE, WindowCondition
from rules.conditions.base import Condition
from rules.model import Number, RuleBase

BLOCKS_MAX: Final = 24
"""Windows that the learned baseline is made of: the newest so many in which nothing was suspicious."""
BLOCKS_MIN: Final = 4


class NoiseCollapse(WindowCondition):
    """``value`` is the standard deviation over the window divided by the baseline.

    The baseline is given, or learned: the median of the deviations of whole windows, one after the other, that were
    not suspicious themselves; unknown before four of them, and while half the window is not covered.
    """

    __slots__ = ("_baseline", "_blocks", "_min_samples", "_next_ns", "_ratio", "_ref", "_sum_ns", "_sy", "_syy")

    def __init__(self, ratio: float, baseline: float | None, window_ns: int, min_samples: int) -> None:
        super().__init__(window_ns)
        self._ratio = ratio
        self._baseline = baseline
        self._min_samples = min_samples
        self._blocks: list[float] = []
        self._next_ns: int | None = None
        """When the next whole window is over."""
        self._ref = self._sy = self._syy = 0.0
        self._sum_ns: int | None = None

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        noise = self._noise(value, t_ns)
        if noise is None or noise - noise != 0.0:
            return None
        baseline = self._baseline if self._baseline is not None else self._learned
        if baseline is None or baseline <= 0.0:
            self._learn(noise, t_ns)
            return None
        self.value = noise / baseline
        if self.value < self._ratio:
            return True
        self._learn(noise, t_ns)
        return False

    @property
    def _learned(self) -> float | None:
        ordered = sorted(self._blocks)
        return ordered[len(ordered) // 2] if len(ordered) >= BLOCKS_MIN else None

    def _learn(self, noise: float, t_ns: int) -> None:
        if self._next_ns is None:
            self._next_ns = t_ns
        if t_ns >= self._next_ns:
            self._blocks = [*self._blocks, noise][-BLOCKS_MAX:]
            self._next_ns = t_ns + self._window_ns

    def _noise(self, value: float, t_ns: int) -> float | None:
        is_anew = self._missing is not None and not self._end_refill()
        t, v, first = self._t, self._v, self._first
        t.append(t_ns)
        v.append(value)
        y = value - self._ref
        self._sy += y
        self._syy += y * y
        start_ns = t_ns - self._window_ns
        coarse = COARSE * (self._learned or self._baseline or 1.0)
        while t[first] <= start_ns:
            y = v[first] - self._ref
            self._sy -= y
            self._syy -= y * y
            is_anew = is_anew or not -coarse < y < coarse
            first += 1
        if first != self._first:
            self._drop_before(first)
        if is_anew or self._sum_ns is None or t_ns - self._sum_ns >= self._window_ns:
            self._sum_ns, self._ref = t_ns, value
            distances = [sample - value for sample in v[self._first :]]
            self._sy = sum(distances)
            self._syy = sum(y * y for y in distances)
        count = len(t) - self._first
        if count < self._min_samples or 2 * (t_ns - t[self._first]) < self._window_ns:
            return None
        variance = (self._syy - self._sy * self._sy / count) / (count - 1)
        return max(0.0, variance) ** 0.5 if variance == variance else None

    @override
    def worse(self, value: float | None, extreme: float | None) -> float | None:
        """See :class:`Condition`: the quieter, the worse."""
        return value if extreme is None or (value is not None and value < extreme) else extreme

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        super().shift(step_ns)
        if self._next_ns is not None:
            self._next_ns += step_ns
        if self._sum_ns is not None:
            self._sum_ns += step_ns

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        sums = [self._ref, self._sy, self._syy, self._sum_ns]
        return [self.value, self._blocks, self._next_ns, sums, self._readings_row(is_whole=is_whole)]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, blocks, self._next_ns, sums, readings = row
        self._blocks = list(blocks)
        self._ref, self._sy, self._syy = (float("nan") if each is None else each for each in sums[:3])
        self._sum_ns = sums[3]
        self._readings_from_row(readings)


class Config(RuleBase):
    """Keys of a ``suspicion.noise_collapse`` rule."""

    condition: Literal["suspicion.noise_collapse"]  # pyright: ignore[reportIncompatibleVariableOverride]
    priority: Priority = Priority.DIAGNOSTIC
    window: Duration = Field(Duration("30min"), description="over which the noise is measured; at least four polls")
    ratio: Number = Field(0.2, gt=0, lt=1, description="suspicious below this share of the baseline")
    baseline: Number | None = Field(None, gt=0, description="usual standard deviation; left out: learned")
    min_samples: int = Field(30, ge=3)

    @override
    def text_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`; a ratio."""
        return None

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return NoiseCollapse(self.ratio, self.baseline, self.window.ns, self.min_samples)
