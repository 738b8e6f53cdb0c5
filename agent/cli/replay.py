"""``davy replay``: rules over recorded data."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agent.cli.options import Commands, add_json, command
from agent.cli.text import OK, fail, local_time, pick

if TYPE_CHECKING:
    from rules.model import RuleBase


def add(commands: Commands) -> None:
    """Register the command."""
    replay = command(
        commands,
        "replay",
        "run rules over recorded data",
        "用历史数据回放规则",
        "davy replay plant.csv --rules rules.yaml --json",
    )
    replay.add_argument("data", type=Path, help="CSV (time,tag,value,quality) | Parquet")
    replay.add_argument(
        "--rules",
        type=Path,
        required=True,
        metavar="FILE",
        help=pick("YAML with rules: and tags:", "含 rules: 与 tags: 的 YAML"),
    )
    replay.add_argument("--sort", action="store_true", help=pick("sort rows by time first", "先按时间排序"))
    add_json(replay)
    replay.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    from agent.config.load import load_rules
    from agent.replay import replay
    from drivers.replay import ReplayError

    rules, tags = load_rules(options.rules)
    try:
        for event in replay(options.data, cast("Sequence[RuleBase]", rules), tags, is_sorted=options.sort):
            print(json.dumps(event, ensure_ascii=False, sort_keys=True) if options.json else _human(event))
    except ReplayError as error:
        return fail(str(error), str(error))
    return OK


def _human(event: dict[str, Any]) -> str:
    text = event["message"].get(pick("en", "zh-CN"), "")
    change = f"{event['alarm']}  {event['transition']} -> {event['state']}"
    return f"{local_time(event['time'])}  {event['priority']:<10} {change}  {text}"
