"""Condition ``discrepancy``: instruments that should agree differ by so much; unknown under two usable ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, field_validator
from typing_extensions import override

from agent.config.fields import Id
from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.conditions._members import each_once
from rules.conditions.base import Condition
from rules.joint import Joint
from rules.model import LimitRule

_BAND = Quality.NE43_BAND.value
_LEAST: int = 2


class Discrepancy(Joint):
    """``value`` is the largest less the smallest of the usable last readings."""

    __slots__ = ("_edge", "_limit", "_memory")
    side = 1

    def __init__(self, limit: float, edge: float) -> None:
        super().__init__()
        self._limit = limit
        self._edge = edge
        self._memory: bool | None = None

    @override
    def look(self, at_ns: int) -> bool | None:
        """See :class:`Joint`. Bad readings are left out; ``on_bad`` decides where fewer than two are left by them."""
        usable = [value for each in self.inputs if (value := each.usable) is not None]
        self.is_on_bad = len(usable) < _LEAST and any(each.is_bad for each in self.inputs)
        if len(usable) < _LEAST:
            return None
        self.value = max(usable) - min(usable)
        if self.value >= self._limit or (self.value >= self._edge and self._memory):
            self._memory = True
        elif any(each.quality == _BAND for each in self.inputs):
            return None  # Q3: no evidence that it is false
        else:
            self._memory = False
        return self._memory

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self._memory, self.is_on_bad]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._memory, self.is_on_bad = row


class Config(LimitRule):
    """Keys of a ``discrepancy`` rule."""

    needs_tag = False
    condition: Literal["discrepancy"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    tags: Sequence[Id] = Field(min_length=2, description="instruments that measure the same")

    @field_validator("tags")
    @classmethod
    def _each_once(cls, tags: Sequence[str]) -> Sequence[str]:
        return each_once(tags, "tags")

    @property
    @override
    def inputs(self) -> tuple[str, ...]:
        """See :class:`RuleBase`."""
        return tuple(self.tags)

    @property
    @override
    def inputs_key(self) -> str:
        """See :class:`RuleBase`."""
        return "tags"

    @override
    def about(self, tags: Mapping[str, Tag]) -> Tag:
        """See :class:`RuleBase`: the first of the tags lends unit and range, which all of them share."""
        first = tags.get(self.tags[0]) or Tag(self.tags[0])
        return replace(first, id=self.id, name=None, scaling=None)

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`; a difference is derived, so its limit stays as configured (C2)."""
        return Discrepancy(self.limit, self.limit - self.deadband_of(tag))
