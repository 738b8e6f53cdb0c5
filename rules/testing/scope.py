"""Which rules a test is about, and which others must run with them; pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from rules.model import RuleBase


def tags_of(rule: RuleBase) -> frozenset[str]:
    """The tags whose readings a rule looks at."""
    return frozenset(rule.inputs)


def others_of(rule: RuleBase) -> frozenset[str]:
    """The ids of other rules that a rule looks at."""
    suppressor: Any = getattr(rule, "suppress_when", None)
    return frozenset([*rule.looks_at, *([] if suppressor is None else [str(suppressor)])])


def readers(rules: Sequence[RuleBase], tags: Iterable[str]) -> frozenset[str]:
    """The rules that read one of the tags."""
    wanted = frozenset(tags)
    return frozenset(rule.id for rule in rules if rule.enabled and tags_of(rule) & wanted)


def with_relatives(rules: Sequence[RuleBase], chosen: Iterable[str]) -> list[RuleBase]:
    """The chosen rules and all that could change what they do: members, suppressors, and rules on the same tags.

    A more severe rule of the same tag may suppress a chosen one (spec/rules.md A8), so it runs, too.
    """
    by_id = {rule.id: rule for rule in rules}
    by_tag: dict[str, list[str]] = {}
    for rule in rules:
        for tag in tags_of(rule):
            by_tag.setdefault(tag, []).append(rule.id)
    found: set[str] = set()
    waiting = [rule for rule in chosen if rule in by_id]
    while waiting:
        rule = by_id[waiting.pop()]
        if rule.id in found:
            continue
        found.add(rule.id)
        waiting.extend(other for other in others_of(rule) if other in by_id)
        waiting.extend(other for tag in tags_of(rule) for other in by_tag[tag])
    return [rule for rule in rules if rule.id in found]
