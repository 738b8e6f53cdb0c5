"""From the configuration file to what a start needs, in a child process, so that what parsing leaves dies with it.

Parsing 8,000 tags and as many rules leaves a heap of 100 MB of which a quarter is in use; an agent that runs for years
should not carry the holes. The child sends the finished parts through a pipe.
"""

import ctypes
import gc
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from agent.config.errors import ConfigError
from agent.config.load import load
from agent.config.models import Config
from agent.core.records import canonical_json
from agent.core.tags import Tag
from rules.build import RuleSet, build
from rules.model import RuleBase
from rules.settings import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid configuration, and what follows from it."""

    config: Config
    tags: Sequence[Tag]
    rules: RuleSet
    configuration: bytes
    """The fields of its configuration record (:func:`configuration_fields`) as canonical JSON."""


def prepare(path: Path) -> Prepared:
    """Load and validate; ConfigError with every problem."""
    loaded = load(path)
    rules = build(cast("Sequence[RuleBase]", loaded.config.rules), {tag.id: tag for tag in loaded.tags}, live=True)
    rules = replace(rules, settings=_rules_settings(loaded.config))
    settings = loaded.secrets.mask_all(loaded.config.model_dump(mode="json", exclude_defaults=True, exclude={"rules"}))
    fields = configuration_fields(rules, loaded.tags, settings)
    if loaded.acceptances:
        fields["acceptances"] = {acceptance.name: acceptance.to_fields() for acceptance in loaded.acceptances}
    text = canonical_json(fields)
    return Prepared(loaded.config, loaded.tags, rules, text)


def _rules_settings(config: Config) -> Settings:
    max_hidden = float(config.hiding.max_hidden.rstrip("%")) / 100
    return Settings(max_hidden=max_hidden, blind_after_ns=config.site.blind_after.ns)


def configuration_fields(rules: RuleSet, tags: Sequence[Tag], settings: dict[str, Any]) -> dict[str, Any]:
    """The configuration record: the rule set and tags in force, and the rest with secrets masked, defaults left out."""
    return {
        "rules_version": rules.version,
        "rules": rules.to_fields(),
        "rules_settings": rules.settings.to_fields(),
        "tags": [tag.to_fields() for tag in tags],
        "settings": settings,
    }


def prepare_apart(path: Path) -> Prepared:
    """As :func:`prepare`, in a child process; call it before any thread or event loop is started."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _prepare_and_send(path, read_end, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        return prepare(path)  # the child died (no memory for two?): try without it, errors included
    result: object = pickle.loads(data)
    if isinstance(result, ConfigError):
        raise result
    return cast("Prepared", result)


def _prepare_and_send(path: Path, read_end: int, write_end: int) -> None:
    """In the child: send the result or the ConfigError, and end without running anybody's clean-up."""
    code = 1
    try:
        os.close(read_end)
        try:
            result: object = prepare(path)
        except ConfigError as error:
            result = error
        with os.fdopen(write_end, "wb") as pipe:
            pickle.dump(result, pipe, pickle.HIGHEST_PROTOCOL)
        code = 0
    finally:
        os._exit(code)


def compact_memory() -> None:
    """Give the start's garbage back to the system, and let the collector skip what will live as long as the agent."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
    if trim is not None:
        trim(0)
