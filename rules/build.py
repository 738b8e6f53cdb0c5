"""Rule sets: rules with the tags they read, as they are in force, kept in the configuration record (G1)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from agent.core.records import canonical_json
from agent.core.tags import Tag
from rules.model import RuleBase
from rules.registry import parse
from rules.settings import DEFAULT, Settings
from rules.steps import Node, cycle


@dataclass(frozen=True)
class RuleSet:
    """Rules in the order of their ids, and their tags. ``is_live``: limits are moved to the tags' grids (C2)."""

    rules: tuple[RuleBase, ...]
    tags: Mapping[str, Tag]
    is_live: bool
    settings: Settings = DEFAULT

    def tag(self, rule: RuleBase) -> Tag:
        """What a rule is about: the tag that it reads, or what stands for several (see ``RuleBase.about``)."""
        about = rule.about(self.tags)
        if rule.tag is not None or not self.tags:
            return about
        source = next((self.tags[name].source for name in all_inputs(rule, self._by_id) if name in self.tags), None)
        return about if source is None else replace(about, source=source)

    @cached_property
    def _by_id(self) -> Mapping[str, RuleBase]:
        return {rule.id: rule for rule in self.rules}

    def tags_of(self, rule: RuleBase) -> tuple[Tag, ...]:
        """What a rule knows of tags: if one of them changes, it is another rule."""
        return (self.tag(rule), *(self.tags.get(name) or Tag(name) for name in rule.inputs))

    def to_fields(self) -> list[dict[str, Any]]:
        """The rules as JSON types, defaults left out."""
        return [rule.model_dump(mode="json", exclude_defaults=True) for rule in self.rules]

    @cached_property
    def version(self) -> str:
        """Short hash over the rules and what they know of their tags."""
        tags = {tag.id: tag.to_fields() for rule in self.rules for tag in self.tags_of(rule)}
        fields: dict[str, Any] = {"rules": self.to_fields(), "tags": tags, "live": self.is_live}
        if self.settings != DEFAULT:
            fields["settings"] = self.settings.to_fields()
        return hashlib.sha256(canonical_json(fields)).hexdigest()[:12]


def all_inputs(rule: RuleBase, by_id: Mapping[str, RuleBase]) -> list[str]:
    """The tags that a rule looks at, those of the rules it looks at included, each once."""
    names: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [rule]
    while waiting:
        one = waiting.pop()
        if one.id in seen:
            continue
        seen.add(one.id)
        names.update(dict.fromkeys(one.inputs))
        waiting.extend(by_id[name] for name in one.looks_at if name in by_id)
    return list(names)


def build(rules: Sequence[RuleBase], tags: Mapping[str, Tag], *, live: bool, settings: Settings = DEFAULT) -> RuleSet:
    """A rule set; ValueError for an id that occurs twice or for a circle. :func:`rules.check.check` comes first."""
    ordered = tuple(sorted(rules, key=lambda rule: rule.id))
    for one, next_one in pairwise(ordered):
        if one.id == next_one.id:
            raise ValueError(f"two rules have the id {one.id}")
    circle = cycle([Node(rule.id, rule.looks_at, rule.sees_states) for rule in ordered if rule.looks_at])
    if circle is not None:
        raise ValueError(f"rules depend on each other in a circle: {' → '.join(circle)}")
    return RuleSet(ordered, dict(tags), live, settings)


def from_fields(
    fields: Sequence[Mapping[str, Any]], tags: Mapping[str, Tag], live: bool, settings: Mapping[str, Any] | None = None
) -> RuleSet:
    """The inverse of :meth:`RuleSet.to_fields`."""
    return build([parse(each) for each in fields], tags, live=live, settings=Settings.from_fields(settings))
