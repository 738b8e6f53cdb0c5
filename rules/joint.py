"""Conditions that look at more than one tag or at other rules: what they see, and how the engine asks them (T6)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from agent.core.quality import FIRST_BAD, Quality
from rules.conditions.base import Condition

_MAINTENANCE = Quality.MAINTENANCE.value
_NAN = Quality.NOT_A_NUMBER.value


class Input:
    """The last reading of one tag, kept for the rules that look at it together with others."""

    __slots__ = (
        "at_ns",
        "exercise",
        "followers",
        "is_in_fault",
        "listeners",
        "quality",
        "tag",
        "usable_at_ns",
        "value",
    )

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.value: float | None = None
        """Of the last reading, usable or not; None where there is none or it is no number."""
        self.quality: int | None = None
        """Of the last reading; None before the first."""
        self.at_ns = 0
        self.usable_at_ns: int | None = None
        """``at`` of the last usable reading."""
        self.exercise = False
        self.is_in_fault = False
        """The tag's fault alarm is active (Q6); whoever keeps that alarm says so here."""
        self.followers: tuple[int, ...] = ()
        """Places of the rules that are looked at when a reading of the tag arrives."""
        self.listeners: Sequence[Any] = ()
        """Watches whose conditions want every reading (windows)."""

    def hear(self, value: float, quality: int, at_ns: int) -> int:
        """Keep a reading; returns its quality, which is 103 for what is no number (Q2)."""
        is_finite = math.isfinite(value)
        if not is_finite and quality < FIRST_BAD:
            quality = _NAN
        self.value = value if is_finite else None
        self.quality = quality
        self.at_ns = at_ns
        if quality < FIRST_BAD:
            self.usable_at_ns = at_ns
        return quality

    def refill(self, value: float, t_ns: int) -> None:
        """Give back a reading that a snapshot left out (G1), NaN for a bad one."""
        for watch in self.listeners:
            watch.condition.refill_tag(self.tag, value, t_ns)

    @property
    def is_bad(self) -> bool:
        """The last reading is bad, or the tag is in fault; not where no reading has come."""
        return self.is_in_fault or (self.quality is not None and self.quality >= FIRST_BAD)

    @property
    def usable(self) -> float | None:
        """The value of the last reading if it is usable, else None."""
        if self.quality is None or self.quality >= FIRST_BAD or self.is_in_fault:
            return None
        return self.value

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        self.at_ns += step_ns
        if self.usable_at_ns is not None:
            self.usable_at_ns += step_ns

    def to_row(self) -> list[Any]:
        """The input for a snapshot."""
        return [self.tag, self.value, self.quality, self.at_ns, self.usable_at_ns, self.exercise, self.is_in_fault]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        _, self.value, self.quality, self.at_ns, self.usable_at_ns, self.exercise, self.is_in_fault = row


class Member(Protocol):
    """What a rule sees of another rule."""

    @property
    def truth(self) -> bool | None:
        """Its condition before delays and before ``on_bad``."""
        ...

    @property
    def is_bad_member(self) -> bool:
        """Its tag is bad, in fault or has no reading, or the condition is unknown (C6)."""
        ...

    @property
    def is_active(self) -> bool:
        """Its alarm is active: the condition after its delays."""
        ...

    @property
    def priority(self) -> str:
        """Of the rule."""
        ...

    @property
    def quality(self) -> int | None:
        """Of its newest reading."""
        ...

    @property
    def exercise(self) -> bool:
        """Its newest reading belongs to an exercise."""
        ...


class Joint(Condition):
    """A condition that the engine looks at once, when the step ends; its readings wait in the inputs."""

    __slots__ = ("inputs", "is_on_bad", "members", "reading_of")
    is_derived = True
    can_degrade: ClassVar[bool] = False
    """It may have to do with fewer instruments than it has; where :attr:`note` says so, that is a diagnostic (C6)."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: Sequence[Input] = ()
        self.members: Sequence[Member | None] = ()
        """In the order of the rule; None for one that does not exist or is disabled."""
        self.reading_of: Input | None = None
        """The input whose raw value its events repeat (A9)."""
        self.is_on_bad = False
        """What it said last rests on bad readings: ``on_bad`` decides instead."""

    def bind(self, inputs: Mapping[str, Input], members: Sequence[Member | None], tag: str | None) -> None:
        """Take what it looks at; called once before the first look, and again when other rules have changed."""
        self.inputs = list(inputs.values())
        self.members = members
        self.reading_of = None if tag is None else inputs.get(tag)

    def look(self, at_ns: int) -> bool | None:
        """Evaluate; sets ``value`` and ``is_on_bad``."""
        raise NotImplementedError

    def listens_to(self, tag: str) -> bool:
        """It wants every reading of that tag."""
        del tag
        return False

    def hear(self, tag: str, value: float, quality: int, t_ns: int, at_ns: int) -> None:
        """Take one reading of a tag it listens to; usable ones are finite."""

    def refill_tag(self, tag: str, value: float, t_ns: int) -> None:
        """Give back a reading that a snapshot left out (G1), oldest first; NaN for a bad one."""

    @property
    def reading(self) -> float | None:
        """The newest raw value of the rule's tag (A9); None where it has no tag."""
        return None if self.reading_of is None else self.reading_of.value

    @property
    def note(self) -> str | None:
        """What its events add, such as ``1oo2 (1 bad)``."""
        return None

    @property
    def has_evidence(self) -> bool:
        """A latched alarm may be reset: the last reading of each tag is usable (A2)."""
        return all(each.usable is not None for each in self.inputs)

    def evidence(self) -> tuple[int | None, bool]:
        """The worst quality of what it looks at (maintenance before all; None: nothing came), and if it is exercise."""
        worst: int | None = None
        exercise = False
        for each in (*self.inputs, *self.members):
            if each is None:
                continue
            quality = each.quality
            exercise = exercise or each.exercise
            if quality is not None and worst != _MAINTENANCE:
                worst = quality if worst is None or quality == _MAINTENANCE or quality > worst else worst
        return worst, exercise
