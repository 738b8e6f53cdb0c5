"""Limits on the value itself, with a deadband: what high, high_high, low and low_low share (C, C1, C2)."""

import math
from typing import Any, Final

from typing_extensions import override

from agent.core.quality import Quality
from agent.core.tags import MA_LOW, MA_SPAN, Tag
from rules.conditions._memory import MemoryCondition
from rules.conditions.base import CLOSED, Condition
from rules.model import LimitRule

_BAND = Quality.NE43_BAND.value
_NO_PROCESS: Final = frozenset({Quality.MAINTENANCE.value, Quality.SUBSTITUTED.value})
_OVER_RANGE_MA: Final = 20.5


class _Limit(MemoryCondition):
    __slots__ = ("limit", "reset")

    def __init__(self, limit: float, reset: float) -> None:
        super().__init__()
        self.limit = limit
        self.reset = reset


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


class GasHigh(High):
    """``high`` on gas (Q4): a signal at or above ``top`` makes it true, whatever the quality and ``on_bad`` say.

    With ``latches`` it then stays true until :meth:`release`: a catalytic sensor reads low above the UEL.
    """

    __slots__ = ("is_latched", "latches", "top")

    def __init__(self, limit: float, reset: float, top: float, *, latches: bool) -> None:
        super().__init__(limit, reset)
        self.top = top
        self.latches = latches
        self.is_latched = False

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        if value >= self.top:
            self._exceed(value)
        if not self.is_latched and value < self.top:
            return super().take(value, quality, t_ns, at_ns)
        self.value = value
        return True

    @override
    def meet_bad(self, value: float, quality: int, t_ns: int) -> bool:
        """See :class:`Condition`; what a person entered or a test gas shows (107, 105) is no gas in the plant."""
        if value >= self.top and quality not in _NO_PROCESS:
            self._exceed(value)
            return True
        return self.is_latched

    def _exceed(self, value: float) -> None:
        self.value = value
        self.memory = True
        self.is_latched = self.latches

    @override
    def release(self) -> bool:
        """See :class:`Condition`."""
        was_latched, self.is_latched = self.is_latched, False
        return was_latched

    @property
    @override
    def holds_latch(self) -> bool:
        """See :class:`Condition`."""
        return self.is_latched

    @override
    def band(self) -> tuple[float, float]:
        """See :class:`Condition`."""
        if self.is_latched:
            return CLOSED
        low, high = super().band()
        return low, min(high, self.top)

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        return [self.memory, self.is_latched]

    @override
    def from_row(self, row: list[Any]) -> None:
        self.memory, self.is_latched = row


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
        limit, reset = _edges(self, self.limit - self.deadband_of(tag), tag, is_live=is_live)
        top = _top(tag, is_live=is_live) if tag.kind == "gas" else None
        return High(limit, reset) if top is None else GasHigh(limit, reset, top, latches=tag.over_range_latch)


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


def _top(tag: Tag, *, is_live: bool) -> float | None:
    """From where on a gas signal is over range: the top of ``range``, or what 20.5 mA show; None: nothing is known."""
    tops: list[float] = []
    if tag.range is not None:
        top = tag.range[1]
        tops.append(tag.scaling.nearest(top) if is_live and tag.scaling is not None else top)
    span = None if tag.scaling is None else tag.scaling.span
    if span is not None and span[0] < span[1]:
        tops.append(span[0] + (_OVER_RANGE_MA - MA_LOW) / MA_SPAN * (span[1] - span[0]))
    return min(tops, default=None)
