"""The life of one alarm: the transition table of ISA-18.2 (spec/rules.md A2) as data, and the alarm that follows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from agent.core.events import State, Transition
from agent.core.ids import event_id


class Input(StrEnum):
    """What may happen to an alarm. TRUE and FALSE are the condition's, after its delays."""

    TRUE = "true"
    FALSE = "false"
    FALSE_LATCHED = "false, with latch"
    ACKNOWLEDGE = "acknowledge"
    RESET = "reset"
    RE_ALARM = "re-alarm is due"


@dataclass(frozen=True, slots=True)
class Move:
    """Where an input leads; without a transition it is done and nothing is told."""

    state: State
    transition: Transition | None


_ACTIVATED: Final = Move(State.UNACKNOWLEDGED, Transition.ACTIVATED)

TRANSITIONS: Final[Mapping[State, Mapping[Input, Move]]] = {
    State.NORMAL: {
        Input.TRUE: _ACTIVATED,
    },
    State.UNACKNOWLEDGED: {
        Input.FALSE: Move(State.RETURNED_UNACKNOWLEDGED, Transition.RETURNED),
        Input.FALSE_LATCHED: Move(State.LATCHED_UNACKNOWLEDGED, Transition.RETURNED),
        Input.ACKNOWLEDGE: Move(State.ACKNOWLEDGED, Transition.ACKNOWLEDGED),
    },
    State.ACKNOWLEDGED: {
        Input.FALSE: Move(State.NORMAL, Transition.RETURNED),
        Input.FALSE_LATCHED: Move(State.LATCHED_ACKNOWLEDGED, Transition.RETURNED),
        Input.ACKNOWLEDGE: Move(State.ACKNOWLEDGED, None),
        Input.RE_ALARM: Move(State.UNACKNOWLEDGED, Transition.RE_ALARMED),
    },
    State.RETURNED_UNACKNOWLEDGED: {
        Input.TRUE: _ACTIVATED,
        Input.ACKNOWLEDGE: Move(State.NORMAL, Transition.ACKNOWLEDGED),
    },
    State.LATCHED_UNACKNOWLEDGED: {
        Input.TRUE: _ACTIVATED,
        Input.ACKNOWLEDGE: Move(State.LATCHED_ACKNOWLEDGED, Transition.ACKNOWLEDGED),
    },
    State.LATCHED_ACKNOWLEDGED: {
        Input.TRUE: _ACTIVATED,
        Input.ACKNOWLEDGE: Move(State.LATCHED_ACKNOWLEDGED, None),
        Input.RESET: Move(State.NORMAL, Transition.RESET),
    },
}
"""What is missing changes nothing when it comes from the condition, and is rejected when it comes from a person."""

ENDED: Final = Move(State.NORMAL, Transition.ENDED)
"""The rule is gone; the only way to normal that needs no evidence, and it says so (A6, G2)."""

SHOWN_AGAIN: Final = Move(State.UNACKNOWLEDGED, Transition.ACTIVATED)
"""The last flag went while the alarm is active: a new occurrence, whatever the state was (A3)."""

INPUT_OF: Final[Mapping[Transition, Input]] = {
    Transition.ACTIVATED: Input.TRUE,
    Transition.RETURNED: Input.FALSE,
    Transition.ACKNOWLEDGED: Input.ACKNOWLEDGE,
    Transition.RESET: Input.RESET,
    Transition.RE_ALARMED: Input.RE_ALARM,
}
"""How the event log is read back: what a transition did to the table."""

HIDDEN: Final = frozenset({State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE})
"""States that are flags on top of the table's (A3)."""

ACTIVE: Final = frozenset({State.UNACKNOWLEDGED, State.ACKNOWLEDGED})


class Alarm:
    """One alarm's place in the table, and its present occurrence (A5)."""

    __slots__ = (
        *("_state", "confirmed", "count", "event", "extreme", "id", "is_active", "is_silenced", "occurrence"),
        "since_ns",
    )

    def __init__(self, alarm_id: str) -> None:
        self.id = alarm_id
        self.state = State.NORMAL
        self.occurrence = 0
        self.event: str | None = None
        """Id of the occurrence's ``activated`` event."""
        self.since_ns: int | None = None
        self.extreme: float | None = None
        """The worst value compared since the occurrence's activation."""
        self.count = 0
        """Events so far; part of each event's id (A9)."""
        self.confirmed = 0
        """The newest occurrence that a person has closed, and with it all older ones (A5, A7)."""
        self.is_silenced = False
        """The horn was stopped since the last activation (A7)."""

    @property
    def state(self) -> State:
        """The table's."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self.is_active = state in ACTIVE
        """The condition holds, delays included. Kept, not derived: it is asked at every reading."""

    def enter(self, move: Move, at_ns: int, epoch: str) -> str:
        """Make a move that has a transition; returns the id of its event."""
        assert move.transition is not None
        self.state = move.state
        self.count += 1
        identity = event_id(epoch, self.id, at_ns, move.transition.value, self.count)
        if move.transition is Transition.ACTIVATED:
            self.occurrence += 1
            self.event = identity
            self.since_ns = at_ns
        self._note(move.transition)
        return identity

    def _note(self, transition: Transition) -> None:
        if transition in (Transition.ACTIVATED, Transition.RE_ALARMED):
            self.is_silenced = False
        elif transition is Transition.SILENCED:
            self.is_silenced = True
        elif transition in (Transition.CONFIRMED, Transition.ENDED):
            self.confirmed = self.occurrence

    @property
    def is_open(self) -> bool:
        """Its present occurrence has not been closed by a person (A7)."""
        return self.confirmed < self.occurrence

    def follow(self, fields: Mapping[str, Any], *, latch: bool = False) -> None:
        """Take over what a journaled event of this alarm says (G1: there is no snapshot)."""
        self.state = self._state_after(fields, latch=latch)
        self.occurrence = fields["occurrence"]
        self.event = fields["event"]
        self.since_ns = fields["since"]
        self.extreme = fields["extreme"]
        self.count += 1
        self._note(Transition(fields["transition"]))

    def _state_after(self, fields: Mapping[str, Any], *, latch: bool) -> State:
        """An event under a flag shows the flag; the table's state follows from what happened."""
        shown, previous = State(fields["state"]), State(fields["previous"])
        if shown not in HIDDEN:
            return shown
        change = INPUT_OF.get(Transition(fields["transition"]))
        if previous not in HIDDEN:
            self.state = previous
        if change is Input.TRUE:
            return State.UNACKNOWLEDGED
        if change is Input.FALSE and latch:
            change = Input.FALSE_LATCHED
        move = None if change is None else TRANSITIONS[self.state].get(change)
        return self.state if move is None else move.state

    def to_row(self) -> list[Any]:
        """The alarm for a snapshot; nothing where nothing ever happened to it."""
        if self.count == 0:
            return []
        row: list[Any] = [self.state, self.occurrence, self.event, self.since_ns, self.extreme, self.count]
        return [*row, self.confirmed, self.is_silenced] if self.confirmed or self.is_silenced else row

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        if row:
            state, self.occurrence, self.event, self.since_ns, self.extreme, self.count = row[:6]
            self.confirmed, self.is_silenced = row[6:] or (0, False)
            self.state = State(state)
