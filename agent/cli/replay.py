"""``davy replay``: rules over recorded data, and what a change of rules would have done."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.options import Commands, add_json, command
from agent.cli.progress import ProgressBar
from agent.cli.text import OK, WARNINGS, fail, local_time, pick, print_json, say

if TYPE_CHECKING:
    from agent.core.tags import Tag
    from agent.replay import Recording
    from rules.model import RuleBase
    from rules.testing.changes import Change, Occurrence, Occurrences


def add(commands: Commands) -> None:
    """Register the command."""
    replay = command(
        commands,
        "replay",
        "run rules over recorded data",
        "用历史数据回放规则",
        "davy replay plant.csv --rules rules.yaml --diff new-rules.yaml",
    )
    replay.add_argument("data", type=Path, help="CSV (time,tag,value,quality) | Parquet | journal directory")
    replay.add_argument(
        "--rules",
        type=Path,
        metavar="FILE",
        help=pick(
            "YAML with rules: and tags:, or a davy.yaml; a journal has its own",
            "含 rules: 与 tags: 的 YAML 或 davy.yaml;日志库自带规则",
        ),
    )
    replay.add_argument(
        "--diff",
        type=Path,
        metavar="OTHER",
        help=pick(
            "which alarms these rules would add, remove or move; exit 1 where any",
            "改用这些规则会增加、取消或移动哪些报警",
        ),
    )
    replay.add_argument("--sort", action="store_true", help=pick("sort rows by time first", "先按时间排序"))
    add_json(replay)
    replay.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    from agent.replay import Recording
    from drivers.replay import ReplayError

    bar = ProgressBar(pick("replay", "回放"))
    recording = Recording(options.data, options.sort, bar)
    rules = None if options.rules is None else _rules(options.rules)
    try:
        is_diff = options.diff is not None
        code = _diff(options, recording, rules) if is_diff else _events(options, recording, rules, bar)
        bar.clear()
        if rules is not None and recording.journal is None:
            _tell_unread(rules[0], recording)
        return code
    except ReplayError as error:
        bar.clear()
        return fail(str(error), str(error))
    finally:
        bar.clear()


def _tell_unread(rules: "Sequence[RuleBase]", recording: "Recording") -> None:
    """No alarm for want of data must not look like no alarm."""
    wanted = {tag for rule in rules if rule.enabled for tag in rule.inputs}
    if missing := ", ".join(sorted(wanted - recording.seen)):
        path = recording.path
        fail(
            f"{path} has no reading of {missing}: their rules were not tried",
            f"{path} 中没有 {missing} 的数据，其规则未经检验",
        )


def _rules(path: Path) -> "tuple[Sequence[RuleBase], Sequence[Tag]]":
    from agent.ruletests import load_rules_file

    loaded = load_rules_file(path)
    return loaded.rules, list(loaded.tags.values())


def _events(
    options: argparse.Namespace,
    recording: "Recording",
    rules: "tuple[Sequence[RuleBase], Sequence[Tag]] | None",
    bar: ProgressBar,
) -> int:
    from agent.replay import Tally, replay

    tally = Tally()
    for event in replay(recording, *(rules or (None, ())), tally):
        bar.clear()
        print(json.dumps(event, ensure_ascii=False, sort_keys=True) if options.json else _human(event))
    bar.clear()
    numbers = (tally.readings, tally.events, tally.late)
    print(
        pick(
            "{} readings, {} events; {} readings were out of order and changed no alarm".format(*numbers),
            "{} 个读数,{} 个事件;{} 个读数时间乱序,未改变任何报警".format(*numbers),
        )
        + (pick(" (--sort puts them in order)", "(--sort 可先排序)") if tally.late else ""),
        file=sys.stderr,
    )
    return OK


def _human(event: dict[str, Any]) -> str:
    text = event["message"].get(pick("en", "zh-CN"), "")
    change = f"{event['alarm']}  {event['transition']} -> {event['state']}"
    return f"{local_time(event['time'])}  {event['priority']:<10} {change}  {text}"


def _diff(
    options: argparse.Namespace,
    recording: "Recording",
    rules: "tuple[Sequence[RuleBase], Sequence[Tag]] | None",
) -> int:
    from agent.replay import compare
    from rules.testing.changes import changes

    before, after = compare(recording, rules, _rules(options.diff))
    found = changes(before, after)
    kinds = [change.kind for change in found]
    counts = {kind: kinds.count(kind) for kind in ("added", "removed", "moved")}
    if options.json:
        totals = {"before": before.total, "after": after.total, **counts}
        print_json({**totals, "changes": [change.to_fields() for change in found]})
    else:
        for change in found:
            print(_told(change))
        _sum(before, after, counts)
    return WARNINGS if found else OK


def _told(change: "Change") -> str:
    words = {
        "added": pick("+ added  ", "+ 增加"),
        "removed": pick("- removed", "- 取消"),
        "moved": pick("~ moved  ", "~ 移动"),
    }
    one = change.after or change.before
    assert one is not None
    parts = [words[change.kind], f"{one.priority:<10}", change.alarm]
    if change.before is not None and change.after is not None:
        parts.append(f"{_span(change.before)}  =>  {_span(change.after)}")
    else:
        parts.append(_span(one))
    return "  ".join(parts)


def _span(one: "Occurrence") -> str:
    end = pick("stands", "未恢复") if one.returned_ns is None else local_time(one.returned_ns)
    return f"{local_time(one.activated_ns)} .. {end}"


def _sum(before: "Occurrences", after: "Occurrences", counts: dict[str, int]) -> None:
    same = before.total - counts["removed"] - counts["moved"]
    numbers = (before.total, after.total, counts["added"], counts["removed"], counts["moved"], same)
    say(
        "alarms before: {}, after: {}; added {}, removed {}, moved {}, unchanged {}".format(*numbers),
        "报警原为 {} 次,改后 {} 次;增加 {},取消 {},移动 {},不变 {}".format(*numbers),
    )
