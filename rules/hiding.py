"""What hides an alarm: the three flags on top of its state, each limited in time and with a name (A3, A4)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from agent.core.events import Priority, State, Transition
from rules.settings import Settings


class Flag(StrEnum):
    """The flags, in the order in which they are shown: the first that stands is the state that people see (A3)."""

    OUT_OF_SERVICE = "out_of_service"
    SUPPRESSED = "suppressed"
    SHELVED = "shelved"


class Origin(StrEnum):
    """What set a flag. An alarm has at most one hold of each origin; several may be suppressions."""

    REMOVED = "removed"
    FLAG_RULE = "flag_rule"
    EXCLUSIVE = "exclusive"
    PLANNED_STOP = "planned_stop"
    SHELF = "shelf"


FLAG_OF: Final = {
    Origin.REMOVED: Flag.OUT_OF_SERVICE,
    Origin.FLAG_RULE: Flag.SUPPRESSED,
    Origin.EXCLUSIVE: Flag.SUPPRESSED,
    Origin.PLANNED_STOP: Flag.SUPPRESSED,
    Origin.SHELF: Flag.SHELVED,
}
SHOWN: Final = {
    Flag.OUT_OF_SERVICE: State.OUT_OF_SERVICE,
    Flag.SUPPRESSED: State.SUPPRESSED,
    Flag.SHELVED: State.SHELVED,
}
BEGUN: Final = {
    Flag.OUT_OF_SERVICE: Transition.REMOVED_FROM_SERVICE,
    Flag.SUPPRESSED: Transition.SUPPRESSED,
    Flag.SHELVED: Transition.SHELVED,
}
OVER: Final = {
    Flag.OUT_OF_SERVICE: Transition.RETURNED_TO_SERVICE,
    Flag.SUPPRESSED: Transition.UNSUPPRESSED,
    Flag.SHELVED: Transition.UNSHELVED,
}
NOT_ANNUNCIATED: Final = frozenset({Transition.ACTIVATED, Transition.RETURNED, Transition.RE_ALARMED})
"""Told, journaled and counted under a flag too, but without the horn."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason why an alarm is hidden, by whom, and until when."""

    origin: Origin
    actor: str | None
    """The person; for a flag its tag."""
    reason: str | None
    until_ns: int | None
    """None only for ``exclusive``: it ends with the more severe alarm, which is shown in its place."""
    by: str | None = None
    """The rule that hides, or ``planned_stop``."""
    from_ns: int | None = None
    """Not in force before; None: it is."""

    @property
    def flag(self) -> Flag:
        """Which flag it sets."""
        return FLAG_OF[self.origin]

    @property
    def is_in_force(self) -> bool:
        """It hides; a planned stop that has not begun does not."""
        return self.from_ns is None

    @property
    def due_ns(self) -> int | None:
        """When it begins or, being in force, ends by itself."""
        return self.until_ns if self.from_ns is None else self.from_ns

    def shifted(self, step_ns: int) -> "Hold":
        """The hold after UTC was stepped (T8)."""
        return replace(
            self,
            until_ns=None if self.until_ns is None else self.until_ns + step_ns,
            from_ns=None if self.from_ns is None else self.from_ns + step_ns,
        )

    def to_row(self) -> list[Any]:
        """The hold for a snapshot."""
        return [self.origin, self.actor, self.reason, self.until_ns, self.by, self.from_ns]

    @classmethod
    def from_row(cls, row: list[Any]) -> "Hold":
        """The inverse of :meth:`to_row`."""
        return cls(Origin(row[0]), *row[1:])

    def to_fields(self) -> dict[str, Any]:
        """What operators see of it."""
        return {
            "flag": self.flag.value,
            "actor": self.actor,
            "by": self.by,
            "reason": self.reason,
            "until": self.until_ns,
        }


class Holds:
    """All holds of one alarm."""

    __slots__ = ("_holds",)

    def __init__(self) -> None:
        self._holds: dict[Origin, Hold] = {}

    def __bool__(self) -> bool:
        return bool(self._holds)

    def __iter__(self) -> Iterator[Hold]:
        return iter([self._holds[origin] for origin in Origin if origin in self._holds])

    def get(self, origin: Origin) -> Hold | None:
        """The hold of an origin."""
        return self._holds.get(origin)

    def put(self, hold: Hold) -> None:
        """Set or replace the hold of its origin."""
        self._holds[hold.origin] = hold

    def drop(self, origin: Origin) -> None:
        """Take a hold away."""
        self._holds.pop(origin, None)

    def has(self, flag: Flag) -> bool:
        """A hold of this flag is in force."""
        return any(hold.is_in_force and hold.flag is flag for hold in self._holds.values())

    @property
    def shown(self) -> State | None:
        """The state that people see; None: the one of the table."""
        return next((SHOWN[flag] for flag in Flag if self.has(flag)), None)

    @property
    def conceals(self) -> bool:
        """Something hides it for which nothing is shown in its place: any hold in force but ``exclusive``."""
        return any(hold.is_in_force and hold.origin is not Origin.EXCLUSIVE for hold in self._holds.values())

    @property
    def next(self) -> Hold | None:
        """The hold that begins or ends by itself first."""
        timed = [hold for hold in self if hold.due_ns is not None]
        return min(timed, key=lambda hold: hold.due_ns or 0, default=None)

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        self._holds = {origin: hold.shifted(step_ns) for origin, hold in self._holds.items()}

    def to_row(self) -> list[Any]:
        """The holds for a snapshot."""
        return [hold.to_row() for hold in self]

    @classmethod
    def from_row(cls, rows: list[Any]) -> "Holds":
        """The inverse of :meth:`to_row`."""
        holds = cls()
        for row in rows:
            holds.put(Hold.from_row(row))
        return holds


def longest_ns(origin: Origin, priority: Priority, settings: Settings) -> int:
    """How long an alarm of this priority may be hidden at once (A4)."""
    if origin is Origin.SHELF:
        is_urgent = priority in (Priority.CRITICAL, Priority.HIGH)
        return settings.shelved_urgent_ns if is_urgent else settings.shelved_ns
    if origin is Origin.REMOVED:
        return settings.out_of_service_ns
    return settings.planned_stop_ns if origin is Origin.PLANNED_STOP else settings.suppressed_ns


@dataclass(frozen=True, slots=True)
class Term:
    """The end that a request for hiding gets; ``problem`` says why it gets none."""

    until_ns: int | None
    is_cut: bool = False
    problem: str | None = None


def term(
    asked_ns: int | None, from_ns: int, longest: int, *, actor: object, reason: object, default_ns: int | None = None
) -> Term:
    """Each hiding names person, reason and end; one that is too long is cut (A4)."""
    if not actor:
        return Term(None, problem="no_actor")
    if not reason:
        return Term(None, problem="no_reason")
    if asked_ns is None and default_ns is None:
        return Term(None, problem="no_until")
    until_ns = from_ns + (default_ns or 0) if asked_ns is None else asked_ns
    if until_ns <= from_ns:
        return Term(None, problem="until_is_past")
    most_ns = from_ns + longest
    return Term(min(until_ns, most_ns), is_cut=until_ns > most_ns)
