"""The tables of a report as rows of texts; text and HTML print the same ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent.report.shift import Shift
from agent.report.words import Words
from rules.kpi import Figures, rating

Row = Sequence[str]

_CONTEXT: Final = (
    *("alarm", "tag", "area", "command", "outcome", "refused", "reason", "note", "finding", "measure", "result"),
    *("second", "path", "old", "new", "force", "cause", "version", "from", "to", "step", "not_measured_ns"),
)
REMARK_MAX: Final = 300


def figure_rows(figures: Figures, words: Words) -> list[Row]:
    """Figure, value, what is acceptable (DOMAIN 5.4)."""
    mix = ", ".join(f"{name} {count}" for name, count in figures.priorities.items() if count)
    within = f"{words.duration(figures.acknowledged_within(0.5))}, {words.duration(figures.acknowledged_within(0.95))}"
    return [
        (words["rating"], words[rating(figures)], ""),
        (words["activations"], str(figures.activations), ""),
        (words["per_10min"], f"{figures.per_10min:.2f}", "<= 1 (<= 2)"),
        (words["peak_10min"], str(figures.peak_10min), "<= 10"),
        (words["per_day"], f"{figures.per_day:.0f}", "<= 150 (<= 300)"),
        (words["floods"], str(len(figures.floods)), ""),
        (words["flood_share"], f"{figures.flood_share:.1%}", "< 1 %"),
        (words["chattering"], _named(figures.chattering, words), "0"),
        (words["fleeting"], _named(figures.fleeting, words), ""),
        (words["standing"], ", ".join(each.alarm for each in figures.standing) or words["none"], "< 5"),
        (words["top"], ", ".join(f"{alarm} {count}" for alarm, count in figures.top) or words["none"], ""),
        (words["top_share"], f"{figures.top_share:.0%}", "<= 5 %"),
        (words["priorities"], mix or words["none"], ""),
        (words["areas"], _named(figures.areas, words), ""),
        (words["acknowledged"], within, ""),
        (words["hidden"], str(figures.hidden), ""),
        (words["exercise"], str(figures.exercise), ""),
    ]


def _named(counts: Mapping[str, int], words: Words) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or words["none"]


def event_rows(events: Sequence[Mapping[str, Any]], words: Words) -> list[Row]:
    """Time, alarm, transition, state, priority, message, by, remark."""
    return [
        (
            *(words.at(event["time"]), event["alarm"], event["transition"], event["state"], event["priority"]),
            *(words.message(event), event.get("actor") or "", remark(event, ("reason", "note", "finding", "measure"))),
        )
        for event in events
    ]


def standing_rows(events: Sequence[Mapping[str, Any]], words: Words) -> list[Row]:
    """Alarm, state, priority, since, message, by and until."""
    return [
        (
            *(event["alarm"], event["state"], event["priority"], words.at(event.get("since"))),
            *(words.message(event), event.get("actor") or ""),
            words.at(event["until"]) if event.get("until") is not None else "",
        )
        for event in events
    ]


def record_rows(records: Sequence[Mapping[str, Any]], words: Words) -> list[Row]:
    """Time, what, by, remark."""
    return [
        (words.at(each["time"]), each["kind"], str(each.get("actor") or ""), remark(each, _CONTEXT)) for each in records
    ]


def remark(event: Mapping[str, Any], keys: Sequence[str]) -> str:
    """What else a record says, in one line."""
    text = "; ".join(f"{key}: {event[key]}" for key in keys if event.get(key) not in (None, ""))
    return text if len(text) <= REMARK_MAX else text[: REMARK_MAX - 1] + "…"


def headline(shift: Shift, words: Words) -> str:
    """Which site, from when to when."""
    return f"{shift.site or '-'} / {shift.agent or '-'}  {words.at(shift.start)} – {words.at(shift.end)} ({words.zone})"
