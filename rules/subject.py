"""What has an alarm: the fixed facts that its events repeat, the alarm, and the newest evidence."""

from dataclasses import dataclass
from typing import Any, Final

from agent.core.events import AlarmEvent, Priority, State, Transition
from agent.core.quality import Quality, is_usable
from rules.alarm import HIDDEN, Alarm, Move
from rules.hiding import NOT_ANNUNCIATED, Hold, Holds
from rules.messages import Texts

CERTAIN_COVERAGE: Final = 0.75
"""An event about a mean of less is uncertain (C5)."""
_UNCERTAIN: Final = Quality.UNCERTAIN.value
_OUT_OF_RANGE: Final = Quality.OUT_OF_RANGE.value
_BAND: Final = Quality.NE43_BAND.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What every event of an alarm says."""

    rule: str | None
    kind: str
    tag: str | None = None
    tag_name: str | None = None
    unit: str | None = None
    limit: float | None = None
    deadband: float | None = None
    priority: Priority
    basis: str | None = None
    area: str | None = None
    equipment: str | None = None
    source: str
    texts: Texts
    latch: bool = False


@dataclass(frozen=True, slots=True)
class Why:
    """What an event says about its cause."""

    seq: int | None = None
    actor: str | None = None
    note: str | None = None
    cause: str | None = None
    by: str | None = None
    reason: str | None = None
    until: int | None = None
    finding: str | None = None
    measure: str | None = None


@dataclass(frozen=True, slots=True)
class AlarmView:
    """One alarm as an operator sees it now. ``event`` is the id of the occurrence's activation; times are ns UTC."""

    id: str
    rule: str | None
    kind: str
    tag: str | None
    tag_name: str | None
    state: State
    active: bool
    occurrence: int
    event: str | None
    since: int | None
    value: float | None
    limit: float | None
    unit: str | None
    quality: int | None
    extreme: float | None
    priority: Priority
    source: str
    message: dict[str, str]
    area: str | None = None
    equipment: str | None = None
    hidden: tuple[dict[str, Any], ...] = ()
    """What hides it: flag, actor, by, reason, until. ``active`` says whether its condition is true underneath (A3)."""
    silenced: bool = False
    open: bool = False
    """Its present occurrence has not been confirmed (A7)."""

    def to_fields(self) -> dict[str, Any]:
        """The view with JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


class Subject:
    """One alarm with its evidence; a rule's watch and Davy's own alarms are its kinds."""

    __slots__ = ("alarm", "counted_by", "exercise", "holds", "profile", "quality", "re_alarm_due_ns", "value")
    alarm: Alarm

    def __init__(self, alarm_id: str, profile: Profile) -> None:
        self.alarm = Alarm(alarm_id)
        self.profile = profile
        self.counted_by: tuple[int, ...] = ()
        """Places of the rules that are looked at when this alarm's state changes (T6)."""
        self.value: float | None = None
        """What was compared with the limit at the newest evaluation."""
        self.quality: int | None = None
        """Of the newest reading; None before the first."""
        self.exercise = False
        self.holds: Holds | None = None
        """What hides it; None: nothing ever did."""
        self.re_alarm_due_ns: int | None = None
        """When an acknowledged alarm that is still active sounds again (A7)."""

    @property
    def shown(self) -> State:
        """The state that people see: a flag, else the table's (A3)."""
        flag = self.holds.shown if self.holds else None
        return self.alarm.state if flag is None else flag

    @property
    def is_hidden(self) -> bool:
        """A flag stands."""
        return self.shown in HIDDEN

    def put_hold(self, hold: Hold) -> None:
        """Hide it; a hold of the same origin is replaced."""
        if self.holds is None:
            self.holds = Holds()
        self.holds.put(hold)

    @property
    def has_life(self) -> bool:
        """It has what :meth:`life_row` keeps."""
        return bool(self.holds) or self.re_alarm_due_ns is not None

    def life_row(self) -> list[Any]:
        """What hides it and what makes it sound again, for a snapshot."""
        return [self.re_alarm_due_ns, self.holds.to_row() if self.holds else []]

    def take_life(self, row: list[Any]) -> None:
        """The inverse of :meth:`life_row`."""
        self.re_alarm_due_ns = row[0]
        self.holds = Holds.from_row(row[1]) if row[1] else None

    def shift_life(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        if self.re_alarm_due_ns is not None:
            self.re_alarm_due_ns += step_ns
        if self.holds:
            self.holds.shift(step_ns)

    @property
    def compared(self) -> float | None:
        """What events tell as ``value``."""
        return self.value

    @property
    def holds_latch(self) -> bool:
        """Its condition stays true until a person resets it (Q4)."""
        return False

    def release(self) -> None:
        """A person resets the condition; the next reading decides."""

    @property
    def coverage(self) -> float | None:
        """The share of its window that readings cover (C5); None where it has none."""
        return None

    @property
    def told_quality(self) -> int | None:
        """The quality that events tell: uncertain where too little is covered (C5), 2 in the NE 43 band (Q3)."""
        coverage = self.coverage
        is_thin = coverage is not None and coverage < CERTAIN_COVERAGE
        if is_thin and self.quality == 0:
            return _UNCERTAIN
        return _OUT_OF_RANGE if self.quality == _BAND else self.quality

    @property
    def remark(self) -> str | None:
        """What messages add to the value; None where there is nothing to add."""
        return None

    @property
    def newest(self) -> float | None:
        """The newest raw value of the tag (A9); None where the alarm has no tag or the reading no value."""
        return None

    @property
    def has_evidence(self) -> bool:
        """The last reading is usable, so a latched alarm may be reset (A2)."""
        return self.quality is not None and is_usable(self.quality)

    def move(
        self, move: Move, at_ns: int, epoch: str, why: Why, *, previous: State | None = None, first: bool | None = None
    ) -> AlarmEvent:
        """Make a move that has a transition, and tell it; ``previous`` where the flags have changed already."""
        assert move.transition is not None
        alarm, profile = self.alarm, self.profile
        previous = self.shown if previous is None else previous
        identity = alarm.enter(move, at_ns, epoch)
        return AlarmEvent(
            id=identity,
            alarm=alarm.id,
            rule=profile.rule,
            kind=profile.kind,
            tag=profile.tag,
            transition=Transition(move.transition),
            state=self.shown,
            previous=previous,
            time=at_ns,
            value=self.compared,
            limit=profile.limit,
            unit=profile.unit,
            quality=self.told_quality,
            coverage=self.coverage,
            priority=profile.priority,
            message=profile.texts.at(self.compared, self.remark),
            occurrence=alarm.occurrence,
            event=alarm.event,
            since=alarm.since_ns,
            extreme=alarm.extreme,
            deadband=profile.deadband,
            basis=profile.basis,
            actor=why.actor,
            note=why.note,
            cause=why.cause,
            cause_seq=why.seq,
            by=why.by,
            annunciated=move.transition not in NOT_ANNUNCIATED or not self.is_hidden,
            source=profile.source,
            exercise=self.exercise,
            tag_name=profile.tag_name,
            reading=self.newest,
            reason=why.reason,
            until=why.until,
            first=first,
            area=profile.area,
            equipment=profile.equipment,
            finding=why.finding,
            measure=why.measure,
        )

    def view(self) -> AlarmView:
        """The alarm as it stands."""
        alarm, profile = self.alarm, self.profile
        return AlarmView(
            id=alarm.id,
            rule=profile.rule,
            kind=profile.kind,
            tag=profile.tag,
            tag_name=profile.tag_name,
            state=self.shown,
            active=alarm.is_active,
            occurrence=alarm.occurrence,
            event=alarm.event,
            since=alarm.since_ns,
            value=self.compared,
            limit=profile.limit,
            unit=profile.unit,
            quality=self.quality,
            extreme=alarm.extreme,
            priority=profile.priority,
            source=profile.source,
            message=dict(profile.texts.at(self.compared, self.remark)),
            area=profile.area,
            equipment=profile.equipment,
            hidden=tuple(hold.to_fields() for hold in self.holds or () if hold.is_in_force),
            silenced=alarm.is_silenced,
            open=alarm.is_open,
        )
