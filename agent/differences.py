"""What changed between two effective configurations, key by key (spec/rules.md G3); pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

_NAMES: Final = ("id", "name", "use")
"""By what the items of a list are told apart, so that a rule moved in the file is no difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that changed. ``path``: ``rules/T101-level-h/limit``; None: it is not there."""

    path: str
    old: Any
    new: Any

    def to_fields(self) -> dict[str, Any]:
        """The fields of its audit record, but for the actor."""
        return {"path": self.path, "old": self.old, "new": self.new}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every key in which two configuration records differ, by path.

    A rule, tag or destination that came or went is one difference with the whole of it. ``rules_version`` and what
    records add for themselves are none.
    """
    # A configuration without presets has no such key: each acceptance is a difference of its own all the same.
    one, other = (
        {key: record.get(key, {} if key == "acceptances" else None) for key in _PARTS} for record in (old, new)
    )
    return sorted(_compare("", one, other), key=lambda difference: difference.path)


_PARTS: Final = ("rules", "tags", "rules_settings", "settings", "acceptances")


def _compare(path: str, old: Any, new: Any) -> Iterator[Difference]:
    one, other = _by_name(old), _by_name(new)
    if one is None or other is None:
        if old != new:
            yield Difference(path, old, new)
        return
    for key in sorted({*one, *other}):
        below = f"{path}/{key}" if path else str(key)
        if key not in one or key not in other:
            yield Difference(below, one.get(key), other.get(key))
        else:
            yield from _compare(below, one[key], other[key])


def _by_name(value: Any) -> Mapping[str, Any] | None:
    """A mapping as it is, a list of named things by name, nothing as empty; None for any other value."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    items = cast("Sequence[Any]", value)
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for name in _NAMES:
        names = [cast("Mapping[str, Any]", item).get(name) for item in items]
        if all(isinstance(each, str) for each in names) and len(set(names)) == len(names):
            return dict(zip(cast("list[str]", names), items, strict=True))
    return None
