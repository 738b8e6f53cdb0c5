"""Alarm performance figures of EEMUA 191 / ISA-18.2 (DOMAIN 5.4), from alarm events alone; pure.

What people must deal with is counted: annunciated activations, exercises and Davy's own diagnostics (but for faults)
left out, as spec/rules.md A11 counts floods. Windows are half open: an activation counts until just before 10 min on.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from agent.core.events import Priority

MINUTE_NS: Final = 60_000_000_000
WINDOW_NS: Final = 10 * MINUTE_NS
DAY_NS: Final = 86_400_000_000_000
FLOOD_ABOVE: Final = 10
FLOOD_UNDER: Final = 5
CHATTER_COUNT: Final = 3
FLEETING_NS: Final = MINUTE_NS
"""An alarm that returns within this time could not be answered by anybody."""
STANDING_NS: Final = DAY_NS
TOP: Final = 10
NO_AREA: Final = "-"


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, ns UTC; ``count``: activations in it."""

    start: int
    end: int
    count: int = 0

    def to_fields(self) -> dict[str, Any]:
        """As JSON types."""
        return {"from": self.start, "to": self.end, "count": self.count}


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm active for more than a day; ``until`` None: still."""

    alarm: str
    since: int
    until: int | None

    def to_fields(self) -> dict[str, Any]:
        """As JSON types."""
        return {"alarm": self.alarm, "since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of a period; times ns UTC, durations ns, shares 0 to 1."""

    start: int
    end: int
    activations: int
    per_10min: float
    """Average; 1 is acceptable, 2 the most that is manageable."""
    peak_10min: int
    """Most activations in any ten minutes; up to 10 is acceptable."""
    per_day: float
    floods: tuple[Span, ...]
    flood_share: float
    """Of the period; under 1 % is acceptable."""
    chattering: Mapping[str, int]
    """By alarm: how often it activated three times within a minute; none is acceptable."""
    fleeting: Mapping[str, int]
    """By alarm: activations that returned within a minute."""
    standing: tuple[Standing, ...]
    """Active for more than 24 h; under five is acceptable."""
    top: tuple[tuple[str, int], ...]
    """The ten most frequent alarms."""
    top_share: float
    """Their share of all activations; 1 to 5 % is acceptable."""
    priorities: Mapping[str, int]
    areas: Mapping[str, int]
    hidden: int
    """Activations under a flag, which nobody heard."""
    exercise: int
    acknowledged_after: tuple[int, ...]
    """How long each acknowledged activation waited, shortest first."""

    def acknowledged_within(self, share: float) -> int | None:
        """The time within which this share of the acknowledgements came; None where there was none."""
        waits = self.acknowledged_after
        return waits[min(len(waits) - 1, int(share * len(waits)))] if waits else None

    def to_fields(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "from": self.start,
            "to": self.end,
            "activations": self.activations,
            "per_10min": round(self.per_10min, 4),
            "peak_10min": self.peak_10min,
            "per_day": round(self.per_day, 2),
            "floods": [flood.to_fields() for flood in self.floods],
            "flood_share": round(self.flood_share, 6),
            "chattering": dict(self.chattering),
            "fleeting": dict(self.fleeting),
            "standing": [each.to_fields() for each in self.standing],
            "top": [{"alarm": alarm, "count": count} for alarm, count in self.top],
            "top_share": round(self.top_share, 4),
            "priorities": dict(self.priorities),
            "areas": dict(self.areas),
            "hidden": self.hidden,
            "exercise": self.exercise,
            "acknowledged": {
                "count": len(self.acknowledged_after),
                "median": self.acknowledged_within(0.5),
                "p95": self.acknowledged_within(0.95),
            },
        }


def rating(figures: Figures) -> str:
    """``acceptable``, ``manageable`` or ``overloaded``, by average and peak (EEMUA 191)."""
    if figures.per_10min <= 1 and figures.peak_10min <= FLOOD_ABOVE:
        return "acceptable"
    return "manageable" if figures.per_10min <= 2 and figures.flood_share < 0.01 else "overloaded"


