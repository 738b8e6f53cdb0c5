"""Alarms of Davy's own that readings alone decide: a device whose clock is wrong (spec/rules.md T1)."""

from typing import Any, Final

from agent.core.batch import Layout
from agent.core.events import Priority
from rules.messages import Texts
from rules.subject import Profile, Subject

CLOCK: Final = "davy:device:{}:clock"


class ClockFault(Subject):
    """``davy:device:DEVICE:clock``: active while the last reading of at least one tag has quality 4 (clock).

    That is our reading of T1, which says what raises it and leaves open what returns it. Priority high (Q7).
    """

    __slots__ = ("device", "tags")

    def __init__(self, device: str, source: str) -> None:
        texts = Texts(None, "clock", device, None, None)
        profile = Profile(rule=None, kind="clock", priority=Priority.HIGH, source=source, texts=texts)
        super().__init__(CLOCK.format(device), profile)
        self.device = device
        self.tags: set[str] = set()
        """Those whose last reading has quality 4."""

    def to_row(self) -> list[Any]:
        """The alarm for a snapshot."""
        return [self.device, self.profile.source, self.quality, self.exercise, sorted(self.tags), self.alarm.to_row()]

    @classmethod
    def from_row(cls, row: list[Any]) -> "ClockFault":
        """The inverse of :meth:`to_row`."""
        fault = cls(row[0], row[1])
        fault.quality, fault.exercise = row[2], row[3]
        fault.tags = set(row[4])
        fault.alarm.from_row(row[5])
        return fault


def clock_fault(layout: Layout) -> ClockFault:
    """The alarm of a layout's device."""
    return ClockFault(layout.device, layout.source.value)
