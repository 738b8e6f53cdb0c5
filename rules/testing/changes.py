"""Which alarms a change of rules adds, removes or moves over recorded data; pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.core.events import AlarmEvent, Transition

_ENDS: Final = frozenset({Transition.RETURNED, Transition.ENDED})
_FOREVER: Final = 1 << 62


@dataclass(slots=True)
class Occurrence:
    """One alarm from its activation to its return; ``returned_ns`` is None while it stands at the end of the data."""

    alarm: str
    activated_ns: int
    returned_ns: int | None = None
    priority: str = ""
    message: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One occurrence that is not the same under both rule sets; ``before`` None: added, ``after`` None: removed."""

    before: Occurrence | None
    after: Occurrence | None

    @property
    def kind(self) -> str:
        """added, removed or moved."""
        return "added" if self.before is None else "removed" if self.after is None else "moved"

    @property
    def at_ns(self) -> int:
        """When it first shows."""
        return min(one.activated_ns for one in (self.before, self.after) if one is not None)

    @property
    def alarm(self) -> str:
        """Whose occurrence it is."""
        one = self.before or self.after
        assert one is not None
        return one.alarm

    def to_fields(self) -> dict[str, Any]:
        """The change with JSON types; times in ns UTC."""
        return {"change": self.kind, "alarm": self.alarm, "before": _times(self.before), "after": _times(self.after)}


def _times(one: Occurrence | None) -> dict[str, int | None] | None:
    return None if one is None else {"activated": one.activated_ns, "returned": one.returned_ns}


class Occurrences:
    """Gathers the occurrences from the events of one rule set."""

    def __init__(self) -> None:
        self.by_alarm: dict[str, list[Occurrence]] = {}

    def add(self, events: Iterable[AlarmEvent]) -> None:
        """Take events in order."""
        for event in events:
            own = self.by_alarm.setdefault(event.alarm, [])
            if event.transition is Transition.ACTIVATED:
                texts = tuple(sorted(event.message.items()))
                own.append(Occurrence(event.alarm, event.time, None, event.priority.value, texts))
            elif event.transition in _ENDS and own and own[-1].returned_ns is None:
                own[-1].returned_ns = event.time

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(len(own) for own in self.by_alarm.values())


def changes(before: Occurrences, after: Occurrences) -> list[Change]:
    """What is not the same, by time. Two occurrences of one alarm that overlap are one that was moved."""
    found: list[Change] = []
    for alarm in sorted(before.by_alarm.keys() | after.by_alarm.keys()):
        found += _of_alarm(before.by_alarm.get(alarm, []), after.by_alarm.get(alarm, []))
    return sorted(found, key=lambda change: (change.at_ns, change.alarm))


def _of_alarm(before: Sequence[Occurrence], after: Sequence[Occurrence]) -> Iterator[Change]:
    i = j = 0
    while i < len(before) and j < len(after):
        one, other = before[i], after[j]
        if one.activated_ns > _end(other):
            yield Change(None, other)
            j += 1
        elif other.activated_ns > _end(one):
            yield Change(one, None)
            i += 1
        else:
            if _span(one) != _span(other):
                yield Change(one, other)
            i, j = i + 1, j + 1
    yield from (Change(one, None) for one in before[i:])
    yield from (Change(None, other) for other in after[j:])


def _end(one: Occurrence) -> int:
    return _FOREVER if one.returned_ns is None else one.returned_ns


def _span(one: Occurrence) -> tuple[int, int | None]:
    return one.activated_ns, one.returned_ns
