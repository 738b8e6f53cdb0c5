"""What a receiving platform makes of the messages it gets: de-duplication, holes, the hash chain. Pure.

Written against spec/wire.md alone, by design: it shares no code with the sender but the JSON form and the hash.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from agent.core.records import canonical_json, chain_hash

READINGS_MAX: Final = 2_000_000
"""Readings kept; what comes after is counted as ``not_kept`` and cannot be compared."""
_CHAIN_KEYS: Final = ("after", "prev", "hash")
_NOT_KEPT: Final = slice(0, 0)


@dataclass(frozen=True, slots=True)
class Received:
    """One reading as it arrived. ``value`` is None where there was none; times in ns UTC."""

    seq: int
    tag: str
    at_ns: int
    t_ns: int
    value: float | None
    quality: int


class WireError(Exception):
    """A message is not what spec/wire.md says; the text names what is wrong."""


@dataclass
class Counts:
    """What arrived, counted message by message."""

    messages: int = 0
    readings: int = 0
    """Different ones."""
    duplicated_readings: int = 0
    events: int = 0
    """Different alarm and audit records."""
    duplicated_events: int = 0
    invalid: int = 0
    not_kept: int = 0


@dataclass
class _Stream:
    """One life of one agent's journal."""

    batches: dict[int, slice] = field(default_factory=dict[int, slice])
    """Where the readings of a batch stand, by seq."""
    hashes: dict[int, str] = field(default_factory=dict[int, str])
    last: dict[str, int] = field(default_factory=dict[str, int])


class Intake:
    """Takes messages in any order, as often as they come. Identity of a record: (site, agent, epoch, seq)."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.readings: list[Received] = []
        self.alarms: list[Mapping[str, Any]] = []
        """Alarm events in the order of arrival, each once."""
        self.audit: list[Mapping[str, Any]] = []
        self.holes: list[str] = []
        """A message said that something went before it which never came."""
        self.conflicts: list[str] = []
        """Broken chain, or one identity with two contents."""
        self._streams: dict[tuple[str, str, str], _Stream] = {}
        self._unnumbered: set[str] = set()

    def take_readings(self, payload: bytes) -> int:
        """A message of the readings topic; returns how many readings were new. WireError."""
        message = self._parse(payload)
        try:
            stream = self._stream(message)
            # Compared before the message's own blocks count as seen.
            self._check_hole(stream, message, "readings", [block["seq"] for block in message["blocks"]])
            fresh = 0
            for block in message["blocks"]:
                fresh += self._take_block(stream, message["tags"], block)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            self.counts.invalid += 1
            raise WireError(f"readings: {error!r}") from error
        return fresh

    def take_event(self, payload: bytes, *, is_alarm: bool) -> Mapping[str, Any] | None:
        """A message of the alarms or audit topic; the event if it is new, else None. WireError."""
        event = self._parse(payload)
        try:
            is_new = self._take_numbered(event) if event["seq"] is not None else self._take_unnumbered(event)
        except (KeyError, TypeError, ValueError) as error:
            self.counts.invalid += 1
            raise WireError(f"event: {error!r}") from error
        if not is_new:
            self.counts.duplicated_events += 1
            return None
        self.counts.events += 1
        (self.alarms if is_alarm else self.audit).append(event)
        return event

    def seqs(self) -> set[int]:
        """The seqs of all batches received, whatever the epoch."""
        return {seq for stream in self._streams.values() for seq in stream.batches}

    def _parse(self, payload: bytes) -> Mapping[str, Any]:
        self.counts.messages += 1
        try:
            message = json.loads(payload)
        except ValueError as error:
            self.counts.invalid += 1
            raise WireError(f"not JSON: {error}") from error
        fields = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
        if fields.get("v") != 1:
            self.counts.invalid += 1
            raise WireError("not a message of version 1")
        return fields

    def _stream(self, message: Mapping[str, Any]) -> _Stream:
        return self._streams.setdefault((message["site"], message["agent"], message["epoch"]), _Stream())

    def _take_block(self, stream: _Stream, tags: Sequence[str], block: Mapping[str, Any]) -> int:
        readings = _decode(tags, block)
        seq, count = int(block["seq"]), len(readings)
        known = stream.batches.get(seq)
        if known is not None:
            self.counts.duplicated_readings += count
            if known is not _NOT_KEPT and self.readings[known] != readings:
                self.conflicts.append(f"{seq}: came with two contents")
            return 0
        self.counts.readings += count
        if len(self.readings) + count > READINGS_MAX:
            self.counts.not_kept += count
            stream.batches[seq] = _NOT_KEPT
            return count
        stream.batches[seq] = slice(len(self.readings), len(self.readings) + count)
        self.readings += readings
        return count

    def _check_hole(self, stream: _Stream, message: Mapping[str, Any], lane: str, seqs: Sequence[int]) -> None:
        last, after = stream.last.get(lane), message["after"]
        if last is not None and after > last:
            self.holes.append(f"{lane}: nothing came between {last} and {after}")
        stream.last[lane] = max([*seqs, last or 0])

    def _take_numbered(self, event: Mapping[str, Any]) -> bool:
        stream, seq = self._stream(event), int(event["seq"])
        stored = canonical_json({key: value for key, value in event.items() if key not in _CHAIN_KEYS})
        if chain_hash(bytes.fromhex(event["prev"]), stored).hex() != event["hash"]:
            self.conflicts.append(f"{seq}: hash does not fit the content")
        known = stream.hashes.get(seq)
        if known is not None:
            if known != event["hash"]:
                self.conflicts.append(f"{seq}: came with two contents")
            return False
        before = stream.hashes.get(event["after"])
        if before is not None and before != event["prev"]:
            self.conflicts.append(f"{seq}: prev is not the hash of {event['after']}")
        self._check_hole(stream, event, "alarms", [seq])
        stream.hashes[seq] = event["hash"]
        # What the disk could not take at first came without a seq before; its event id tells.
        return event.get("id") not in self._unnumbered

    def _take_unnumbered(self, event: Mapping[str, Any]) -> bool:
        """A record that could not be journaled in time: its event id is its identity."""
        is_new = event["id"] not in self._unnumbered
        self._unnumbered.add(event["id"])
        return is_new


def _decode(tags: Sequence[str], block: Mapping[str, Any]) -> list[Received]:
    """The readings of one block; KeyError, IndexError, TypeError or ValueError where it is malformed."""
    seq, at_ns, values = int(block["seq"]), int(block["t"]), block["v"]
    indexes: Sequence[int] = block["i"] if "i" in block else range(len(tags))
    count = len(indexes)
    quality = block.get("q", 0)
    columns = (
        [None] * count if values is None else values,
        [quality] * count if isinstance(quality, int) else quality,
        block.get("dt", [0] * count),
    )
    if any(len(column) != count for column in columns):
        raise ValueError(f"block {seq}: {count} readings, columns of {[len(column) for column in columns]}")
    return [
        Received(seq, tags[index], at_ns, at_ns + offset, value, code)
        for index, value, code, offset in zip(indexes, *columns, strict=True)
    ]
