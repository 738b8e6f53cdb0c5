"""Alarms of Davy's own: a device whose clock is wrong (spec/rules.md T1), what diagnostics raise (Q6, Q7, A11)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What an alarm of Davy's own says."""

    kind: str
    priority: Priority
    message: Mapping[str, str]
    """zh-CN and en."""
    tag: str | None = None
    tag_name: str | None = None
    value: float | None = None
    limit: float | None = None
    source: str = "sensor"


class Internal(Subject):
    """An alarm of Davy's own without a rule; what it says may change with each activation."""

    __slots__ = ("notice", "until_ns")

    def __init__(self, alarm_id: str, notice: Notice) -> None:
        super().__init__(alarm_id, _profile(notice))
        self.notice = notice
        self.value = notice.value
        self.until_ns: int | None = None
        """When it returns by itself (an exercise, maintenance); None: not."""

    def say(self, notice: Notice) -> None:
        """What it says from now on."""
        self.notice = notice
        self.profile = _profile(notice)
        self.value = notice.value

    def count(self, value: float) -> None:
        """The number it tells from now on."""
        self.notice = replace(self.notice, value=value)
        self.value = value

    def to_row(self) -> list[Any]:
        """The alarm for a snapshot; holds are kept apart."""
        notice = self.notice
        head = [self.alarm.id, notice.kind, notice.priority, dict(notice.message), notice.tag, notice.tag_name]
        return [*head, notice.value, notice.limit, notice.source, self.until_ns, self.exercise, self.alarm.to_row()]

    @classmethod
    def from_row(cls, row: list[Any]) -> "Internal":
        """The inverse of :meth:`to_row`."""
        alarm_id, kind, priority, message, tag, tag_name, value, limit, source = row[:9]
        notice = Notice(
            kind=kind,
            priority=Priority(priority),
            message=message,
            tag=tag,
            tag_name=tag_name,
            value=value,
            limit=limit,
            source=source,
        )
        internal = cls(alarm_id, notice)
        internal.until_ns, internal.exercise = row[9], row[10]
        internal.alarm.from_row(row[11])
        return internal

    @classmethod
    def from_event(cls, fields: Mapping[str, Any]) -> "Internal":
        """As a journaled event tells it (G1: there is no snapshot)."""
        notice = Notice(
            kind=fields["kind"],
            priority=Priority(fields["priority"]),
            message=fields["message"],
            tag=fields["tag"],
            tag_name=fields.get("tag_name"),
            value=fields["value"],
            limit=fields["limit"],
            source=fields["source"],
        )
        return cls(fields["alarm"], notice)


def _profile(notice: Notice) -> Profile:
    texts = Texts(notice.message, notice.kind, "", None, None)
    return Profile(
        rule=None,
        kind=notice.kind,
        tag=notice.tag,
        tag_name=notice.tag_name,
        limit=notice.limit,
        priority=notice.priority,
        source=notice.source,
        texts=texts,
    )
