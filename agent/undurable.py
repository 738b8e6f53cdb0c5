"""Events that no disk has proved yet: sent with ``seq`` null, journaled as soon as a disk takes them."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from agent.core.clock import Clock
from agent.core.counters import Counters
from agent.core.ids import new_id
from agent.core.records import Event, Kind, Record, canonical_json

WAITING_MAX: Final = 10_000
"""Most events that wait for a disk that takes them; beyond, the oldest is given up and counted."""
SYNC_PATIENCE_NS: Final = 2_000_000_000
"""An alarm whose sync takes longer than this is sent without a seq (spec/wire.md): its time to be heard is short."""


class Undurable:
    """Events that were refused, and alarms that were written but not synced. ``offers``: the destinations' ways in."""

    def __init__(self, epoch: str, clock: Clock, counters: Counters) -> None:
        self._epoch = epoch
        self._clock = clock
        self._counters = counters
        self._refused: deque[Event] = deque()
        self._unsynced: deque[tuple[int, Record]] = deque()
        self.offers: list[Callable[[Record], None]] = []

    def __len__(self) -> int:
        return len(self._refused)

    def keep(self, draft: Event) -> Record:
        """Take an event that the disk refused, and send it; its record has no seq."""
        fields = dict(draft.fields)
        if draft.kind is Kind.AUDIT:
            fields.setdefault("id", new_id(self._clock.now_ns()))
        if len(self._refused) >= WAITING_MAX:
            self._refused.popleft()
            self._counters.add("events_given_up")
        self._refused.append(Event(draft.kind, fields))
        return self._send(draft.kind, fields)

    def refused(self) -> list[Event]:
        """What waits for the journal, oldest first."""
        return list(self._refused)

    def journaled(self) -> None:
        """All that :meth:`refused` returned is in the journal now."""
        self._counters.add("events_journaled_late", len(self._refused))
        self._refused.clear()

    def written(self, records: Sequence[Record]) -> None:
        """Watch over alarms that are written but not synced."""
        now_ns = self._clock.monotonic_ns()
        self._unsynced.extend((now_ns, record) for record in records if record.kind is Kind.ALARM)

    def look(self, synced_seq: int) -> None:
        """Send without a seq what waits too long for its sync; once each."""
        now_ns = self._clock.monotonic_ns()
        while self._unsynced:
            written_ns, record = self._unsynced[0]
            if record.seq > synced_seq:
                if now_ns - written_ns < SYNC_PATIENCE_NS:
                    return
                self._counters.add("alarms_sent_unsynced")
                self._send(record.kind, dict(record.fields))
            self._unsynced.popleft()

    def _send(self, kind: Kind, fields: dict[str, Any]) -> Record:
        sent = {**fields, "seq": None, "epoch": self._epoch, "recorded": self._clock.now_ns()}
        record = Record(0, kind, fields=sent, body=canonical_json(sent))
        for offer in self.offers:
            offer(record)
        return record
