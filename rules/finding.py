"""What the checks of rules say (spec/rules.md C9)."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with one rule; ``key`` is the rule's key it is about, None for the rule as a whole."""

    rule_id: str
    key: str | None
    found: object
    allowed: str | None
    message: str
    message_zh: str
    is_warning: bool = False


def unknown_name(rule_id: str, key: str, name: str, known: Iterable[str], what: str = "tag") -> Finding:
    """A tag or rule that is not there, with the closest name that is."""
    near = difflib.get_close_matches(name, known, n=1)
    hint, hint_zh = (f"; did you mean {near[0]}?", f"；是否为 {near[0]}？") if near else ("", "")
    allowed = near[0] if near else f"the id of a configured {what}"
    word = "位号" if what == "tag" else "规则"
    return Finding(rule_id, key, name, allowed, f"unknown {what}{hint}", f"未知的{word}{hint_zh}")
