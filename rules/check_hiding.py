"""Errors in the keys that hide an alarm, at load (spec/rules.md A4, A8)."""

from collections.abc import Iterator, Sequence

from rules.finding import Finding
from rules.model import RuleBase

_LIMITS = frozenset({"high", "high_high", "low", "low_low"})


def check_hiding(rules: Sequence[RuleBase]) -> Iterator[Finding]:
    """``exclusive`` on limits only; ``suppress_when`` names another rule, on what may be suppressed."""
    known = {rule.id for rule in rules}
    for rule in rules:
        if rule.exclusive and rule.condition not in _LIMITS:
            allowed = "on high, high_high, low and low_low"
            yield Finding(rule.id, "exclusive", True, allowed, "only limits can be exclusive", "仅限值报警可设")
        flag = rule.suppress_when
        if flag is None:
            continue
        if flag not in known or flag == rule.id:
            message = "suppress_when names no other rule"
            yield Finding(rule.id, "suppress_when", flag, "the id of a rule", message, "suppress_when 未指向其他规则")
        if not rule.is_suppressible:
            message = "this alarm may not be suppressed (critical, unless suppressible: true)"
            yield Finding(rule.id, "suppress_when", flag, "suppressible: true", message, "此报警不允许抑制")
