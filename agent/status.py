"""What the agent says of itself: ``davy status``, the status message, metrics that are derived at a scrape."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Final, Protocol

from agent.core.clock import Clock, is_synchronised
from agent.core.counters import Counters, labels
from agent.core.events import State
from agent.core.ports import Driver
from agent.envelope import Envelope
from agent.journal.log import Journal
from agent.pipeline import Pipeline

VERSION: Final = metadata.version("davy-agent")
HEARTBEAT_NS: Final = 60_000_000_000
_UNACKNOWLEDGED: Final = frozenset({State.UNACKNOWLEDGED, State.RETURNED_UNACKNOWLEDGED, State.LATCHED_UNACKNOWLEDGED})


class HasStatus(Protocol):
    """A destination, as far as the status needs it."""

    def status(self) -> dict[str, Any]:
        """State, last error, waiting … as JSON types."""
        ...


class Status:
    """Reads the parts; changes nothing but gauges."""

    def __init__(
        self, pipeline: Pipeline, journal: Journal, envelope: Envelope, clock: Clock, counters: Counters
    ) -> None:
        self._pipeline = pipeline
        self._journal = journal
        self._envelope = envelope
        self._clock = clock
        self._counters = counters
        self.devices: Mapping[str, Driver] = {}
        self.destinations: Mapping[str, HasStatus] = {}
        self.is_stopping = False

    def conservation(self) -> dict[str, int]:
        """Counts since the start: polled = journaled + refused + waiting; evaluated and delivered beside them."""
        counters = self._counters
        return {
            "polled": counters.total("readings_polled"),
            "journaled": counters.total("journal_readings"),
            "refused": counters.total("readings_refused"),
            "waiting": self._pipeline.inbox.readings,
            "evaluated": self._pipeline.engine.evaluated,
            "alarms_raised": counters.total("alarms_raised"),
            "missed_polls": counters.total("polls_missed"),
        }

    def counts(self) -> dict[str, int]:
        """How many alarms are active, unacknowledged …; calls come with their feature."""
        standing = self._pipeline.engine.standing()
        return {
            "active": sum(view.active for view in standing),
            "unacknowledged": sum(view.state in _UNACKNOWLEDGED for view in standing),
            "hidden": self._pipeline.engine.hidden,
            "blind": len(self._pipeline.engine.blind),
            "calls_open": 0,
            "waiting": max((there["waiting"] for there in self._destinations().values()), default=0),
        }

    def health(self) -> str:
        """``ok``, or what is wrong, worst first."""
        if self._pipeline.disk_error is not None:
            return "journal_failing"
        if any(device.status().get("state") != "up" for device in self.devices.values()):
            return "device_down"
        if any(there.get("state") != "up" for there in self._destinations().values()):
            return "destination_down"
        return "rule_faulted" if self._pipeline.engine.faults else "ok"

    def message(self) -> dict[str, Any]:
        """The body of the retained status message (spec/wire.md)."""
        now_ns = self._clock.now_ns()
        journal = self._journal
        return {
            "v": 1,
            "site": self._envelope.site,
            "agent": self._envelope.agent,
            "epoch": journal.epoch,
            "state": "offline" if self.is_stopping else "online",
            "time": now_ns,
            "next_by": now_ns + 2 * HEARTBEAT_NS,
            "health": self.health(),
            "lanes": {"alarms": {"seq": journal.last_chained_seq, "hash": journal.chain_head.hex()}},
            "counts": self.counts(),
            "rules_version": self._envelope.rules_version,
            "clock": self._envelope.clock_state,
            "version": VERSION,
        }

    def full(self) -> dict[str, Any]:
        """Everything ``davy status --json`` prints."""
        journal = self._journal
        return {
            **self.message(),
            "journal": {
                **journal.stats(),
                "failing": self._pipeline.disk_error,
                "events_waiting_for_disk": len(self._pipeline.undurable),
            },
            "devices": {name: device.status() for name, device in self.devices.items()},
            "destinations": self._destinations(),
            "rules_faulted": dict(self._pipeline.engine.faults),
            "rules_blind": dict(self._pipeline.engine.blind),
            "rules_waiting": self._pipeline.engine.waiting,
            "conservation": self.conservation(),
        }

    def refresh_clock(self) -> None:
        """Ask the kernel whether UTC is synchronised; every event says so."""
        self._envelope.clock_state = "synchronised" if is_synchronised() else "unsynchronised"

    def refresh_gauges(self) -> None:
        """Bring the derived gauges up to date."""
        put = self._counters.put
        put("journal_last_seq", self._journal.last_seq)
        put("journal_synced_seq", self._journal.synced_seq)
        put("inbox_readings", self._pipeline.inbox.readings)
        put("rules_evaluated", self._pipeline.engine.evaluated)
        put("clock_synchronised", float(self._envelope.clock_state == "synchronised"))
        for name, count in self.counts().items():
            put(f"alarms_{name}", count)
        for name, there in self._destinations().items():
            put("destination_waiting", there["waiting"], labels(destination=name))

    def _destinations(self) -> dict[str, dict[str, Any]]:
        return {name: there.status() for name, there in self.destinations.items()}


def is_ready(devices: Sequence[Driver]) -> bool:
    """Tell whether at least one device gives data (or none is configured)."""
    return not devices or any(device.status().get("state") == "up" for device in devices)
