"""``davy rules export``: the master alarm database as CSV."""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from agent.cli.options import Commands, add_config, add_json, command
from agent.cli.text import OK, pick, print_json

if TYPE_CHECKING:
    from agent.config.load import Loaded
    from rules.model import RuleBase

COLUMNS: Final = (
    *("rule", "tag", "tag_name", "kind", "limit", "unit", "deadband", "on_delay", "off_delay", "priority", "latch"),
    *("on_bad", "enabled", "shelvable", "area", "equipment", "message_zh", "message_en", "basis", "cause"),
    *("consequence", "action", "time_to_respond", "preset", "source", "confidence", "sample"),
    *("accepted_by", "accepted_on"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t")


def add(commands: Commands) -> None:
    """Register the command."""
    rules = command(
        commands,
        "rules",
        "the master alarm database",
        "报警主数据库",
        "davy rules export -c davy.yaml -o alarms.csv",
    )
    rules.add_argument("what", choices=["export"])
    add_config(rules)
    rules.add_argument("-o", "--output", type=Path, metavar="FILE", help=pick("instead of standard output", "写入文件"))
    add_json(rules)
    rules.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from agent.config.load import load

    rows = alarm_rows(load(options.config))
    if options.json:
        print_json(rows)
        return OK
    text = to_csv(rows)
    if options.output is None:
        sys.stdout.write(text)
    else:
        # With a BOM: the spreadsheet that engineers open it in takes it for the local code page otherwise.
        options.output.write_text(text, encoding="utf-8-sig", newline="")
    return OK


def alarm_rows(loaded: "Loaded") -> list[dict[str, Any]]:
    """One row per rule, sorted by tag, then id; what a rule does not have is None."""
    from rules.build import build

    rules = cast("tuple[RuleBase, ...]", loaded.config.rules)
    tags = {tag.id: tag for tag in loaded.tags}
    rule_set = build(rules, tags, live=False)
    rows = [_row(rule, loaded, rule.about(tags)) for rule in rule_set.rules]
    return sorted(rows, key=lambda row: (str(row["tag"]), row["rule"]))


def _row(rule: "RuleBase", loaded: "Loaded", tag: Any) -> dict[str, Any]:
    from rules.messages import Texts

    unit = rule.limit_unit(tag)
    made = Texts(rule.message, rule.condition, tag.name or tag.id, rule.limit_value, unit).at(None)
    rationale = rule.rationale
    origin = loaded.origins.get(rule.id)
    inputs = rule.inputs or rule.looks_at
    return {
        "rule": rule.id,
        "tag": " ".join(inputs),
        "tag_name": tag.name,
        "kind": rule.condition,
        "limit": rule.limit_value,
        "unit": unit or rule.unit,
        "deadband": _text(getattr(rule, "deadband", None)),
        "on_delay": str(rule.on_delay),
        "off_delay": str(rule.off_delay),
        "priority": rule.priority.value,
        "latch": rule.latch,
        "on_bad": rule.on_bad.value,
        "enabled": rule.enabled,
        "shelvable": rule.is_shelvable,
        "area": rule.area,
        "equipment": rule.equipment,
        "message_zh": made.get("zh-CN"),
        "message_en": made.get("en"),
        "basis": rule.basis,
        "cause": None if rationale is None else rationale.cause,
        "consequence": None if rationale is None else rationale.consequence,
        "action": None if rationale is None else rationale.action,
        "time_to_respond": None if rationale is None else _text(rationale.time_to_respond),
        "preset": None if origin is None else origin.preset,
        "source": None if origin is None else origin.source,
        "confidence": None if origin is None else origin.confidence,
        "sample": None if origin is None else origin.sample,
        "accepted_by": None if origin is None else origin.accepted_by,
        "accepted_on": None if origin is None else origin.accepted_on,
    }


def _text(value: Any) -> str | None:
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV; a text that a spreadsheet would run as a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _harmless(value) for key, value in row.items()})
    return out.getvalue()


def _harmless(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
