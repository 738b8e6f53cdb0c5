"""``davy journal stats`` and ``verify``: read only, with or without a running agent."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from agent.cli.options import Commands, add_config, add_json, command
from agent.cli.text import OK, WARNINGS, fail, local_time, pick, print_json, say


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    journal = command(
        commands, "journal", "look into the journal", "查看日志库", "davy journal verify -c davy.yaml --json"
    )
    journal.add_argument("what", choices=["stats", "verify"])
    add_config(journal)
    add_json(journal)
    journal.add_argument("--state-dir", type=Path, help=pick("instead of the configuration's", "代替配置中的目录"))
    journal.set_defaults(run=_journal)


def _journal(options: argparse.Namespace) -> int:
    from agent.config.load import state_dir

    if options.state_dir is None and not options.config.exists():
        return fail(f"{options.config}: no such file", f"{options.config}:文件不存在")
    directory = (options.state_dir or state_dir(options.config)) / "journal"
    if not directory.is_dir():
        return fail(f"{directory}: no journal there", f"{directory}:没有日志库")
    return _stats(directory, options) if options.what == "stats" else _verify(directory, options)


def _stats(directory: Path, options: argparse.Namespace) -> int:
    from agent.journal.inspect import inspect

    figures = inspect(directory)
    if options.json:
        print_json(figures)
        return OK
    for key, value in figures.items():
        print(f"{key:<16} {_readable(value)}")
    return OK


def _readable(value: Any) -> str:
    """A figure for people: the last start and stop as their time, counts as ``name value``."""
    if not isinstance(value, dict):
        return str(value)
    fields = cast("dict[str, Any]", value)
    if "time" in fields:
        return local_time(fields["time"])
    return ", ".join(f"{name} {count}" for name, count in fields.items())


def _verify(directory: Path, options: argparse.Namespace) -> int:
    from agent.journal.chain import verify

    report = verify(directory)
    if options.json:
        print_json(asdict(report))
    elif report.ok:
        say(f"ok: {report.records} records, no change found", f"完好:{report.records} 条记录,未发现改动")
    elif report.first_bad is not None:
        seq, file, what = report.first_bad
        say(f"CHANGED: record {seq} in {file}: {what}", f"有改动:记录 {seq},文件 {file}:{what}")
    for note in [] if options.json else report.notes:
        print(note)
    return OK if report.ok else WARNINGS