@dataclass(slots=True)
class _Occurrence:
    since: int
    is_counted: bool


@dataclass(slots=True)
class Kpi:
    """Takes the alarm events of a journal in order; those before ``start`` only tell what stood then."""

    start: int
    end: int
    _active: dict[str, _Occurrence] = field(default_factory=dict[str, _Occurrence])
    _unanswered: dict[str, int] = field(default_factory=dict[str, int])
    _times: list[int] = field(default_factory=list[int])
    _recent: dict[str, deque[int]] = field(default_factory=dict[str, deque[int]])
    _counts: Counter[str] = field(default_factory=Counter[str])
    _chatter: Counter[str] = field(default_factory=Counter[str])
    _fleeting: Counter[str] = field(default_factory=Counter[str])
    _priorities: Counter[str] = field(default_factory=Counter[str])
    _areas: Counter[str] = field(default_factory=Counter[str])
    _standing: list[Standing] = field(default_factory=list[Standing])
    _waits: list[int] = field(default_factory=list[int])
    _hidden: int = 0
    _exercise: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """The next alarm event, with the keys of spec/wire.md; one at ``end`` or later changes nothing."""
        at_ns: int = event["time"]
        if at_ns >= self.end:
            return
        transition = event["transition"]
        if transition == "activated":
            self._activate(event, at_ns)
        elif transition in ("returned", "ended"):
            self._end(event["alarm"], at_ns)
        elif transition == "acknowledged":
            self._acknowledge(event["alarm"], at_ns)

    def _activate(self, event: Mapping[str, Any], at_ns: int) -> None:
        alarm: str = event["alarm"]
        is_counted = counts(event)
        before = self._active.get(alarm)
        # Annunciated anew when its last flag went: it has been active all the time.
        since = before.since if before is not None else at_ns
        self._active[alarm] = _Occurrence(since, is_counted)
        if at_ns < self.start:
            return
        if event["exercise"]:
            self._exercise += 1
        elif not event["annunciated"]:
            self._hidden += 1
        if not is_counted:
            return
        self._unanswered[alarm] = at_ns
        self._times.append(at_ns)
        self._counts[alarm] += 1
        self._priorities[event["priority"]] += 1
        self._areas[event.get("area") or NO_AREA] += 1
        recent = self._recent.setdefault(alarm, deque(maxlen=CHATTER_COUNT))
        recent.append(at_ns)
        if len(recent) == CHATTER_COUNT and at_ns - recent[0] < MINUTE_NS:
            self._chatter[alarm] += 1
            recent.clear()

    def _end(self, alarm: str, at_ns: int) -> None:
        was = self._active.pop(alarm, None)
        if was is None or at_ns < self.start:
            return
        if was.is_counted and was.since >= self.start and at_ns - was.since <= FLEETING_NS:
            self._fleeting[alarm] += 1
        if at_ns - was.since > STANDING_NS:
            self._standing.append(Standing(alarm, was.since, at_ns))

    def _acknowledge(self, alarm: str, at_ns: int) -> None:
        since = self._unanswered.pop(alarm, None)
        if since is not None:
            self._waits.append(at_ns - since)

    def stands(self, alarm: str, since: int) -> None:
        """An alarm that is active when the figures begin, where its activation is not among the events."""
        self._active[alarm] = _Occurrence(since, is_counted=False)

    def next(self, end: int) -> "Kpi":
        """The period after this one, with what stands now."""
        following = Kpi(self.end, end)
        following._active.update(self._active)
        following._unanswered.update(self._unanswered)
        return following

    @property
    def times(self) -> list[int]:
        """When the counted activations of the period came, in order."""
        return list(self._times)

    def figures(self) -> Figures:
        """The figures of the period."""
        still = [Standing(alarm, was.since, None) for alarm, was in self._active.items()]
        standing = [*self._standing, *(each for each in still if self.end - each.since > STANDING_NS)]
        length = max(1, self.end - self.start)
        total = len(self._times)
        top = tuple(sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:TOP])
        floods = tuple(find_floods(self._times, self.end))
        return Figures(
            start=self.start,
            end=self.end,
            activations=total,
            per_10min=total * WINDOW_NS / length,
            peak_10min=peak(self._times),
            per_day=total * DAY_NS / length,
            floods=floods,
            flood_share=sum(flood.end - flood.start for flood in floods) / length,
            chattering=_ranked(self._chatter),
            fleeting=_ranked(self._fleeting),
            standing=tuple(sorted(standing, key=lambda each: (each.since, each.alarm))),
            top=top,
            top_share=sum(count for _, count in top) / total if total else 0.0,
            priorities={each.value: self._priorities[each.value] for each in Priority},
            areas=_ranked(self._areas),
            hidden=self._hidden,
            exercise=self._exercise,
            acknowledged_after=tuple(sorted(self._waits)),
        )


