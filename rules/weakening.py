"""Which changes of a rule weaken its alarm, so that they wait until it is normal (spec/rules.md G2); pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.core.events import SEVERITY
from agent.core.tags import Tag
from rules.model import OnBad, RuleBase
from rules.settings import DEFAULT

_ON_BAD_RANK: Final = {OnBad.ALARM: 2, OnBad.HOLD: 1, OnBad.CLEAR: 0}
_FALLING: Final = frozenset({"low", "low_low"})
_LONGER_IS_WEAKER: Final = ("on_delay", "off_delay", "after", "every", "k", "n")
_SETS: Final = ("values", "members", "tags")
"""Fewer of these means fewer alarms."""


def weakenings(old: RuleBase, new: RuleBase | None, old_tag: Tag, new_tag: Tag) -> list[str]:
    """The keys by which ``new`` weakens ``old``; ``removed`` where there is no new rule. Empty: it does not."""
    if new is None:
        return ["removed"]
    if old.enabled and not new.enabled:
        return ["enabled"]
    if old.condition != new.condition:
        return ["condition"]
    found = [key for key, is_weaker in _CHECKS.items() if is_weaker(old, new)]
    found += [key for key in _LONGER_IS_WEAKER if _is_longer(old, new, key)]
    found += [key for key in _SETS if _items(old, key) - _items(new, key)]
    if _deadband(new, new_tag) > _deadband(old, old_tag):
        found.append("deadband")
    return sorted(found)


def _is_further_out(old: RuleBase, new: RuleBase) -> bool:
    one, other = old.limit_value, new.limit_value
    if one is None or other is None:
        return one is not other
    is_falling = old.condition in _FALLING or _direction(old) in ("low", "falling")
    # A slope is compared by its size whatever its direction; a distance and a spread too.
    if old.condition == "rate":
        is_falling = False
    return other < one if is_falling else other > one


def _direction(rule: RuleBase) -> str | None:
    return getattr(rule, "direction", None)


def _has_other_direction(old: RuleBase, new: RuleBase) -> bool:
    return _direction(old) != _direction(new) and _direction(new) != "both"


def _may_be_hidden(rule: RuleBase, key: str) -> bool:
    allowed = getattr(rule, key)
    return rule.priority != "critical" if allowed is None else bool(allowed)


_CHECKS: Final[Mapping[str, Callable[[RuleBase, RuleBase], bool]]] = {
    "tag": lambda old, new: old.tag != new.tag,
    "limit": _is_further_out,
    "direction": _has_other_direction,
    "priority": lambda old, new: SEVERITY[new.priority] < SEVERITY[old.priority],
    "on_bad": lambda old, new: _ON_BAD_RANK[new.on_bad] < _ON_BAD_RANK[old.on_bad],
    "latch": lambda old, new: old.latch and not new.latch,
    "exclusive": lambda old, new: bool(new.exclusive) and not old.exclusive,
    "suppress_when": lambda old, new: new.suppress_when is not None and new.suppress_when != old.suppress_when,
    "shelvable": lambda old, new: _may_be_hidden(new, "shelvable") and not _may_be_hidden(old, "shelvable"),
    "suppressible": lambda old, new: _may_be_hidden(new, "suppressible") and not _may_be_hidden(old, "suppressible"),
    "re_alarm": lambda old, new: _re_alarm_ns(new) > _re_alarm_ns(old),
    "expression": lambda old, new: getattr(old, "expression", None) != getattr(new, "expression", None),
    "horizon": lambda old, new: _amount(new, "horizon", 0) < _amount(old, "horizon", 0),
}


def _re_alarm_ns(rule: RuleBase) -> float:
    return rule.re_alarm_ns(DEFAULT) or math.inf


def _is_longer(old: RuleBase, new: RuleBase, key: str) -> bool:
    return _amount(new, key, 0) > _amount(old, key, 0)


def _amount(rule: RuleBase, key: str, default: float) -> float:
    value: Any = getattr(rule, key, None)
    if value is None:
        return default
    return float(getattr(value, "ns", value))


def _items(rule: RuleBase, key: str) -> set[Any]:
    value: Any = getattr(rule, key, None)
    return set() if value is None else set(value)


def _deadband(rule: RuleBase, tag: Tag) -> float:
    return rule.deadband_of(tag) or 0.0
