"""Errors of rules over several tags or over other rules (spec/rules.md T6, C6, C9)."""

from collections.abc import Iterator, Mapping, Sequence

from agent.core.batch import Source
from agent.core.tags import Tag
from rules.build import all_inputs
from rules.finding import Finding, unknown_name
from rules.model import RuleBase
from rules.steps import Node, cycle


def check_joint(rules: Sequence[RuleBase], known: Mapping[str, Tag]) -> Iterator[Finding]:
    """Unknown tags and members, circles, simulated and real inputs in one rule."""
    by_id = {rule.id: rule for rule in rules}
    for rule in rules:
        if rule.is_joint or rule.looks_at:
            yield from _of_rule(rule, by_id, known)
    circle = cycle([Node(rule.id, rule.looks_at, rule.sees_states) for rule in rules if rule.looks_at])
    if circle is not None:
        text = " → ".join(circle)
        message, message_zh = f"rules depend on each other in a circle: {text}", f"规则相互依赖成环：{text}"
        yield Finding(circle[0], None, text, "no circle", message, message_zh)


def _of_rule(rule: RuleBase, by_id: Mapping[str, RuleBase], known: Mapping[str, Tag]) -> Iterator[Finding]:
    for name in rule.inputs:
        if name not in known and name != rule.tag:
            yield unknown_name(rule.id, rule.inputs_key, name, known)
    for name in rule.looks_at:
        member = by_id.get(name)
        if member is None:
            yield unknown_name(rule.id, "members", name, by_id, "rule")
        elif rule.enabled and not member.enabled:
            message = "this rule is disabled, so it would count as bad for ever"
            yield Finding(rule.id, "members", name, "an enabled rule", message, "该规则已停用，将一直被视为坏值")
    sources = {known[name].source is Source.SIMULATOR for name in all_inputs(rule, by_id) if name in known}
    if len(sources) > 1:
        message = "simulated and real inputs in one rule"
        yield Finding(rule.id, None, None, "all simulated or all real", message, "同一规则中混有仿真与真实输入")
