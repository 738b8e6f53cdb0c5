"""Flags as journaled events tell them, for a start without a snapshot (spec/rules.md G1); pure."""

from collections.abc import Mapping
from typing import Any, Final

from agent.core.events import Transition
from rules.hiding import Hold, Origin
from rules.subject import Subject

_BEGINS: Final = {Transition.SHELVED: Origin.SHELF, Transition.REMOVED_FROM_SERVICE: Origin.REMOVED}
_ENDS: Final = {Transition.UNSHELVED: Origin.SHELF, Transition.RETURNED_TO_SERVICE: Origin.REMOVED}


def follow_holds(subject: Subject, fields: Mapping[str, Any]) -> None:
    """Set or drop the hold that an event tells of. Suppressions are set anew when their flag or rival is looked at."""
    transition = Transition(fields["transition"])
    origin = _BEGINS.get(transition)
    if transition is Transition.SUPPRESSED and fields.get("by") == "planned_stop":
        origin = Origin.PLANNED_STOP
    if origin is not None:
        subject.put_hold(Hold(origin, fields["actor"], fields.get("reason"), fields.get("until"), fields.get("by")))
        return
    gone = _ENDS.get(transition)
    if transition is Transition.UNSUPPRESSED and fields.get("by") == "planned_stop":
        gone = Origin.PLANNED_STOP
    if subject.holds is not None:
        if transition is Transition.ENDED:
            subject.holds = None
        elif gone is not None:
            subject.holds.drop(gone)
