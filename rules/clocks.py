"""Which devices' clocks are wrong, from the quality of their readings (spec/rules.md T1)."""

from collections.abc import Mapping
from typing import Any, Final

from agent.core.batch import Batch
from agent.core.quality import Quality
from rules.alarm import Input
from rules.evaluator import Evaluator
from rules.internal import CLOCK, ClockFault, clock_fault
from rules.subject import Subject, Why

CODE: Final = Quality.CLOCK.value


class Clocks:
    """``davy:device:DEVICE:clock`` of every device that ever had a wrong clock."""

    __slots__ = ("_work", "by_alarm", "by_device")

    def __init__(self, work: Evaluator) -> None:
        self._work = work
        self.by_device: dict[str, ClockFault] = {}
        self.by_alarm: dict[str, Subject] = {}
        work.life.strangers = self.by_alarm

    def put(self, fault: ClockFault) -> ClockFault:
        """Keep one."""
        self.by_device[fault.device] = fault
        self.by_alarm[fault.alarm.id] = fault
        return fault

    def look(self, fault: ClockFault | None, batch: Batch, position: int, quality: int, at_ns: int) -> ClockFault:
        """A reading with quality 4, or one of a device that has had such."""
        layout = batch.layout
        if fault is None:
            fault = self.put(clock_fault(layout))
        tag = layout.tags[position]
        if quality == CODE:
            fault.tags.add(tag)
        elif tag in fault.tags:
            fault.tags.discard(tag)
        else:
            return fault
        is_wrong = bool(fault.tags)
        if is_wrong != fault.alarm.is_active:
            fault.quality, fault.exercise = quality, batch.exercise
            self._work.move(fault, Input.TRUE if is_wrong else Input.FALSE, at_ns, Why(self._work.cause_seq))
        return fault

    def adopted(self, fields: Mapping[str, Any]) -> ClockFault | None:
        """The one that a journaled event is about; None: it is about something else."""
        prefix, suffix = CLOCK.split("{}")
        alarm = str(fields["alarm"])
        if not (alarm.startswith(prefix) and alarm.endswith(suffix)):
            return None
        device = alarm[len(prefix) : -len(suffix)]
        return self.by_device.get(device) or self.put(ClockFault(device, fields["source"]))

    def to_rows(self) -> list[list[Any]]:
        """For a snapshot."""
        return [fault.to_row() for fault in self.by_device.values()]

    def from_rows(self, rows: list[list[Any]]) -> None:
        """The inverse of :meth:`to_rows`."""
        for row in rows:
            self.put(ClockFault.from_row(row))
