"""Condition ``suspicion.missing_near_limit``: data go missing, again and again, just when the value is near its limit.

A stopped upload looks like that (C8, DOMAIN 7.4). It is a suspicion, never a proof.
"""

from typing import Any, Final, Literal

from pydantic import Field
from typing_extensions import override

from agent.config.fields import Duration
from agent.core.events import Priority
from agent.core.tags import Tag
from rules.conditions.base import Condition
from rules.model import Number, RuleBase

_SILENT_POLLS: Final = 3


class MissingNearLimit(Condition):
    """``value`` is how many gaps in the window began within ``within_ns`` after a value of ``near`` or more.

    A gap begins with the first bad reading, or where no reading came for three polls. All times are ``at``.
    """

    __slots__ = ("_count", "_gaps", "_last_at", "_last_near_at", "_near", "_silence_ns", "_was_bad", "_window_ns")
    is_derived = True
    sees_bad = True
    side = 1

    def __init__(self, near: float, within_ns: tuple[int, int], count: int, silence_ns: int | None) -> None:
        super().__init__()
        self._near = near
        self._window_ns = within_ns
        self._count = count
        self._silence_ns = silence_ns
        self._gaps: list[int] = []
        self._last_at: int | None = None
        self._last_near_at: int | None = None
        self._was_bad = False

    @override
    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        if not self._was_bad and self._last_at is not None and self._silence_ns is not None:
            silent_from = self._last_at + self._silence_ns
            if at_ns > silent_from:
                self._note_gap(self._last_at)
        self._was_bad = False
        self._last_at = at_ns
        if value >= self._near:
            self._last_near_at = at_ns
        return self._truth(at_ns)

    @override
    def take_bad(self, at_ns: int) -> bool | None:
        """See :class:`Condition`."""
        if not self._was_bad:
            self._was_bad = True
            self._note_gap(at_ns)
        self._last_at = at_ns
        return self._truth(at_ns)

    def _note_gap(self, at_ns: int) -> None:
        if self._last_near_at is not None and at_ns - self._last_near_at <= self._window_ns[0]:
            self._gaps.append(at_ns)

    def _truth(self, at_ns: int) -> bool:
        start_ns = at_ns - self._window_ns[1]
        while self._gaps and self._gaps[0] <= start_ns:
            self._gaps.pop(0)
        self.value = float(len(self._gaps))
        return len(self._gaps) >= self._count

    @override
    def start(self, at_ns: int, *, is_active: bool) -> None:
        """See :class:`Condition`: a stop of the agent is no gap of the data."""
        self._last_at = None

    @override
    def shift(self, step_ns: int) -> None:
        """See :class:`Condition`."""
        self._gaps = [gap + step_ns for gap in self._gaps]
        if self._last_at is not None:
            self._last_at += step_ns
        if self._last_near_at is not None:
            self._last_near_at += step_ns

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self._gaps, self._last_at, self._last_near_at, self._was_bad]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, gaps, self._last_at, self._last_near_at, self._was_bad = row
        self._gaps = list(gaps)


class Config(RuleBase):
    """Keys of a ``suspicion.missing_near_limit`` rule."""

    condition: Literal["suspicion.missing_near_limit"]  # pyright: ignore[reportIncompatibleVariableOverride]
    priority: Priority = Priority.DIAGNOSTIC
    limit: Number = Field(description="the limit that somebody may want to stay below", gt=0)
    near: Number = Field(0.8, gt=0, le=1, description="near is this share of the limit or more")
    within: Duration = Field(
        Duration("60s"), description="a gap counts that begins at most this long after such a value"
    )
    window: Duration = Field(Duration("24h"), description="gaps are counted over this time")
    count: int = Field(3, ge=1, description="suspicious from so many on")

    @property
    @override
    def limit_value(self) -> float | None:
        """See :class:`RuleBase`."""
        return self.limit

    @override
    def text_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`; a count."""
        return None

    @override
    def limit_unit(self, tag: Tag) -> str | None:
        """See :class:`RuleBase`."""
        return tag.unit or self.unit

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`."""
        silence_ns = None if tag.poll_ns is None else _SILENT_POLLS * tag.poll_ns
        return MissingNearLimit(self.near * self.limit, (self.within.ns, self.window.ns), self.count, silence_ns)
