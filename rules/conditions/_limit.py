"""Limits on the value itself, with a deadband: what high, high_high, low and low_low share (C, C1, C2)."""

import math
from typing import Any

from typing_extensions import override

from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.conditions.base import CLOSED, Condition
from rules.model import LimitRule

_BAND = Quality.NE43_BAND.value


class _Limit(Condition):
    __slots__ = ("limit", "memory", "reset")

    def __init__(self, limit: float, reset: float) -> None:
        super().__init__()
        self.limit = limit
        self.reset = reset
        self.memory: bool | None = None

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self.memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        return [self.memory]

    @override
    def from_row(self, row: list[Any]) -> None:
        (self.memory,) = row


class High(_Limit):
    """True at or above the limit, false below ``reset``; between them it keeps its state."""

    __slots__ = ()
    side = 1

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self.value = value
        if value >= self.limit or (value >= self.reset and self.memory):
            self.memory = True
        elif quality == _BAND:
            return None  # Q3: no evidence that it is false
        else:
            self.memory = False
        return self.memory

    @override
    def band(self) -> tuple[float, float]:
        """See :class:`Condition`."""
        if self.memory is None:
            return CLOSED
        if self.memory:
            return math.nextafter(self.reset, -math.inf), math.inf
        return -math.inf, self.limit


class Low(_Limit):
    """True at or below the limit, false above ``reset``; between them it keeps its state."""

    __slots__ = ()
    side = -1

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self.value = value
        if value <= self.limit or (value <= self.reset and self.memory):
            self.memory = True
        elif quality == _BAND:
            return None  # Q3: no evidence that it is false
        else:
            self.memory = False
        return self.memory

    @override
    def band(self) -> tuple[float, float]:
        """See :class:`Condition`."""
        if self.memory is None:
            return CLOSED
        if self.memory:
            return -math.inf, math.nextafter(self.reset, math.inf)
        return self.limit, math.inf


class UpperLimit(LimitRule):
    """A rule on high values."""

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return High(*_edges(self, self.limit - self.deadband_of(tag), tag, is_live=is_live))


class LowerLimit(LimitRule):
    """A rule on low values."""

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return Low(*_edges(self, self.limit + self.deadband_of(tag), tag, is_live=is_live))


def _edges(rule: LimitRule, reset: float, tag: Tag, *, is_live: bool) -> tuple[float, float]:
    if not is_live or tag.scaling is None:
        return rule.limit, reset
    return tag.scaling.nearest(rule.limit), tag.scaling.nearest(reset)
