"""What no single model can see: ids used twice, rules against tags, codes that a regulator needs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import BaseModel

from agent.config.base import DestinationBase, DeviceBase
from agent.config.document import as_list, as_mapping
from agent.config.errors import Path, Position, Text, closest, same, show_found
from agent.config.explain import Fault
from agent.config.models import Config
from agent.config.presets import Written
from agent.core.batch import Source
from agent.core.events import Priority
from agent.core.tags import Tag, smallest_change

RATIONALE_KEYS: Final = ("cause", "consequence", "action", "time_to_respond")
SUGGESTIONS_MAX: Final = 20
"""So many unknown tags get the nearest name with them."""


def mappings(data: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The mappings of a list, whatever else may stand in it."""
    for i, item in enumerate(as_list(data) or []):
        fields = as_mapping(item)
        if fields is not None:
            yield i, fields


def ids(data: dict[str, Any]) -> Iterator[tuple[str, Any, Path]]:
    """Every id as written: its name space, the id, its path."""
    for key in ("devices", "rules", "destinations"):
        for i, item in mappings(data.get(key)):
            yield key, item.get("id"), (key, i, "id")
    for j, tag in mappings(data.get("tags")):
        yield "tags", tag.get("id"), ("tags", j, "id")
    for i, device in mappings(data.get("devices")):
        for j, tag in mappings(device.get("tags")):
            yield "tags", tag.get("id"), ("devices", i, "tags", j, "id")


def duplicates(data: dict[str, Any], position: Callable[[Path], Position]) -> Iterator[Fault]:
    """Every id that an earlier device, tag, rule or destination already has."""
    first: dict[tuple[str, str], Path] = {}
    for space, name, path in ids(data):
        if not isinstance(name, str):
            continue
        if (space, name) in first:
            at = position(first[space, name])
            yield Fault(path, Text(f"id used twice, first at {at}", f"标识重复，首次出现在 {at}"), show_found(name))
        first.setdefault((space, name), path)


def tag_table(device: DeviceBase) -> list[Tag]:
    """The tags of a device as the rules see them."""
    tags: Sequence[Any] = getattr(device, "tags", ())
    # A driver's own Tag need not know of report_change, which only destinations look at.
    return [replace(device.tag(tag), report_change=smallest_change(tag.report_change, tag.range)) for tag in tags]


def known_tags(data: dict[str, Any], devices: Sequence[DeviceBase | None]) -> list[Tag]:
    """All tags; those of a device that is wrong by name only, so that its rules are not blamed."""
    tags: list[Tag] = []
    for i, fields in mappings(data.get("devices")):
        device = devices[i] if i < len(devices) else None
        if device is not None:
            tags += tag_table(device)
        else:
            for _, tag in mappings(fields.get("tags")):
                if isinstance(tag.get("id"), str):
                    tags.append(Tag(tag["id"], source=Source.SENSOR))
    return tags


def rule_findings(written: Written, tags: Sequence[Tag], keep_ns: int | None) -> Iterator[Fault]:
    """What the rules say about themselves and their tags (spec/rules.md C9)."""
    rules = written.rules
    places = {str(getattr(rule, "id", "")): i for i, rule in enumerate(rules) if rule is not None}
    if not places:
        return
    from rules.check import check
    from rules.model import RuleBase

    known = {tag.id: tag for tag in tags}
    found = [(i, rule) for i, rule in enumerate(rules) if isinstance(rule, RuleBase)]
    unknown = {i for i, rule in found if rule.tag is not None and rule.tag not in known}
    yield from _unknown_tags(written, sorted(unknown), list(known))
    for finding in check([rule for _, rule in found], known, keep_ns=keep_ns):
        if finding.key == "tag" and places[finding.rule_id] in unknown:
            continue
        if finding.is_warning and (finding.rule_id, finding.key) in written.expected:
            continue
        path: Path = ("rules", written.places[places[finding.rule_id]])
        text = Text(finding.message, finding.message_zh)
        if finding.rule_id in written.origins:  # its keys stand in the preset, not in the configuration
            about = f"{finding.rule_id}, {finding.key}" if finding.key else finding.rule_id
            text = Text(f"{about}: {text.en}", f"{about}：{text.zh}")
        elif finding.key:
            path = (*path, finding.key)
        yield Fault(
            path,
            text,
            None if finding.found is None else str(finding.found),
            None if finding.allowed is None else same(str(finding.allowed)),
            is_warning=finding.is_warning,
        )


def _unknown_tags(written: Written, unknown: Sequence[int], known: Sequence[str]) -> Iterator[Fault]:
    # Looking for the nearest of 10,000 names takes 50 ms: a wrong prefix in 5,000 rules would take minutes.
    for count, i in enumerate(unknown):
        tag = str(getattr(written.rules[i], "tag", ""))
        near = closest(tag, known) if count < SUGGESTIONS_MAX else None
        path: Path = ("rules", written.places[i], "tag")
        yield Fault(path, Text("unknown tag", "未知的位号"), show_found(tag), None, near)


def rationalisation(written: Written) -> Iterator[Fault]:
    """Critical rules that do not say why they exist, for ``site.require_rationalisation``."""
    for rule, place in zip(written.rules, written.places, strict=True):
        if getattr(rule, "priority", None) is not Priority.CRITICAL or not getattr(rule, "enabled", False):
            continue
        rationale = getattr(rule, "rationale", None)
        missing = [key for key in RATIONALE_KEYS if getattr(rationale, key, None) is None]
        if missing:
            name, keys = str(getattr(rule, "id", "")), ", ".join(missing)
            yield Fault(
                ("rules", place, "rationale"),
                Text(
                    f"critical rule {name} must be rationalised: missing {keys}",
                    f"紧急报警规则 {name} 须完成合理化分析：缺少 {keys}",
                ),
            )


def tags_named(rules: Sequence[BaseModel | None]) -> list[str]:
    """The tags that rules name, each once."""
    names = (name for rule in rules for name in getattr(rule, "inputs", ()))
    return list(dict.fromkeys(names))


def missing_files(destinations: Sequence[DestinationBase | None]) -> Iterator[Fault]:
    """Certificates and keys that destinations name and nobody can find."""
    for i, destination in enumerate(destinations):
        files: list[FilePath] = getattr(destination, "missing_files", list)()
        for file in files:
            key = next(key for key, value in destination or () if value == str(file))
            yield Fault(("destinations", i, key), Text("no such file", "文件不存在"), show_found(str(file)))


def regulator_warnings(config: Config) -> Iterator[Fault]:
    """A regulator cannot assign alarms without the site's codes (spec/wire.md)."""
    if any(destination.regulator for destination in config.destinations):
        for key in ("code", "hazard_code"):
            if not getattr(config.site, key):
                text = Text("empty, but a regulator is among the destinations", "为空，但目的地中有监管部门")
                yield Fault(("site", key), text, is_warning=True)
