"""Condition ``vote``: so many of several rules' conditions hold, with bad ones counted by policy (spec/rules.md C6)."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from agent.config.fields import RuleId
from agent.core.events import Priority
from agent.core.tags import Tag
from rules.conditions._members import MembersRule
from rules.conditions.base import Condition
from rules.joint import Joint


class BadVote(StrEnum):
    """What bad members do to the number of hits that it takes."""

    DEGRADE = "degrade"
    TRIP = "trip"
    HEALTHY = "healthy"
    DROP = "drop"


def hits_needed(policy: BadVote, k: int, n: int, bad: int) -> int:
    """``k_eff`` of C6: how many of the ``n - bad`` good members must be true."""
    if policy is BadVote.DEGRADE:
        return max(1, k - bad)
    if policy is BadVote.TRIP:
        return max(0, k - bad)
    return k if policy is BadVote.HEALTHY else min(k, n - bad)


class Vote(Joint):
    """``value`` is the number of hits. Bad members say nothing; where all are bad only ``trip`` knows what to say."""

    __slots__ = ("_k", "_policy", "bad", "needed")
    side = 1
    can_degrade = True

    def __init__(self, k: int, policy: BadVote) -> None:
        super().__init__()
        self._k = k
        self._policy = policy
        self.bad = 0
        """Bad members at the last look."""
        self.needed = k

    @override
    def look(self, at_ns: int) -> bool | None:
        """See :class:`Joint`."""
        good = [member for member in self.members if member is not None and not member.is_bad_member]
        n = len(self.members)
        self.bad = n - len(good)
        hits = sum(member.truth is True for member in good)
        self.needed = hits_needed(self._policy, self._k, n, self.bad)
        self.value = float(hits)
        if not good:
            return True if self._policy is BadVote.TRIP else None
        return hits >= self.needed

    @property
    @override
    def note(self) -> str | None:
        """See :class:`Joint`."""
        if self.bad == 0:
            return None
        return f"{self.needed}oo{len(self.members) - self.bad} ({self.bad} bad)"

    @property
    @override
    def has_evidence(self) -> bool:
        """See :class:`Joint`: a vote may be reset unless it is unknown (A2)."""
        return self.bad < len(self.members) or self._policy is BadVote.TRIP

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self.bad, self.needed]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self.bad, self.needed = row


class Config(MembersRule):
    """Keys of a ``vote`` rule."""

    condition: Literal["vote"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    members: Sequence[RuleId] = Field(min_length=2, description="rules whose conditions vote, before their delays")
    k: int = Field(ge=1, description="so many of them must hold", examples=[2])
    bad_vote: BadVote = Field(
        BadVote.DEGRADE, description="a bad member: degrade (one fewer is needed), trip, healthy or drop"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.k > len(self.members):
            raise ValueError(f"k is {self.k}, but there are {len(self.members)} members")
        if self.bad_vote is BadVote.HEALTHY and self.priority is Priority.CRITICAL:
            raise ValueError("bad_vote healthy is refused for priority critical: bad sensors would hide the alarm")
        return self

    @property
    @override
    def limit_value(self) -> float | None:
        """See :class:`RuleBase`."""
        return float(self.k)

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return Vote(self.k, self.bad_vote)
