"""From readings and timers to alarm events, one rule at a time: condition, delays, table (spec/rules.md A1, A2, Q5)."""

import math
from collections.abc import Callable, Sequence

from agent.core.batch import Batch
from agent.core.events import AlarmEvent, State
from agent.core.quality import FIRST_BAD, Quality
from rules.alarm import TRANSITIONS, Input, Move
from rules.degraded import DEGRADED, degraded
from rules.joint import Joint
from rules.late import Late
from rules.lifecycle import Lifecycle
from rules.plan import Plan
from rules.settings import DEFAULT
from rules.steps import Agenda
from rules.subject import Subject, Why
from rules.timers import DELAY, STALE, Timers
from rules.watch import AT_START, BAD_INPUT, Watch

_NAN = Quality.NOT_A_NUMBER.value


class Evaluator:
    """The watches of a rule set and their timers. ``cause_seq`` is the record that is being applied."""

    def __init__(self, epoch: str) -> None:
        self.cause_seq: int | None = None
        self.watches: dict[str, Watch] = {}
        self.timers = Timers(self._due_of)
        self.faults: dict[str, str] = {}
        """Rules whose last evaluation failed by a bug, with the error; the others go on."""
        self.fault_count = 0
        self.joint: Sequence[Watch] = ()
        """Rules over several tags or over other rules, by their places in the order of T6."""
        self.late_from = 0
        """From this place on they are looked at after the timers of their time."""
        self.agenda = Agenda()
        self.life = Lifecycle(self, DEFAULT)
        self.release: Callable[[int], None] = lambda _: None
        """Takes the rules that waited for their alarms (G2), at a time; the engine's."""
        self._epoch = epoch
        self.late = Late(epoch, self.say)
        self._events: list[AlarmEvent] = []

    def read(self, watch: Watch, value: float, quality: int, at_ns: int, t_ns: int) -> None:
        """Evaluate one reading; never raises."""
        try:
            self._evaluate(watch, value, quality, at_ns, t_ns)
        except Exception as error:  # noqa: BLE001 -- one rule's bug must not stop the others; it is reported
            self._mark_faulted(watch, error)
        else:
            if watch.is_faulted:
                watch.is_faulted = False
                del self.faults[watch.rule.id]

    def _evaluate(self, watch: Watch, value: float, quality: int, at_ns: int, t_ns: int) -> None:
        is_finite = math.isfinite(value)
        if not is_finite and quality < FIRST_BAD:
            quality = _NAN
        watch.quality = quality
        watch.reading = value if is_finite else None
        condition, alarm = watch.condition, watch.alarm
        if watch.followers:
            self.agenda.touch(watch.followers)
        if quality < FIRST_BAD:
            truth = watch.truth = condition.take(value, quality, t_ns, at_ns)
            watch.value = condition.value
            if truth:
                watch.is_by_bad = False
            if alarm.is_active:
                alarm.extreme = condition.worse(watch.value, alarm.extreme)
        else:
            truth = self._judge_bad(watch, value, quality, at_ns, t_ns)
        self._settle(watch, truth, at_ns)
        watch.is_new = False
        if watch.is_timed and (due_ns := condition.due_ns) is not None:
            self.timers.set(due_ns, alarm.id, STALE)
        if condition.is_derived:
            return  # every reading counts: the band is never open
        if quality == 0 and not watch.exercise:
            watch.rearm()
        else:
            watch.close()

    def _judge_bad(self, watch: Watch, value: float, quality: int, at_ns: int, t_ns: int) -> bool | None:
        """What a bad reading makes of a rule (Q4, Q5)."""
        condition = watch.condition
        if condition.meet_bad(value, quality, t_ns):
            watch.truth = True
            self._note_true(watch)
            return True
        truth = watch.judge_bad(at_ns)
        if condition.sees_bad and truth is not None:
            watch.truth = truth
            watch.value = condition.value
        return truth

    def conclude(self, watch: Watch, truth: bool, at_ns: int) -> None:
        """What is no reading has made the condition true or false."""
        watch.truth = truth
        watch.value = watch.condition.value
        self.agenda.touch(watch.followers)
        self._settle(watch, truth, at_ns)
        due_ns = watch.condition.due_ns
        if due_ns is not None:
            self.timers.set(due_ns, watch.rule.id, STALE)

    def _note_true(self, watch: Watch) -> None:
        """A bad reading is evidence all the same (Q4)."""
        watch.value, watch.is_by_bad = watch.condition.value, False
        if watch.alarm.is_active:
            watch.alarm.extreme = watch.condition.worse(watch.value, watch.alarm.extreme)

    def hear(self, plan: Plan, batch: Batch, at_ns: int) -> None:
        """Keep the readings that rules over several tags look at when the step ends."""
        index = range(len(batch.values)) if batch.index is None else batch.index
        inputs = plan.inputs
        for i, position in enumerate(index) if batch.index is not None else ((i, i) for i in inputs):
            heard = inputs.get(position)
            if heard is None:
                continue
            value = batch.values[i]
            quality = heard.hear(value, 0 if batch.quality is None else batch.quality[i], at_ns)
            heard.exercise = batch.exercise
            self.agenda.touch(heard.followers)
            for watch in heard.listeners:
                try:
                    watch.condition.hear(heard.tag, value, quality, batch.t_ns(i), at_ns)
                except Exception as error:  # noqa: BLE001 -- as in read
                    self._mark_faulted(watch, error)

    def _look(self, watch: Watch, at_ns: int) -> None:
        """Evaluate a rule over several tags or over other rules; never raises."""
        try:
            self._evaluate_joint(watch, at_ns)
        except Exception as error:  # noqa: BLE001 -- as in read
            self._mark_faulted(watch, error)
        else:
            if watch.is_faulted:
                watch.is_faulted = False
                del self.faults[watch.rule.id]

    def _evaluate_joint(self, watch: Watch, at_ns: int) -> None:
        condition = watch.condition
        assert isinstance(condition, Joint)
        self.agenda.touch(watch.followers)
        truth = watch.truth = condition.look(at_ns)
        watch.quality, watch.exercise = condition.evidence()
        watch.reading = condition.reading
        if condition.can_degrade:
            self.life.raise_(DEGRADED + watch.rule.id, degraded(watch.rule.id, condition.note), at_ns)
        if condition.is_on_bad:
            watch.truth = None
            truth = watch.judge_bad(at_ns)
        else:
            watch.value = condition.value
            if truth:
                watch.is_by_bad = False
            if watch.alarm.is_active:
                watch.alarm.extreme = condition.worse(watch.value, watch.alarm.extreme)
        self._settle(watch, truth, at_ns)
        watch.is_new = False

    def _settle(self, watch: Watch, truth: bool | None, at_ns: int) -> None:
        """Delays (A1), then the table (A2). Unknown acts on delays as a bad reading under hold does."""
        is_active = watch.alarm.is_active
        if truth is None or watch.is_flag or self.life.blindness.dark:
            self._watch_over(watch, truth, at_ns)
        if truth == is_active:
            watch.delay_due_ns = None  # what ran has been contradicted
            watch.is_overdue = watch.is_standing = watch.is_by_bad = False
        elif truth is None:
            if is_active:
                watch.delay_due_ns = None  # the off-delay starts anew at the first reading that proves it false
        elif truth:
            self._rise(watch, at_ns)
        elif watch.off_delay_ns == 0:
            self._change(watch, Input.FALSE, at_ns)
        elif watch.delay_due_ns is None:
            self._delay(watch, at_ns, watch.off_delay_ns)

    def _rise(self, watch: Watch, at_ns: int) -> None:
        """True, and the alarm is not active."""
        if watch.delay_due_ns is None:
            watch.is_standing = watch.is_new
        if watch.on_delay_ns == 0 or watch.is_overdue:
            self._change(watch, Input.TRUE, at_ns)
        elif watch.delay_due_ns is None:
            self._delay(watch, at_ns, watch.on_delay_ns)

    def _watch_over(self, watch: Watch, truth: bool | None, at_ns: int) -> None:
        """What is suppressed by it is looked at (A4), and whether it can tell at all (Q7)."""
        life = self.life
        if watch.is_flag:
            life.touch(watch.rule.id)
        if truth is not None:
            if watch.alarm.id in life.blindness.dark:
                life.blindness.see(watch.alarm.id, at_ns)
        elif not watch.condition.sees_bad:
            life.darken(watch.rule.id, at_ns)

    def _delay(self, watch: Watch, at_ns: int, delay_ns: int) -> None:
        watch.set_delay(at_ns, delay_ns)
        self.timers.set(at_ns + delay_ns, watch.alarm.id, DELAY)

    def _change(self, watch: Watch, change: Input, at_ns: int) -> None:
        """The condition, delays included, has changed."""
        note, cause = watch.remark, None
        if change is Input.TRUE:
            watch.alarm.extreme = watch.condition.worse(watch.value, None)
            note = joined(AT_START if watch.is_standing else None, watch.remark)
            cause = BAD_INPUT if watch.is_by_bad else None
        elif watch.profile.latch:
            change = Input.FALSE_LATCHED
        watch.delay_due_ns = None
        watch.is_overdue = watch.is_standing = watch.is_by_bad = False
        self.move(watch, change, at_ns, Why(self.cause_seq, note=note, cause=cause))

    def move(self, subject: Subject, change: Input, at_ns: int, why: Why) -> None:
        """Follow the table; what it does not hold changes nothing."""
        move = TRANSITIONS[subject.alarm.state].get(change)
        if move is not None and move.transition is not None:
            self.tell(subject, move, at_ns, why)

    def tell(self, subject: Subject, move: Move, at_ns: int, why: Why, previous: State | None = None) -> None:
        """Make a move that has a transition; ``previous`` where the flags have changed already."""
        life = self.life
        event = subject.move(move, at_ns, self._epoch, why, previous=previous, first=life.is_first(subject, move))
        if not life.holds_back(subject, event):
            self._events.append(event)
        life.told(subject, event)
        if subject.counted_by:
            self.agenda.touch(subject.counted_by)

    def say(self, event: AlarmEvent) -> None:
        """Hand on an event that was held back (A8)."""
        self._events.append(event)

    def take_events(self) -> list[AlarmEvent]:
        """The events since the last call, in order."""
        events = self._events
        if events:
            self._events = []
            return events
        return []

    def _mark_faulted(self, watch: Watch, error: Exception) -> None:
        watch.is_faulted = True
        watch.close()
        self.fault_count += 1
        self.faults[watch.rule.id] = f"{type(error).__name__}: {error}"

    def _due_of(self, rule: str, kind: int) -> int | None:
        if kind > DELAY:
            return self.life.due_of(rule, kind)
        watch = self.watches.get(rule)
        if watch is None:
            return None
        return watch.delay_due_ns if kind == DELAY else watch.condition.due_ns

    @property
    def is_pending(self) -> bool:
        """Something is to be done when the step ends."""
        return bool(self.agenda) or self.life.is_pending or self.late.is_pending

    def fire(self, before_ns: int, step_ns: int) -> None:
        """End the step at ``step_ns`` (T6), then fire what is due strictly before a time (T5)."""
        if self.late.is_pending:
            self.late.end_step(step_ns)
        if self.agenda or self.life.is_pending:
            self._finish(step_ns)
            self._release(step_ns)
        while (due := self.timers.first()) is not None and due[0] < before_ns:
            self._finish(due[0])
            self._release(due[0])

    def _release(self, at_ns: int) -> None:
        if self.life.released:
            self.release(at_ns)

    def _finish(self, at_ns: int) -> None:
        """What looks at several tags or rules, the timers of the time, then again what they have changed."""
        agenda, timers, joint = self.agenda, self.timers, self.joint
        while (place := agenda.first()) is not None and place < self.late_from:
            self._look(joint[agenda.pop()], at_ns)
        self.life.settle(at_ns)
        while (due := timers.first()) is not None and due[0] <= at_ns and due[1] == 0:
            self._fire_next()
        while True:
            place, due = agenda.first(), timers.first()
            if due is not None and due[0] <= at_ns and due[1] and (place is None or due[1] <= place):
                self._fire_next()
            elif place is not None:
                self._look(joint[agenda.pop()], at_ns)
            elif self.life.has_looks:
                self.life.settle(at_ns)
            else:
                return

    def _fire_next(self) -> None:
        at_ns, _, rule, kind = self.timers.pop()
        if kind > DELAY:
            self.life.fire(rule, kind, at_ns)
            return
        watch = self.watches[rule]
        try:
            self._fire_one(watch, kind, at_ns)
        except Exception as error:  # noqa: BLE001 -- as in read
            watch.delay_due_ns = None
            self._mark_faulted(watch, error)

    def _fire_one(self, watch: Watch, kind: int, at_ns: int) -> None:
        if kind == DELAY:
            self._change(watch, Input.FALSE if watch.alarm.is_active else Input.TRUE, at_ns)
        else:
            watch.condition.fire()
            watch.truth = True
            self.agenda.touch(watch.followers)
            watch.value = watch.condition.value
            self._settle(watch, True, at_ns)
        watch.close()

    def set_timers(self) -> None:
        """Make the timers anew after every time has moved, or after other watches came."""
        self.timers.clear()
        for rule in self.watches:
            for kind in (STALE, DELAY):
                due_ns = self._due_of(rule, kind)
                if due_ns is not None:
                    self.timers.set(due_ns, rule, kind)
        for name, kind in self.life.timers():
            due_ns = self.life.due_of(name, kind)
            if due_ns is not None:
                self.timers.set(due_ns, name, kind)


def joined(*texts: str | None) -> str | None:
    """The texts that there are, in one; None where there is none."""
    return "; ".join(text for text in texts if text is not None) or None
