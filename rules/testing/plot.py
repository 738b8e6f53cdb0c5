"""A picture of a test in characters: the compared value, its limit, and the transitions under it; pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.core.events import AlarmEvent
from agent.core.quality import FIRST_BAD
from rules.conditions.time_to_limit import Config as TimeToLimitRule
from rules.engine import Engine
from rules.testing.notation import show_time

WIDTH: Final = 72
HEIGHT: Final = 9
_MARKS: Final = {
    "activated": "A",
    "returned": "R",
    "acknowledged": "K",
    "reset": "Z",
    "shelved": "S",
    "unshelved": "s",
    "suppressed": "P",
    "unsuppressed": "p",
    "re_alarmed": "A",
    "confirmed": "C",
    "ended": "E",
}
_OTHER: Final = "*"
_HORIZONS_SHOWN: Final = 2


@dataclass(slots=True)
class Trace:
    """What a rule compared, step by step. Values are None while unknown: before the first, or the reading is bad."""

    rule: str
    limit: float | None = None
    times: list[int] = field(default_factory=list[int])
    values: list[float | None] = field(default_factory=list[float | None])
    events: list[AlarmEvent] = field(default_factory=list[AlarmEvent])


class Tracer:
    """Keeps the traces of some rules."""

    def __init__(self, rules: Sequence[str]) -> None:
        self.traces = {rule: Trace(rule) for rule in rules}
        self._horizons: dict[str, float | None] = {}

    def look(self, engine: Engine, at_ns: int, events: Sequence[AlarmEvent]) -> None:
        """See Observer."""
        for event in events:
            if event.alarm in self.traces:
                self.traces[event.alarm].events.append(event)
        for view in engine.alarms():
            trace = self.traces.get(view.id)
            if trace is not None:
                is_bad = view.quality is not None and view.quality >= FIRST_BAD
                ahead_s = self._ahead_s(engine, view.id)
                trace.limit = view.limit if ahead_s is None else ahead_s
                trace.times.append(at_ns)
                trace.values.append(None if is_bad or view.value is None else _within(view.value, ahead_s))

    def _ahead_s(self, engine: Engine, name: str) -> float | None:
        """The horizon of a rule that compares a time with it, seconds; None for the others."""
        if name not in self._horizons:
            rule = next((rule for rule in engine.rules.rules if rule.id == name), None)
            self._horizons[name] = rule.horizon.s if isinstance(rule, TimeToLimitRule) else None
        return self._horizons[name]


def _within(value: float, ahead_s: float | None) -> float:
    """A time far beyond its horizon would leave no room in the picture for the rest."""
    return value if ahead_s is None else min(value, _HORIZONS_SHOWN * ahead_s)


def plot(trace: Trace, start_ns: int, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The picture; lines of at most ``width`` characters and the scale. Empty where nothing was compared."""
    numbers = [value for value in trace.values if value is not None]
    if not numbers:
        return ""
    low, high = _scale([*numbers, *([] if trace.limit is None else [trace.limit])])
    labels = [_label(low + (high - low) * row / (height - 1), high - low) for row in range(height)]
    if trace.limit is not None:
        labels[_row(trace.limit, low, high, height)] = f"limit {_label(trace.limit, high - low)}"
    margin = max(len(label) for label in labels)
    columns = max(1, width - margin - 2)
    first_ns, last_ns = trace.times[0], trace.times[-1]
    grid = [[" "] * columns for _ in range(height)]
    if trace.limit is not None:
        grid[_row(trace.limit, low, high, height)] = ["-"] * columns
    for at_ns, value in zip(trace.times, trace.values, strict=True):
        column = _column(at_ns, first_ns, last_ns, columns)
        if value is None:
            grid[0][column] = "x"
        else:
            grid[_row(value, low, high, height)][column] = "●"
    lines = [f"{labels[row]:>{margin}} │{''.join(grid[row])}".rstrip() for row in reversed(range(height))]
    marks = [" "] * columns
    for event in trace.events:
        marks[_column(event.time, first_ns, last_ns, columns)] = _MARKS.get(event.transition.value, _OTHER)
    end = show_time(last_ns - start_ns)
    begin = show_time(first_ns - start_ns)
    return "\n".join(
        [
            *lines,
            f"{'':>{margin}} └{'─' * columns}",
            f"{'':>{margin}}  {''.join(marks)}".rstrip(),
            f"{'':>{margin}}  {begin}{end:>{max(1, columns - len(begin))}}",
        ]
    )


def legend(trace: Trace) -> str:
    """What the letters under the picture say."""
    names = dict.fromkeys(event.transition.value for event in trace.events)
    unknown = ["x bad or not known yet"] if None in trace.values else []
    return "  ".join([*(f"{_MARKS.get(name, _OTHER)} {name}" for name in names), *unknown])


def _scale(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    if low == high:
        margin = abs(low) * 0.1 or 1.0
        return low - margin, high + margin
    return low, high


def _row(value: float, low: float, high: float, height: int) -> int:
    return min(height - 1, max(0, math.floor((value - low) / (high - low) * (height - 1) + 0.5)))


def _column(at_ns: int, first_ns: int, last_ns: int, columns: int) -> int:
    if last_ns == first_ns:
        return 0
    return min(columns - 1, max(0, (at_ns - first_ns) * (columns - 1) // (last_ns - first_ns)))


def _label(value: float, span: float) -> str:
    return f"{0.0 if abs(value) < 1e-9 * span else value:.4g}"
