"""Conditions that are true or false until a reading says otherwise: what limits, states and bad_quality share (C1)."""

from typing import Any

from typing_extensions import override

from rules.conditions.base import Condition


class MemoryCondition(Condition):
    """``memory``: what the last evidence said; None before the first."""

    __slots__ = ("memory",)

    def __init__(self) -> None:
        super().__init__()
        self.memory: bool | None = None

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self.memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.memory]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        (self.memory,) = row
