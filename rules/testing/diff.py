"""Expected against got: what fits, what is missing, what came unasked, side by side; pure."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.core.events import AlarmEvent
from rules.testing.notation import show_time
from rules.testing.runner import matches
from rules.testing.testfile import Expected, time_ns


class Verdict(StrEnum):
    """What one line of a comparison says."""

    SAME = "same"
    MISSING = "missing"
    UNEXPECTED = "unexpected"
    MOVED = "moved"
    """The transition came at another time."""
    DIFFERENT = "different"
    """It came when it should, but a field is not as expected."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison: an expectation, an event, or both."""

    at_ns: int
    verdict: Verdict
    expected: str
    got: str
    alarm: str

    def to_fields(self) -> dict[str, Any]:
        """The line with JSON types."""
        return {"verdict": self.verdict.value, "expected": self.expected or None, "got": self.got or None}


def compare(
    expected: Sequence[Expected], events: Sequence[AlarmEvent], start_ns: int, sole_rule: str | None
) -> list[Line]:
    """Every expectation and every event once, by time. ``sole_rule`` is meant where an expectation names no alarm."""
    wanted = [(time_ns(each.at, start_ns), each.alarm or sole_rule or "", each) for each in expected]
    lines: list[Line] = []
    left = list(events)

    def take(verdict: Verdict, *, same_time: bool, all_fields: bool) -> None:
        nonlocal wanted
        rest: list[tuple[int, str, Expected]] = []
        for at_ns, alarm, each in wanted:
            fits = [
                event
                for event in left
                if (event.alarm, event.transition) == (alarm, each.transition)
                and (not same_time or event.time == at_ns)
                and (not all_fields or matches(event, each))
            ]
            event = min(fits, key=lambda event: abs(event.time - at_ns), default=None)
            if event is None:
                rest.append((at_ns, alarm, each))
                continue
            left.remove(event)
            lines.append(Line(at_ns, verdict, _wish(at_ns, alarm, each, start_ns), _fact(event, each, start_ns), alarm))
        wanted = rest

    take(Verdict.SAME, same_time=True, all_fields=True)
    take(Verdict.DIFFERENT, same_time=True, all_fields=False)
    take(Verdict.MOVED, same_time=False, all_fields=False)
    lines += [
        Line(at_ns, Verdict.MISSING, _wish(at_ns, alarm, each, start_ns), "", alarm) for at_ns, alarm, each in wanted
    ]
    lines += [Line(event.time, Verdict.UNEXPECTED, "", _fact(event, None, start_ns), event.alarm) for event in left]
    return sorted(lines, key=lambda line: line.at_ns)


def _wish(at_ns: int, alarm: str, expected: Expected, start_ns: int) -> str:
    text = f"{show_time(at_ns - start_ns)} {alarm} {expected.transition}"
    return " ".join([text, *_keys(expected.fields.items())])


def _fact(event: AlarmEvent, expected: Expected | None, start_ns: int) -> str:
    text = f"{show_time(event.time - start_ns)} {event.alarm} {event.transition.value}"
    if expected is None:
        return f"{text} -> {event.state.value}"
    return " ".join([text, *_keys((key, getattr(event, key)) for key in expected.fields)])


def _keys(items: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"-> {value}" if key == "state" else f"{key}={value}" for key, value in items]


def cells(text: str) -> int:
    """Columns that a text takes on a terminal; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


_MARKS = {
    Verdict.SAME: "  ",
    Verdict.MISSING: "- ",
    Verdict.UNEXPECTED: "+ ",
    Verdict.MOVED: "~ ",
    Verdict.DIFFERENT: "! ",
}


def render(lines: Sequence[Line], head: tuple[str, str] = ("expected", "got")) -> str:
    """The comparison as two aligned columns."""
    size = max([cells(head[0]), *(cells(line.expected) for line in lines)])
    rows = [f"    {head[0]}{' ' * (size - cells(head[0]))}   {head[1]}"]
    for line in lines:
        padded = line.expected + " " * (size - cells(line.expected))
        word = "" if line.verdict is Verdict.SAME else f"   {line.verdict.value}"
        rows.append(f"  {_MARKS[line.verdict]}{padded} | {line.got}{word}".rstrip())
    return "\n".join(rows)
