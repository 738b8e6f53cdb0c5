"""Rules that count other rules: what vote and count_upgrade share (C6, C7); ``each_once`` also for lists of tags."""

from collections.abc import Sequence

from pydantic import Field, field_validator
from typing_extensions import override

from agent.config.fields import RuleId
from agent.core.tags import Tag
from rules.model import RuleBase


def each_once(names: Sequence[str], what: str) -> Sequence[str]:
    """The names; ValueError where one stands twice."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} stands twice among the {what}")
    return names


class MembersRule(RuleBase):
    """A rule over other rules; its limit is how many of them it takes."""

    needs_tag = False
    members: Sequence[RuleId] = Field(min_length=1, description="rules that are counted")

    @field_validator("members")
    @classmethod
    def _each_once(cls, members: Sequence[str]) -> Sequence[str]:
        return each_once(members, "members")

    @property
    @override
    def looks_at(self) -> tuple[str, ...]:
        """See :class:`RuleBase`."""
        return tuple(self.members)

    @override
    def text_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`."""
        return None
