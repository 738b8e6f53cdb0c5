"""Which alarms an action touches, as roles want to know it."""

from collections.abc import Iterator

from agent.commands.model import Hide, Maintenance, PlannedStop
from agent.commands.roles import Deed
from agent.config.fields import Strict
from rules.engine import Engine
from rules.subject import AlarmView


def deed_of(kind: str, body: Strict, engine: Engine, now_ns: int) -> Deed:
    """The deed that a command or local request would be."""
    until = getattr(body, "until", None)
    return Deed(
        kind,
        tuple(view.priority for view in _touched(body, engine)),
        max(0, until - now_ns) if until is not None else 0,
    )


def _touched(body: Strict, engine: Engine) -> Iterator[AlarmView]:
    if isinstance(body, Hide):
        yield from (view for view in engine.alarms() if view.id == body.alarm)
    elif isinstance(body, Maintenance):
        # A vote or an expression over this tag loses an input too, but is not hidden: it says that it is degraded.
        yield from (view for view in engine.alarms() if view.tag == body.tag)
    elif isinstance(body, PlannedStop):
        # Gas, fire and level alarms stay in force; asking for a second person because of one of them harms nobody.
        yield from (view for view in engine.alarms() if view.area == body.area)
