"""State = fold(records): after a start the engine is restored from its snapshot and what came after it (G1)."""

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from agent.config.base import DestinationBase
from agent.core.events import AlarmEvent, Transition
from agent.core.records import Kind, Lane, Record
from agent.core.tags import Tag
from agent.journal.log import Journal, Recovery
from agent.journal.state import StateStore
from agent.pipeline import evaluate
from rules.alarm import HIDDEN
from rules.build import RuleSet, from_fields
from rules.engine import Engine
from rules.snapshot import SnapshotError

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


def recover(
    journal: Journal, state: StateStore, rules: RuleSet, configuration: bytes, restart_gap_ns: int
) -> Recovered:
    """Restore the snapshot with the rule set then in force, replay what came after, and compare events by id.

    ``configuration`` is that of ``rules``, to be compared with the one in force before. Without a usable snapshot the
    states come from each alarm's last event; windows and delays start empty.
    """
    text = state.get_item(CONFIGURATION)
    restored = _restore(journal, state, rules if text == configuration else None, text, restart_gap_ns)
    if restored is None:
        engine = Engine(rules, epoch=journal.epoch, restart_gap_ns=restart_gap_ns, has_fault_alarms=True)
        engine.adopt(chain.from_iterable(_last_events(journal).values()))
        return Recovered(engine, [], 0, has_snapshot=False, version=None)
    engine, seq = restored
    _refill(engine, journal, seq)
    derived: list[AlarmEvent] = []
    journaled: dict[str, Mapping[str, Any]] = {}
    replayed = 0
    while records := journal.read(None, seq, _READ_BYTES).records:
        seq = records[-1].seq
        replayed += len(records)
        journaled.update({record.fields["id"]: record.fields for record in records if record.kind is Kind.ALARM})
        derived.extend(evaluate(engine, records))
    missing = [event for event in derived if event.id not in journaled]
    engine.adopt(_not_derived(journaled, derived))
    return Recovered(engine, missing, replayed, has_snapshot=True, version=engine.rules.version)


def _restore(
    journal: Journal, state: StateStore, rules: RuleSet | None, text: bytes | None, restart_gap_ns: int
) -> tuple[Engine, int] | None:
    """The engine of the last snapshot and its seq; None where there is none that can be used."""
    stored = state.get_snapshot(SNAPSHOT)
    if text is None or stored is None or stored[0] > journal.last_seq:
        return None
    try:
        before = rules if rules is not None else _rules_in_force(text)
        engine = Engine.restore(
            before, stored[1], epoch=journal.epoch, restart_gap_ns=restart_gap_ns, has_fault_alarms=True
        )
        return engine, stored[0]
    except (SnapshotError, ValueError, KeyError) as error:
        # Killed between two writes, or written by a version with other rules: states come from the last events.
        log.warning("snapshot not used", extra={"error": str(error)})
        return None


def _not_derived(
    journaled: Mapping[str, Mapping[str, Any]], derived: Sequence[AlarmEvent]
) -> Iterator[Mapping[str, Any]]:
    """Last events that the replay could not derive: the disk refused the readings behind them."""
    last = {fields["alarm"]: fields for fields in journaled.values()}
    ids = {event.id for event in derived}
    return (fields for fields in last.values() if fields["id"] not in ids)


def _refill(engine: Engine, journal: Journal, upto: int) -> None:
    """Give back what windows longer than a snapshot holds; nothing to do for the others."""
    start_ns = engine.refill_from_ns
    if start_ns is None:
        return
    after = _seq_before(journal, start_ns, upto)
    while records := journal.read(Lane.READINGS, after, _READ_BYTES, upto).records:
        after = records[-1].seq
        for record in records:
            if record.batch is not None:
                engine.refill(record.batch)


def _seq_before(journal: Journal, time_ns: int, upto: int) -> int:
    """A seq such that everything after it was taken in at ``time_ns`` or later, by halving."""
    low, high = max(0, journal.oldest_seq - 1), upto
    while low < high:
        middle = (low + high) // 2
        records = journal.read(None, middle, 1).records
        if records and taken_in_ns(records[0]) < time_ns:
            low = middle + 1
        else:
            high = middle
    return low


def taken_in_ns(record: Record) -> int:
    """When a record came about, ns UTC."""
    if record.batch is not None:
        return record.batch.at_ns
    return record.at_ns if record.kind is Kind.TICK else int(record.fields["time"])


def _rules_in_force(text: bytes) -> RuleSet:
    fields = json.loads(text)
    tags = {tag.id: tag for tag in map(Tag.from_fields, fields["tags"])}
    return from_fields(fields["rules"], tags, live=True, settings=fields.get("rules_settings"))


def place_cursors(destinations: Sequence[DestinationBase], journal: Journal, state: StateStore) -> None:
    """Give every new destination its place, durably, before anything else is recorded.

    A destination that is new begins at the end or at the oldest record, as it says. When the cursors were lost
    (``state.db`` is empty and the journal is not), all begin at the oldest: duplicates, never a loss.
    """
    were_lost = state.get_item(CONFIGURATION) is None and journal.last_seq > 0
    for there in destinations:
        for lane in Lane:
            if state.get(there.id, lane) is None:
                is_from_oldest = were_lost or there.start == "oldest"
                state.put(there.id, lane, journal.oldest_seq - 1 if is_from_oldest else journal.last_seq)
    try:
        state.flush()
    except sqlite3.Error as error:  # a full disk must not keep the agent from starting
        log.error("cursors of new destinations are not on disk yet", extra={"error": str(error)})


def recovery_fields(recovery: Recovery, epoch: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Audit records (kind, fields) of what opening the journal found."""
    if recovery.new_epoch_reason is not None:
        yield "epoch", {"reason": recovery.new_epoch_reason, "previous": recovery.previous_epoch, "epoch_now": epoch}
    for first, last in recovery.gaps:
        yield "gap", {"from": first, "to": last, "cause": "unreadable"}
    if recovery.torn_bytes:
        yield "torn", {"bytes": recovery.torn_bytes}
    if recovery.moved_aside:
        yield "moved_aside", {"files": recovery.moved_aside}


def _last_events(journal: Journal) -> dict[str, list[Mapping[str, Any]]]:
    """By alarm: its last event that shows the table's state, and those under a flag since."""
    last: dict[str, list[Mapping[str, Any]]] = {}
    after = 0
    while records := journal.read(Lane.ALARMS, after, _READ_BYTES).records:
        after = records[-1].seq
        for record in records:
            if record.kind is Kind.ALARM:
                _note_last(last, record.fields)
    return last


def _note_last(last: dict[str, list[Mapping[str, Any]]], fields: Mapping[str, Any]) -> None:
    """What was found late (T2) is an occurrence of its own, under its event's id, until it is acknowledged."""
    if fields["transition"] == Transition.FOUND_LATE:
        last[fields["id"]] = [fields]
    elif last.get(str(fields["event"]), [fields])[0]["transition"] == Transition.FOUND_LATE:
        del last[fields["event"]]
    elif fields["state"] in HIDDEN:
        last.setdefault(fields["alarm"], []).append(fields)
    else:
        last[fields["alarm"]] = [fields]
