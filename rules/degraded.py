"""The diagnostic of a vote that does with fewer members than it has (spec/rules.md C6)."""

from typing import Final

from agent.core.events import Priority
from rules.internal import Notice

DEGRADED: Final = "davy:degraded:"
"""Before the rule's id."""


def degraded(rule: str, note: str | None) -> Notice | None:
    """What the diagnostic says; None where the vote has all its members."""
    if note is None:
        return None
    message = {"zh-CN": f"表决 {rule} 降级：{note}", "en": f"vote {rule} is degraded: {note}"}
    return Notice(kind="degraded", priority=Priority.DIAGNOSTIC, message=message)
