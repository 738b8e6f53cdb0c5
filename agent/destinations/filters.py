"""What a destination does not get: readings that hardly changed, alarms below its least priority (pure)."""

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from agent.core.batch import Batch, Layout
from agent.core.events import SEVERITY, Priority, State
from agent.core.records import Kind, Record


def _nothing() -> None:
    """Commit of a filter that keeps no state."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What is left to send. ``commit`` makes the filter remember it; call it once the records are proved."""

    records: Sequence[Record]
    filtered_readings: int = 0
    filtered_records: int = 0
    commit: Callable[[], None] = _nothing


class Filter(Protocol):
    """Decides what is sent; the same records give the same answer until ``commit`` was called."""

    def apply(self, records: Sequence[Record]) -> Passed:
        """Take away what the destination does not get."""
        ...


class PassAll:
    """No filter."""

    def apply(self, records: Sequence[Record]) -> Passed:
        """See :class:`Filter`."""
        return Passed(records)


class PriorityFilter:
    """Keeps alarms of at least ``least`` priority, and every audit record.

    An occurrence once sent is sent to its end whatever its priority becomes; one whose start this process has not seen
    is sent when in doubt.
    """

    def __init__(self, least: Priority) -> None:
        self._least = SEVERITY[least]
        self._withheld: frozenset[str] = frozenset()

    def apply(self, records: Sequence[Record]) -> Passed:
        """See :class:`Filter`."""
        withheld = set(self._withheld)
        kept = [record for record in records if not self._withholds(record, withheld)]

        def commit() -> None:
            self._withheld = frozenset(withheld)

        return Passed(kept, filtered_records=len(records) - len(kept), commit=commit)

    def allows(self, alarm: Mapping[str, Any]) -> bool:
        """Tell whether a standing alarm (keys of the alarm payload) is sent."""
        return SEVERITY[Priority(alarm["priority"])] >= self._least or self._has_started_higher(alarm)

    def _has_started_higher(self, alarm: Mapping[str, Any]) -> bool:
        return alarm.get("event") is not None and alarm["alarm"] not in self._withheld

    def _withholds(self, record: Record, withheld: set[str]) -> bool:
        if record.kind is not Kind.ALARM:
            return False
        fields = record.fields
        alarm = str(fields["alarm"])
        if SEVERITY[Priority(fields["priority"])] >= self._least:
            withheld.discard(alarm)
            return False
        starts = fields["transition"] == "activated" or fields.get("event") is None
        if not starts and alarm not in withheld:
            return False
        if fields["state"] == State.NORMAL:
            withheld.discard(alarm)
        else:
            withheld.add(alarm)
        return True


_NO_VALUE: Final = (math.nan, -1)


class ChangeFilter:
    """``report_change``: drops readings that differ less than their tag's threshold from the last one sent.

    A change of quality, a value float64 cannot hold, and historical readings always pass; a dropped reading stays
    journaled and evaluated. State is one pair per tag with a threshold.
    """

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        self._thresholds = dict(thresholds)
        self._sent: dict[str, tuple[float, int]] = {}
        self._by_layout: dict[bytes, bool] = {}

    def apply(self, records: Sequence[Record]) -> Passed:
        """See :class:`Filter`."""
        if not self._thresholds:
            return Passed(records)
        changes: dict[str, tuple[float, int]] = {}
        kept: list[Record] = []
        dropped = 0
        for record in records:
            batch = record.batch
            if batch is None or batch.historical or not self._concerns(batch.layout):
                kept.append(record)
                continue
            positions = self._changed(batch, changes)
            dropped += len(batch) - len(positions)
            if len(positions) == len(batch):
                kept.append(record)
            elif positions:
                kept.append(replace(record, batch=select(batch, positions)))
        return Passed(kept, dropped, len(records) - len(kept), lambda: self._sent.update(changes))

    def _concerns(self, layout: Layout) -> bool:
        known = self._by_layout.get(layout.id)
        if known is None:
            known = any(tag in self._thresholds for tag in layout.tags)
            self._by_layout[layout.id] = known
        return known

    def _changed(self, batch: Batch, changes: dict[str, tuple[float, int]]) -> list[int]:
        positions: list[int] = []
        quality = batch.quality or bytes(len(batch))
        for i, tag in enumerate(batch.tag_ids()):
            threshold = self._thresholds.get(tag)
            if threshold is None:
                positions.append(i)
                continue
            value, code = batch.values[i], quality[i]
            last, last_code = changes.get(tag) or self._sent.get(tag, _NO_VALUE)
            is_still = abs(value - last) < threshold or (math.isnan(value) and math.isnan(last))
            if code != last_code or not is_still or i in batch.exact:
                positions.append(i)
                changes[tag] = (value, code)
        return positions


def select(batch: Batch, positions: Sequence[int]) -> Batch:
    """The readings of a batch at some positions (rising), with everything that belongs to them."""
    index = batch.index
    dt, source_dt, quality = batch.dt_ns, batch.source_dt_ns, batch.quality
    return replace(
        batch,
        values=array("d", [batch.values[i] for i in positions]),
        quality=None if quality is None else bytes(quality[i] for i in positions),
        index=array("I", positions if index is None else [index[i] for i in positions]),
        dt_ns=None if dt is None else array("q", [dt[i] for i in positions]),
        source_dt_ns=None if source_dt is None else array("q", [source_dt[i] for i in positions]),
        exact={at: batch.exact[i] for at, i in enumerate(positions) if i in batch.exact},
    )
