"""What has an alarm: the fixed facts that its events repeat, the alarm, and the newest evidence."""

from dataclasses import dataclass
from typing import Any

from agent.core.events import AlarmEvent, Priority, State, Transition
from agent.core.quality import is_usable
from rules.alarm import Alarm, Move
from rules.messages import Texts


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

    def to_fields(self) -> dict[str, Any]:
        """The view with JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


class Subject:
    """One alarm with its evidence; a rule's watch and Davy's own alarms are its kinds."""

    __slots__ = ("alarm", "exercise", "profile", "quality", "value")
    alarm: Alarm

    def __init__(self, alarm_id: str, profile: Profile) -> None:
        self.alarm = Alarm(alarm_id)
        self.profile = profile
        self.value: float | None = None
        """What was compared with the limit at the newest evaluation."""
        self.quality: int | None = None
        """Of the newest reading; None before the first."""
        self.exercise = False

    @property
    def compared(self) -> float | None:
        """What events tell as ``value``."""
        return self.value

    @property
    def newest(self) -> float | None:
        """The newest raw value of the tag (A9); None where the alarm has no tag or the reading no value."""
        return None

    @property
    def has_evidence(self) -> bool:
        """The last reading is usable, so a latched alarm may be reset (A2)."""
        return self.quality is not None and is_usable(self.quality)

    def move(self, move: Move, at_ns: int, epoch: str, why: Why) -> AlarmEvent:
        """Make a move that has a transition, and tell it."""
        assert move.transition is not None
        alarm, profile = self.alarm, self.profile
        previous = alarm.state
        identity = alarm.enter(move, at_ns, epoch)
        return AlarmEvent(
            id=identity,
            alarm=alarm.id,
            rule=profile.rule,
            kind=profile.kind,
            tag=profile.tag,
            transition=Transition(move.transition),
            state=alarm.state,
            previous=previous,
            time=at_ns,
            value=self.compared,
            limit=profile.limit,
            unit=profile.unit,
            quality=self.quality,
            priority=profile.priority,
            message=profile.texts.at(self.compared),
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
            source=profile.source,
            exercise=self.exercise,
            tag_name=profile.tag_name,
            reading=self.newest,
            area=profile.area,
            equipment=profile.equipment,
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
            state=alarm.state,
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
            message=dict(profile.texts.at(self.compared)),
            area=profile.area,
            equipment=profile.equipment,
        )
