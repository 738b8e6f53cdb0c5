"""Journal records: what may be appended, what comes back, canonical JSON and the hash chain."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

from agent.core.batch import Batch

GENESIS: Final = bytes(32)
"""``prev`` of the first chained record of an epoch."""


class Kind(IntEnum):
    """What a record is. ALARM and AUDIT are chained and travel in the alarms lane; TICK never leaves the gateway."""

    READINGS = 1
    ALARM = 2
    AUDIT = 3
    TICK = 4


class Lane(StrEnum):
    """The two streams of a destination; each has a cursor of its own."""

    ALARMS = "alarms"
    READINGS = "readings"

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of record that belong to this lane."""
        return _LANE_KINDS[self]


_LANE_KINDS: Final = {
    Lane.ALARMS: frozenset({Kind.ALARM, Kind.AUDIT}),
    Lane.READINGS: frozenset({Kind.READINGS}),
}


@dataclass(frozen=True, slots=True)
class Event:
    """An alarm or audit record without a seq. ``fields`` are JSON types; the journal adds seq, epoch and recorded."""

    kind: Kind
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time that passed in silence: written when a timer is due and no other record came (spec/rules.md T7)."""

    at_ns: int


Draft = Batch | Event | Tick
"""What may be appended to the journal."""


@dataclass(frozen=True, slots=True)
class Record:
    """One journal record. ``batch`` belongs to READINGS, ``fields`` to ALARM and AUDIT, ``at_ns`` to TICK."""

    seq: int
    kind: Kind
    batch: Batch | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    body: bytes = b""
    """ALARM, AUDIT: the stored bytes (canonical JSON of ``fields``), over which ``hash`` is made."""
    prev: bytes = b""
    hash: bytes = b""
    at_ns: int = 0

    @property
    def readings(self) -> int:
        """How many readings the record holds."""
        return 0 if self.batch is None else len(self.batch.values)


def canonical_json(fields: Mapping[str, Any]) -> bytes:
    """Keys sorted, no spaces, integers in full, floats as Python prints them, UTF-8; ValueError on NaN and infinity."""
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def chain_hash(prev: bytes, body: bytes) -> bytes:
    """SHA-256 over the previous hash and the stored bytes of a record (spec/wire.md)."""
    return hashlib.sha256(prev + body).digest()
