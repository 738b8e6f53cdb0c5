"""What goes on beside condition and table: flags and their ends, re-alarm, suppression, Davy's own alarms (A3-A11, Q7).

The evaluator asks it at three places: after each event, when a timer of its kinds is due, and at the end of a step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final, Protocol

from agent.core.events import AlarmEvent, Priority, State, Transition
from rules.adopting import follow_holds
from rules.alarm import SHOWN_AGAIN, Input, Move
from rules.diagnostics import CHATTER, FLOOD, Blindness, Bursts, Concealed
from rules.faults import Faults
from rules.hiding import BEGUN, OVER, Hold, Origin
from rules.internal import Internal, Notice
from rules.rivals import Rivals
from rules.settings import Settings
from rules.subject import Subject, Why
from rules.timers import BLIND, COUNT, FAULT, HIDING, RE_ALARM, Timers
from rules.watch import Watch

EXPIRED: Final = "expired"
"""``cause`` of the end of a hiding whose time is up."""
_FAULTS: Final = "davy:faults"


class Work(Protocol):
    """What it needs of the evaluator."""

    watches: dict[str, Watch]
    timers: Timers
    cause_seq: int | None

    def move(self, subject: Subject, change: Input, at_ns: int, why: Why) -> None:
        """Follow the table."""
        ...

    def tell(self, subject: Subject, move: Move, at_ns: int, why: Why, previous: State | None = None) -> None:
        """Make a move that has a transition."""
        ...

    def say(self, event: AlarmEvent) -> None:
        """Hand on an event that was held back."""
        ...


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
        self.faults: Faults | None = None
        """None: no fault alarms (``davy replay --rules``)."""
        self.overrun: dict[str, None] = {}
        """Alarms whose suppression took too long: their flag must go before it may suppress again (A4)."""
        self.waiting: dict[str, Any] = {}
        """Rules that keep their old form until their alarm is normal (G2), with that old form; the engine's."""
        self.released: dict[str, None] = {}
        """Those of them whose alarm has become normal."""
        self._look: dict[str, None] = {}
        self._held: list[AlarmEvent] = []

    # ---- rule sets

    def install(self, settings: Settings, tags_of: Mapping[str, tuple[tuple[str, str | None], ...]]) -> None:
        """Other watches have come; ``tags_of``: id and kind of each rule's tags."""
        self.settings = settings
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
        self._note_hidden(subject, int(fields["time"]))

    # ---- flags

    def find(self, alarm: str) -> Subject | None:
        """The alarm of that id."""
        return self._work.watches.get(alarm) or self.internals.get(alarm) or self.strangers.get(alarm)

    def hide(self, subject: Subject, hold: Hold, at_ns: int) -> None:
        """Set a flag and tell it; a hold that begins later is only kept."""
        previous = subject.shown
        subject.put_hold(hold)
        if hold.is_in_force:
            why = Why(self._work.cause_seq, actor=hold.actor, by=hold.by, reason=hold.reason, until=hold.until_ns)
            self._work.tell(subject, Move(subject.alarm.state, BEGUN[hold.flag]), at_ns, why, previous)
            self._note_hidden(subject, at_ns)
        self._set_hiding(subject)

    def show(
        self, subject: Subject, origin: Origin, at_ns: int, why: Why, transition: Transition | None = None
    ) -> None:
        """Take a flag away and tell it; if it was the last, an active alarm is annunciated anew (A3)."""
        assert subject.holds is not None
        hold = subject.holds.get(origin)
        assert hold is not None
        previous = subject.shown
        subject.holds.drop(origin)
        if not hold.is_in_force:
            return
        alarm = subject.alarm
        self._work.tell(subject, Move(alarm.state, transition or OVER[hold.flag]), at_ns, why, previous)
        if alarm.is_active and not subject.is_hidden:
            if isinstance(subject, Watch):
                alarm.extreme = subject.condition.worse(subject.value, None)
                subject.close()
            self._work.tell(subject, SHOWN_AGAIN, at_ns, Why(self._work.cause_seq))
        self._note_hidden(subject, at_ns)
        self._set_hiding(subject)

    def drop_holds(self, subject: Subject, at_ns: int) -> None:
        """Its rule is gone: nothing is left to hide."""
        subject.holds = None
        self.overrun.pop(subject.alarm.id, None)
        self.concealed.put(subject.alarm.id, at_ns, is_hidden=False)

    def _note_hidden(self, subject: Subject, at_ns: int) -> None:
        is_hidden = subject.holds is not None and subject.holds.conceals
        self.concealed.put(subject.alarm.id, at_ns, is_hidden=is_hidden)

    def _set_hiding(self, subject: Subject) -> None:
        due_ns = self.due_of(subject.alarm.id, HIDING)
        if due_ns is not None:
            self._work.timers.set(due_ns, subject.alarm.id, HIDING)

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
                    self._look_at_rivals(watch, at_ns)
                    self._look_at_flag(watch, at_ns)
        held, self._held = self._held, []
        for event in held:
            self._work.say(event)

    def _look_at_rivals(self, watch: Watch, at_ns: int) -> None:
        worse = self.rivals.worse_than(watch, self._work.watches)
        hold = watch.holds.get(Origin.EXCLUSIVE) if watch.holds else None
        if worse is None and hold is not None:
            self.rivals.release(watch.rule.id)
            self.show(watch, Origin.EXCLUSIVE, at_ns, Why(self._work.cause_seq, by=hold.by))
        elif worse is not None and hold is None:
            self.rivals.suppress(watch.rule.id)
            tag = worse.rule.tag
            self.hide(watch, Hold(Origin.EXCLUSIVE, tag, "exclusive", None, by=worse.rule.id), at_ns)

    def _look_at_flag(self, watch: Watch, at_ns: int) -> None:
        flag = self.rivals.flag_of(watch, self._work.watches)
        hold = watch.holds.get(Origin.FLAG_RULE) if watch.holds else None
        rule = watch.rule.id
        if flag is None:
            self.overrun.pop(rule, None)
            if hold is not None:
                self.show(watch, Origin.FLAG_RULE, at_ns, Why(self._work.cause_seq, by=hold.by))
        elif hold is None and rule not in self.overrun:
            until_ns = at_ns + self.settings.suppressed_ns
            reason = f"suppress_when {flag.rule.id}"
            self.hide(watch, Hold(Origin.FLAG_RULE, flag.rule.tag, reason, until_ns, by=flag.rule.id), at_ns)

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
        following = subject.holds.next if subject.holds else None
        return None if following is None else following.due_ns

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
                self._end_or_begin(subject, at_ns)

    def end(self, internal: Internal, at_ns: int, why: Why) -> None:
        """Maintenance or an exercise is over."""
        internal.until_ns = None
        self.concealed.tags.pop(internal.notice.tag or "", None)
        self.concealed.look(at_ns)
        self.raise_(internal.alarm.id, None, at_ns, why)

    def _end_or_begin(self, subject: Subject, at_ns: int) -> None:
        hold = subject.holds.next if subject.holds else None
        if hold is None:
            return
        if not hold.is_in_force:
            self.hide(subject, Hold(hold.origin, hold.actor, hold.reason, hold.until_ns, hold.by), at_ns)
            return
        why = Why(self._work.cause_seq, cause=EXPIRED, by=hold.by)
        if hold.origin is Origin.FLAG_RULE:
            self.overrun[subject.alarm.id] = None
            self.show(subject, hold.origin, at_ns, why, Transition.SUPPRESSION_OVERRUN)
        else:
            self.show(subject, hold.origin, at_ns, why)

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
        lives = {subject.alarm.id: subject.life_row() for subject in self.subjects()}
        return {
            "internals": [self.internals[name].to_row() for name in sorted(self.internals)],
            "lives": {alarm: row for alarm, row in sorted(lives.items()) if row},
            "blindness": self.blindness.to_row(),
            "concealed": self.concealed.to_row(),
            "bursts": self.bursts.to_row(),
            "faults": [] if self.faults is None else self.faults.to_rows(),
            "overrun": sorted(self.overrun),
            "look": sorted(self._look),
            "held": [asdict(event) for event in self._held],
        }

    def from_fields(self, fields: Mapping[str, Any]) -> None:
        """The inverse of :meth:`to_fields`; watches and strangers are there already."""
        for row in fields["internals"]:
            internal = Internal.from_row(row)
            self.internals[internal.alarm.id] = internal
        for alarm, row in fields["lives"].items():
            subject = self.find(alarm)
            if subject is not None:
                subject.take_life(row)
        self.rivals.restore(self._work.watches)
        self.blindness.from_row(fields["blindness"])
        self.concealed.from_row(fields["concealed"])
        self.bursts.from_row(fields["bursts"])
        if self.faults is not None:
            self.faults.from_rows(fields["faults"])
        self.overrun = dict.fromkeys(fields["overrun"])
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
