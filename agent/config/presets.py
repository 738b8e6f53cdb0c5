"""``use:`` entries of the rules list: presets become rules, and who accepted them is kept (DOMAIN.md 11)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from pydantic import BaseModel, Field, model_validator

from agent.config.base import TagBase
from agent.config.document import as_list, as_mapping
from agent.config.errors import Path, Text, closest, same, show_found
from agent.config.explain import Fault
from agent.config.fields import Id, Strict
from agent.config.models import Site
from agent.core.records import canonical_json
from agent.core.tags import Tag

_LATCH: Final = "over_range_latch"


class UseEntry(Strict):
    """A preset for some tags. Until somebody accepts it by name and date its rules are loaded disabled."""

    use: str = Field(description="a preset of davy presets list", examples=["gas.gbt50493"])
    tags: tuple[Id, ...] = Field(min_length=1, description="the tags it is for", examples=[["G12.lel", "G13.lel"]])
    given: Mapping[str, Any] = Field(
        default_factory=dict[str, Any], alias="with", description="its parameters", examples=[{"gas": "H2S"}]
    )
    change: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict[str, Mapping[str, Any]],
        description="keys that the plant sets otherwise, by the name of the rule within the preset",
        examples=[{"l1": {"limit": 20}}],
    )
    accepted_by: str | None = Field(None, min_length=1, description="the engineer who answers for it")
    accepted_on: date | None = Field(None, description="when", examples=["2026-11-21"])

    @model_validator(mode="after")
    def _accepted_whole(self) -> "UseEntry":
        if (self.accepted_by is None) != (self.accepted_on is None):
            raise ValueError("accepted_by and accepted_on belong together")
        return self


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An audit record: who took responsibility for which rules, with which numbers."""

    preset: str
    source: str
    confidence: str
    tags: tuple[str, ...]
    rules: tuple[str, ...]
    given: Mapping[str, Any]
    change: Mapping[str, Mapping[str, Any]]
    accepted_by: str
    accepted_on: str
    digest: str
    """Over the rules as they came out: an acceptance holds for these numbers only."""

    @property
    def name(self) -> str:
        """Tells it from others: a tag can have a preset only once."""
        return f"{self.preset}:{self.tags[0]}"

    def to_fields(self) -> dict[str, Any]:
        """As it stands in the configuration record; a new or another one is a record of its own (G3)."""
        return {
            "preset": self.preset,
            "basis": self.source,
            "confidence": self.confidence,
            "tags": list(self.tags),
            "rules": list(self.rules),
            "with": dict(self.given),
            "change": {name: dict(keys) for name, keys in self.change.items()},
            "accepted_by": self.accepted_by,
            "accepted_on": self.accepted_on,
            "digest": self.digest,
        }


@dataclass(slots=True)
class Written:
    """The rules list with its presets expanded; ``places[i]`` is the entry that ``rules[i]`` comes from."""

    rules: list[BaseModel | None] = field(default_factory=list[BaseModel | None])
    places: list[int] = field(default_factory=list[int])
    origins: dict[str, Any] = field(default_factory=dict[str, Any])
    """By rule id, :class:`rules.presets.model.Origin`."""
    acceptances: list[Acceptance] = field(default_factory=list[Acceptance])
    faults: list[Fault] = field(default_factory=list[Fault])
    expected: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Rule and key of the warnings that a preset means to have."""


def set_site(written: Written, site: Site | None) -> None:
    """Shifts start at the site's times in its time zone, where a rule says nothing else (spec/rules.md C5)."""
    if site is None:
        return
    from rules.model import RuleBase

    zone, shifts = site.timezone, site.shifts
    written.rules = [rule.at_site(zone, shifts) if isinstance(rule, RuleBase) else rule for rule in written.rules]


def write_out(entries: Sequence[BaseModel | None], tags: Sequence[Tag]) -> Written:
    """Every entry as rules."""
    written = Written()
    known: dict[str, Tag] = {}
    for i, entry in enumerate(entries):
        if isinstance(entry, UseEntry):
            known = known or {tag.id: tag for tag in tags}
            _expand(entry, i, known, written)
        else:
            written.rules.append(entry)
            written.places.append(i)
    return written


