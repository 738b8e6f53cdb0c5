"""``davy presets list`` and ``show``: which rules standards suggest, with source and confidence."""

import argparse
from typing import TYPE_CHECKING, Any

from agent.cli.options import Commands, add_json, command
from agent.cli.text import OK, fail, pick, print_json, say, table

if TYPE_CHECKING:
    from rules.presets.model import Preset


def add(commands: Commands) -> None:
    """Register the command."""
    presets = command(
        commands,
        "presets",
        "rules that standards suggest",
        "按标准整理的预设规则",
        "davy presets show gas.gbt50493.toxic",
    )
    presets.add_argument("what", choices=["list", "show"])
    presets.add_argument("preset", nargs="?", help=pick("its name", "预设名称"))
    add_json(presets)
    presets.set_defaults(run=_presets)


def _presets(options: argparse.Namespace) -> int:
    from rules.presets.load import presets

    known = presets()
    if options.what == "list":
        return _list(list(known.values()), is_json=options.json)
    preset = known.get(options.preset or "")
    if preset is None:
        from agent.config.errors import closest

        near = closest(str(options.preset), known)
        hint, hint_zh = (f"; did you mean {near}?", f";是否为 {near}?") if near else ("", "")
        return fail(f"no preset {options.preset}{hint}", f"没有预设 {options.preset}{hint_zh}")
    if options.json:
        print_json(preset.model_dump(mode="json", exclude_defaults=True))
    else:
        _show(preset)
    return OK


def _list(presets: "list[Preset]", *, is_json: bool) -> int:
    language = pick("en", "zh-CN")
    if is_json:
        print_json(
            [
                {
                    "preset": preset.id,
                    "title": dict(preset.title),
                    "source": preset.source,
                    "confidence": preset.confidence,
                    "sample": preset.sample,
                }
                for preset in presets
            ]
        )
        return OK
    head = [pick("preset", "预设"), pick("conf", "可信度"), pick("source", "来源"), pick("about", "说明")]
    mark = pick(" (sample)", "(示例)")
    rows = [
        (preset.id, preset.confidence, preset.source, preset.title[language] + mark * preset.sample)
        for preset in presets
    ]
    table(head, rows)
    print()
    _warn()
    return OK


def _warn() -> None:
    say(
        "C: certain, L: likely. A preset is a starting value: the plant's own design value wins, and a preset stays "
        "disabled until an engineer accepts it with name and date.",
        "C:确定;L:较可信。预设只是起点,以本厂设计值为准;工程师具名并注明日期确认之前,预设不启用。",
    )


def _show(preset: "Preset") -> None:
    language = pick("en", "zh-CN")
    print(f"{preset.id}  {preset.title[language]}")
    print(f"{pick('source', '来源')}: {preset.source}   {pick('confidence', '可信度')}: {preset.confidence}")
    print(preset.note[language])
    if preset.kind:
        print(f"{pick('for tags of kind', '适用位号 kind')}: {preset.kind}")
    if preset.parameters:
        print(f"\n{pick('parameters (with:)', '参数(with:)')}")
        required = pick("required", "必填")
        rows = [
            (name, _default(parameter.default, required if parameter.required else "-"), parameter.about[language])
            for name, parameter in preset.parameters.items()
        ]
        table([pick("name", "名称"), pick("default", "默认"), pick("about", "说明")], rows)
        for name, parameter in preset.parameters.items():
            if parameter.choices:
                print(f"  {name}: {', '.join(map(_amount, parameter.choices))}")
    if preset.rows:
        print(f"\n{pick('values', '数值')}")
        columns = _columns(preset)
        rows = [[name, *(_cell(row.get(column)) for column in columns)] for name, row in preset.rows.items()]
        table([preset.row or "", *columns], rows)
    print(f"\n{pick('rules', '规则')}")
    _show_rules(preset)
    print()
    _warn()


def _show_rules(preset: "Preset") -> None:
    """What an engineer must know to write a test: the limit, and all that decides when it comes and goes."""
    texts = [("limit", "限值"), ("deadband", "回差"), ("on_delay", "报警延时"), ("off_delay", "恢复延时")]
    texts += [("priority", "优先级"), ("latch", "锁存")]
    head = [pick("name", "名称"), pick("condition", "条件"), *(pick(key, zh) for key, zh in texts)]
    rows = [
        (
            rule.name,
            rule.keys["condition"],
            *(_key(rule.keys.get(key)) for key, _ in texts),
            " ".join(rule.units) or "-",
        )
        for rule in preset.rules
    ]
    table([*head, pick("units", "单位")], rows)


def _key(value: Any) -> str:
    return pick("yes", "是") if value is True else pick("no", "否") if value is False else _amount(value)


def _columns(preset: "Preset") -> list[str]:
    names = dict.fromkeys(name for row in preset.rows.values() for name in row)
    return [name for name in names if name not in ("title", "note", "source", "high_altitude")]


def _default(default: Any, otherwise: str) -> str:
    return otherwise if default is None else _amount(default)


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def _amount(value: Any) -> str:
    """A number, or what it is made of: ``red x 0.8``."""
    match value:
        case None:
            return "-"
        case {"value": name, "times": times} if times != 1:
            return f"{name} x {times:g}"
        case {"value": name, "minus": other}:
            return f"{name} - {other}"
        case {"value": name}:
            return str(name)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
