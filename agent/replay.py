"""Rules over recorded data: the same engine as live, fed from a file (spec/config.md, last bullet)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.core.events import AlarmEvent
from agent.core.records import Kind, Record
from agent.core.tags import Tag
from agent.envelope import Envelope, Place
from drivers.replay import batches
from rules.build import build
from rules.engine import Engine
from rules.model import RuleBase

NO_EPOCH = "0"
"""The epoch of events without a journal (spec/rules.md A9)."""


def replay(path: Path, rules: Sequence[RuleBase], tags: Sequence[Tag], *, is_sorted: bool) -> Iterator[dict[str, Any]]:
    """Yield the alarm events of the recorded data, in order, with the keys of the alarm payload.

    What belongs to a journal (seq, cause_seq, recorded, chain) is null; time stops at the last row.
    """
    rule_set = build(rules, {tag.id: tag for tag in tags}, live=False)
    engine = Engine(rule_set, epoch=NO_EPOCH)
    envelope = Envelope("", "", Place(), NO_EPOCH, {tag.id: tag for tag in tags}, rule_set.version)
    last_ns: int | None = None
    for batch in batches(path, is_sorted=is_sorted):
        for event in engine.apply(Record(0, Kind.READINGS, batch=batch)):
            yield _fields(envelope, event)
        if not batch.historical:
            last_ns = batch.at_ns
    if last_ns is not None:
        for event in engine.advance(last_ns, None):
            yield _fields(envelope, event)


def _fields(envelope: Envelope, event: AlarmEvent) -> dict[str, Any]:
    no_journal = dict.fromkeys(("seq", "cause_seq", "recorded", "after", "prev", "hash"))
    return {**envelope.alarm(event), **no_journal, "epoch": NO_EPOCH, "clock": None}