def counts(event: Mapping[str, Any]) -> bool:
    """Tell whether an activation is one that a person had to deal with (A11)."""
    alarm: str = event["alarm"]
    is_own = alarm.startswith("davy:") and not alarm.endswith(":fault")
    return bool(event["annunciated"]) and not event["exercise"] and not is_own


def kpi(events: Iterable[Mapping[str, Any]], start: int, end: int) -> Figures:
    """The figures of [start, end) from the alarm events of a journal, in order, as far back as there are any."""
    work = Kpi(start, end)
    for event in events:
        work.take(event)
    return work.figures()


def peak(times: Iterable[int]) -> int:
    """Most activations within any ten minutes; ``times`` in order."""
    window: deque[int] = deque()
    most = 0
    for at_ns in times:
        window.append(at_ns)
        while window[0] <= at_ns - WINDOW_NS:
            window.popleft()
        most = max(most, len(window))
    return most


def find_floods(times: Iterable[int], end: int) -> Iterable[Span]:
    """Floods: from more than ten activations in ten minutes until under five (A11); one still on ends at ``end``."""
    window: deque[int] = deque()
    since: int | None = None
    count = 0
    for at_ns, same in groupby(times):
        if since is not None:
            over_ns = window[-FLOOD_UNDER] + WINDOW_NS
            if over_ns < at_ns:
                yield Span(since, over_ns, count)
                since = None
        fresh = list(same)
        window.extend(fresh)
        count += len(fresh)
        while window[0] <= at_ns - WINDOW_NS:
            window.popleft()
        if since is not None and len(window) < FLOOD_UNDER:
            yield Span(since, at_ns, count - len(fresh))
            since = None
        if since is None and len(window) > FLOOD_ABOVE:
            since, count = at_ns, len(window)
    if since is not None:
        yield Span(since, min(end, window[-FLOOD_UNDER] + WINDOW_NS), count)


def _ranked(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


@dataclass(slots=True)
class Recent:
    """What the metrics show while the agent runs: the last ten minutes and the last day, bounded."""

    _times: deque[int] = field(default_factory=lambda: deque[int](maxlen=100_000))
    _active: dict[str, int] = field(default_factory=dict[str, int])
    activations: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """The next alarm event as it happens."""
        transition = event["transition"]
        if transition == "activated":
            self._active.setdefault(event["alarm"], event["time"])
            if counts(event):
                self._times.append(event["time"])
                self.activations += 1
        elif transition in ("returned", "ended"):
            self._active.pop(event["alarm"], None)

    def stands(self, alarm: str, since: int) -> None:
        """An alarm that is active already."""
        self._active[alarm] = since

    def gauges(self, now_ns: int) -> dict[str, float]:
        """By name: what stands at ``now_ns``."""
        while self._times and self._times[0] <= now_ns - DAY_NS:
            self._times.popleft()
        in_window = sum(1 for at_ns in self._times if at_ns > now_ns - WINDOW_NS)
        return {
            "kpi_activations_10min": in_window,
            "kpi_activations_24h": len(self._times),
            "kpi_average_10min_24h": len(self._times) * WINDOW_NS / DAY_NS,
            "kpi_peak_10min_24h": peak(self._times),
            "kpi_standing_24h": sum(1 for since in self._active.values() if now_ns - since > STANDING_NS),
        }
