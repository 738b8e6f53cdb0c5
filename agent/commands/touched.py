"""Which alarms an action touches, as roles want to know it."""

from collections.abc import Iterator
from typing import Final

from agent.commands.model import Hide, Maintenance, PlannedStop
from agent.commands.roles import Deed
from agent.config.fields import Strict
from agent.core.events import Priority
from rules.engine import Engine

_DEGRADED: Final = frozenset({"vote", "count_upgrade"})
"""Lose one input of several and say so; they are not hidden."""


def deed_of(kind: str, body: Strict, engine: Engine, now_ns: int) -> Deed:
    """The deed that a command or local request would be."""
    until = getattr(body, "until", None)
    return Deed(
        kind,
        tuple(_touched(body, engine)),
        max(0, until - now_ns) if until is not None else 0,
    )


def _touched(body: Strict, engine: Engine) -> Iterator[Priority]:
    if isinstance(body, Hide):
        yield from (view.priority for view in engine.alarms() if view.id == body.alarm)
    elif isinstance(body, Maintenance):
        rules = engine.rules.rules
        yield from (rule.priority for rule in rules if body.tag in rule.inputs and rule.condition not in _DEGRADED)
    elif isinstance(body, PlannedStop):
        # Gas, fire and level alarms stay in force; asking for a second person because of one of them harms nobody.
        yield from (view.priority for view in engine.alarms() if view.area == body.area)
