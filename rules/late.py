"""What readings that came late would have alarmed about: conditions over back-filled data, apart from all states (T2).

The historical readings of one step are looked at by conditions of their own, which start empty and go when the step
ends. Each stretch in which one was true is then one event ``found_late`` with ``from``, ``to`` and ``extreme``: an
occurrence of its own, named by its own id, which a person acknowledges. The alarm of the rule stays where it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Final

from agent.core.batch import Batch
from agent.core.events import AlarmEvent, State, Transition
from agent.core.quality import FIRST_BAD
from rules.alarm import Move
from rules.conditions.base import Condition
from rules.plan import Plan
from rules.subject import AlarmView, Why
from rules.watch import Watch

KINDS: Final = frozenset({"high", "high_high", "low", "low_low", "state", "average"})
PENDING_MAX: Final = 1_000
"""Found late and not acknowledged; beyond it the oldest can no longer be acknowledged (its event stands)."""
_NOTE: Final = "found late"


@dataclass(slots=True)
class Stretch:
    """Event times from the first reading that made it true to the one that ended it, or to the last true one."""

    from_ns: int
    to_ns: int
    extreme: float | None
    quality: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was found late and waits for a person."""

    alarm: str
    from_ns: int
    extreme: float | None
    quality: int | None


class _Run:
    """One rule's condition over the historical readings of a step."""

    __slots__ = ("condition", "exercise", "last_ns", "make", "open", "seq", "stretches")

    def __init__(self, make: Callable[[], Condition]) -> None:
        self.make = make
        self.condition = make()
        self.last_ns: int | None = None
        self.open: Stretch | None = None
        self.stretches: list[Stretch] = []
        self.seq: int | None = None
        self.exercise = False

    def take(self, value: float, quality: int, t_ns: int) -> None:
        """The next reading; one that lies before the last begins anew."""
        if self.last_ns is not None and t_ns < self.last_ns:
            self.close()
            self.condition = self.make()
        self.last_ns = t_ns
        condition = self.condition
        if quality >= FIRST_BAD or value - value != 0.0:
            truth = True if condition.meet_bad(value, quality, t_ns) else None
        else:
            truth = condition.take(value, quality, t_ns, t_ns)
        if truth:
            if self.open is None:
                self.open = Stretch(t_ns, t_ns, None, quality)
            stretch = self.open
            stretch.to_ns = t_ns
            stretch.quality = max(stretch.quality, quality)
            if condition.compares:
                stretch.extreme = condition.worse(condition.value, stretch.extreme)
        elif truth is False and self.open is not None:
            self.open.to_ns = t_ns
            self.close()

    def close(self) -> None:
        """Nothing more of the stretch that is open."""
        if self.open is not None:
            self.stretches.append(self.open)
            self.open = None

    def to_row(self) -> list[Any]:
        """For a snapshot within the step."""
        stretches = [[s.from_ns, s.to_ns, s.extreme, s.quality] for s in self.stretches]
        opened = self.open and [self.open.from_ns, self.open.to_ns, self.open.extreme, self.open.quality]
        return [self.condition.to_row(is_whole=True), self.last_ns, opened, stretches, self.seq, self.exercise]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        condition, self.last_ns, opened, stretches, self.seq, self.exercise = row
        self.condition.from_row(condition)
        self.open = None if opened is None else Stretch(*opened)
        self.stretches = [Stretch(*stretch) for stretch in stretches]


