"""Setting and taking away what hides an alarm: shelf, service, exclusive, suppress_when (spec/rules.md A3, A4, A8)."""

from typing import Final

from agent.core.events import Transition
from rules.alarm import SHOWN_AGAIN, Move
from rules.diagnostics import Concealed
from rules.hiding import BEGUN, OVER, Hold, Origin
from rules.rivals import Rivals
from rules.settings import Settings
from rules.subject import Subject, Why
from rules.timers import HIDING
from rules.watch import Watch
from rules.work import Work

EXPIRED: Final = "expired"
"""``cause`` of the end of a hiding whose time is up."""


class Flags:
    """Of all alarms of one engine."""

    def __init__(self, work: Work, settings: Settings, rivals: Rivals, concealed: Concealed) -> None:
        self._work = work
        self.settings = settings
        self._rivals = rivals
        self._concealed = concealed
        self.overrun: dict[str, None] = {}
        """Alarms whose suppression took too long: their flag must go before it may suppress again (A4)."""

    def hide(self, subject: Subject, hold: Hold, at_ns: int) -> None:
        """Set a flag and tell it; a hold that begins later is only kept."""
        previous = subject.shown
        subject.put_hold(hold)
        if hold.is_in_force:
            why = Why(self._work.cause_seq, actor=hold.actor, by=hold.by, reason=hold.reason, until=hold.until_ns)
            self._work.tell(subject, Move(subject.alarm.state, BEGUN[hold.flag]), at_ns, why, previous)
            self.note_hidden(subject, at_ns)
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
        self.note_hidden(subject, at_ns)
        self._set_hiding(subject)

    def drop_holds(self, subject: Subject, at_ns: int) -> None:
        """Its rule is gone: nothing is left to hide."""
        subject.holds = None
        self.overrun.pop(subject.alarm.id, None)
        self._concealed.put(subject.alarm.id, at_ns, is_hidden=False)

    def note_hidden(self, subject: Subject, at_ns: int) -> None:
        """Count it among the hidden alarms, or no longer."""
        is_hidden = subject.holds is not None and subject.holds.conceals
        self._concealed.put(subject.alarm.id, at_ns, is_hidden=is_hidden)

    def _set_hiding(self, subject: Subject) -> None:
        due_ns = due_ns_of(subject)
        if due_ns is not None:
            self._work.timers.set(due_ns, subject.alarm.id, HIDING)

    def look(self, watch: Watch, at_ns: int) -> None:
        """Its rivals or its flag may have changed (T6, A8)."""
        self._look_at_rivals(watch, at_ns)
        self._look_at_flag(watch, at_ns)

    def _look_at_rivals(self, watch: Watch, at_ns: int) -> None:
        worse = self._rivals.worse_than(watch, self._work.watches)
        hold = watch.holds.get(Origin.EXCLUSIVE) if watch.holds else None
        if worse is None and hold is not None:
            self._rivals.release(watch.rule.id)
            self.show(watch, Origin.EXCLUSIVE, at_ns, Why(self._work.cause_seq, by=hold.by))
        elif worse is not None and hold is None:
            self._rivals.suppress(watch.rule.id)
            tag = worse.rule.tag
            self.hide(watch, Hold(Origin.EXCLUSIVE, tag, "exclusive", None, by=worse.rule.id), at_ns)

    def _look_at_flag(self, watch: Watch, at_ns: int) -> None:
        flag = self._rivals.flag_of(watch, self._work.watches)
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

    def fire(self, subject: Subject, at_ns: int) -> None:
        """The time of its next hold has come: it begins or ends."""
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


def due_ns_of(subject: Subject) -> int | None:
    """When the next of its holds begins or ends by itself."""
    following = subject.holds.next if subject.holds else None
    return None if following is None else following.due_ns