def _expand(entry: UseEntry, place: int, tags: Mapping[str, Tag], written: Written) -> None:
    from rules.presets.expand import Use, expand
    from rules.presets.load import presets

    path: Path = ("rules", place)
    preset = presets().get(entry.use)
    if preset is None:
        text = Text("no such preset; davy presets list names them", "没有这个预设；用 davy presets list 查看")
        near = closest(entry.use, presets())
        written.faults.append(Fault((*path, "use"), text, show_found(entry.use), None, near))
        return
    written.faults += _unknown_tags(entry, path, tags)
    tags_once = tuple(dict.fromkeys(entry.tags))
    on = None if entry.accepted_on is None else entry.accepted_on.isoformat()
    use = Use(entry.use, tags_once, entry.given, entry.change, entry.accepted_by, on)
    expansion = expand(use, preset, tags)
    for trouble in expansion.troubles:
        found = None if trouble.found is None else show_found(trouble.found)
        allowed = None if trouble.allowed is None else same(trouble.allowed)
        text = Text(trouble.message, trouble.message_zh)
        written.faults.append(Fault((*path, *trouble.path), text, found, allowed, is_warning=trouble.is_warning))
    for rule in expansion.rules:
        if rule.id in written.origins:
            text = Text(f"rule {rule.id} is there already", f"规则 {rule.id} 已存在")
            written.faults.append(Fault((*path, "use"), text, show_found(entry.use)))
            continue
        written.rules.append(rule)
        written.places.append(place)
        written.origins[rule.id] = expansion.origins[rule.id]
        written.expected |= {(rule.id, key) for key in preset.expected_warnings}
    if entry.accepted_by is not None and on is not None and expansion.rules:
        dumps = [rule.model_dump(mode="json", exclude_defaults=True) for rule in expansion.rules]
        written.acceptances.append(
            Acceptance(
                preset.id,
                preset.source,
                preset.confidence,
                entry.tags,
                tuple(rule.id for rule in expansion.rules),
                entry.given,
                entry.change,
                entry.accepted_by,
                on,
                hashlib.sha256(canonical_json({"rules": dumps})).hexdigest()[:16],
            )
        )


def _unknown_tags(entry: UseEntry, path: Path, tags: Mapping[str, Tag]) -> Iterator[Fault]:
    seen: set[str] = set()
    for j, name in enumerate(entry.tags):
        if name not in tags:
            near = closest(name, tags)
            yield Fault((*path, "tags", j), Text("unknown tag", "未知的位号"), show_found(name), None, near)
        elif name in seen:
            yield Fault((*path, "tags", j), Text("tag given twice", "位号重复"), show_found(name))
        seen.add(name)


def tags_used(entries: Sequence[BaseModel | None]) -> list[str]:
    """The tags that presets are for."""
    return [name for entry in entries if isinstance(entry, UseEntry) for name in entry.tags]


def latch_catalytic(data: dict[str, Any], tag_lists: Sequence[Any]) -> None:
    """Give tags of catalytic sensors ``over_range_latch`` where an accepted preset wants it and they say nothing."""
    if _LATCH not in TagBase.model_fields:
        return
    wanted: set[str] = set()
    for item in as_list(data.get("rules")) or []:
        fields = as_mapping(item)
        if fields is not None and "use" in fields and fields.get("accepted_by") and fields.get("accepted_on"):
            wanted.update(_catalytic(fields))
    for tags in tag_lists if wanted else ():
        for item in as_list(tags) or []:
            tag = as_mapping(item)
            if tag is not None and tag.get("id") in wanted:
                tag.setdefault(_LATCH, True)


def _catalytic(fields: dict[str, Any]) -> list[str]:
    from rules.presets.load import presets

    preset = presets().get(str(fields["use"]))
    if preset is None or not preset.catalytic:
        return []
    sensor = (as_mapping(fields.get("with")) or {}).get("sensor", preset.parameters["sensor"].default)
    return [str(name) for name in as_list(fields.get("tags")) or []] if sensor == "catalytic" else []
