"""Condition ``time_to_limit``: at the present slope the value reaches its limit within ``horizon`` (C, C3)."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.conditions._slope import SlopeWindow
from rules.conditions.base import Condition
from rules.model import Number, RuleBase

_BAND = Quality.NE43_BAND.value


class TimeToLimit(SlopeWindow):
    """``value`` is the time to the limit in seconds: 0 at or beyond it, None where the slope leads away from it."""

    __slots__ = ("_edge_s", "_horizon_s", "_is_rising", "_limit")
    side = -1

    def __init__(self, limit: float, window_ns: int, min_samples: int, *, is_rising: bool) -> None:
        super().__init__(window_ns, min_samples, limit)
        self._limit = limit
        self._is_rising = is_rising
        self._horizon_s = self._edge_s = 0.0

    def look_ahead(self, horizon_s: float, edge_s: float) -> None:
        """True within ``horizon_s``, false beyond ``edge_s``."""
        self._horizon_s = horizon_s
        self._edge_s = edge_s

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        slope = self._fit(value, t_ns)
        left = self._limit - value if self._is_rising else value - self._limit
        if left <= 0.0:
            self.value = 0.0
            self._memory = True
            return True
        if slope is None or slope - slope != 0.0:
            return None  # too few samples, or no number
        towards = slope if self._is_rising else -slope
        left_s = left / towards if towards > 0.0 else None
        self.value = left_s
        if left_s is not None and (left_s <= self._horizon_s or (left_s <= self._edge_s and self._memory)):
            self._memory = True
        elif quality == _BAND:
            return None  # Q3: no evidence that it is false
        else:
            self._memory = False
        return self._memory


class Config(RuleBase):
    """Keys of a ``time_to_limit`` rule. The deadband is a duration: it adds to the horizon."""

    condition: Literal["time_to_limit"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    limit: Number
    horizon: Duration = Field(description="true when the limit is at most this far away", examples=["10min"])
    deadband: Duration = Field(default=Duration("0s"), description="return margin, added to the horizon")
    window: Duration = Field(description="how far back the slope is taken; at least four polls")
    direction: Literal["rising", "falling"] = "rising"
    min_samples: int = Field(5, ge=2)

    @property
    @override
    def limit_value(self) -> float | None:
        """See :class:`RuleBase`."""
        return self.limit

    @override
    def deadband_of(self, tag: Tag) -> float | None:
        """See :class:`RuleBase`; in seconds."""
        return self.deadband.s

    @override
    def text_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`."""
        return "s"

    @override
    def limit_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`."""
        return tag.unit or self.unit

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`; the value itself is compared with the limit, so live it moves to the grid (C2)."""
        limit = tag.scaling.nearest(self.limit) if is_live and tag.scaling is not None else self.limit
        condition = TimeToLimit(limit, self.window.ns, self.min_samples, is_rising=self.direction == "rising")
        condition.look_ahead(self.horizon.s, (self.horizon.ns + self.deadband.ns) / 1e9)
        return condition
