"""Rule sets: rules with the tags they read, as they are in force, kept in the configuration record (G1)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from agent.core.records import canonical_json
from agent.core.tags import Tag
from rules.model import RuleBase
from rules.registry import parse


@dataclass(frozen=True)
class RuleSet:
    """Rules in the order of their ids, and their tags. ``is_live``: limits are moved to the tags' grids (C2)."""

    rules: tuple[RuleBase, ...]
    tags: Mapping[str, Tag]
    is_live: bool

    def tag(self, rule: RuleBase) -> Tag:
        """The tag that a rule reads; one without properties where none is known (recorded data)."""
        return self.tags.get(rule.tag) or Tag(rule.tag)

    def to_fields(self) -> list[dict[str, Any]]:
        """The rules as JSON types, defaults left out."""
        return [rule.model_dump(mode="json", exclude_defaults=True) for rule in self.rules]

    @cached_property
    def version(self) -> str:
        """Short hash over the rules and what they know of their tags."""
        tags = {tag.id: tag.to_fields() for tag in map(self.tag, self.rules)}
        fields = {"rules": self.to_fields(), "tags": tags, "live": self.is_live}
        return hashlib.sha256(canonical_json(fields)).hexdigest()[:12]


def build(rules: Sequence[RuleBase], tags: Mapping[str, Tag], *, live: bool) -> RuleSet:
    """A rule set; ValueError for an id that occurs twice. :func:`rules.check.check` comes before."""
    ordered = tuple(sorted(rules, key=lambda rule: rule.id))
    for one, next_one in pairwise(ordered):
        if one.id == next_one.id:
            raise ValueError(f"two rules have the id {one.id}")
    return RuleSet(ordered, dict(tags), live)


def from_fields(fields: Sequence[Mapping[str, Any]], tags: Mapping[str, Tag], live: bool) -> RuleSet:
    """The inverse of :meth:`RuleSet.to_fields`."""
    return build([parse(each) for each in fields], tags, live=live)
