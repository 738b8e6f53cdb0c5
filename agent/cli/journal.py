"""``davy journal stats`` and ``verify``: read only, with or without a running agent."""

import argparse
from dataclasses import asdict
from pathlib import Path

from agent.cli.options import Commands, add_config, add_json, command
from agent.cli.text import INVALID, OK, WARNINGS, fail, local_time, pick, print_json, say


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
        print(f"{key:<16} {local_time(value) if key.endswith('_at_ns') else value}")
    return OK


def _verify(directory: Path, options: argparse.Namespace) -> int:
    from agent.journal.chain import verify

    report = verify(directory)
    if options.json:
        print_json(asdict(report))
    elif report.ok:
        say(f"ok: {report.records} records, no change found", f"完好:{report.records} 条记录,未发现改动")
    if not report.ok and not options.json:
        return fail(f"first bad record: {report.first_bad}", f"首个异常记录:{report.first_bad}")
    for note in [] if options.json else report.notes:
        print(note)
    return OK if report.ok and not report.notes else INVALID if not report.ok else WARNINGS
