"""The rule engine: journal records in, alarm events out; state is a fold over records (spec/rules.md).

The engine has no clock. Records come in seq order; time is the largest ``at`` seen. All readings with one ``at`` form
a *step*; a reading of a later step first fires what is due before it, a reading at the due time is applied first (T5).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from agent.core.batch import Batch, Layout
from agent.core.events import AlarmEvent, State
from agent.core.quality import FIRST_BAD, Quality
from agent.core.records import Kind, Record
from agent.core.tags import Tag
from rules.alarm import ENDED, TRANSITIONS, Input
from rules.build import RuleSet, from_fields
from rules.done import apply_done
from rules.evaluator import Evaluator
from rules.internal import CLOCK, ClockFault, clock_fault
from rules.model import SOFT_KEYS, RuleBase
from rules.plan import Plan
from rules.snapshot import Image, decode, encode
from rules.subject import AlarmView, Subject, Why
from rules.watch import Watch
from rules.wiring import Wiring

RESTART_GAP_NS: Final = 10_000_000_000
PLANS_MAX: Final = 4_096
"""Layouts remembered; beyond it all are worked out again, which costs time only."""

_ACTIONS: Final[Mapping[str, Input]] = {"acknowledge": Input.ACKNOWLEDGE, "reset": Input.RESET}
_CLOCK: Final = Quality.CLOCK.value


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action does now; ``reason``: unknown_action, unknown_alarm, superseded, wrong_state or bad_input."""

    outcome: str
    reason: str | None
    alarm: str
    state: State | None
    """After the action; None for an alarm that does not exist."""


