"""Load a configuration: one YAML file or a directory of them, validated whole, all problems at once."""

import gc
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, cast

from pydantic import BaseModel, Field

from agent.config import checks, kinds, presets, shape, tags_csv
from agent.config.base import TagBase
from agent.config.document import as_mapping, parse, read_text
from agent.config.errors import ConfigError, Position, Problem, Text, show_found, show_path
from agent.config.explain import Fault, unknown_key
from agent.config.fields import Duration, Strict
from agent.config.models import LISTS, SECTIONS, Agent, Config, Site
from agent.config.parts import Parts
from agent.config.presets import Acceptance
from agent.config.secrets import Secrets
from agent.config.sources import Sources, environment, yaml_files
from agent.core.batch import Source
from agent.core.tags import Tag


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration. ``config.devices[i]`` is an instance of its driver's ``Config``, and so on."""

    config: Config
    tags: tuple[Tag, ...]
    """All tags, device by device, without scaling (the drivers add that)."""
    warnings: tuple[Problem, ...]
    files: tuple[FilePath, ...]
    """Every YAML and CSV file that was read."""
    sources: Mapping[str, Position]
    """Where each device, tag, rule and destination stands, by kind and id: ``rules:T101-level-h``."""
    secrets: Secrets
    """Knows what must not be shown: ``secrets.mask(text)``."""
    origins: Mapping[str, Any]
    """By rule id, the :class:`rules.presets.model.Origin` of rules that come from presets."""
    acceptances: tuple[Acceptance, ...]
    """Who accepted which presets: audit records that the journal must have once."""

    def shown(self) -> dict[str, Any]:
        """The configuration as it is in force, JSON types, defaults included, secrets masked."""
        return self.secrets.mask_all(self.config.model_dump(mode="json"))


class RecordedTag(TagBase):
    """A tag of recorded data, for ``davy replay --rules FILE``."""

    poll: Duration | None = Field(None, description="distance of two readings, where it is known")
    source: Source = Field(default=Source.SENSOR, description="where the readings came from")


def load(path: FilePath, *, env: Mapping[str, str] | None = None, credentials_dir: FilePath | None = None) -> Loaded:
    """Read, merge and validate; raises ConfigError with every problem, and nothing else.

    ``env`` is the process environment by default, ``credentials_dir`` its ``CREDENTIALS_DIRECTORY``.
    """
    with _no_garbage_collection():
        return _Load(path, env, credentials_dir, LISTS).run()


def state_dir(path: FilePath) -> FilePath:
    """Where a configuration keeps its state, whatever else is wrong in it; ConfigError where it cannot be parsed."""
    for file in yaml_files(path):
        document = parse(read_text(file, str(file)), str(file), lambda text, _: text)
        found = (as_mapping(document.value.get("agent")) or {}).get("state_dir")
        if isinstance(found, str):
            return (path if path.is_dir() else path.parent) / found
    return FilePath(Agent.model_fields["state_dir"].default)


def load_rules(path: FilePath) -> tuple[tuple[BaseModel, ...], tuple[Tag, ...]]:
    """Read a YAML with a ``rules:`` list and an optional ``tags:`` list: the rules, and every tag they name.

    Raises ConfigError.
    """
    return _Load(path, None, None, ("rules", "tags")).run_rules()


def load_workbench(path: FilePath) -> tuple[tuple[BaseModel, ...], tuple[Tag, ...]]:
    """The rules and tags of a whole configuration, on a desk: without its secrets, certificates and destinations.

    Raises ConfigError.
    """
    with _no_garbage_collection():
        return _Load(path, None, None, LISTS).run_workbench()


