"""What goes on beside condition and table: flags and their ends, re-alarm, suppression, Davy's own alarms (A3-A11, Q7).

The evaluator asks it at three places: after each event, when a timer of its kinds is due, and at the end of a step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from agent.core.events import AlarmEvent, Priority, State, Transition
from rules.adopting import follow_holds
from rules.alarm import Input, Move
from rules.diagnostics import CHATTER, FLOOD, Blindness, Bursts, Concealed
from rules.faults import Faults
from rules.flags import EXPIRED, Flags, due_ns_of
from rules.internal import Internal, Notice
from rules.rivals import Rivals
from rules.settings import Settings
from rules.snapshot import packed
from rules.subject import Subject, Why
from rules.timers import BLIND, COUNT, FAULT, HIDING, RE_ALARM
from rules.watch import Watch
from rules.work import Work

_FAULTS: Final = "davy:faults"


class Lifecycle:
    """Of all alarms of one engine."""

    def __init__(self, work: Work, settings: Settings) -> None:
        self._work = work
        self.settings = settings
        self.internals: dict[str, Internal] = {}
        """Davy's own alarms by id, device clocks apart."""
        self.strangers: Mapping[str, Subject] = {}
        """Subjects that someone else keeps: device clocks, by alarm id."""
        self.blindness = Blindness(settings.blind_after_ns, self.raise_)
        self.concealed = Concealed(settings, self.raise_)
        self.bursts = Bursts(self.raise_)
        self.rivals = Rivals()
        self.flags = Flags(work, settings, self.rivals, self.concealed)
        self.faults: Faults | None = None
        """None: no fault alarms (``davy replay --rules``)."""
        self.waiting: dict[str, Any] = {}
        """Rules that keep their old form until their alarm is normal (G2), with that old form; the engine's."""
        self.released: dict[str, None] = {}
        """Those of them whose alarm has become normal."""
        self._look: dict[str, None] = {}
        self._held: list[AlarmEvent] = []

    # ---- rule sets

    def install(self, settings: Settings, tags_of: Mapping[str, tuple[tuple[str, str | None], ...]]) -> None:
        """Other watches have come; ``tags_of``: id and kind of each rule's tags."""
        self.settings = self.flags.settings = settings
        self.blindness.after_ns = settings.blind_after_ns
        watches = self._work.watches
        self.rivals.connect(watches)
        urgent = (Priority.CRITICAL, Priority.HIGH)
        gas: dict[str, set[str]] = {}
        for rule, tags in tags_of.items():
            for tag, kind in tags:
                if kind == "gas":
                    gas.setdefault(tag, set()).add(rule)
        self.concealed.install(
            settings,
            frozenset(rule for rule, watch in watches.items() if watch.profile.priority in urgent),
            {tag: frozenset(rules) for tag, rules in gas.items()},
        )
        self._look.update(dict.fromkeys(self.rivals.hideable))

    def begin(self, at_ns: int, rules: Iterable[str]) -> None:
        """From here on these rules should say something (Q7)."""
        for rule in rules:
            watch = self._work.watches[rule]
            if not watch.condition.sees_bad:
                self.darken(rule, at_ns)

    # ---- events

    def is_first(self, subject: Subject, move: Move) -> bool | None:
        """It is the first of its group (A8)."""
        if move.transition is not Transition.ACTIVATED or not isinstance(subject, Watch):
            return None
        return self.rivals.is_first(subject, self._work.watches)

    def holds_back(self, subject: Subject, event: AlarmEvent) -> bool:
        """A8: what it suppressed is annunciated before its own ``returned``, which waits for the end of the step."""
        if event.transition is not Transition.RETURNED or not self.rivals.suppresses(subject.alarm.id):
            return False
        self._held.append(event)
        return True

    def told(self, subject: Subject, event: AlarmEvent) -> None:
        """An event has come about: timers, counts, and whoever looks at this alarm."""
        alarm, transition = subject.alarm, event.transition
        if alarm.state is not State.ACKNOWLEDGED:
            subject.re_alarm_due_ns = None
        elif transition is Transition.ACKNOWLEDGED:
            self._start_re_alarm(subject, event.time)
        if transition is Transition.ACTIVATED:
            self._count(alarm.id, event)
        if alarm.id in self.rivals.lookers:
            self._look.update(dict.fromkeys(self.rivals.lookers[alarm.id]))
        if alarm.id in self.waiting and alarm.state is State.NORMAL:
            self.released[alarm.id] = None

    def _start_re_alarm(self, subject: Subject, at_ns: int) -> None:
        if isinstance(subject, Watch):
            after_ns = subject.rule.re_alarm_ns(self.settings)
        else:
            is_critical = subject.profile.priority is Priority.CRITICAL
            after_ns = self.settings.re_alarm_critical_ns if is_critical else None
        if after_ns is not None:
            subject.re_alarm_due_ns = at_ns + after_ns
            self._work.timers.set(at_ns + after_ns, subject.alarm.id, RE_ALARM)

    def _count(self, alarm: str, event: AlarmEvent) -> None:
        self.bursts.count(alarm, event.time, annunciated=event.annunciated)
        for name in (CHATTER + alarm, FLOOD):
            due_ns = self.bursts.due_of(name)
            if due_ns is not None:
                self._work.timers.set(due_ns, name, COUNT)

    def raise_(self, alarm: str, notice: Notice | None, at_ns: int, why: Why | None = None) -> Internal | None:
        """One of Davy's own alarms is true and says this, or, with None, false."""
        internal = self.internals.get(alarm)
        if internal is None:
            if notice is None:
                return None
            internal = self.internals[alarm] = Internal(alarm, notice)
        is_active = internal.alarm.is_active
        if notice is not None:
            if is_active and notice.value is not None:
                internal.count(notice.value)
            elif not is_active:
                internal.say(notice)
        if (notice is not None) is not is_active:
            change = Input.FALSE if notice is None else Input.TRUE
            self._work.move(internal, change, at_ns, why or Why(self._work.cause_seq))
        return internal

    def follow(self, fields: Mapping[str, Any]) -> None:
        """An audit record of kind ``condition``: another part of Davy says that its alarm is true or false."""
        notice = None
        if fields["is_true"]:
            notice = Notice(
                kind=str(fields["alarm"]).removeprefix("davy:"),
                priority=Priority(fields.get("priority", Priority.HIGH)),
                message=fields["message"],
                value=fields.get("value"),
            )
        why = Why(self._work.cause_seq, note=fields.get("note"))
        self.raise_(str(fields["alarm"]), notice, int(fields["time"]), why)

    def adopted(self, fields: Mapping[str, Any]) -> Internal | None:
        """One of Davy's own alarms as a journaled event tells it (G1)."""
        if fields["rule"] is not None or not str(fields["alarm"]).startswith("davy:"):
            return None
        internal = self.internals[str(fields["alarm"])] = Internal.from_event(fields)
        return internal

    def follow_event(self, subject: Subject, fields: Mapping[str, Any]) -> None:
        """Take over what a journaled event says of an alarm (G1: there is no snapshot)."""
        subject.alarm.follow(fields, latch=subject.profile.latch)
        subject.value, subject.quality = fields["value"], fields["quality"]
        follow_holds(subject, fields)
        if subject.alarm.state is not State.ACKNOWLEDGED:
            subject.re_alarm_due_ns = None
        elif fields["transition"] == Transition.ACKNOWLEDGED:
            self._start_re_alarm(subject, int(fields["time"]))
        self.flags.note_hidden(subject, int(fields["time"]))
        if isinstance(subject, Internal):
            self._follow_end(subject, fields)

    def _follow_end(self, internal: Internal, fields: Mapping[str, Any]) -> None:
        """Maintenance and an exercise go on until the end that their event names."""
        tag = internal.notice.tag if internal.notice.kind == "maintenance" else None
        if not internal.alarm.is_active:
            internal.until_ns = None
            self.concealed.tags.pop(tag or "", None)
        elif fields.get("until") is not None:
            internal.until_ns = fields["until"]
            if tag is not None:
                self.concealed.tags[tag] = None

    def find(self, alarm: str) -> Subject | None:
        """The alarm of that id."""
        return self._work.watches.get(alarm) or self.internals.get(alarm) or self.strangers.get(alarm)

    # ---- the end of a step

    @property
    def is_pending(self) -> bool:
        """Something is to be done when the step ends."""
        return bool(self._look or self._held or self.released)

    @property
    def has_looks(self) -> bool:
        """Something is to be looked at."""
        return bool(self._look or self._held)

    def touch(self, alarm: str) -> None:
        """A reading of a rule that suppresses others has come."""
        self._look.update(dict.fromkeys(self.rivals.lookers.get(alarm, ())))

    def settle(self, at_ns: int) -> None:
        """Exclusive and suppression, then what was held back for them (T6, A8)."""
        while self._look:
            look, self._look = sorted(self._look), {}
            for rule in look:
                watch = self._work.watches.get(rule)
                if watch is not None:
                    self.flags.look(watch, at_ns)
        held, self._held = self._held, []
        for event in held:
            self._work.say(event)

    # ---- unknown rules

    def darken(self, rule: str, at_ns: int) -> None:
        """A rule is unknown or held."""
        if rule not in self.blindness.dark:
            self.blindness.dark[rule] = at_ns
            self._work.timers.set(at_ns + self.settings.blind_after_ns, rule, BLIND)

    # ---- timers

    def arm_faults(self) -> None:
        """Have the timer of the tags' health run."""
        if self.faults is not None and self.faults.due_ns is not None:
            self._work.timers.set(self.faults.due_ns, _FAULTS, FAULT)

    def due_of(self, name: str, kind: int) -> int | None:
        """When a timer of one of the kinds of :meth:`timers` is due."""
        if kind == FAULT:
            return None if self.faults is None else self.faults.due_ns
        if kind == BLIND:
            return self.blindness.due_of(name)
        if kind == COUNT:
            return self.bursts.due_of(name)
        subject = self.find(name)
        if subject is None:
            return None
        if kind == RE_ALARM:
            return subject.re_alarm_due_ns
        if isinstance(subject, Internal) and subject.until_ns is not None:
            return subject.until_ns
        return due_ns_of(subject)

    def fire(self, name: str, kind: int, at_ns: int) -> None:
        """The time has come."""
        if kind == FAULT:
            assert self.faults is not None
            self.faults.fire(at_ns)
            self.arm_faults()
        elif kind == BLIND:
            self.blindness.fire(name, at_ns)
        elif kind == COUNT:
            self.bursts.fire(name, at_ns)
        elif (subject := self.find(name)) is not None:
            if kind == RE_ALARM:
                subject.re_alarm_due_ns = None
                self._work.move(subject, Input.RE_ALARM, at_ns, Why(self._work.cause_seq))
            elif isinstance(subject, Internal) and subject.until_ns is not None:
                self.end(subject, at_ns, Why(self._work.cause_seq, cause=EXPIRED))
            else:
                self.flags.fire(subject, at_ns)

    def end(self, internal: Internal, at_ns: int, why: Why) -> None:
        """Maintenance or an exercise is over."""
        internal.until_ns = None
        self.concealed.tags.pop(internal.notice.tag or "", None)
        self.concealed.look(at_ns)
        self.raise_(internal.alarm.id, None, at_ns, why)

    def timers(self) -> Iterable[tuple[str, int]]:
        """Every name and kind that may have a timer."""
        for name in (*self._work.watches, *self.internals, *self.strangers):
            yield name, RE_ALARM
            yield name, HIDING
        for rule in self.blindness.dark:
            yield rule, BLIND
        for alarm in self.bursts.chatters:
            yield CHATTER + alarm, COUNT
        yield FLOOD, COUNT
        yield _FAULTS, FAULT

    # ---- starts, clock steps, snapshots

    def start(self, at_ns: int) -> None:
        """The agent starts after a gap (T9): what hides is real time and goes on; being blind counts from now."""
        self.blindness.start(at_ns)
        if self.faults is not None:
            self.faults.start(at_ns)

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        for subject in self.subjects():
            subject.shift_life(step_ns)
        for internal in self.internals.values():
            if internal.until_ns is not None:
                internal.until_ns += step_ns
        self.blindness.shift(step_ns)
        self.bursts.shift(step_ns)
        if self.faults is not None:
            self.faults.shift(step_ns)

    def subjects(self) -> Iterable[Subject]:
        """Every alarm: rules, Davy's own, device clocks."""
        yield from self._work.watches.values()
        yield from self.internals.values()
        yield from self.strangers.values()

    def to_fields(self) -> dict[str, Any]:
        """For a snapshot (JSON types)."""
        lives = sorted(each.alarm.id for each in self.subjects() if each.has_life)
        return {
            "internals": [self.internals[name].to_row() for name in sorted(self.internals)],
            "lives": packed([alarm, *subject.life_row()] for alarm in lives if (subject := self.find(alarm))),
            "blindness": self.blindness.to_row(),
            "concealed": self.concealed.to_row(),
            "bursts": self.bursts.to_row(),
            "faults": packed(() if self.faults is None else self.faults.to_rows()),
            "overrun": sorted(self.flags.overrun),
            "look": sorted(self._look),
            "held": [asdict(event) for event in self._held],
        }

    def from_fields(self, fields: Mapping[str, Any]) -> None:
        """The inverse of :meth:`to_fields`; watches and strangers are there already."""
        for row in fields["internals"]:
            internal = Internal.from_row(row)
            self.internals[internal.alarm.id] = internal
        for alarm, *row in fields["lives"]:
            subject = self.find(alarm)
            if subject is not None:
                subject.take_life(row)
        self.rivals.restore(self._work.watches)
        self.blindness.from_row(fields["blindness"])
        self.concealed.from_row(fields["concealed"])
        self.bursts.from_row(fields["bursts"])
        if self.faults is not None:
            self.faults.from_rows(fields["faults"])
        self.flags.overrun = dict.fromkeys(fields["overrun"])
        self._look = dict.fromkeys(fields["look"])
        self._held = [_event(each) for each in fields["held"]]


def _event(fields: Mapping[str, Any]) -> AlarmEvent:
    words: dict[str, Any] = {
        "transition": Transition(fields["transition"]),
        "state": State(fields["state"]),
        "previous": State(fields["previous"]),
        "priority": Priority(fields["priority"]),
    }
    return AlarmEvent(**{**fields, **words})
