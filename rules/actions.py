"""What people do to alarms: judged before it is journaled, applied when its record comes (spec/rules.md A2-A8, Q8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.core.events import Priority, State, Transition
from agent.core.tags import Tag
from rules.alarm import TRANSITIONS, Input, Move
from rules.done import apply_done
from rules.evaluator import Evaluator
from rules.hiding import FLAG_OF, SHOWN, Hold, Origin, Term, longest_ns, term
from rules.internal import Notice
from rules.maintenance import EXERCISE, MAINTENANCE
from rules.subject import Subject, Why
from rules.timers import HIDING
from rules.watch import Watch

CUT: Final = "until_cut"
"""``reason`` of a hiding that was granted, but only as long as its limit allows (A4)."""
IN_FORCE: Final = frozenset({"gas", "fire", "level"})
"""A planned stop leaves alarms on tags of these kinds in force, and on tags whose kind is not known (A8)."""
_CLOSED: Final = frozenset({State.NORMAL, State.LATCHED_ACKNOWLEDGED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action does now; ``reason`` says why it was rejected, or :data:`CUT`.

    Reasons: unknown_action, unknown_alarm, unknown_tag, unknown_area, superseded, wrong_state, bad_input,
    not_shelvable, already_hidden, not_hidden, no_actor, no_reason, no_until, until_is_past, no_finding, no_note.
    """

    outcome: str
    reason: str | None
    alarm: str
    state: State | None
    """After the action, as people see it; None for an alarm that does not exist."""
    until: int | None = None
    """The end that a hiding gets (ns UTC); journal this one."""


