"""Who may do what on site (spec/wire.md, last of "Commands"); pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent.core.events import SEVERITY, Priority

SHELVE_OPERATOR_NS: Final = 3_600_000_000_000
"""Longest time for which an operator may shelve."""


class Role(StrEnum):
    """Each may do what the one before may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"

    def covers(self, other: "Role") -> bool:
        """Tell whether this role may do what ``other`` may."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER: Final = (Role.VIEWER, Role.OPERATOR, Role.ENGINEER)

NEEDED: Final = {
    "acknowledge": Role.OPERATOR,
    "silence": Role.OPERATOR,
    "comment": Role.OPERATOR,
    "confirm": Role.OPERATOR,
    "shelve": Role.OPERATOR,
    "unshelve": Role.OPERATOR,
    "done": Role.OPERATOR,
    "reset": Role.ENGINEER,
    "remove_from_service": Role.ENGINEER,
    "return_to_service": Role.ENGINEER,
    "maintenance": Role.ENGINEER,
    "end_maintenance": Role.ENGINEER,
    "planned_stop": Role.ENGINEER,
    "exercise": Role.ENGINEER,
    "end_exercise": Role.ENGINEER,
    "reload": Role.ENGINEER,
}
"""The least role for each action; for ``shelve`` the priority counts too."""

HIDING: Final = frozenset({"shelve", "remove_from_service", "maintenance", "planned_stop"})
"""What keeps alarms from being heard; done to a critical one, it needs a second person."""


@dataclass(frozen=True, slots=True)
class Deed:
    """An action as far as roles look at it."""

    kind: str
    priorities: Sequence[Priority] = ()
    """Of every alarm that it touches."""
    duration_ns: int = 0
    is_forced: bool = False

    @property
    def worst(self) -> Priority | None:
        """The most severe priority that it touches."""
        return max(self.priorities, key=SEVERITY.__getitem__, default=None)

    @property
    def needs_second(self) -> bool:
        """Hiding a critical alarm, and ``--force``, need a second person's own login."""
        return self.is_forced or (self.kind in HIDING and self.worst is Priority.CRITICAL)


def needed_role(deed: Deed) -> Role:
    """The least role that may do it."""
    needed = NEEDED[deed.kind]
    if deed.kind != "shelve":
        return needed
    worst = deed.worst
    is_severe = worst is not None and SEVERITY[worst] > SEVERITY[Priority.MEDIUM]
    return Role.ENGINEER if is_severe or deed.duration_ns > SHELVE_OPERATOR_NS else needed


def refusal(role: Role, deed: Deed) -> str | None:
    """Why somebody of this role may not do it, for the answer and the record; None: they may."""
    needed = needed_role(deed)
    if role.covers(needed):
        return None
    if deed.kind == "shelve" and role.covers(NEEDED["shelve"]):
        return "needs_engineer: an operator shelves medium and low alarms for up to 1 h"
    return f"needs_{needed.value}: the role here is {role.value}"
