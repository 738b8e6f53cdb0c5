"""Condition ``count_upgrade``: so many alarms of one level stand that it is an alarm of a higher one (4 蓝 → 黄)."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from agent.config.fields import RuleId
from agent.core.events import Priority
from agent.core.tags import Tag
from rules.conditions._members import MembersRule
from rules.conditions.base import Condition
from rules.joint import Joint


class CountUpgrade(Joint):
    """``value`` is the number of members at the level that are active, hidden and upgraded ones included."""

    __slots__ = ("_level", "_n")
    side = 1

    def __init__(self, level: Priority, n: int) -> None:
        super().__init__()
        self._level = level
        self._n = n

    @override
    def look(self, at_ns: int) -> bool | None:
        """See :class:`Joint`; never unknown, for an alarm's state is known."""
        standing = [m for m in self.members if m is not None and m.is_active and m.priority == self._level]
        self.value = float(len(standing))
        return len(standing) >= self._n


class Config(MembersRule):
    """Keys of a ``count_upgrade`` rule."""

    sees_states = True
    condition: Literal["count_upgrade"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    members: Sequence[RuleId] = Field(
        min_length=1, description="rules whose alarms count; those of another priority than level do not"
    )
    level: Priority = Field(description="the priority of the alarms that count", examples=["low"])
    n: int = Field(ge=1, description="so many of them must be active", examples=[4])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n > len(self.members):
            raise ValueError(f"n is {self.n}, but there are {len(self.members)} members")
        return self

    @property
    @override
    def limit_value(self) -> float | None:
        """See :class:`RuleBase`."""
        return float(self.n)

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return CountUpgrade(self.level, self.n)
