"""Condition ``flatline``: over the last ``window`` the value has not moved by more than ``epsilon`` (C4)."""

from collections import deque
from typing import Any, Final, Literal

from pydantic import Field
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.conditions._window import WindowCondition
from rules.conditions.base import Condition
from rules.model import Number, RuleBase

_BAND = Quality.NE43_BAND.value
GAS_ZERO: Final = 0.02
"""Share of the span about zero in which a gas detector in clean air rightly stands still."""


class Flatline(WindowCondition):
    """``value`` is max - min over [t - window, t] and the newest sample at or before its start.

    ``ignored`` is how near to zero a value is left out, as if it had not come; below zero: none is.
    """

    __slots__ = ("_epsilon", "_highest", "_ignored", "_lowest", "_memory", "_min_samples")

    def __init__(self, epsilon: float, window_ns: int, min_samples: int, ignored: float) -> None:
        super().__init__(window_ns)
        self._epsilon = epsilon
        self._min_samples = min_samples
        self._ignored = ignored
        self._memory: bool | None = None
        self._lowest: deque[float] = deque()
        """Values that are still the lowest from their own place on; the first is the window's."""
        self._highest: deque[float] = deque()

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        if self._missing is not None:
            self._end_refill()
            self._order()
        if abs(value) <= self._ignored:
            # Clean air: the state stays; known all the same, or every quiet gas rule would count as blind (Q7).
            return bool(self._memory)
        t, v, first = self._t, self._v, self._first
        t.append(t_ns)
        v.append(value)
        lowest, highest = self._lowest, self._highest
        self._enter(value)
        start_ns = t_ns - self._window_ns
        newest = len(t) - 1
        while first < newest and t[first + 1] <= start_ns:
            if v[first] == lowest[0]:
                lowest.popleft()
            if v[first] == highest[0]:
                highest.popleft()
            first += 1
        if first != self._first:
            self._drop_before(first)
            first = self._first
        spread = highest[0] - lowest[0]
        self.value = spread
        if spread > self._epsilon:
            if quality == _BAND:
                return None  # Q3: no evidence that it is false
            self._memory = False
            return False
        if t[first] > start_ns or len(t) - first < self._min_samples:
            return None
        self._memory = True
        return True

    def _enter(self, value: float) -> None:
        lowest, highest = self._lowest, self._highest
        while lowest and lowest[-1] > value:
            lowest.pop()
        lowest.append(value)
        while highest and highest[-1] < value:
            highest.pop()
        highest.append(value)

    def _order(self) -> None:
        self._lowest.clear()
        self._highest.clear()
        for value in self._v[self._first :]:
            self._enter(value)

    @override
    def meet_bad(self, value: float, quality: int, t_ns: int) -> bool:
        """See :class:`Condition`: a bad reading empties the window."""
        if self._t or self._missing is not None:
            self._clear()
            self._lowest.clear()
            self._highest.clear()
        return False

    @override
    def worse(self, value: float | None, extreme: float | None) -> float | None:
        """See :class:`Condition`; a spread has no worst: the smaller is no more stuck."""
        return extreme

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self._memory, self._readings_row(is_whole=is_whole)]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._memory, readings = row
        self._readings_from_row(readings)
        self._order()


class Config(RuleBase):
    """Keys of a ``flatline`` rule."""

    condition: Literal["flatline"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    window: Duration = Field(description="how long the value must stand still; at least four polls")
    epsilon: Number = Field(0.0, ge=0, description="max - min at or below this is still")
    min_samples: int = Field(3, ge=2, description="usable samples that the window must hold")
    at_zero: bool = Field(default=False, description="gas: count values within 2 % of zero, too")

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        ignored = -1.0
        if tag.kind == "gas" and not self.at_zero:
            ignored = 0.0 if tag.range is None else GAS_ZERO * (tag.range[1] - tag.range[0])
        return Flatline(self.epsilon, self.window.ns, self.min_samples, ignored)
