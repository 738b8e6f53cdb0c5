"""``davy report kpi`` and ``shift``: from the journal's files, with or without a running agent."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from agent.cli.options import Commands, add_config, add_json, command
from agent.cli.text import OK, fail, pick, print_json, say, speaks_chinese, table

if TYPE_CHECKING:
    from agent.report.shift import Shift
    from agent.report.words import Words

DAY_NS = 86_400_000_000_000


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    report = command(
        commands,
        "report",
        "alarm performance and shift reports",
        "报警绩效与交接班报表",
        "davy report shift --html shift.html",
    )
    report.add_argument("what", choices=["kpi", "shift"])
    report.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        help=pick("2026-11-21T08:00 (site time); default: last shift, for kpi 24 h", "开始时间(站点时区)"),
    )
    report.add_argument("--to", dest="end", metavar="TIME", help=pick("default: now", "结束时间(默认现在)"))
    report.add_argument("--html", type=Path, metavar="FILE", help=pick("shift: write a page", "交接班:写入网页"))
    report.add_argument("--state-dir", type=Path, help=pick("instead of the configuration's", "代替配置中的目录"))
    add_config(report)
    add_json(report)
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from agent.config.load import state_dir
    from agent.report.shift import gather
    from agent.report.source import events
    from agent.report.words import Words

    directory = (options.state_dir or state_dir(options.config)) / "journal"
    if not directory.is_dir():
        return fail(f"{directory}: no journal there", f"{directory}:没有日志库")
    zone, starts = _site(options)
    try:
        start, end = _period(options, zone, starts)
    except ValueError as error:
        return fail(str(error), str(error))
    shift = gather(events(directory), start, end)
    words = Words(speaks_chinese(), ZoneInfo(zone))
    if options.html is not None:
        return _write(shift, words, options)
    if options.json:
        print_json(shift.to_fields() if options.what == "shift" else shift.figures.to_fields())
        return OK
    _print(shift, words, is_whole=options.what == "shift")
    return OK


def _write(shift: "Shift", words: "Words", options: argparse.Namespace) -> int:
    from agent.report.html import page

    try:
        options.html.write_text(page(shift, words), encoding="utf-8")
    except OSError as error:
        return fail(f"{options.html}: {error.strerror}", f"{options.html}:{error.strerror}")
    say(f"written to {options.html}", f"已写入 {options.html}")
    return OK


def _site(options: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """Time zone and starts of shifts of the site; UTC and the usual ones where there is no configuration."""
    from agent.config.fields import SHIFT_STARTS
    from agent.config.load import load

    if not options.config.exists():
        return "UTC", SHIFT_STARTS
    site = load(options.config).config.site
    return site.timezone, site.shifts


def _period(options: argparse.Namespace, zone: str, starts: tuple[str, ...]) -> tuple[int, int]:
    from agent.core.clock import SystemClock
    from agent.report.shift import last_shift

    now_ns = SystemClock().now_ns()
    end = _time(options.end, zone) if options.end else None
    if options.start:
        start = _time(options.start, zone)
        end = now_ns if end is None else end
    elif options.what == "shift":
        start, end = last_shift(now_ns if end is None else end, zone, starts)
    else:
        end = now_ns if end is None else end
        start = end - DAY_NS
    if start >= end:
        raise ValueError("--from must lie before --to")
    return start, end


def _time(text: str, zone: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text}: expected a time such as 2026-11-21T08:00 or 2026-11-21T08:00+08:00") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return int(moment.timestamp()) * 1_000_000_000


def _print(shift: "Shift", words: "Words", *, is_whole: bool) -> None:
    from agent.report.rows import event_rows, figure_rows, headline, record_rows, standing_rows

    print(words["shift_report" if is_whole else "kpi_report"])
    print(headline(shift, words))
    table([words["figure"], words["value"], words["target"]], figure_rows(shift.figures, words))
    if not is_whole:
        return
    stands = [words[key] for key in ("alarm", "state", "priority", "time", "message", "actor", "period")]
    happened = [words[k] for k in ("time", "alarm", "transition", "state", "priority", "message", "actor", "remark")]
    noted = [words[key] for key in ("time", "kind", "actor", "remark")]
    for title, head, rows in [
        ("taken_over", stands, standing_rows(shift.taken_over, words)),
        ("handed_over", stands, standing_rows(shift.handed_over, words)),
        ("events", happened, event_rows(shift.alarms, words)),
        ("actions", noted, record_rows(shift.deeds, words)),
        ("agent_records", noted, record_rows(shift.troubles, words)),
    ]:
        print(f"\n{words[title]}")
        if rows:
            table(head, rows)
        else:
            print(words["none"])
