"""What happened in a shift, gathered from alarm and audit records; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.config.fields import SHIFT_STARTS
from agent.core.records import Kind
from rules.kpi import Figures, Kpi, rating

BIN_NS: Final = 600_000_000_000
ROWS_MAX: Final = 2_000
"""Most rows of a table; what is left out is counted."""
DEEDS: Final = frozenset(
    {
        *("acknowledge", "reset", "confirm", "comment", "shelve", "unshelve", "remove_from_service"),
        *("return_to_service", "maintenance", "end_maintenance", "done", "planned_stop", "exercise", "end_exercise"),
        *("silence", "reload_refused", "change", "users", "login_failed", "command_rejected"),
    }
)
"""Audit records of what people did."""
TROUBLES: Final = frozenset({"start", "stop", "gap", "clock", "evicted", "quarantined", "torn", "epoch", "outage"})
"""Audit records of what went wrong with the agent itself, or interrupted measuring."""

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """One alarm active from then to then; ``end`` None: still."""

    alarm: str
    start: int
    end: int | None
    priority: str


@dataclass(slots=True)
class Shift:
    """The content of a report for [start, end), ns UTC."""

    start: int
    end: int
    figures: Figures
    site: str | None = None
    agent: str | None = None
    alarms: list[Fields] = field(default_factory=list[Fields])
    """Every alarm event in the shift."""
    deeds: list[Fields] = field(default_factory=list[Fields])
    troubles: list[Fields] = field(default_factory=list[Fields])
    taken_over: list[Fields] = field(default_factory=list[Fields])
    """Last event of each alarm that stood or was hidden when the shift began."""
    handed_over: list[Fields] = field(default_factory=list[Fields])
    """The same at its end."""
    stretches: list[Stretch] = field(default_factory=list[Stretch])
    bins: list[int] = field(default_factory=list[int])
    """Annunciated activations by ten minutes."""

    def to_fields(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "from": self.start,
            "to": self.end,
            "site": self.site,
            "agent": self.agent,
            "rating": rating(self.figures),
            "kpi": self.figures.to_fields(),
            "per_10min": self.bins,
            "taken_over": [_brief(event) for event in self.taken_over],
            "handed_over": [_brief(event) for event in self.handed_over],
            "alarms": [_brief(event) for event in self.alarms[:ROWS_MAX]],
            "alarms_left_out": max(0, len(self.alarms) - ROWS_MAX),
            "actions": [_plain(event) for event in self.deeds[:ROWS_MAX]],
            "agent_records": [_plain(event) for event in self.troubles[:ROWS_MAX]],
        }


def gather(records: Iterable[tuple[Kind, Fields]], start: int, end: int) -> Shift:
    """Read all records, in order, and keep what belongs to the shift."""
    work = Kpi(start, end)
    shift = Shift(start, end, work.figures())
    last: dict[str, Fields] = {}
    active: dict[str, Stretch] = {}
    for kind, fields in records:
        if fields["time"] >= end:
            continue
        shift.site, shift.agent = fields.get("site"), fields.get("agent")
        is_inside = fields["time"] >= start
        if kind is Kind.ALARM:
            work.take(fields)
            if is_inside:
                if not shift.alarms:
                    shift.taken_over = _standing(last)
                shift.alarms.append(fields)
            last[fields["alarm"]] = fields
            _follow(active, fields, shift)
        elif is_inside and fields["kind"] in DEEDS:
            shift.deeds.append(fields)
        elif is_inside and fields["kind"] in TROUBLES:
            shift.troubles.append(fields)
    shift.handed_over = _standing(last)
    if not shift.alarms:
        shift.taken_over = list(shift.handed_over)
    shift.stretches += list(active.values())
    shift.figures = work.figures()
    shift.bins = _bins(work.times, start, end)
    return shift


def last_shift(now_ns: int, zone: str, starts: Iterable[str] = SHIFT_STARTS) -> tuple[int, int]:
    """The last complete shift before ``now_ns``: from and to, ns UTC."""
    tz = ZoneInfo(zone)
    today = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).astimezone(tz).date()
    begins = sorted(
        _ns(datetime.combine(today + timedelta(days=offset), time.fromisoformat(text), tz))
        for offset in (-2, -1, 0)
        for text in starts
    )
    past = [begin for begin in begins if begin <= now_ns]
    return past[-2], past[-1]


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _follow(active: dict[str, Stretch], event: Fields, shift: Shift) -> None:
    alarm, transition = event["alarm"], event["transition"]
    if transition == "activated":
        active.setdefault(alarm, Stretch(alarm, event["time"], None, event["priority"]))
    elif transition in ("returned", "ended"):
        was = active.pop(alarm, None)
        if was is not None and event["time"] >= shift.start:
            shift.stretches.append(Stretch(alarm, was.start, event["time"], was.priority))


def _standing(last: Mapping[str, Fields]) -> list[Fields]:
    return [event for _, event in sorted(last.items()) if event["state"] != "normal"]


def _bins(times: Iterable[int], start: int, end: int) -> list[int]:
    bins = [0] * max(1, -(-(end - start) // BIN_NS))
    for at_ns in times:
        bins[(at_ns - start) // BIN_NS] += 1
    return bins


_BRIEF: Final = (
    *("time", "alarm", "transition", "state", "priority", "value", "limit", "unit", "actor", "note", "reason", "until"),
    *("message", "area", "annunciated", "exercise", "finding", "measure"),
)
_OWN: Final = frozenset({"v", "site", "agent", "clock", "source", "epoch", "rules", "tags", "settings"})


def _brief(event: Fields) -> dict[str, Any]:
    return {key: event[key] for key in _BRIEF if event.get(key) is not None}


def _plain(event: Fields) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in _OWN and value is not None}
