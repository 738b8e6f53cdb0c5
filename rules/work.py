"""What parts of the life cycle need of the evaluator."""

from typing import Protocol

from agent.core.events import AlarmEvent, State
from rules.alarm import Input, Move
from rules.subject import Subject, Why
from rules.timers import Timers
from rules.watch import Watch


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
