"""Condition ``rate``: the slope over a window, by its endpoints or by least squares (spec/rules.md C3)."""

from typing import Final, Literal

from pydantic import Field
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.conditions._slope import Direction, SlopeWindow
from rules.conditions.base import Condition
from rules.model import LimitRule

_BAND = Quality.NE43_BAND.value
SECONDS_PER: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIGN: Final = {"rising": 1, "falling": -1, "both": 0}


class Rate(SlopeWindow):
    """Slope against a limit, in units per ``per_s`` seconds, over the usable samples with t > t_now - window."""

    __slots__ = ("_edge", "_limit", "_per_s", "_sign")

    def __init__(self, limit: float, edge: float, direction: Direction, window_ns: int, per_s: float) -> None:
        super().__init__(window_ns, 0, limit / per_s * (window_ns / 1e9))
        self._limit = limit
        self._edge = edge
        self._sign = _SIGN[direction]
        self._per_s = per_s

    def use_least_squares(self, min_samples: int) -> None:
        """Fit a line through all samples instead of taking the endpoints."""
        self._min_samples = min_samples

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        slope = self._fit(value, t_ns) if self._min_samples else self._ends(value, t_ns)
        if slope is None or slope - slope != 0.0:
            return None  # too few samples, or no number
        slope *= self._per_s
        self.value = slope
        size = slope if self._sign > 0 else -slope if self._sign else abs(slope)
        if size >= self._limit or (size >= self._edge and self._memory):
            self._memory = True
        elif quality == _BAND:
            return None  # Q3: no evidence that it is false
        else:
            self._memory = False
        return self._memory

    def _size(self, slope: float) -> float:
        return slope * self._sign if self._sign else abs(slope)

    @override
    def worse(self, value: float | None, extreme: float | None) -> float | None:
        """See :class:`Condition`."""
        if value is None or (extreme is not None and self._size(extreme) >= self._size(value)):
            return extreme
        return value


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
        condition = Rate(self.limit, edge, self.direction, self.window.ns, SECONDS_PER[self.per])
        if self.method == "least_squares":
            condition.use_least_squares(self.min_samples)
        return condition
