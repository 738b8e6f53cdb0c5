"""Condition ``expression``: a condition over several tags, three-valued (spec/rules.md C7)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator
from typing_extensions import override

from agent.core.tags import Tag
from rules.conditions._leaves import Group
from rules.conditions.base import Condition
from rules.expression.parser import parse
from rules.expression.tree import Node, names
from rules.joint import Input, Joint, Member
from rules.model import RuleBase


class Expression(Joint):
    """Looked at when a step with a reading of one of its tags ends; windows take every reading of their tags."""

    __slots__ = ("_group", "_tags")
    compares = False

    def __init__(self, node: Node, tags: Mapping[str, Tag]) -> None:
        super().__init__()
        self._tags = tuple(name.tag for name in names(node))
        self._group = Group(node, tags)

    @override
    def bind(self, inputs: Mapping[str, Input], members: Sequence[Member | None], tag: str | None) -> None:
        """See :class:`Joint`."""
        super().bind(inputs, members, tag)
        self.inputs = [inputs[name] for name in self._tags]
        self._group.bind(inputs)

    @override
    def look(self, at_ns: int) -> bool | None:
        """See :class:`Joint`; ``on_bad`` turns unknown into true or false."""
        truth = self._group.look(at_ns)
        self.is_on_bad = self._group.is_unknown
        return truth

    @override
    def listens_to(self, tag: str) -> bool:
        """See :class:`Joint`."""
        return any(window.tag == tag for window in self._group.windows)

    @override
    def hear(self, tag: str, value: float, quality: int, t_ns: int, at_ns: int) -> None:
        """See :class:`Joint`."""
        for window in self._group.windows:
            if window.tag == tag:
                window.hear(value, quality, t_ns, at_ns)

    @override
    def refill_tag(self, tag: str, value: float, t_ns: int) -> None:
        """See :class:`Joint`."""
        for window in self._group.windows:
            if window.tag == tag:
                window.refill(value, t_ns)

    @property
    @override
    def missing_from_ns(self) -> int | None:
        """See :class:`Condition`."""
        starts = (window.condition.missing_from_ns for window in self._group.windows)
        return min((start for start in starts if start is not None), default=None)

    @property
    @override
    def window_ns(self) -> int:
        """See :class:`Condition`."""
        return max((window.condition.window_ns for window in self._group.windows), default=0)

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        self._group.shift(step_ns)

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.is_on_bad, self._group.to_row(is_whole=is_whole)]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.is_on_bad, group = row
        self._group.from_row(group)


class Config(RuleBase):
    """Keys of an ``expression`` rule."""

    needs_tag = False
    condition: Literal["expression"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    expression: str = Field(
        description="a condition over tags; names with - or that begin like a number stand in quotes",
        examples=["held(fan.running == 0, 10s) and face.ch4 >= 0.8"],
    )

    @field_validator("expression")
    @classmethod
    def _is_one(cls, text: str) -> str:
        if not names(parse(text)):
            raise ValueError("expected at least one tag in the expression")
        return text

    @property
    def node(self) -> Node:
        """The expression as a tree."""
        return parse(self.expression)

    @property
    @override
    def inputs(self) -> tuple[str, ...]:
        """See :class:`RuleBase`."""
        own = () if self.tag is None else (self.tag,)
        return tuple(dict.fromkeys((*own, *(name.tag for name in names(self.node)))))

    @property
    @override
    def inputs_key(self) -> str:
        """See :class:`RuleBase`."""
        return "expression"

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return Expression(self.node, {})

    @override
    def make_from(self, tags: Mapping[str, Tag], *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return Expression(self.node, tags)
