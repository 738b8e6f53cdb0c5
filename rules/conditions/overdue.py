"""Condition ``overdue``: too long since the tag's last ``done`` record (bump test, calibration, proof test)."""

from typing import Any, Literal

from pydantic import Field, field_validator
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.tags import Tag
from rules.conditions.base import Condition
from rules.model import RuleBase


class Overdue(Condition):
    """``value`` is the time since the last ``done`` record in seconds, as it last changed. Readings play no part.

    Without a ``done`` record it counts from the tag's first record or, if earlier, the agent's first start.
    """

    __slots__ = ("_every_ns", "_from_ns", "_is_true", "_not_before_ns")
    is_derived = True
    sees_bad = True
    side = 1

    def __init__(self, every_ns: int) -> None:
        super().__init__()
        self._every_ns = every_ns
        self._from_ns: int | None = None
        self._not_before_ns = 0
        """The agent did not run before this: what fell due meanwhile is told at the start."""
        self._is_true = False

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        return self.take_bad(at_ns)

    @override
    def take_bad(self, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        if self._from_ns is None:
            self._from_ns = at_ns
        return self._is_true

    def done(self, at_ns: int) -> None:
        """A ``done`` record has come: it is false from now on."""
        self.value = None if self._from_ns is None else _seconds(at_ns - self._from_ns)
        self._from_ns = at_ns
        self._is_true = False

    @property
    @override
    def due_ns(self) -> int | None:
        """See :class:`Condition`."""
        if self._is_true or self._from_ns is None:
            return None
        return max(self._from_ns + self._every_ns, self._not_before_ns)

    @override
    def fire(self) -> None:
        """See :class:`Condition`."""
        due_ns, from_ns = self.due_ns, self._from_ns
        assert due_ns is not None
        assert from_ns is not None
        self._is_true = True
        self.value = _seconds(due_ns - from_ns)

    @override
    def start(self, at_ns: int, *, is_active: bool) -> None:
        """See :class:`Condition`; the time in which the agent did not run counts."""
        if self._from_ns is None:
            self._from_ns = at_ns
        self._not_before_ns = at_ns

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        if self._from_ns is not None:
            self._from_ns += step_ns
        if self._not_before_ns:
            self._not_before_ns += step_ns

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._is_true = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self._from_ns, self._not_before_ns, self._is_true]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._from_ns, self._not_before_ns, self._is_true = row


def _seconds(duration_ns: int) -> float:
    return duration_ns / 1e9


class Config(RuleBase):
    """Keys of an ``overdue`` rule."""

    condition: Literal["overdue"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    every: Duration = Field(description="longest time between two done records", examples=["15d"])

    @field_validator("every")
    @classmethod
    def _above_zero(cls, every: Duration) -> Duration:
        if every.ns == 0:
            raise ValueError("expected a time above zero")
        return every

    @override
    def text_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`."""
        return "s"

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return Overdue(self.every.ns)