@contextmanager
def _no_garbage_collection() -> Generator[None]:
    """Loading makes hundreds of thousands of objects and no cycles; looking for some costs twice the work itself."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Load:
    def __init__(
        self, path: FilePath, env: Mapping[str, str] | None, credentials_dir: FilePath | None, lists: Sequence[str]
    ) -> None:
        env = environment() if env is None else env
        if credentials_dir is None and env.get("CREDENTIALS_DIRECTORY"):
            credentials_dir = FilePath(env["CREDENTIALS_DIRECTORY"])
        self._lists = lists
        self._directory = path if path.is_dir() else path.parent
        self._secrets = Secrets(self._directory, env, credentials_dir)
        self._sources = Sources(self._secrets, lists)
        self._parts = Parts({"directory": self._directory})
        self._files = yaml_files(path)
        for file in self._files:
            self._sources.add_file(file)
        self._data = self._sources.data

    def run(self) -> Loaded:
        self._refuse_rules_file()
        self._unknown_keys([*SECTIONS, *LISTS])
        sections = {key: self._section(key, model) for key, model in SECTIONS.items()}
        self._read_tables()
        presets.latch_catalytic(
            self._data, [device.get("tags") for _, device in checks.mappings(self._data.get("devices"))]
        )
        parts, data = self._parts, self._data
        devices = parts.items("devices", data.get("devices"), parts.device)
        entries = parts.items("rules", data.get("rules"), parts.rule)
        destinations = parts.items("destinations", data.get("destinations"), parts.destination)
        parts.faults += checks.duplicates(data, self._sources.position)
        tags = checks.known_tags(data, devices)
        written = presets.write_out(entries, tags)
        site = cast("Site | None", sections["site"])
        presets.set_site(written, site)
        if self._sources.is_complete:
            parts.faults += written.faults
        config = self._config(sections, devices, written.rules, destinations)
        if self._sources.is_complete:
            parts.faults += checks.rule_findings(written, tags, None if config is None else config.journal.keep.ns)
        if site is not None and site.require_rationalisation:
            parts.faults += checks.rationalisation(written)
        parts.faults += checks.missing_files(destinations)
        if config is not None:
            parts.faults += checks.regulator_warnings(config)
        warnings = self._finish()
        if config is None:
            raise AssertionError("a part of the configuration is missing and no problem says so")
        return Loaded(
            config,
            tuple(tags),
            warnings,
            tuple(self._files),
            self._places(written),
            self._secrets,
            written.origins,
            tuple(written.acceptances),
        )

    def run_workbench(self) -> tuple[tuple[BaseModel, ...], tuple[Tag, ...]]:
        self._read_tables()
        parts, data = self._parts, self._data
        presets.latch_catalytic(data, [device.get("tags") for _, device in checks.mappings(data.get("devices"))])
        devices = parts.items("devices", data.get("devices"), parts.device)
        entries = parts.items("rules", data.get("rules"), parts.rule)
        tags = checks.known_tags(data, devices)
        written = presets.write_out(entries, tags)
        site = self._section("site", SECTIONS["site"]) if "site" in data else None
        presets.set_site(written, cast("Site | None", site))
        if self._sources.is_complete:
            parts.faults += [*written.faults, *checks.rule_findings(written, tags, None)]
        self._sources.problems = [problem for problem in self._sources.problems if "${" not in (problem.found or "")]
        self._finish()
        return tuple(rule for rule in written.rules if rule is not None), tuple(tags)

    def run_rules(self) -> tuple[tuple[BaseModel, ...], tuple[Tag, ...]]:
        self._unknown_keys(self._lists)
        parts, data = self._parts, self._data
        presets.latch_catalytic(data, [data.get("tags")])
        entries = parts.items("rules", data.get("rules"), parts.rule)
        recorded = parts.items("tags", data.get("tags"), lambda fields, path: parts.section(RecordedTag, fields, path))
        tags = [_recorded(tag) for tag in recorded if tag is not None]
        if not data.get("tags"):
            # Recorded data may hold any tag: without a list it is known by name only; with one, a slip is found.
            tags = [Tag(name) for name in dict.fromkeys([*checks.tags_named(entries), *presets.tags_used(entries)])]
        written = presets.write_out(entries, tags)
        parts.faults += checks.duplicates(data, self._sources.position)
        if self._sources.is_complete and None not in recorded:
            parts.faults += [*written.faults, *checks.rule_findings(written, tags, None)]
        self._finish()
        return tuple(rule for rule in written.rules if rule is not None), tuple(tags)

    def _refuse_rules_file(self) -> None:
        """A rules file instead of a davy.yaml is one mistake: its tags would only fill the screen with others."""
        if {"rules", "tags"} <= self._data.keys() and not self._data.keys() & {"site", "agent", "devices"}:
            text = Text(
                "a rules file, not a configuration: davy test and davy replay check it; -c: davy.yaml or a directory",
                "这是规则文件而不是完整配置：用 davy test、davy replay 校验；-c 应为 davy.yaml 或目录",
            )
            raise ConfigError([Problem(self._sources.position(("tags",), is_key=True), "tags", text)])

    def _unknown_keys(self, allowed: Sequence[str]) -> None:
        self._parts.faults += [unknown_key((key,), allowed) for key in self._data if key not in allowed]

    def _section(self, key: str, model: type[Strict]) -> Strict | None:
        is_required = Config.model_fields[key].is_required()
        if key not in self._data and is_required:
            if self._sources.is_complete:
                self._parts.faults.append(Fault((key,), Text("required key is missing", "缺少必需的键")))
            return None
        return self._parts.section(model, self._data.get(key, {}), (key,))

    def _read_tables(self) -> None:
        for i, device in checks.mappings(self._data.get("devices")):
            name, driver = device.get("tags_from"), device.get("driver")
            if not isinstance(name, str) or driver not in kinds.driver_kinds():
                continue
            if not isinstance(device.get("tags", []), list):
                continue
            path = self._directory / name
            try:
                table = tags_csv.read(path, str(path), shape.cells(kinds.driver_config(driver)))
            except ConfigError as error:
                self._sources.problems += error.problems
                self._sources.is_complete = False
                continue
            self._files.append(path)
            self._sources.problems += table.problems
            self._sources.add_table(i, table)

    def _config(self, sections: Mapping[str, Strict | None], *lists: Sequence[BaseModel | None]) -> Config | None:
        if None in sections.values() or any(None in items for items in lists):
            return None
        # A key with nothing behind it (``rules:``) is an empty list; anything else was told by ``items``.
        if any(not isinstance(self._data.get(key) or [], list) for key in LISTS):
            return None
        return Config.model_validate({**sections, **dict(zip(LISTS, lists, strict=True))})

    def _finish(self) -> tuple[Problem, ...]:
        """Raise all problems in the order of the files, or return the warnings."""
        problems = [*self._sources.problems, *self._problems(self._parts.faults)]
        problems.sort(key=lambda problem: (problem.at.file, problem.at.line, problem.at.column))
        errors = [problem for problem in problems if not problem.is_warning]
        if errors:
            raise ConfigError(errors)
        return tuple(problems)

    def _problems(self, faults: Iterable[Fault]) -> Iterable[Problem]:
        for fault in faults:
            if self._sources.is_unresolved(fault.path):
                continue
            problem = Problem(
                self._sources.position(fault.path, is_key=fault.is_key),
                show_path(fault.path),
                self._masked(fault.text),
                fault.found,
                fault.allowed,
                fault.suggestion,
                fault.is_warning,
            )
            reference = self._secrets.references.get(fault.path)
            yield problem if reference is None else replace(problem, found=show_found(reference))

    def _masked(self, text: Text) -> Text:
        return Text(self._secrets.mask(text.en), self._secrets.mask(text.zh))

    def _places(self, written: presets.Written) -> dict[str, Position]:
        places: dict[str, Position] = {}
        for space, name, path in checks.ids(self._data):
            if isinstance(name, str):  # a use of a preset has no id of its own
                places[f"{space}:{name}"] = self._sources.position(path[:-1])
        for rule, place in zip(written.rules, written.places, strict=True):
            if (name := str(getattr(rule, "id", ""))) in written.origins:
                places[f"rules:{name}"] = self._sources.position(("rules", place))
        return places


def _recorded(tag: RecordedTag) -> Tag:
    return Tag(
        id=tag.id,
        name=tag.name,
        unit=tag.unit,
        kind=tag.kind,
        range=tag.range,
        poll_ns=None if tag.poll is None else tag.poll.ns,
        source=tag.source,
        location=tag.location,
        over_range_latch=tag.over_range_latch,
        fault_after_ns=None if tag.fault_after is None else tag.fault_after.ns,
    )
