"""Condition ``state``: the value equals one of ``values``; false otherwise."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from typing_extensions import override

from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.conditions._memory import MemoryCondition
from rules.conditions.base import CLOSED, Condition
from rules.model import Number, RuleBase

_BAND = Quality.NE43_BAND.value


class State(MemoryCondition):
    """True while the value is one of a few."""

    __slots__ = ("values",)

    def __init__(self, values: frozenset[float]) -> None:
        super().__init__()
        self.values = values

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self.value = value
        is_true = value in self.values
        if not is_true and quality == _BAND:
            return None  # Q3: no evidence that it is false
        self.memory = is_true
        return is_true

    @override
    def band(self) -> tuple[float, float]:
        """See :class:`Condition`."""
        if self.memory is None or self.value is None:
            return CLOSED
        return math.nextafter(self.value, -math.inf), math.nextafter(self.value, math.inf)


class Config(RuleBase):
    """Keys of a ``state`` rule."""

    condition: Literal["state"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    values: Sequence[bool | Number] = Field(min_length=1, description="values that mean the alarm", examples=[[1]])

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        values = [float(value) for value in self.values]
        if is_live and tag.scaling is not None:
            values = [tag.scaling.nearest(value) for value in values]
        return State(frozenset(values))
