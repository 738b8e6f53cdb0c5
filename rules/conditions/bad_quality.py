"""Condition ``bad_quality``: the last reading is bad; false when the last reading is not bad."""

import math
from typing import Literal

from typing_extensions import override

from agent.core.tags import Tag
from rules.conditions._memory import MemoryCondition
from rules.conditions.base import CLOSED, Condition
from rules.model import RuleBase


class BadQuality(MemoryCondition):
    """Looks at the quality alone, so a value in the NE 43 band returns it: the reading is usable again."""

    __slots__ = ()
    sees_bad = True
    compares = False

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self.value = value
        self.memory = False
        return False

    @override
    def take_bad(self, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self.memory = True
        return True

    @override
    def band(self) -> tuple[float, float]:
        """See :class:`Condition`."""
        return (-math.inf, math.inf) if self.memory is False else CLOSED


class Config(RuleBase):
    """Keys of a ``bad_quality`` rule."""

    condition: Literal["bad_quality"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return BadQuality()