class Actions:
    """The actions of spec/wire.md on the alarms of one engine. Who may do what is decided before."""

    def __init__(self, work: Evaluator, tags: Callable[[], Mapping[str, Tag]]) -> None:
        self._work = work
        self._life = work.life
        self._tags = tags

    def judge(self, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """What it would do now; changes nothing. ``event`` None means the present occurrence."""
        kind = str(action["kind"])
        if kind in _SITE:
            return _SITE[kind][0](self, action, int(action.get("time", now_ns)))
        alarm_id = str(action.get("alarm") or "")
        if kind == "silence" and not alarm_id:
            return _done("", None) if self._sounding() else _rejected("", "wrong_state")
        subject = self._life.find(alarm_id)
        if subject is None:
            return _rejected(alarm_id, "unknown_alarm")
        if kind not in _ALARM:
            return _rejected(alarm_id, "unknown_action", subject)
        event = action.get("event")
        if self._late_event(subject, action) is not None:
            return _done(alarm_id, subject)
        if event is not None and event != subject.alarm.event:
            return _rejected(alarm_id, "superseded", subject)
        return _ALARM[kind][0](self, subject, action, int(action.get("time", now_ns)))

    def apply(self, action: Mapping[str, Any], at_ns: int) -> None:
        """Do it, if it can be done now."""
        outcome = self.judge({**action, "time": at_ns}, at_ns)
        if outcome.outcome != "done":
            return
        kind = str(action["kind"])
        why = Why(
            self._work.cause_seq,
            actor=action.get("actor"),
            note=action.get("note"),
            reason=action.get("reason") if action.get("reason") != CUT else None,
            until=outcome.until,
        )
        if kind in _SITE:
            _SITE[kind][1](self, action, at_ns, why)
            return
        subjects = [self._life.find(outcome.alarm)] if outcome.alarm else self._sounding()
        late = self._late_event(subjects[0], action) if subjects else None
        if late is not None:
            self._work.late.acknowledge(self._work.watches[outcome.alarm], late, at_ns, why)
            return
        for subject in subjects:
            if subject is not None:
                _ALARM[kind][1](self, subject, action, at_ns, why)

    def _late_event(self, subject: Subject | None, action: Mapping[str, Any]) -> str | None:
        """What was found late and is acknowledged (T2): what the action names, or what is listed for a normal alarm."""
        if subject is None or action["kind"] != "acknowledge":
            return None
        alarm, event = subject.alarm.id, action.get("event")
        if event is None and subject.shown is State.NORMAL:
            return self._work.late.oldest(alarm)
        return event if self._work.late.knows(alarm, event) else None

    def _sounding(self) -> list[Subject]:
        return [each for each in self._life.subjects() if _sounds(each)]

    # ---- the table

    def judge_input(self, subject: Subject, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """Acknowledge and reset."""
        del now_ns
        change = _INPUTS[action["kind"]]
        alarm = subject.alarm
        move = TRANSITIONS[alarm.state].get(change)
        if move is None and change is Input.RESET and alarm.state is State.ACKNOWLEDGED and subject.holds_latch:
            move = Move(alarm.state, None)  # Q4: the next reading decides whether it returns
        if move is None:
            return _rejected(alarm.id, "wrong_state", subject)
        if change is Input.RESET and not subject.has_evidence:
            return _rejected(alarm.id, "bad_input", subject)
        return Outcome("done", None, alarm.id, subject.shown if subject.is_hidden else move.state)

    def apply_input(self, subject: Subject, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Follow the table."""
        if action["kind"] == "reset":
            subject.release()
        self._work.move(subject, _INPUTS[action["kind"]], at_ns, why)

    # ---- confirm, silence, comment

    def judge_confirm(self, subject: Subject, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """A7: once acknowledged and returned."""
        del now_ns
        alarm = subject.alarm
        if alarm.occurrence == 0 or alarm.state not in _CLOSED:
            return _rejected(alarm.id, "wrong_state", subject)
        if not action.get("actor"):
            return _rejected(alarm.id, "no_actor", subject)
        if not action.get("finding") or not action.get("measure"):
            return _rejected(alarm.id, "no_finding", subject)
        return _done(alarm.id, subject)

    def apply_confirm(self, subject: Subject, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Close the occurrence and all older ones; done, no event, where it is closed already."""
        if subject.alarm.is_open:
            words = Why(
                why.seq, why.actor, note=why.note, finding=str(action["finding"]), measure=str(action["measure"])
            )
            self._work.tell(subject, Move(subject.alarm.state, Transition.CONFIRMED), at_ns, words)

    def judge_silence(self, subject: Subject, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """A7: stops the horn and nothing else."""
        del action, now_ns
        return (
            _done(subject.alarm.id, subject)
            if _sounds(subject)
            else _rejected(subject.alarm.id, "wrong_state", subject)
        )

    def apply_silence(self, subject: Subject, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """The next activation sounds again."""
        del action
        self._work.tell(subject, Move(subject.alarm.state, Transition.SILENCED), at_ns, why)

    def judge_comment(self, subject: Subject, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """Its record is all there is of it."""
        del now_ns
        return (
            _done(subject.alarm.id, subject) if action.get("note") else _rejected(subject.alarm.id, "no_note", subject)
        )

    def apply_comment(self, subject: Subject, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Nothing changes."""

    # ---- shelves and service

    def judge_hide(self, subject: Subject, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """A4: only a normal or acknowledged alarm, with person, reason and end."""
        origin = _HIDES[action["kind"]]
        alarm = subject.alarm
        if origin is Origin.SHELF and not _is_shelvable(subject):
            return _rejected(alarm.id, "not_shelvable", subject)
        if subject.holds and subject.holds.get(origin) is not None:
            return _rejected(alarm.id, "already_hidden", subject)
        if alarm.state not in (State.NORMAL, State.ACKNOWLEDGED):
            return _rejected(alarm.id, "wrong_state", subject)
        longest = longest_ns(origin, subject.profile.priority, self._life.settings)
        granted = term(_until(action), now_ns, longest, actor=action.get("actor"), reason=action.get("reason"))
        if granted.problem is not None:
            return _rejected(alarm.id, granted.problem, subject)
        shown = SHOWN[FLAG_OF[origin]]
        if subject.is_hidden and (origin is Origin.SHELF or subject.shown is State.OUT_OF_SERVICE):
            shown = subject.shown
        return _granted(alarm.id, shown, granted)

    def apply_hide(self, subject: Subject, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Hide it until the end that it was given."""
        self._life.flags.hide(subject, Hold(_HIDES[action["kind"]], why.actor, why.reason, why.until), at_ns)

    def judge_show(self, subject: Subject, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """Back before its end."""
        del now_ns
        origin = _SHOWS[action["kind"]]
        if subject.holds is None or subject.holds.get(origin) is None:
            return _rejected(subject.alarm.id, "not_hidden", subject)
        return _done(subject.alarm.id, subject)

    def apply_show(self, subject: Subject, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Take the flag away."""
        self._life.flags.show(subject, _SHOWS[action["kind"]], at_ns, why)

    # ---- tags and the site

    def judge_maintenance(self, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """Q8, A4: a state of one tag; at most 8 h, 30 min where no end is given."""
        tag, settings = str(action.get("tag") or ""), self._life.settings
        if not self._knows(tag):
            return _rejected(tag, "unknown_tag")
        if tag in self._life.concealed.tags:
            return _rejected(tag, "already_hidden")
        granted = term(
            _until(action),
            now_ns,
            settings.maintenance_ns,
            actor=action.get("actor"),
            reason=action.get("reason"),
            default_ns=settings.maintenance_default_ns,
        )
        return _rejected(tag, granted.problem) if granted.problem is not None else _granted(tag, None, granted)

    def apply_maintenance(self, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Its readings are 105 from now on."""
        tag = str(action["tag"])
        message = {"zh-CN": f"位号 {tag} 检修中：{why.reason}", "en": f"tag {tag} in maintenance: {why.reason}"}
        notice = Notice(kind="maintenance", priority=Priority.DIAGNOSTIC, message=message, tag=tag)
        self._life.concealed.tags[tag] = None
        self._begin(MAINTENANCE + tag, notice, at_ns, why)
        self._life.concealed.look(at_ns)

    def judge_end_maintenance(self, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """Back before its end."""
        del now_ns
        tag = str(action.get("tag") or "")
        return _done(tag, None) if tag in self._life.concealed.tags else _rejected(tag, "not_hidden")

    def apply_end_maintenance(self, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """The next reading is evaluated at once."""
        self._life.end(self._life.internals[MAINTENANCE + str(action["tag"])], at_ns, why)

    def judge_exercise(self, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """G3: person, reason, end, at most 4 h."""
        running = self._life.internals.get(EXERCISE)
        if running is not None and running.until_ns is not None:
            return _rejected("", "already_hidden")
        longest = self._life.settings.exercise_ns
        granted = term(_until(action), now_ns, longest, actor=action.get("actor"), reason=action.get("reason"))
        return _rejected("", granted.problem) if granted.problem is not None else _granted("", None, granted)

    def apply_exercise(self, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """It is told from start to end; alarms from real inputs stay as they are."""
        del action
        message = {"zh-CN": f"演练进行中：{why.reason}", "en": f"exercise: {why.reason}"}
        self._begin(EXERCISE, Notice(kind="exercise", priority=Priority.DIAGNOSTIC, message=message), at_ns, why)

    def judge_end_exercise(self, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """Before its end."""
        del action, now_ns
        running = self._life.internals.get(EXERCISE)
        is_running = running is not None and running.until_ns is not None
        return _done("", None) if is_running else _rejected("", "wrong_state")

    def apply_end_exercise(self, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """It is over."""
        del action
        self._life.end(self._life.internals[EXERCISE], at_ns, why)

    def _begin(self, alarm: str, notice: Notice, at_ns: int, why: Why) -> None:
        internal = self._life.raise_(alarm, notice, at_ns, why)
        if internal is not None and why.until is not None:
            internal.until_ns = why.until
            self._work.timers.set(why.until, alarm, HIDING)

    def judge_planned_stop(self, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """A8: person, start and end, at most 30 d."""
        area = str(action.get("area") or "")
        affected = self._in_area(area)
        if not affected:
            return _rejected(area, "unknown_area")
        if any(watch.holds and watch.holds.get(Origin.PLANNED_STOP) for watch in affected):
            return _rejected(area, "already_hidden")
        from_ns = max(now_ns, int(action.get("from") or now_ns))
        longest = self._life.settings.planned_stop_ns
        granted = term(_until(action), from_ns, longest, actor=action.get("actor"), reason=action.get("reason"))
        return _rejected(area, granted.problem) if granted.problem is not None else _granted(area, None, granted)

    def apply_planned_stop(self, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Suppress the area's alarms, but for gas, fire, level and what may not be suppressed."""
        from_ns = int(action.get("from") or at_ns)
        begins = from_ns if from_ns > at_ns else None
        hold = Hold(Origin.PLANNED_STOP, why.actor, why.reason, why.until, "planned_stop", begins)
        for watch in self._in_area(str(action["area"])):
            self._life.flags.hide(watch, hold, at_ns)

    def _in_area(self, area: str) -> list[Watch]:
        watches = self._work.watches
        return [watches[name] for name in sorted(watches) if self._may_stop(watches[name], area)]

    def _may_stop(self, watch: Watch, area: str) -> bool:
        if not area or watch.rule.area != area or not watch.rule.is_suppressible:
            return False
        tags, inputs = self._tags(), watch.rule.inputs
        kinds = [tags[tag].kind if tag in tags else None for tag in inputs]
        return bool(kinds) and all(kind is not None and kind not in IN_FORCE for kind in kinds)

    def judge_done(self, action: Mapping[str, Any], now_ns: int) -> Outcome:
        """A bump test, calibration or proof test of a tag was done; ``overdue`` rules look at it."""
        del now_ns
        tag = str(action.get("tag") or "")
        return _done(tag, None) if self._knows(tag) else _rejected(tag, "unknown_tag")

    def _knows(self, tag: str) -> bool:
        return tag in self._tags() or any(tag in watch.rule.inputs for watch in self._work.watches.values())

    def apply_done(self, action: Mapping[str, Any], at_ns: int, why: Why) -> None:
        """Its ``overdue`` rules count anew."""
        del at_ns, why
        apply_done(self._work, action)


_INPUTS: Final = {"acknowledge": Input.ACKNOWLEDGE, "reset": Input.RESET}
_HIDES: Final = {"shelve": Origin.SHELF, "remove_from_service": Origin.REMOVED}
_SHOWS: Final = {"unshelve": Origin.SHELF, "return_to_service": Origin.REMOVED}

_ALARM: Final = {
    "acknowledge": (Actions.judge_input, Actions.apply_input),
    "reset": (Actions.judge_input, Actions.apply_input),
    "confirm": (Actions.judge_confirm, Actions.apply_confirm),
    "silence": (Actions.judge_silence, Actions.apply_silence),
    "comment": (Actions.judge_comment, Actions.apply_comment),
    "shelve": (Actions.judge_hide, Actions.apply_hide),
    "unshelve": (Actions.judge_show, Actions.apply_show),
    "remove_from_service": (Actions.judge_hide, Actions.apply_hide),
    "return_to_service": (Actions.judge_show, Actions.apply_show),
}
"""On one alarm: how it is judged, how it is done."""

_SITE: Final = {
    "maintenance": (Actions.judge_maintenance, Actions.apply_maintenance),
    "end_maintenance": (Actions.judge_end_maintenance, Actions.apply_end_maintenance),
    "exercise": (Actions.judge_exercise, Actions.apply_exercise),
    "end_exercise": (Actions.judge_end_exercise, Actions.apply_end_exercise),
    "planned_stop": (Actions.judge_planned_stop, Actions.apply_planned_stop),
    "done": (Actions.judge_done, Actions.apply_done),
}
"""On a tag, an area or the site."""

KINDS: Final = frozenset({*_ALARM, *_SITE})
"""Every action; other audit records are not for :class:`Actions`."""


def _sounds(subject: Subject) -> bool:
    alarm = subject.alarm
    return alarm.state is State.UNACKNOWLEDGED and not alarm.is_silenced and not subject.is_hidden


def _is_shelvable(subject: Subject) -> bool:
    if isinstance(subject, Watch):
        return subject.rule.is_shelvable
    return subject.profile.priority is not Priority.CRITICAL


def _until(action: Mapping[str, Any]) -> int | None:
    until = action.get("until")
    return None if until is None else int(until)


def _rejected(alarm: str, reason: str, subject: Subject | None = None) -> Outcome:
    return Outcome("rejected", reason, alarm, None if subject is None else subject.shown)


def _done(alarm: str, subject: Subject | None) -> Outcome:
    return Outcome("done", None, alarm, None if subject is None else subject.shown)


def _granted(alarm: str, state: State | None, granted: Term) -> Outcome:
    return Outcome("done", CUT if granted.is_cut else None, alarm, state, granted.until_ns)