class Late:
    """``say`` takes an event."""

    def __init__(self, epoch: str, say: Callable[[AlarmEvent], None]) -> None:
        self._epoch = epoch
        self._say = say
        self.make: Callable[[Watch], Condition]
        """Makes a rule's condition, empty; the engine's."""
        self._runs: dict[str, tuple[Watch, _Run]] = {}
        self._pending: dict[str, Found] = {}

    @property
    def pending(self) -> Mapping[str, Found]:
        """Found late and not yet acknowledged, by the event's id, oldest first."""
        return self._pending

    def oldest(self, alarm: str) -> str | None:
        """The event that has waited longest for a person, of one alarm."""
        return next((event for event, found in self._pending.items() if found.alarm == alarm), None)

    def standing(self, watches: Mapping[str, Watch]) -> Iterator[AlarmView]:
        """What people see of it while the alarm itself is normal: one view per alarm, with the oldest event."""
        told: set[str] = set()
        for event, found in self._pending.items():
            watch = watches.get(found.alarm)
            if watch is None or found.alarm in told or watch.shown is not State.NORMAL:
                continue
            told.add(found.alarm)
            yield replace(
                watch.view(),
                state=State.RETURNED_UNACKNOWLEDGED,
                event=event,
                since=found.from_ns,
                value=found.extreme,
                extreme=found.extreme,
                quality=found.quality,
                message=_late(watch.profile.texts.at(found.extreme)),
            )

    @property
    def is_pending(self) -> bool:
        """The running step has historical readings."""
        return bool(self._runs)

    def take(self, batch: Batch, plan: Plan, seq: int | None) -> None:
        """A batch of historical readings."""
        for i, value in enumerate(batch.values):
            for watch in plan.by_position[i if batch.index is None else batch.index[i]]:
                if watch.rule.condition not in KINDS:
                    continue
                _, run = self._runs.get(watch.rule.id) or self._begin(watch)
                run.seq, run.exercise = seq, run.exercise or batch.exercise
                run.take(value, 0 if batch.quality is None else batch.quality[i], batch.t_ns(i))

    def _begin(self, watch: Watch) -> tuple[Watch, _Run]:
        begun = self._runs[watch.rule.id] = (watch, _Run(lambda: self.make(watch)))
        return begun

    def end_step(self, at_ns: int) -> None:
        """Tell what was found, by rule id, then as it came."""
        runs, self._runs = self._runs, {}
        for _, (watch, run) in sorted(runs.items()):
            run.close()
            for stretch in run.stretches:
                self._tell(watch, run, stretch, at_ns)

    def _tell(self, watch: Watch, run: _Run, stretch: Stretch, at_ns: int) -> None:
        found = watch.move(Move(watch.alarm.state, Transition.FOUND_LATE), at_ns, self._epoch, Why(run.seq))
        self._pending[found.id] = Found(watch.alarm.id, stretch.from_ns, stretch.extreme, stretch.quality)
        while len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        self._say(
            replace(
                found,
                event=found.id,
                since=stretch.from_ns,
                start=stretch.from_ns,
                end=stretch.to_ns,
                value=stretch.extreme,
                extreme=stretch.extreme,
                quality=stretch.quality,
                reading=None,
                coverage=None,
                message=_late(watch.profile.texts.at(stretch.extreme)),
                annunciated=False,
                exercise=run.exercise,
            )
        )

    def knows(self, alarm: str, event: str | None) -> bool:
        """An action that names this event means something that was found late and not yet acknowledged."""
        return event is not None and event in self._pending and self._pending[event].alarm == alarm

    def acknowledge(self, watch: Watch, event: str, at_ns: int, why: Why) -> None:
        """A person has seen it; the alarm of the rule stays where it is."""
        del self._pending[event]
        told = watch.move(Move(watch.alarm.state, Transition.ACKNOWLEDGED), at_ns, self._epoch, why)
        self._say(replace(told, event=event, note=why.note or _NOTE))

    def adopt(self, fields: Mapping[str, Any]) -> bool:
        """Without a snapshot, from a journaled event; False: it is not about something found late."""
        if fields["transition"] == Transition.FOUND_LATE:
            self._pending[fields["id"]] = Found(fields["alarm"], fields["from"], fields["extreme"], fields["quality"])
            return True
        is_seen = fields["transition"] == Transition.ACKNOWLEDGED and fields["event"] in self._pending
        return is_seen and bool(self._pending.pop(fields["event"]))

    def to_fields(self) -> dict[str, Any]:
        """For a snapshot; the running step's conditions are in it only while that step lasts."""
        runs: Sequence[Any] = [[rule, run.to_row()] for rule, (_, run) in self._runs.items()]
        return {"pending": {event: astuple(found) for event, found in self._pending.items()}, "runs": runs}

    def from_fields(self, fields: Mapping[str, Any], watches: Mapping[str, Watch]) -> None:
        """The inverse of :meth:`to_fields`."""
        self._pending = {event: Found(*found) for event, found in fields["pending"].items()}
        for rule, row in fields["runs"]:
            self._begin(watches[rule])[1].from_row(row)


def _late(texts: Mapping[str, str]) -> dict[str, str]:
    words = {"zh-CN": "（补传数据中发现）", "en": " (found in data that came late)"}
    return {language: text + words.get(language, "") for language, text in texts.items()}
