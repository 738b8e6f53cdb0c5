"""The rule engine: journal records in, alarm events out; state is a fold over records (spec/rules.md).

The engine has no clock. Records come in seq order; time is the largest ``at`` seen. All readings with one ``at`` form
a *step*; a reading of a later step first fires what is due before it, a reading at the due time is applied first (T5).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from agent.core.batch import Batch, Layout
from agent.core.events import AlarmEvent, State
from agent.core.records import Kind, Record
from agent.core.tags import Tag
from rules.actions import KINDS as ACTIONS
from rules.actions import Actions, Outcome
from rules.build import RuleSet, from_fields
from rules.changes import Change, Force, make, take_back
from rules.clocks import CODE as CLOCK
from rules.clocks import Clocks
from rules.evaluator import Evaluator
from rules.faults import Faults, watched
from rules.keeping import Keeping
from rules.maintenance import mark, marked
from rules.plan import Plan
from rules.snapshot import decode
from rules.subject import AlarmView, Subject
from rules.watch import Watch
from rules.wiring import Wiring

RESTART_GAP_NS: Final = 10_000_000_000
PLANS_MAX: Final = 4_096
"""Layouts remembered; beyond it all are worked out again, which costs time only."""


class Engine:
    """All rules of one agent. Not thread-safe; never raises for what a rule does wrong (see ``faults``)."""

    def __init__(
        self, rules: RuleSet, *, epoch: str, restart_gap_ns: int = RESTART_GAP_NS, has_fault_alarms: bool = False
    ) -> None:
        self.rules = rules
        self.evaluated = 0
        """Readings of non-historical batches that were applied."""
        self._restart_gap_ns = restart_gap_ns
        self._now_ns = -(1 << 62)
        self._work = Evaluator(epoch)
        self._work.release = self._release
        if has_fault_alarms:
            self._work.life.faults = Faults(self._work.life.raise_, self.set_fault)
            self._work.life.faults.in_maintenance = self._work.life.concealed.tags
        self._clocks = Clocks(self._work)
        self._work.late.make = lambda watch: make(self.rules, watch.rule).condition
        self._actions = Actions(self._work, lambda: self.rules.tags)
        self._has_begun = False
        self._wiring = Wiring()
        self._keeping = Keeping(self._work, self._clocks, self._wiring)
        self._plans: dict[int, Plan] = {}
        self._install({rule.id: make(rules, rule) for rule in rules.rules if rule.enabled})

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
            if self._work.is_pending or self._work.timers.may_be_due(at_ns):
                self._work.fire(at_ns, self._now_ns)
            self._now_ns = at_ns
            if not self._has_begun:
                self._begin(at_ns)
        if not batch.historical:
            self.evaluated += len(batch.values)
            if self._work.life.concealed.tags:
                batch = marked(batch, self._work.life.concealed.tags)
            plan = self._plans.get(id(batch.layout)) or self._plan(batch.layout)
            if batch.quality is None and batch.index is None and batch.dt_ns is None and not batch.exercise:
                self._apply_good(plan, batch)
            else:
                self._apply_any(plan, batch)
            if plan.inputs:
                self._work.hear(plan, batch, self._now_ns)
            faults = self._work.life.faults
            if faults is not None and faults.hear(batch, self._now_ns):
                self._work.life.arm_faults()
        else:
            plan = self._plans.get(id(batch.layout)) or self._plan(batch.layout)
            self._work.late.take(batch, plan, cause_seq)
        return self._work.take_events()

    def advance(self, now_ns: int, cause_seq: int | None) -> list[AlarmEvent]:
        """No reading at or before ``now_ns`` will follow: end the step and fire what is due up to and including it."""
        self._work.cause_seq = cause_seq
        self._advance(now_ns)
        return self._work.take_events()

    def set_fault(self, tag: str, is_in_fault: bool) -> None:
        """The fault alarm of a tag came or went (Q6); what looks at the tag sees it when the step ends (C6, C7)."""
        self._wiring.set_fault(self._work, tag, is_in_fault=is_in_fault)

    @property
    def next_due_ns(self) -> int | None:
        """When the next timer fires if nothing comes; None: never."""
        due = self._work.timers.first()
        return None if due is None else due[0]

    def _apply_good(self, plan: Plan, batch: Batch) -> None:
        """All columns, all good, t = at: the common case."""
        fault = self._clocks.by_device.get(batch.layout.device)
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
        fault = self._clocks.by_device.get(batch.layout.device)
        for i, value in enumerate(batch.values):
            position = i if index is None else index[i]
            quality = 0 if qualities is None else qualities[i]
            for watch in plan.by_position[position]:
                if quality == 0 and watch.low < value < watch.high and not exercise:
                    watch.value = value
                else:
                    watch.exercise = exercise
                    self._work.read(watch, value, quality, at_ns, batch.t_ns(i))
            if fault is not None or quality == CLOCK:
                fault = self._clocks.look(fault, batch, position, quality, at_ns)

    # ---- audit records

    def _shift(self, step_ns: int) -> None:
        """UTC stepped: every time that something waits for moves along (T8). ``since`` stays: it cites an event."""
        self._now_ns += step_ns
        for watch in self._work.watches.values():
            watch.shift(step_ns)
        for heard in self._wiring.inputs.values():
            heard.shift(step_ns)
        self._work.life.shift(step_ns)
        self._work.set_timers()

    def _apply_audit(self, fields: Mapping[str, Any]) -> None:
        kind = fields["kind"]
        if kind in ACTIONS:
            self._advance(fields["time"])
            if fields.get("outcome", "done") == "done":
                self._actions.apply(fields, fields["time"])
                self._work.fire(self._now_ns, self._now_ns)
        elif kind == "condition":
            self._advance(fields["time"])
            self._work.life.follow(fields)
            self._work.fire(self._now_ns, self._now_ns)
        elif kind == "clock":
            self._shift(fields["step"])
        elif kind == "start":
            self._start(fields["time"], fields.get("previous_end"))
        elif kind == "configuration" and "rules" in fields and self._is_new(fields):
            tags = {tag.id: tag for tag in map(Tag.from_fields, fields["tags"])}
            self._advance(fields["time"])
            force = Force(fields["force"], fields.get("actor")) if fields.get("force") else None
            settings = fields.get("rules_settings")
            self._reconfigure(from_fields(fields["rules"], tags, self.rules.is_live, settings), force)

    def _is_new(self, fields: Mapping[str, Any]) -> bool:
        """Another rule set, or the same one by force: then what waits is applied (G2)."""
        return fields.get("rules_version") != self.rules.version or bool(fields.get("force"))

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
        self._work.life.start(at_ns)
        self._work.set_timers()
        self._advance(at_ns)
        self._begin(at_ns)

    def _begin(self, at_ns: int) -> None:
        """The first record: from here on every rule should say something (Q7)."""
        if not self._has_begun:
            self._has_begun = True
            if self._work.life.faults is not None:
                self._work.life.faults.start(at_ns)
                self._work.life.arm_faults()
            self._work.life.begin(at_ns, self._work.watches)

    def judge(self, action: Mapping[str, Any]) -> Outcome:
        """What an action (``kind``, ``alarm`` or ``tag`` or ``area`` …) would do now; changes nothing."""
        return self._actions.judge(action, self._now_ns)

    # ---- rule sets

    def reconfigure(self, rules: RuleSet, cause_seq: int | None, force: Force | None = None) -> list[AlarmEvent]:
        """Take another rule set (G2). Rules that stay keep their alarms; what weakens one waits until it is normal.

        :meth:`apply` does the same for a configuration record; the second time changes nothing.
        """
        self._work.cause_seq = cause_seq
        if rules.version != self.rules.version or force is not None:
            self._reconfigure(rules, force)
        return self._work.take_events()

    def _reconfigure(self, rules: RuleSet, force: Force | None) -> None:
        old, self.rules = self.rules, rules
        known = set(self._work.watches)
        self._install(Change(self._work, old, rules, self._now_ns, force).watches())
        self._work.life.begin(self._now_ns, sorted(set(self._work.watches) - known))
        self._work.fire(self._now_ns, self._now_ns)

    def _release(self, at_ns: int) -> None:
        life = self._work.life
        life.released.clear()
        self._install(Change(self._work, self.rules, self.rules, at_ns, None).watches())

    def _install(self, watches: dict[str, Watch]) -> None:
        self._work.watches = watches
        self._wiring.connect(self._work)
        rules = self.rules
        tags_of = {
            name: tuple((tag, rules.tags[tag].kind if tag in rules.tags else None) for tag in watch.rule.inputs)
            for name, watch in watches.items()
        }
        self._work.life.install(rules.settings, tags_of)
        if self._work.life.faults is not None:
            in_force = [watch.rule for watch in watches.values()]
            self._work.life.faults.install(watched(in_force, rules.tags, rules.settings, self._now_ns))
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
        return self._work.life.find(alarm_id)

    def _subjects(self) -> Iterable[Subject]:
        yield from self._work.watches.values()
        life = self._work.life
        yield from sorted((*life.internals.values(), *life.strangers.values()), key=lambda each: each.alarm.id)

    def watch(self, rule: str) -> Watch | None:
        """A rule at work, for the workbench to look at: whoever asks changes nothing of it."""
        return self._work.watches.get(rule)

    def alarms(self) -> list[AlarmView]:
        """Every alarm, rules' first, by id."""
        return [subject.view() for subject in self._subjects()]

    def standing(self) -> list[AlarmView]:
        """The alarms that are not normal, or hidden; then what was found late of others and waits for a person (T2)."""
        standing = [subject.view() for subject in self._subjects() if subject.shown is not State.NORMAL]
        return [*standing, *self._work.late.standing(self._work.watches)]

    @property
    def hidden(self) -> int:
        """How many alarms are hidden by something that shows nothing in their place."""
        return self._work.life.concealed.count

    @property
    def blind(self) -> Mapping[str, int]:
        """Rules that have been unknown or held for too long (Q7), and since when."""
        blindness = self._work.life.blindness
        return {rule: blindness.dark[rule] for rule in sorted(blindness.blind)}

    @property
    def found_late(self) -> Mapping[str, str]:
        """What was found in data that came late and nobody has acknowledged yet (T2): event id and alarm."""
        return {event: found.alarm for event, found in self._work.late.pending.items()}

    @property
    def waiting(self) -> list[str]:
        """Rules whose change waits until their alarm is normal (G2)."""
        return sorted(self._work.life.waiting)

    @property
    def in_maintenance(self) -> frozenset[str]:
        """Tags whose readings are to be journaled as 105 (Q8); :meth:`mark` does it."""
        return frozenset(self._work.life.concealed.tags)

    def mark(self, batch: Batch) -> Batch:
        """The batch as it is to be journaled: readings of tags in maintenance at its time are 105 (Q8)."""
        return mark(batch, self._work.life) if self._work.life.concealed.tags else batch

    def adopt(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Without a snapshot: take states from journaled alarm events (G1), any number of each alarm, in order."""
        self._keeping.adopt(events)

    def snapshot(self) -> bytes:
        """The state as JSON; windows of more than five minutes are left out (see :meth:`refill`)."""
        return self._keeping.encode(self.rules.version, self._now_ns, self.evaluated, has_begun=self._has_begun)

    @classmethod
    def restore(
        cls,
        rules: RuleSet,
        image: bytes,
        *,
        epoch: str,
        restart_gap_ns: int = RESTART_GAP_NS,
        has_fault_alarms: bool = False,
    ) -> Self:
        """An engine as it was at :meth:`snapshot`; SnapshotError where the bytes are something else.

        ``rules`` is the rule set that was in force then.
        """
        state = decode(image, rules.version)
        engine = cls(rules, epoch=epoch, restart_gap_ns=restart_gap_ns, has_fault_alarms=has_fault_alarms)
        engine._now_ns = state.now_ns
        engine.evaluated = state.evaluated
        engine._has_begun = state.extra["has_begun"]
        waiting = take_back(engine._work, state.extra["waiting"], is_live=rules.is_live)
        if waiting:
            engine._install(dict(sorted({**engine._work.watches, **waiting}.items())))
        engine._keeping.restore(state)
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
        plan.refill(batch)
