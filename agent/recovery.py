"""State = fold(records): after a start the engine is restored from its snapshot and what came after it (G1)."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.core.events import AlarmEvent
from agent.core.records import Kind, Lane, Record
from agent.core.tags import Tag
from agent.journal.log import Journal
from agent.journal.state import StateStore
from agent.pipeline import evaluate
from rules.build import RuleSet, from_fields
from rules.engine import Engine

log = logging.getLogger("davy.recovery")

SNAPSHOT: Final = "engine"
CONFIGURATION: Final = "configuration"
_READ_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recovered:
    """The engine as it was at the last durable record."""

    engine: Engine
    missing: Sequence[AlarmEvent]
    """Events that the engine derived again and that the journal lacks: a crash came in between. They go in first."""
    replayed: int
    has_snapshot: bool
    version: str | None
    """The rule set in force before the stop; None where nothing is known of it."""


def recover(journal: Journal, state: StateStore, rules: RuleSet, restart_gap_ns: int) -> Recovered:
    """Restore the snapshot with the rule set then in force, replay what came after, and compare events by id.

    Without a usable snapshot the states come from each alarm's last event; windows and delays start empty.
    """
    before = _rules_in_force(state)
    stored = state.get_snapshot(SNAPSHOT)
    if before is None or stored is None or stored[0] > journal.last_seq:
        engine = Engine(rules, epoch=journal.epoch, restart_gap_ns=restart_gap_ns)
        events = _last_events(journal)
        engine.adopt(events.values())
        return Recovered(engine, [], 0, has_snapshot=False, version=before.version if before is not None else None)
    seq, image = stored
    engine = Engine.restore(before, image, epoch=journal.epoch, restart_gap_ns=restart_gap_ns)
    derived: list[AlarmEvent] = []
    journaled: set[str] = set()
    replayed = 0
    while records := journal.read(None, seq, _READ_BYTES).records:
        seq = records[-1].seq
        replayed += len(records)
        journaled.update(record.fields["id"] for record in records if record.kind is Kind.ALARM)
        derived.extend(evaluate(engine, records))
    missing = [event for event in derived if event.id not in journaled]
    return Recovered(engine, missing, replayed, has_snapshot=True, version=before.version)


def _rules_in_force(state: StateStore) -> RuleSet | None:
    text = state.get(CONFIGURATION)
    if text is None:
        return None
    fields = json.loads(text)
    tags = {tag.id: tag for tag in map(Tag.from_fields, fields["tags"])}
    return from_fields(fields["rules"], tags, live=True)


def configuration_fields(rules: RuleSet, tags: Sequence[Tag], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration record: the rule set and tags in force, and the rest with secrets masked."""
    return {
        "rules_version": rules.version,
        "rules": rules.to_fields(),
        "tags": [tag.to_fields() for tag in tags],
        "settings": {key: value for key, value in shown.items() if key != "rules"},
    }


def _last_events(journal: Journal) -> dict[str, Mapping[str, Any]]:
    last: dict[str, Mapping[str, Any]] = {}
    after = 0
    while records := journal.read(Lane.ALARMS, after, _READ_BYTES).records:
        after = records[-1].seq
        last.update(_by_alarm(records))
    return last


def _by_alarm(records: Sequence[Record]) -> dict[str, Mapping[str, Any]]:
    return {record.fields["alarm"]: record.fields for record in records if record.kind is Kind.ALARM}
