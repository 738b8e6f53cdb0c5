"""How much a journal may hold, and in which order readings are given up; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.journal.fs import Space
from agent.journal.segment import Segment

MAX_SIZE_DEFAULT: Final = 8 << 30
SHARE_OF_FILE_SYSTEM: Final = 0.7
SEGMENT_SIZE_MIN: Final = 64 << 10
SEGMENT_SIZE_MAX: Final = 16 << 20
SEGMENTS_AT_MAX_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Where a journal lives and what it may take. Durations in ns, sizes in bytes."""

    directory: Path
    max_size: int | None = None
    """None: the smaller of 8 GiB and 70 % of the file system."""
    keep_ns: int = 30 * 86_400 * 10**9
    """Delivered readings younger than this are given up only when older ones are not enough."""
    keep_alarms_ns: int = 1095 * 86_400 * 10**9
    segment_size: int | None = None
    """None: a 64th of max_size, 64 KiB to 16 MiB."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """Readings given up: a segment that was unlinked. Its alarm, audit and tick records stay in the event log."""

    first_seq: int
    last_seq: int
    readings: dict[str, int] = field(default_factory=dict[str, int])
    """How many readings, by device."""
    delivered: bool = True
    """Every destination had proved them."""
    short_of_keep_ns: int = 0
    """By how much they were younger than ``keep``."""


def sizes_of(options: JournalOptions, space: Space) -> tuple[int, int]:
    """``max_size`` and ``segment_size`` in force, bytes."""
    max_size = options.max_size
    if max_size is None:
        max_size = min(MAX_SIZE_DEFAULT, int(space.total * SHARE_OF_FILE_SYSTEM))
    segment_size = options.segment_size
    if segment_size is None:
        segment_size = min(max(max_size // SEGMENTS_AT_MAX_SIZE, SEGMENT_SIZE_MIN), SEGMENT_SIZE_MAX)
    return max_size, segment_size


def next_to_evict(segments: Sequence[Segment]) -> Segment | None:
    """The segment that is given up next; None where none may be.

    Delivered and older than ``keep`` go first, then delivered, then undelivered, oldest first: since cursors and time
    only go forward, that is the oldest. The last one is being written. (Protection of readings near an alarm: later.)
    """
    if len(segments) < 2 or not segments[0].is_sealed:
        return None
    return segments[0]


def eviction_of(
    segment: Segment, readings: dict[str, int], delivered_seq: int, now_ns: int, ended_ns: int, keep_ns: int
) -> Eviction:
    """What giving up ``segment`` means; ``ended_ns`` is when its successor was begun."""
    age_ns = max(0, now_ns - ended_ns)
    return Eviction(
        segment.first_seq,
        segment.last_seq,
        readings,
        delivered=segment.last_seq <= delivered_seq,
        short_of_keep_ns=max(0, keep_ns - age_ns),
    )


def joined(earlier: Eviction, later: Eviction) -> Eviction:
    """Two evictions that follow each other, as one."""
    readings = dict(earlier.readings)
    for device, count in later.readings.items():
        readings[device] = readings.get(device, 0) + count
    return Eviction(
        earlier.first_seq,
        later.last_seq,
        readings,
        delivered=earlier.delivered and later.delivered,
        short_of_keep_ns=max(earlier.short_of_keep_ns, later.short_of_keep_ns),
    )
