"""A shift report as one page that needs nothing else: styles inside, plots as inline SVG, no script."""

from collections.abc import Sequence
from html import escape
from typing import Final

from agent.core.events import COLOUR, Priority
from agent.report.rows import Row, event_rows, figure_rows, headline, record_rows, standing_rows
from agent.report.shift import ROWS_MAX, Shift, Stretch
from agent.report.words import Words

WIDTH: Final = 960
LEFT: Final = 190
BARS_HEIGHT: Final = 160
ROW_HEIGHT: Final = 18
STRETCH_ALARMS_MAX: Final = 40
"""Alarms in the plot of active times: those that were active longest."""
_FILL: Final = {"red": "#c62828", "orange": "#ef6c00", "yellow": "#f9a825", "blue": "#1565c0", None: "#757575"}
_STYLE: Final = """
body{font:14px/1.45 system-ui,"Noto Sans CJK SC",sans-serif;margin:2em auto;max-width:1100px;padding:0 1em;color:#222}
h1{font-size:1.4em;margin:0}h2{font-size:1.1em;margin:1.6em 0 .4em}p.sub{color:#555;margin:.2em 0 1em}
table{border-collapse:collapse;width:100%;font-size:13px}th,td{text-align:left;padding:3px 8px;vertical-align:top;
border-bottom:1px solid #ddd}th{background:#f3f3f3}td{overflow-wrap:anywhere}svg{width:100%;height:auto}
@media print{body{margin:0}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def page(shift: Shift, words: Words) -> str:
    """The report as HTML 5, UTF-8."""
    language = "zh-CN" if words.is_chinese else "en"
    title = escape(f"{words['shift_report']} {shift.site or ''} {words.at(shift.start)}")
    figures = [words["figure"], words["value"], words["target"]]
    stands = [words[key] for key in ("alarm", "state", "priority", "time", "message", "actor", "period")]
    events = [words[k] for k in ("time", "alarm", "transition", "state", "priority", "message", "actor", "remark")]
    records = [words[key] for key in ("time", "kind", "actor", "remark")]
    parts = [
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">',
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(words['shift_report'])}</h1><p class=sub>{escape(headline(shift, words))}</p>",
        _table(words["kpi_report"], figures, figure_rows(shift.figures, words), words),
        _section(words["rate_plot"], bars(shift, words)),
        _section(words["active_plot"], stretches(shift, words)),
        _table(words["taken_over"], stands, standing_rows(shift.taken_over, words), words),
        _table(words["handed_over"], stands, standing_rows(shift.handed_over, words), words),
        _table(words["events"], events, event_rows(shift.alarms[:ROWS_MAX], words), words, len(shift.alarms)),
        _table(words["actions"], records, record_rows(shift.deeds[:ROWS_MAX], words), words, len(shift.deeds)),
        _table(words["agent_records"], records, record_rows(shift.troubles[:ROWS_MAX], words), words),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(title: str, head: Sequence[str], rows: Sequence[Row], words: Words, total: int = 0) -> str:
    if not rows:
        return _section(title, f"<p>{escape(words['none'])}</p>")
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    more = f"<p>{escape(words['left_out'].format(total - len(rows)))}</p>" if total > len(rows) else ""
    return _section(title, f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>{more}")


def bars(shift: Shift, words: Words) -> str:
    """Activations per ten minutes, with the line above which there is a flood."""
    most = max(11, *shift.bins)
    step = WIDTH / len(shift.bins)
    scale = BARS_HEIGHT / most
    drawn = "".join(
        f'<rect x="{i * step:.1f}" y="{BARS_HEIGHT - count * scale:.1f}" width="{max(step - 1, 0.5):.1f}" '
        f'height="{count * scale:.1f}" fill="{"#c62828" if count > 10 else "#1565c0"}">'
        f"<title>{count}</title></rect>"
        for i, count in enumerate(shift.bins)
        if count
    )
    limit = BARS_HEIGHT - 10 * scale
    line = f'<line x1="0" x2="{WIDTH}" y1="{limit:.1f}" y2="{limit:.1f}" stroke="#c62828" stroke-dasharray="4 3"/>'
    axis = f'<line x1="0" x2="{WIDTH}" y1="{BARS_HEIGHT}" y2="{BARS_HEIGHT}" stroke="#222"/>'
    return _svg(BARS_HEIGHT + 20, drawn + line + axis + _times(shift, words, 0, BARS_HEIGHT))


def stretches(shift: Shift, words: Words) -> str:
    """One line per alarm, a bar wherever it was active, in the colour of its priority."""
    by_alarm: dict[str, list[Stretch]] = {}
    for each in shift.stretches:
        by_alarm.setdefault(each.alarm, []).append(each)
    ranked = sorted(by_alarm, key=lambda alarm: (-sum(_length(each, shift) for each in by_alarm[alarm]), alarm))
    if not ranked:
        return f"<p>{escape(words['none'])}</p>"
    shown = ranked[:STRETCH_ALARMS_MAX]
    drawn: list[str] = []
    for i, alarm in enumerate(shown):
        y = i * ROW_HEIGHT
        drawn.append(f'<text x="0" y="{y + 13}" font-size="12">{escape(_short(alarm))}</text>')
        drawn += [_bar(each, shift, y + 3, words) for each in by_alarm[alarm]]
    height = len(shown) * ROW_HEIGHT
    more = f"<p>{escape(words['left_out'].format(len(ranked) - len(shown)))}</p>" if len(ranked) > len(shown) else ""
    axis = f'<line x1="{LEFT}" x2="{WIDTH}" y1="{height}" y2="{height}" stroke="#222"/>'
    return _svg(height + 20, "".join(drawn) + axis + _times(shift, words, LEFT, height)) + more


def _bar(stretch: Stretch, shift: Shift, y: float, words: Words) -> str:
    x = _x(max(stretch.start, shift.start), shift, LEFT)
    end = _x(min(stretch.end if stretch.end is not None else shift.end, shift.end), shift, LEFT)
    colour = _FILL[COLOUR[Priority(stretch.priority)]]
    label = f"{stretch.alarm} {words.at(stretch.start)} – {words.at(stretch.end)}"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(end - x, 1.5):.1f}" height="{ROW_HEIGHT - 6}" '
        f'fill="{colour}"><title>{escape(label)}</title></rect>'
    )


def _length(stretch: Stretch, shift: Shift) -> int:
    end = stretch.end if stretch.end is not None else shift.end
    return min(end, shift.end) - max(stretch.start, shift.start)


def _times(shift: Shift, words: Words, left: int, y: float) -> str:
    marks: list[str] = []
    for i in range(7):
        at_ns = shift.start + (shift.end - shift.start) * i // 6
        anchor = "start" if i == 0 else "end" if i == 6 else "middle"
        text = words.at(at_ns, "%H:%M")
        marks.append(
            f'<text x="{_x(at_ns, shift, left):.1f}" y="{y + 14:.0f}" font-size="11" fill="#555" '
            f'text-anchor="{anchor}">{text}</text>'
        )
    return "".join(marks)


def _x(at_ns: int, shift: Shift, left: int) -> float:
    return left + (at_ns - shift.start) / max(1, shift.end - shift.start) * (WIDTH - left)


def _short(name: str) -> str:
    return name if len(name) <= 26 else name[:25] + "…"


def _svg(height: float, body: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{body}</svg>'
