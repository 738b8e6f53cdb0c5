"""Alarm events: the words of the ISA-18.2 life cycle and the fields every receiver gets (spec/wire.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final


class Priority(StrEnum):
    """Alarm priority (spec/rules.md A10)."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    DIAGNOSTIC = "diagnostic"


SEVERITY: Final[Mapping[Priority, int]] = {
    Priority.CRITICAL: 900,
    Priority.HIGH: 800,
    Priority.MEDIUM: 650,
    Priority.LOW: 450,
    Priority.DIAGNOSTIC: 300,
}
"""OPC UA Part 9 severities (DOMAIN 5.5)."""

COLOUR: Final[Mapping[Priority, str | None]] = {
    Priority.CRITICAL: "red",
    Priority.HIGH: "orange",
    Priority.MEDIUM: "yellow",
    Priority.LOW: "blue",
    Priority.DIAGNOSTIC: None,
}


class State(StrEnum):
    """Where an alarm stands (ISA-18.2; spec/rules.md A2, A3)."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned_unacknowledged"
    LATCHED_UNACKNOWLEDGED = "latched_unacknowledged"
    LATCHED_ACKNOWLEDGED = "latched_acknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


class Transition(StrEnum):
    """What happened to an alarm (spec/rules.md A6)."""

    ACTIVATED = "activated"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned"
    RESET = "reset"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"
    REMOVED_FROM_SERVICE = "removed_from_service"
    RETURNED_TO_SERVICE = "returned_to_service"
    ESCALATED = "escalated"
    PRIORITY_CHANGED = "priority_changed"
    RE_ALARMED = "re_alarmed"
    SILENCED = "silenced"
    CONFIRMED = "confirmed"
    ENDED = "ended"
    FOUND_LATE = "found_late"
    SUPPRESSION_OVERRUN = "suppression_overrun"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvent:
    """One transition of one alarm, as the engine derives it; the pipeline adds what only the gateway knows.

    Times are ns UTC. ``reading``, ``reason``, ``until``, ``coverage``, ``first``, ``area``, ``equipment``, ``start``,
    ``end``, ``finding`` and ``measure`` are sent only where they apply.
    """

    id: str
    alarm: str
    rule: str | None
    kind: str
    tag: str | None
    transition: Transition
    state: State
    previous: State
    time: int
    value: float | None
    limit: float | None
    unit: str | None
    quality: int | None
    priority: Priority
    message: Mapping[str, str]
    occurrence: int
    event: str | None
    """Id of the occurrence's ``activated`` event; None before the first."""
    since: int | None
    """When the occurrence was activated."""
    extreme: float | None
    deadband: float | None
    basis: str | None = None
    actor: str | None = None
    note: str | None = None
    cause: str | None = None
    cause_seq: int | None = None
    by: str | None = None
    annunciated: bool = True
    source: str = "sensor"
    exercise: bool = False
    tag_name: str | None = None
    reading: float | None = None
    reason: str | None = None
    until: int | None = None
    coverage: float | None = None
    first: bool | None = None
    area: str | None = None
    equipment: str | None = None
    start: int | None = None
    end: int | None = None
    finding: str | None = None
    measure: str | None = None

    def to_fields(self) -> dict[str, Any]:
        """The event with the keys of spec/wire.md; optional keys only where they have a value."""
        result: dict[str, Any] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            result[_WIRE_NAME.get(name, name)] = value
        result["message"] = dict(self.message)
        result["colour"] = COLOUR[self.priority]
        result["severity"] = SEVERITY[self.priority]
        return result


_NAMES: Final = tuple(field.name for field in fields(AlarmEvent))
_OPTIONAL: Final = frozenset(
    {"reading", "reason", "until", "coverage", "first", "area", "equipment", "start", "end", "finding", "measure"}
)
_WIRE_NAME: Final = {"start": "from", "end": "to"}
