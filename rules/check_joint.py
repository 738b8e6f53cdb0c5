"""Errors of rules over several tags or over other rules (spec/rules.md T6, C6, C9)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agent.core.batch import Source
from agent.core.tags import Tag
from rules.build import all_inputs
from rules.conditions.expression import Config as ExpressionRule
from rules.expression import tree
from rules.expression.lexer import ExpressionError
from rules.expression.units import faults
from rules.finding import Finding, unknown_name
from rules.model import RuleBase
from rules.steps import Node, cycle

_POLLS_PER_WINDOW: Final = 4


def check_joint(rules: Sequence[RuleBase], known: Mapping[str, Tag], keep_ns: int | None) -> Iterator[Finding]:
    """Unknown tags and members, circles, simulated and real inputs in one rule."""
    by_id = {rule.id: rule for rule in rules}
    for rule in rules:
        if rule.is_joint or rule.looks_at:
            yield from _of_rule(rule, by_id, known, keep_ns)
    circle = cycle([Node(rule.id, rule.looks_at, rule.sees_states) for rule in rules if rule.looks_at])
    if circle is not None:
        text = " → ".join(circle)
        message, message_zh = f"rules depend on each other in a circle: {text}", f"规则相互依赖成环：{text}"
        yield Finding(circle[0], None, text, "no circle", message, message_zh)


def _of_rule(
    rule: RuleBase, by_id: Mapping[str, RuleBase], known: Mapping[str, Tag], keep_ns: int | None
) -> Iterator[Finding]:
    if isinstance(rule, ExpressionRule):
        yield from _of_expression(rule, known, keep_ns)
    else:
        for name in rule.inputs:
            if name not in known and name != rule.tag:
                yield unknown_name(rule.id, rule.inputs_key, name, known)
        units = dict.fromkeys(known[name].unit for name in rule.inputs if name in known and known[name].unit)
        if len(units) > 1 and not rule.looks_at:
            text = ", ".join(map(str, units))
            message, message_zh = "values of different units are compared", "所比较的值单位不同"
            yield Finding(rule.id, rule.inputs_key, text, "one unit", message, message_zh)
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


def _of_expression(rule: ExpressionRule, known: Mapping[str, Tag], keep_ns: int | None) -> Iterator[Finding]:
    errors = list(faults(rule.node, known))
    errors += [] if errors else _of_windows(rule.node, known, keep_ns)
    for error in errors:
        yield Finding(rule.id, "expression", rule.expression, None, str(error), error.text_zh)


def _of_windows(node: tree.Node, known: Mapping[str, Tag], keep_ns: int | None) -> Iterator[ExpressionError]:
    for each in tree.walk(node):
        if isinstance(each, tree.Held):
            polls = [poll for name in tree.names(each) if (poll := known[name.tag].poll_ns)]
            if polls and each.duration_ns < min(polls):
                yield ExpressionError(each.place, "held for a time shorter than a poll", "held 的时长短于采集周期")
        elif isinstance(each, tree.Look) and each.window_ns:
            poll_ns = known[each.tag.tag].poll_ns
            if poll_ns and each.window_ns < _POLLS_PER_WINDOW * poll_ns:
                yield ExpressionError(each.place, "window shorter than four polls", "窗口短于四个采集周期")
            if keep_ns is not None and each.window_ns > keep_ns:
                message = "window is longer than the journal keeps readings"
                yield ExpressionError(each.place, message, "窗口长于日志保留时间")
