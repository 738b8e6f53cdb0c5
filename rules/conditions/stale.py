"""Condition ``stale``: no usable reading for ``after``; false when one arrives."""

from typing import Any, Literal

from pydantic import Field
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.tags import Tag
from rules.conditions.base import Condition
from rules.model import RuleBase


class Stale(Condition):
    """``value`` is the length of the silence in seconds, so far or as a reading ended it; all times are ``at``."""

    __slots__ = ("_after_ns", "_from_ns", "_is_known", "_is_true")
    is_derived = True
    sees_bad = True
    side = 1

    def __init__(self, after_ns: int) -> None:
        super().__init__()
        self._after_ns = after_ns
        self._from_ns: int | None = None
        """The last usable reading; before it the tag's first record, or the start if later."""
        self._is_true = False
        self._is_known = False
        """A usable reading, or their absence, has told which it is since the start."""

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        self.value = 0.0 if self._from_ns is None else (at_ns - self._from_ns) / 1e9
        self._from_ns = at_ns
        self._is_true = False
        self._is_known = True
        return False

    @override
    def take_bad(self, at_ns: int) -> bool | None:
        """See :class:`Condition`. A bad reading is no reading: it neither ends silence nor breaks an off-delay (Q5)."""
        if self._from_ns is None:
            self._from_ns = at_ns
        return self._is_true if self._is_known else None

    @property
    @override
    def due_ns(self) -> int | None:
        """See :class:`Condition`."""
        if self._is_true or self._from_ns is None:
            return None
        return self._from_ns + self._after_ns

    @override
    def fire(self) -> None:
        """See :class:`Condition`."""
        self._is_true = True
        self._is_known = True
        self.value = self._after_ns / 1e9

    @override
    def start(self, at_ns: int, *, is_active: bool) -> None:
        """See :class:`Condition`."""
        self._is_known = False
        if not (self._is_true and is_active):
            # A tag that never had a record is counted from the start too: a silent device must not be missed.
            self._from_ns = at_ns
            self._is_true = False

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        if self._from_ns is not None:
            self._from_ns += step_ns

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self._from_ns, self._is_true, self._is_known]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._from_ns, self._is_true, self._is_known = row


class Config(RuleBase):
    """Keys of a ``stale`` rule."""

    condition: Literal["stale"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    after: Duration = Field(description="longest time without a usable reading; at least three polls")

    @override
    def text_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`."""
        return "s"

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        return Stale(self.after.ns)