class Engine:
    """All rules of one agent. Not thread-safe; never raises for what a rule does wrong (see ``faults``)."""

    def __init__(self, rules: RuleSet, *, epoch: str, restart_gap_ns: int = RESTART_GAP_NS) -> None:
        self.rules = rules
        self.evaluated = 0
        """Readings of non-historical batches that were applied."""
        self._restart_gap_ns = restart_gap_ns
        self._now_ns = -(1 << 62)
        self._work = Evaluator(epoch)
        self._clock_faults: dict[str, ClockFault] = {}
        self._wiring = Wiring()
        self._plans: dict[int, Plan] = {}
        self._install({rule.id: _watch(rules, rule) for rule in rules.rules if rule.enabled})

    @property
    def faults(self) -> Mapping[str, str]:
        """Rules whose last evaluation failed by a bug, with the error; the others go on."""
        return self._work.faults

    @property
    def fault_count(self) -> int:
        """How many evaluations have failed."""
        return self._work.fault_count

    # ---- records

    def apply(self, record: Record) -> list[AlarmEvent]:
        """Take the next record; its events in order. ALARM records are ignored: they are the engine's own output."""
        if record.kind is Kind.READINGS:
            assert record.batch is not None
            return self.apply_batch(record.batch, record.seq)
        self._work.cause_seq = record.seq
        if record.kind is Kind.TICK:
            self._advance(record.at_ns)
        elif record.kind is Kind.AUDIT:
            self._apply_audit(record.fields)
        return self._work.take_events()

    def apply_batch(self, batch: Batch, cause_seq: int | None) -> list[AlarmEvent]:
        """Take a batch of readings; ``cause_seq`` is its record's, None in a replay without a journal."""
        self._work.cause_seq = cause_seq
        at_ns = batch.at_ns
        if at_ns > self._now_ns:
            if self._work.agenda or self._work.timers.may_be_due(at_ns):
                self._work.fire(at_ns, self._now_ns)
            self._now_ns = at_ns
        if not batch.historical:
            self.evaluated += len(batch.values)
            plan = self._plans.get(id(batch.layout)) or self._plan(batch.layout)
            if batch.quality is None and batch.index is None and batch.dt_ns is None and not batch.exercise:
                self._apply_good(plan, batch)
            else:
                self._apply_any(plan, batch)
            if plan.inputs:
                self._work.hear(plan, batch, self._now_ns)
        return self._work.take_events()

    def advance(self, now_ns: int, cause_seq: int | None) -> list[AlarmEvent]:
        """No reading at or before ``now_ns`` will follow: end the step and fire what is due up to and including it."""
        self._work.cause_seq = cause_seq
        self._advance(now_ns)
        return self._work.take_events()

    def set_fault(self, tag: str, *, is_in_fault: bool) -> None:
        """The fault alarm of a tag came or went (Q6); what looks at the tag sees it when the step ends (C6, C7)."""
        self._wiring.set_fault(self._work, tag, is_in_fault=is_in_fault)

    @property
    def next_due_ns(self) -> int | None:
        """When the next timer fires if nothing comes; None: never."""
        due = self._work.timers.first()
        return None if due is None else due[0]

    def _apply_good(self, plan: Plan, batch: Batch) -> None:
        """All columns, all good, t = at: the common case."""
        fault = self._clock_faults.get(batch.layout.device)
        if fault is not None and fault.tags:
            self._apply_any(plan, batch)
            return
        at_ns = self._now_ns
        t_ns = batch.at_ns
        for watch, value in plan.pairs(batch.values):
            if watch.low < value < watch.high:
                watch.value = value
            else:
                watch.exercise = False
                self._work.read(watch, value, 0, at_ns, t_ns)

    def _apply_any(self, plan: Plan, batch: Batch) -> None:
        at_ns = self._now_ns
        qualities, index, exercise = batch.quality, batch.index, batch.exercise
        fault = self._clock_faults.get(batch.layout.device)
        for i, value in enumerate(batch.values):
            position = i if index is None else index[i]
            quality = 0 if qualities is None else qualities[i]
            for watch in plan.by_position[position]:
                if quality == 0 and watch.low < value < watch.high and not exercise:
                    watch.value = value
                else:
                    watch.exercise = exercise
                    self._work.read(watch, value, quality, at_ns, batch.t_ns(i))
            if fault is not None or quality == _CLOCK:
                fault = self._look_at_clock(fault, batch, position, quality)

    # ---- audit records

    def _shift(self, step_ns: int) -> None:
        """UTC stepped: every time that something waits for moves along (T8). ``since`` stays: it cites an event."""
        self._now_ns += step_ns
        for watch in self._work.watches.values():
            watch.shift(step_ns)
        for heard in self._wiring.inputs.values():
            heard.shift(step_ns)
        self._work.set_timers()

    def _apply_audit(self, fields: Mapping[str, Any]) -> None:
        kind = fields["kind"]
        if kind in _ACTIONS:
            self._apply_action(fields)
        elif kind == "done":
            self._advance(fields["time"])
            apply_done(self._work, fields)
        elif kind == "clock":
            self._shift(fields["step"])
        elif kind == "start":
            self._start(fields["time"], fields.get("previous_end"))
        elif kind == "configuration" and fields.get("rules_version") != self.rules.version and "rules" in fields:
            tags = {tag.id: tag for tag in map(Tag.from_fields, fields["tags"])}
            self._advance(fields["time"])
            self._reconfigure(from_fields(fields["rules"], tags, live=self.rules.is_live))

    def _advance(self, now_ns: int) -> None:
        self._work.fire(now_ns + 1, self._now_ns)
        self._now_ns = max(self._now_ns, now_ns)

    def _start(self, at_ns: int, previous_end_ns: int | None) -> None:
        """T8: UTC before the last record is a step. T9: a stop of more than the gap; a shorter one changes nothing."""
        if previous_end_ns is not None:
            if at_ns < previous_end_ns and at_ns < self._now_ns:
                self._shift(at_ns - previous_end_ns)
                return
            if at_ns - previous_end_ns <= self._restart_gap_ns:
                return
            self._advance(previous_end_ns)
        for watch in self._work.watches.values():
            watch.start(at_ns)
        self._now_ns = max(self._now_ns, at_ns)
        self._work.set_timers()

    def _apply_action(self, fields: Mapping[str, Any]) -> None:
        at_ns = fields["time"]
        self._advance(at_ns)
        if fields.get("outcome", "done") != "done" or self.judge(fields).outcome != "done":
            return
        subject = self._subject(fields["alarm"])
        assert subject is not None
        why = Why(self._work.cause_seq, actor=fields.get("actor"), note=fields.get("note"))
        self._work.move(subject, _ACTIONS[fields["kind"]], at_ns, why)

    def judge(self, action: Mapping[str, Any]) -> Outcome:
        """What an acknowledge or reset (``kind``, ``alarm``, ``event``) would do now; changes nothing.

        ``event`` None means the present occurrence.
        """
        alarm_id = str(action["alarm"])
        subject = self._subject(alarm_id)
        change = _ACTIONS.get(action["kind"])
        if subject is None:
            return Outcome("rejected", "unknown_alarm", alarm_id, None)
        alarm = subject.alarm
        if change is None:
            return Outcome("rejected", "unknown_action", alarm_id, alarm.state)
        event = action.get("event")
        if event is not None and event != alarm.event:
            return Outcome("rejected", "superseded", alarm_id, alarm.state)
        move = TRANSITIONS[alarm.state].get(change)
        if move is None:
            return Outcome("rejected", "wrong_state", alarm_id, alarm.state)
        if change is Input.RESET and not subject.has_evidence:
            return Outcome("rejected", "bad_input", alarm_id, alarm.state)
        return Outcome("done", None, alarm_id, move.state)

    # ---- Davy's own alarms

    def _look_at_clock(self, fault: ClockFault | None, batch: Batch, position: int, quality: int) -> ClockFault:
        layout = batch.layout
        if fault is None:
            fault = self._clock_faults[layout.device] = clock_fault(layout)
        tag = layout.tags[position]
        if quality == _CLOCK:
            fault.tags.add(tag)
        elif tag in fault.tags:
            fault.tags.discard(tag)
        else:
            return fault
        is_wrong = bool(fault.tags)
        if is_wrong != fault.alarm.is_active:
            fault.quality, fault.exercise = quality, batch.exercise
            self._work.move(fault, Input.TRUE if is_wrong else Input.FALSE, self._now_ns, Why(self._work.cause_seq))
        return fault

    # ---- rule sets

    def reconfigure(self, rules: RuleSet, cause_seq: int | None) -> list[AlarmEvent]:
        """Take another rule set (G2). Rules that stay keep their alarms; one that is gone ends its alarm.

        :meth:`apply` does the same for a configuration record; the second time changes nothing.
        """
        self._work.cause_seq = cause_seq
        self._reconfigure(rules)
        return self._work.take_events()

    def _reconfigure(self, rules: RuleSet) -> None:
        watches: dict[str, Watch] = {}
        for rule in rules.rules:
            if not rule.enabled:
                continue
            old = self._work.watches.pop(rule.id, None)
            if old is not None and old.rule == rule and self.rules.tags_of(rule) == rules.tags_of(rule):
                watches[rule.id] = old
                continue
            watches[rule.id] = watch = _watch(rules, rule)
            if old is not None:
                watch.take_over(old, is_soft=_is_soft(old.rule, rule))
        for _, gone in sorted(self._work.watches.items()):
            self._work.faults.pop(gone.rule.id, None)
            if gone.alarm.state is not State.NORMAL:
                self._work.tell(gone, ENDED, self._now_ns, Why(self._work.cause_seq, cause="config"))
        self.rules = rules
        self._install(watches)

    def _install(self, watches: dict[str, Watch]) -> None:
        self._work.watches = watches
        self._wiring.connect(self._work)
        self._plans = {}
        self._work.set_timers()

    def _plan(self, layout: Layout) -> Plan:
        # Looked up by identity: hashing a thousand tag names per batch would cost more than evaluating them.
        # The plan keeps its layout alive, so an identity is never used twice.
        if len(self._plans) >= PLANS_MAX:
            self._plans.clear()
        plan = self._plans[id(layout)] = Plan(layout, self._wiring.by_tag, self._wiring.inputs)
        return plan

    # ---- looking at it, keeping it

    def _subject(self, alarm_id: str) -> Subject | None:
        watch = self._work.watches.get(alarm_id)
        if watch is not None:
            return watch
        return next((fault for fault in self._clock_faults.values() if fault.alarm.id == alarm_id), None)

    def _subjects(self) -> Iterable[Subject]:
        yield from self._work.watches.values()
        yield from (self._clock_faults[device] for device in sorted(self._clock_faults))

    def watch(self, rule: str) -> Watch | None:
        """A rule at work, for the workbench to look at: whoever asks changes nothing of it."""
        return self._work.watches.get(rule)

    def alarms(self) -> list[AlarmView]:
        """Every alarm, rules' first, by id."""
        return [subject.view() for subject in self._subjects()]

    def standing(self) -> list[AlarmView]:
        """The alarms that are not normal."""
        return [subject.view() for subject in self._subjects() if subject.alarm.state is not State.NORMAL]

    def adopt(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Without a snapshot: take states from journaled alarm events (G1), any number of each alarm, in order."""
        for fields in events:
            subject = self._subject(fields["alarm"]) or self._adopted_fault(fields)
            if subject is not None:
                subject.alarm.follow(fields)
                subject.value, subject.quality = fields["value"], fields["quality"]
        for watch in self._work.watches.values():
            watch.close()
            if watch.alarm.is_active:
                watch.condition.assume_true()

    def _adopted_fault(self, fields: Mapping[str, Any]) -> ClockFault | None:
        prefix, suffix = CLOCK.split("{}")
        alarm = str(fields["alarm"])
        if not (alarm.startswith(prefix) and alarm.endswith(suffix)):
            return None
        device = alarm[len(prefix) : -len(suffix)]
        fault = self._clock_faults[device] = ClockFault(device, fields["source"])
        return fault

    def snapshot(self) -> bytes:
        """The state as JSON; windows of more than five minutes are left out (see :meth:`refill`)."""
        watches = ((rule, watch.to_row()) for rule, watch in self._work.watches.items())
        faults = [fault.to_row() for fault in self._clock_faults.values()]
        extra = {"inputs": self._wiring.to_rows(), "agenda": self._work.agenda.places()}
        return encode(Image(self.rules.version, self._now_ns, self.evaluated, watches, faults, extra))

    @classmethod
    def restore(cls, rules: RuleSet, image: bytes, *, epoch: str, restart_gap_ns: int = RESTART_GAP_NS) -> Self:
        """An engine as it was at :meth:`snapshot`; SnapshotError where the bytes are something else.

        ``rules`` is the rule set that was in force then.
        """
        state = decode(image, rules.version)
        engine = cls(rules, epoch=epoch, restart_gap_ns=restart_gap_ns)
        engine._now_ns = state.now_ns
        engine.evaluated = state.evaluated
        for rule, row in state.watches:
            engine._work.watches[rule].from_row(row)
        for row in state.faults:
            fault = ClockFault.from_row(row)
            engine._clock_faults[fault.device] = fault
        engine._wiring.from_rows(state.extra["inputs"])
        engine._work.agenda.clear()
        engine._work.agenda.touch(state.extra["agenda"])
        engine._work.set_timers()
        return engine

    @property
    def refill_from_ns(self) -> int | None:
        """After a restore: give :meth:`refill` the batches that hold readings from this event time on; None: none."""
        starts = (watch.condition.missing_from_ns for watch in self._work.watches.values())
        return min((start for start in starts if start is not None), default=None)

    def refill(self, batch: Batch) -> None:
        """Give back, in seq order and before anything is applied, a batch older than the snapshot (G1)."""
        if batch.historical:
            return
        plan = self._plans.get(id(batch.layout)) or self._plan(batch.layout)
        for i, value in enumerate(batch.values):
            quality = 0 if batch.quality is None else batch.quality[i]
            if quality >= FIRST_BAD or not math.isfinite(value):
                value = math.nan  # what a window keeps of a bad reading
            for watch in plan.by_position[i if batch.index is None else batch.index[i]]:
                if value == value or watch.condition.keeps_bad:
                    watch.condition.refill(value, batch.t_ns(i))
            heard = plan.inputs.get(i if batch.index is None else batch.index[i])
            if heard is not None:
                heard.refill(value, batch.t_ns(i))


def _watch(rules: RuleSet, rule: RuleBase) -> Watch:
    return Watch(rule, rules.tag(rule), is_live=rules.is_live)


def _is_soft(old: RuleBase, new: RuleBase) -> bool:
    """Only limits, delays, priority or texts changed, so the condition keeps its memory (G2)."""
    one, other = (rule.model_dump(exclude=set(SOFT_KEYS)) for rule in (old, new))
    return one == other
