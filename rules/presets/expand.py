"""From the use of a preset to rules: which rows and rules fit a tag, with its unit, and what is wrong if none does."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, cast

from agent.core.tags import Tag
from rules.model import LimitRule, RuleBase
from rules.presets.model import Origin, Preset, Template, Trouble, is_unit
from rules.presets.values import UnknownValueError, Values, filled
from rules.registry import parse

_FIXED: Final = frozenset({"id", "tag", "condition", "unit", "members"})
"""Keys that a use cannot change: with them it would be another rule."""


@dataclass(frozen=True, slots=True)
class Use:
    """One ``use:`` entry of the configuration."""

    preset: str
    tags: tuple[str, ...]
    given: Mapping[str, Any]
    """``with:``, the parameters."""
    change: Mapping[str, Mapping[str, Any]]
    """Keys of single rules that the plant sets otherwise."""
    accepted_by: str | None
    accepted_on: str | None

    @property
    def is_accepted(self) -> bool:
        """Named and dated; what is not stays disabled."""
        return self.accepted_by is not None and self.accepted_on is not None


@dataclass(slots=True)
class Expansion:
    """What a use comes to."""

    rules: list[RuleBase] = field(default_factory=list[RuleBase])
    origins: dict[str, Origin] = field(default_factory=dict[str, Origin])
    troubles: list[Trouble] = field(default_factory=list[Trouble])


def expand(use: Use, preset: Preset, tags: Mapping[str, Tag]) -> Expansion:
    """The rules of one use, for the tags that are known; unknown tags are left to the caller."""
    result = Expansion()
    result.troubles += _parameters(use, preset)
    names = [template.name for template in preset.rules]
    for name in use.change:
        if name not in names:
            result.troubles.append(_unknown(("change", name), name, names, "rule", "规则"))
    if result.troubles:
        return result
    known = [(i, tag) for i, name in enumerate(use.tags) if (tag := tags.get(name)) is not None]
    if preset.is_group:
        _expand_group(use, preset, [tag for _, tag in known], result)
    else:
        for i, tag in known:
            _expand_tag(use, preset, i, tag, result)
    if not use.is_accepted and result.rules:
        result.troubles.append(
            Trouble(
                ("use",),
                "preset not accepted: its rules are disabled until accepted_by and accepted_on are given",
                "预设尚未确认：填写 accepted_by 与 accepted_on 之前，其规则不启用",
                use.preset,
                is_warning=True,
            )
        )
    return result


def _unknown(path: tuple[str | int, ...], name: str, names: Sequence[str], what: str, what_zh: str) -> Trouble:
    near = difflib.get_close_matches(name, names, n=1)
    hint, hint_zh = (f"; did you mean {near[0]}?", f"；是否为 {near[0]}？") if near else ("", "")
    allowed = ", ".join(names) or "none"
    return Trouble(path, f"no such {what}{hint}", f"没有这个{what_zh}{hint_zh}", name, allowed)


def _parameters(use: Use, preset: Preset) -> Iterator[Trouble]:
    for name, value in use.given.items():
        parameter = preset.parameters.get(name)
        if parameter is None:
            yield _unknown(("with", name), name, list(preset.parameters), "parameter", "参数")
        elif parameter.choices is not None and value not in parameter.choices and str(value) not in parameter.choices:
            allowed = ", ".join(str(choice) for choice in parameter.choices)
            yield Trouble(("with", name), "not one of the choices", "不在可选值中", value, allowed)
        elif parameter.kind == "number" and parameter.choices is None and not _is_number(value):
            yield Trouble(("with", name), "expected a number", "应为数字", value)
    for name, parameter in preset.parameters.items():
        if parameter.required and use.given.get(name) is None:
            allowed = ", ".join(map(str, parameter.choices)) if parameter.choices else parameter.unit
            message = f"preset {preset.id} needs this parameter: {parameter.about['en']}"
            yield Trouble(
                ("with", name), message, f"预设 {preset.id} 需要该参数：{parameter.about['zh-CN']}", None, allowed
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _expand_group(use: Use, preset: Preset, tags: Sequence[Tag], result: Expansion) -> None:
    group = str(use.given["group"])
    values = Values(preset, use.given, Tag(group), tuple(tag.id for tag in tags))
    for template in preset.rules:
        if values.fits(template):
            _make(use, preset, template, values, result)


def _expand_tag(use: Use, preset: Preset, place: int, tag: Tag, result: Expansion) -> None:
    at = ("tags", place)
    if preset.kind is not None and tag.kind not in (preset.kind, None):
        message = f"preset {preset.id} fits tags of kind {preset.kind}"
        trouble = Trouble(at, message, f"预设 {preset.id} 适用于 kind: {preset.kind} 的位号", tag.kind, preset.kind)
        result.troubles.append(trouble)
        return
    if preset.kind == "gas" and tag.kind is None:
        message = f"tag {tag.id} has no kind: gas, so a saturated or over-range detector is not taken as an alarm"
        message_zh = f"位号 {tag.id} 未写 kind: gas，探测器饱和或超量程时不会按报警处理"
        result.troubles.append(Trouble(at, message, message_zh, None, "kind: gas", is_warning=True))
    values = Values(preset, use.given, tag, (tag.id,))
    result.troubles += _order(preset, values)
    wanted = [template for template in preset.rules if values.fits(template)]
    fitting = [template for template in wanted if _unit_fits(template, tag)]
    if not fitting:
        result.troubles.append(_no_rule(use, preset, place, tag, wanted))
    for template in fitting:
        _make(use, preset, template, values, result)


def _no_rule(use: Use, preset: Preset, place: int, tag: Tag, wanted: Sequence[Template]) -> Trouble:
    at = ("tags", place)
    message = f"preset {preset.id} has no rule for tag {tag.id}: "
    message_zh = f"预设 {preset.id} 没有适用于位号 {tag.id} 的规则："
    units = ", ".join(sorted({unit for template in wanted for unit in template.units}))
    if units:
        return Trouble(at, f"{message}its limits are in {units}", f"{message_zh}其限值单位为 {units}", tag.unit, units)
    given = ", ".join(f"{name}: {value}" for name, value in use.given.items())
    why = f"it has no limit for {given or 'these parameters'}; davy presets show {preset.id} prints what it has"
    why_zh = f"参数 {given or '如此'} 时没有限值；davy presets show {preset.id} 列出全部数值"
    return Trouble(at, message + why, message_zh + why_zh)


def _unit_fits(template: Template, tag: Tag) -> bool:
    if not template.units:
        return True
    return tag.unit is not None and any(is_unit(tag.unit, unit) for unit in template.units)


def _order(preset: Preset, values: Values) -> Iterator[Trouble]:
    for names, sign in ((preset.rising, 1), (preset.falling, -1)):
        given = [(name, values.number(name)) for name in names if values.get(name) is not None]
        for (one, low), (other, high) in pairwise(given):
            if (high - low) * sign <= 0:
                word, word_zh = ("above", "高于") if sign > 0 else ("below", "低于")
                yield Trouble(
                    ("with", other),
                    f"{other} must be {word} {one}",
                    f"{other} 应{word_zh} {one}",
                    f"{high:g}",
                    f"{word} {low:g}",
                )


def _make(use: Use, preset: Preset, template: Template, values: Values, result: Expansion) -> None:
    change = use.change.get(template.name, {})
    fixed = sorted(_FIXED & set(change))
    if fixed:
        path = ("change", template.name, fixed[0])
        result.troubles.append(Trouble(path, "cannot be changed", "不可更改", change[fixed[0]]))
        return
    try:
        keys = cast("dict[str, Any]", filled(dict(template.keys), values, converts=template.unit is not None))
    except UnknownValueError as error:
        result.troubles.append(Trouble(("with",), str(error), error.message_zh))
        return
    original = keys.get("limit")
    rationale = keys.get("rationale", {}) | dict(change.get("rationale", {}))
    keys |= {key: value for key, value in change.items() if key != "rationale"}
    if rationale:
        keys["rationale"] = rationale
    source = template.source or str(values.get("source") or preset.source)
    keys.setdefault("basis", source)
    if not preset.is_group:
        keys["tag"] = values.tag.id
        if template.units and values.tag.unit is not None:
            keys["unit"] = values.tag.unit
    if not use.is_accepted:
        keys["enabled"] = False
    keys["id"] = f"{values.tag.id}:{preset.id}.{template.name}"
    keys["message"] = values.texts(keys.get("message"), keys.get("limit"))
    rule = _parsed(keys, template, result)
    if rule is None:
        return
    result.rules.append(rule)
    confidence = template.confidence or str(values.get("confidence") or preset.confidence)
    origin = Origin(
        preset.id, template.name, source, confidence, preset.note, preset.sample, use.accepted_by, use.accepted_on
    )
    result.origins[rule.id] = origin
    result.troubles += _loosened(rule, template.name, original, change)


def _parsed(keys: dict[str, Any], template: Template, result: Expansion) -> RuleBase | None:
    try:
        return parse({key: value for key, value in keys.items() if value is not None})
    except ValueError as error:
        text = "; ".join(line.strip() for line in str(error).splitlines() if "For further information" not in line)
        path = ("change", template.name)
        result.troubles.append(Trouble(path, f"rule {keys['id']}: {text}", f"规则 {keys['id']}：{text}"))
        return None


def _loosened(rule: RuleBase, name: str, original: object, change: Mapping[str, Any]) -> Iterator[Trouble]:
    """A limit further out than the source's is the plant's decision, but not a silent one."""
    if "limit" not in change or not isinstance(rule, LimitRule) or not isinstance(original, int | float):
        return
    is_low = rule.condition in ("low", "low_low") or getattr(rule, "direction", None) == "low"
    if rule.limit < original if is_low else rule.limit > original:
        yield Trouble(
            ("change", name, "limit"),
            f"further out than the preset's {original:g}",
            f"比预设值 {original:g} 宽松",
            f"{rule.limit:g}",
            f"{original:g}",
            is_warning=True,
        )
