"""Errors and warnings of rules at load (spec/rules.md C9, Q5, K)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from agent.core.events import Priority
from agent.core.tags import Tag
from rules.check_hiding import check_hiding
from rules.check_joint import check_joint
from rules.check_windows import check_windows
from rules.conditions.stale import Config as StaleRule
from rules.finding import Finding, unknown_name
from rules.model import LimitRule, OnBad, RuleBase

_RANK: Final = {"low_low": 0, "low": 1, "high": 2, "high_high": 3}
_URGENT: Final = frozenset({Priority.CRITICAL, Priority.HIGH})
_WIDE_DEADBAND: Final = 0.1
_POLLS_PER_SILENCE: Final = 3


def check(rules: Sequence[RuleBase], tags: Sequence[Tag] | Mapping[str, Tag], *, keep_ns: int | None) -> list[Finding]:
    """Everything wrong with the rules; what a tag does not tell (poll, range, kind) is not checked.

    ``keep_ns`` is how long the journal keeps readings.
    """
    known = dict(tags) if isinstance(tags, Mapping) else {tag.id: tag for tag in tags}
    findings: list[Finding] = []
    by_tag: dict[str, list[LimitRule]] = {}
    findings.extend(check_joint(rules, known, keep_ns))
    for rule in rules:
        tag = known.get(rule.tag) if rule.tag is not None else rule.about(known)
        if tag is None:
            findings.append(_unknown_tag(rule, known))
            continue
        findings.extend(_of_rule(rule, tag, keep_ns))
        if rule.enabled and isinstance(rule, LimitRule) and rule.condition in _RANK and _has_deadband(rule, tag):
            by_tag.setdefault(tag.id, []).append(rule)
    for tag_id, limits in by_tag.items():
        findings.extend(_of_tag(limits, known[tag_id]))
    findings.extend(check_hiding(rules))
    return findings


def _unknown_tag(rule: RuleBase, known: Mapping[str, Tag]) -> Finding:
    return unknown_name(rule.id, "tag", str(rule.tag), known)


def _of_rule(rule: RuleBase, tag: Tag, keep_ns: int | None) -> Iterator[Finding]:
    if rule.unit is not None and tag.unit is not None and rule.unit != tag.unit:
        yield Finding(rule.id, "unit", rule.unit, tag.unit, "unit is not the tag's", "单位与位号不一致")
    if rule.on_bad is OnBad.CLEAR and rule.priority in _URGENT:
        message = "a bad reading must not clear an alarm of priority critical or high"
        yield Finding(rule.id, "on_bad", "clear", "hold or alarm", message, "紧急和高优先级报警不得因坏数据而消除")
    if tag.kind == "gas" and rule.on_delay.ns and rule.priority in _URGENT and not rule.delay_reason:
        message = "an on-delay on gas at priority critical or high needs delay_reason"
        yield Finding(
            rule.id, "on_delay", rule.on_delay, "0s", message, "气体的紧急或高优先级报警若设延时，须填 delay_reason"
        )
    if tag.poll_ns:
        yield from _of_poll(rule, tag.poll_ns)
    yield from check_windows(rule, tag, keep_ns)
    if isinstance(rule, LimitRule):
        yield from _of_limit(rule, tag)


def _of_poll(rule: RuleBase, poll_ns: int) -> Iterator[Finding]:
    for key, delay in (("on_delay", rule.on_delay), ("off_delay", rule.off_delay)):
        if 0 < delay.ns < poll_ns:
            yield Finding(
                rule.id, key, delay, f"0s or at least {_s(poll_ns)}", "delay shorter than a poll", "延时短于采集周期"
            )
    if isinstance(rule, StaleRule) and rule.after.ns < _POLLS_PER_SILENCE * poll_ns:
        allowed = f"at least {_s(_POLLS_PER_SILENCE * poll_ns)}"
        yield Finding(rule.id, "after", rule.after, allowed, "shorter than three polls", "短于三个采集周期")


def _has_deadband(rule: LimitRule, tag: Tag) -> bool:
    return not isinstance(rule.deadband, str) or tag.range is not None


def _of_limit(rule: LimitRule, tag: Tag) -> Iterator[Finding]:
    if not _has_deadband(rule, tag):
        message = "a share of the range needs a range on the tag"
        yield Finding(rule.id, "deadband", rule.deadband, "a number", message, "按量程百分比设回差时，位号须有量程")
        return
    deadband = rule.deadband_of(tag)
    if rule.on_delay.ns and deadband == 0:
        message = "on-delay with deadband 0: a value that hovers at the limit starts the delay again and again"
        message_zh = "有延时而回差为 0：在限值附近波动的值会使延时反复重新开始"
        yield Finding(rule.id, "deadband", rule.deadband, "greater than 0", message, message_zh, is_warning=True)
    if tag.range is None or rule.condition not in _RANK:
        return
    low, high = tag.range
    allowed = f"{low:g}..{high:g}"
    if not low <= rule.limit <= high:
        yield Finding(rule.id, "limit", rule.limit, allowed, "limit outside the tag's range", "限值超出量程")
    elif not low <= _reset(rule, tag) <= high:
        message = f"reset point {_reset(rule, tag):g} outside the tag's range"
        yield Finding(rule.id, "deadband", rule.deadband, allowed, message, f"回差点 {_reset(rule, tag):g} 超出量程")
    if deadband > _WIDE_DEADBAND * (high - low):
        allowed = f"at most {_WIDE_DEADBAND * (high - low):g}"
        message = "deadband over 10 % of the span"
        yield Finding(rule.id, "deadband", rule.deadband, allowed, message, "回差超过量程的 10 %", is_warning=True)


def _reset(rule: LimitRule, tag: Tag) -> float:
    deadband = rule.deadband_of(tag)
    return rule.limit - deadband if _RANK[rule.condition] >= _RANK["high"] else rule.limit + deadband


def _of_tag(rules: Sequence[LimitRule], tag: Tag) -> Iterator[Finding]:
    """LL < L < H < HH, and their reset points in no other order."""
    ordered = sorted(rules, key=lambda rule: _RANK[rule.condition])
    for lower, upper in combinations(ordered, 2):
        if lower.condition == upper.condition:
            continue
        names = f"{lower.condition} {lower.id}", f"{upper.condition} {upper.id}"
        if lower.limit >= upper.limit:
            message = f"limits out of order: {names[0]} {lower.limit:g} is not below {names[1]} {upper.limit:g}"
            message_zh = f"限值次序错误：{names[0]} {lower.limit:g} 不低于 {names[1]} {upper.limit:g}"
            yield Finding(upper.id, "limit", upper.limit, f"above {lower.limit:g}", message, message_zh)
        elif _reset(lower, tag) > _reset(upper, tag):
            message = f"reset points swap: {names[0]} {_reset(lower, tag):g}, {names[1]} {_reset(upper, tag):g}"
            message_zh = f"回差点次序颠倒：{names[0]} {_reset(lower, tag):g}，{names[1]} {_reset(upper, tag):g}"
            yield Finding(upper.id, "deadband", upper.deadband, "a smaller deadband", message, message_zh)
        if {lower.condition, upper.condition} in ({"high", "high_high"}, {"low", "low_low"}):
            worst = upper if upper.condition == "high_high" else lower
            other = lower if worst is upper else upper
            message = f"{worst.condition} on the instrument of {other.id}: one fault hides both"
            message_zh = "高高（低低）报警与高（低）报警共用一台仪表：一处故障会使两者同时失效"
            yield Finding(worst.id, "tag", worst.tag, "an instrument of its own", message, message_zh, is_warning=True)


def _s(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:g}s"
