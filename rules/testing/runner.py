"""Runs one test in virtual time: batches and actions into an engine, transitions out; pure."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from agent.core.batch import READINGS_MAX, Batch, Layout, split
from agent.core.events import AlarmEvent
from agent.core.records import Kind, Record
from rules.build import RuleSet
from rules.engine import Engine
from rules.testing.notation import duration_ns, samples, show_time
from rules.testing.testfile import Action, Case, Expected, Given, instant_ns, time_ns

EPOCH: Final = "0"
ACTOR: Final = "test"
_DEVICE: Final = "test"
_HIDING: Final = frozenset({"shelve", "remove_from_service", "maintenance", "planned_stop", "exercise"})


class Observer(Protocol):
    """Looks at the engine after each step; changes nothing."""

    def look(self, engine: Engine, at_ns: int, events: Sequence[AlarmEvent]) -> None:
        """A step has ended; ``events`` are those that it caused."""
        ...


@dataclass(slots=True)
class Played:
    """What came of a test."""

    events: list[AlarmEvent] = field(default_factory=list[AlarmEvent])
    complaints: list[str] = field(default_factory=list[str])
    """Actions that did not go as the test says."""
    start_ns: int = 0
    end_ns: int = 0


class Player:
    """One engine and one test. ``batches`` come in order of ``at``."""

    def __init__(self, rules: RuleSet, case: Case, batches: Iterable[Batch], observers: Sequence[Observer]) -> None:
        self._engine = Engine(rules, epoch=EPOCH)
        self._case = case
        self._batches = batches
        self._observers = observers
        self._played = Played(start_ns=instant_ns(case.start), end_ns=-(1 << 62))
        self._seen = 0

    def play(self) -> Played:
        """Run it."""
        case, played = self._case, self._played
        batches = iter(self._batches)
        first = next(batches, None)
        if case.data is not None and first is not None:
            played.start_ns = first.at_ns
        start_ns = played.start_ns
        actions = sorted([(time_ns(action.at, start_ns), action) for action in case.actions], key=lambda item: item[0])
        times = [at_ns for at_ns, _ in actions]
        times += [time_ns(expected.at, start_ns) for expected in case.expected]
        if case.until is not None:
            times.append(time_ns(case.until, start_ns))
        at_ns: int | None = None
        for batch in _with(first, batches):
            if at_ns is not None and batch.at_ns > at_ns:
                self._end_step(at_ns)
            while actions and actions[0][0] < batch.at_ns:
                self._act(*actions.pop(0))
            at_ns = batch.at_ns
            played.events += self._engine.apply(Record(0, Kind.READINGS, batch=batch))
        if at_ns is not None:
            self._end_step(at_ns)
            times.append(at_ns)
        for item in actions:
            self._act(*item)
        played.end_ns = max([*times, _silence_ns(case, start_ns)], default=start_ns)
        self._end_step(played.end_ns)
        return played

    def _end_step(self, at_ns: int) -> None:
        self._played.events += self._engine.advance(at_ns, None)
        self._look(at_ns)

    def _act(self, at_ns: int, action: Action) -> None:
        if action.kind != "start":  # before a start the agent did not run: nothing fires (T9)
            self._played.events += self._engine.advance(at_ns, None)
        fields: dict[str, Any] = {"actor": ACTOR, **action.fields, "kind": action.kind, "time": at_ns}
        if action.lasts_ns is not None:
            fields["until"] = at_ns + action.lasts_ns
        if action.kind in _HIDING:
            fields.setdefault("reason", "test")
        if action.kind == "planned_stop":
            fields.setdefault("from", at_ns)
        for key in ("until", "from", "previous_end"):
            if isinstance(action.fields.get(key), str | int):
                fields[key] = time_ns(str(action.fields[key]), self._played.start_ns)
        if "step" in fields:
            text = str(fields["step"])
            fields["step"] = -duration_ns(text[1:]) if text.startswith("-") else duration_ns(text)
        if action.kind not in ("start", "clock"):
            fields |= self._judged(fields, action, at_ns)
        self._played.events += self._engine.apply(Record(0, Kind.AUDIT, fields=fields))
        self._look(at_ns)

    def _judged(self, fields: Mapping[str, Any], action: Action, at_ns: int) -> dict[str, Any]:
        judged = self._engine.judge(fields)
        is_rejected = judged.outcome == "rejected"
        where = f"{show_time(at_ns - self._played.start_ns)} {action.kind}"
        if is_rejected and not action.rejected:
            self._played.complaints.append(f"{where} was rejected: {judged.reason}")
        elif action.rejected and not is_rejected:
            self._played.complaints.append(f"{where} was carried out, expected to be rejected")
        elif isinstance(action.rejected, str) and action.rejected != judged.reason:
            self._played.complaints.append(f"{where} was rejected: {judged.reason}, expected: {action.rejected}")
        until_ns = getattr(judged, "until", None)
        cut = {} if until_ns is None else {"until": until_ns}
        return {"outcome": judged.outcome, **cut}

    def _look(self, at_ns: int) -> None:
        events = self._played.events[self._seen :]
        self._seen = len(self._played.events)
        for observer in self._observers:
            observer.look(self._engine, at_ns, events)


def _with(first: Batch | None, rest: Iterator[Batch]) -> Iterator[Batch]:
    if first is not None:
        yield first
        yield from rest


def _given(case: Case) -> Iterator[tuple[str, Given]]:
    for tag, given in case.given.items():
        yield tag, given if isinstance(given, Given) else Given(signal=given)


def _silence_ns(case: Case, start_ns: int) -> int:
    """The last step of the longest signal: gaps at its end are time that passes."""
    ends = [start_ns]
    for tag, given in _given(case):
        step_ns = (given.step or case.step).ns
        count = samples(given.signal, step_ns, f"{case.seed}/{tag}")[1]
        ends.append(time_ns(given.start, start_ns) + max(0, count - 1) * step_ns)
    return max(ends)


def batches_of(case: Case) -> list[Batch]:
    """The signals of a test as polls of one device: readings with one time are one poll. NotationError."""
    start_ns = instant_ns(case.start)
    tags = tuple(case.given)
    layout = Layout(_DEVICE, tags)
    polls: dict[int, list[tuple[int, float, int]]] = {}
    for position, (tag, given) in enumerate(_given(case)):
        step_ns = (given.step or case.step).ns
        first_ns = time_ns(given.start, start_ns)
        for sample in samples(given.signal, step_ns, f"{case.seed}/{tag}")[0]:
            at_ns = first_ns + sample.place * step_ns
            polls.setdefault(at_ns, []).append((position, sample.value, sample.quality))
    return [batch for at_ns in sorted(polls) for batch in split(_poll(layout, at_ns, polls[at_ns]), READINGS_MAX)]


def _poll(layout: Layout, at_ns: int, readings: Sequence[tuple[int, float, int]]) -> Batch:
    index = array("I", [position for position, _, _ in readings])
    values = array("d", [value for _, value, _ in readings])
    qualities = bytes([quality for _, _, quality in readings])
    is_whole = len(index) == len(layout.tags)
    return Batch(layout, at_ns, values, qualities if any(qualities) else None, None if is_whole else index)


def matches(event: AlarmEvent, expected: Expected) -> bool:
    """The event has every field that the test names; numbers to nine digits."""
    for key, wanted in expected.fields.items():
        found: Any = getattr(event, key)
        if isinstance(found, float) and isinstance(wanted, int | float):
            if abs(found - wanted) > 1e-9 * max(1.0, abs(wanted)):
                return False
        elif found != wanted:
            return False
    return True
