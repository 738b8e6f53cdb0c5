"""The running agent: the only module that knows all the others. Stages start top-down and stop bottom-up."""

import asyncio
import hashlib
import json
import logging
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from agent import health
from agent.config.base import DestinationBase
from agent.config.kinds import destination_factory, driver_factory
from agent.config.models import Config
from agent.core.clock import SystemClock, is_synchronised
from agent.core.counters import Counters
from agent.core.ports import DestinationContext, Driver, DriverContext, SiteView
from agent.core.records import Lane
from agent.core.tags import Tag
from agent.destinations.base import Destination
from agent.differences import differences
from agent.envelope import Envelope, Place
from agent.journal.log import Journal, JournalOptions
from agent.journal.state import StateStore
from agent.journal.writer import JournalWriter
from agent.logs import set_up_logging
from agent.people import People, Surroundings
from agent.pipeline import Pipeline
from agent.prepare import Prepared, compact_memory, prepare_apart
from agent.recovery import CONFIGURATION, SNAPSHOT, Recovered, place_cursors, recover, recovery_fields
from agent.reload import tell_differences
from agent.status import VERSION, Status, is_ready
from agent.supervise import Job, give_up_stopping, stage
from rules.build import RuleSet

log = logging.getLogger("davy.app")

SNAPSHOT_EVERY_S: Final = 10.0
SNAPSHOT_READINGS: Final = 1_000_000
DRAIN_LIMIT_S: Final = 3.0
"""Destinations flush this long at a stop; SIGTERM to exit stays under five seconds."""
STOP_LIMIT_S: Final = 10.0
"""A stop that takes longer is a bug: it is logged with what hangs, and ends as a kill would, which loses nothing."""
SYNC_STUCK_NS: Final = 60_000_000_000
TURN_STUCK_NS: Final = 30_000_000_000


def main(path: Path) -> int:
    """Run the agent until SIGTERM or SIGINT; the exit code. ConfigError where the configuration is not valid."""
    prepared = [prepare_apart(path)]
    set_up_logging()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(run(prepared, path))
    return uvloop.run(run(prepared, path))


async def run(prepared: list[Prepared], path: Path) -> int:
    """Open the journal, run the stages, stop them; 2 where the state directory is in use.

    The configuration comes in a list of one and is taken out of it: for an agent that runs for years nobody else must
    keep its 10,000 models alive.
    """
    try:
        app = App(prepared.pop(), path)
    except (OSError, sqlite3.Error) as error:
        log.error("cannot start: the state directory can't be used", extra={"error": str(error)})
        return 2
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, app.people.reload.ask)
    await app.run(stop)
    return 0


@dataclass(frozen=True, slots=True)
class _Parts:
    drivers: Mapping[str, Driver]
    destinations: Mapping[str, Destination]


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What only the start needs."""

    rules: RuleSet
    recovered: Recovered
    configuration: bytes


class App:
    """One agent: wires the parts, and owns what must be opened and closed in order."""

    def __init__(self, prepared: Prepared, path: Path) -> None:
        config, rules = prepared.config, prepared.rules
        self._site, self._agent_name, self._listen = config.site, config.agent.name, config.console.listen
        self._is_state_failing = False
        self._unsaved: dict[str, bytes] = {}
        self.clock = SystemClock()
        self.counters = Counters()
        directory = Path(config.agent.state_dir)
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._state = StateStore(directory / "state.db")
        self._journal = Journal.open(
            JournalOptions(
                directory=directory / "journal",
                max_size=config.journal.max_size.bytes if config.journal.max_size else None,
                keep_ns=config.journal.keep.ns,
                keep_alarms_ns=config.journal.keep_alarms.ns,
            ),
            now_ns=self.clock.now_ns(),
            machine_id=_machine_id(),
            delivered=self._state.delivered(),
        )
        site = config.site
        context = DriverContext(self.clock, self.counters, site.max_skew.ns, site.refresh.ns)
        drivers: dict[str, Driver] = {
            device.id: driver_factory(device.driver)(device, context) for device in config.devices
        }
        self._tags = [tag for driver in drivers.values() for tag in driver.tags]
        recovered = recover(self._journal, self._state, rules, prepared.configuration, site.restart_gap.ns)
        self._beginning: _Beginning | None = _Beginning(rules, recovered, prepared.configuration)
        self.writer = JournalWriter(
            self._journal, commit_every_ns=config.journal.commit_every.ns, clock=self.clock, counters=self.counters
        )
        self._envelope = _envelope(config, self._journal.epoch, self._tags, rules)
        self.pipeline = Pipeline(self.writer, recovered.engine, self._envelope, self.clock, self.counters)
        self.status = Status(self.pipeline, self._journal, self._envelope, self.clock, self.counters)
        place_cursors(config.destinations, self._journal, self._state)
        self._readings_destinations = [there.id for there in config.destinations if "readings" in there.send]
        self.people = People(
            Surroundings(
                pipeline=self.pipeline,
                state=self._state,
                writer=self.writer,
                clock=self.clock,
                counters=self.counters,
                directory=directory,
                status=self.status.full,
                keep_configuration=self._keep_configuration,
                destinations=config.destinations,
                epoch=self._journal.epoch,
                configuration=path,
                zone=site.timezone,
            )
        )
        self._parts = _Parts(drivers, self._make_destinations(config.destinations))
        self.status.devices = self._parts.drivers
        self.status.destinations = self._parts.destinations
        self.pipeline.undurable.offers.extend(there.offer for there in self._parts.destinations.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop``; then drivers stop, the queue drains, destinations flush, the journal closes."""
        job = {"pipeline": self.pipeline.run}
        async with stage({**job}, self.clock, self.counters):
            await self._begin()
            outer: dict[str, Job] = {name: there.run for name, there in self._parts.destinations.items()}
            outer |= {"upkeep": self._keep_up, "watchdog": self._watch}
            outer |= {"console": self._serve_http, **self.people.jobs()}
            async with stage(outer, self.clock, self.counters):
                drivers: dict[str, Job] = {
                    name: (lambda driver=driver: driver.run(self.pipeline.inbox))
                    for name, driver in self._parts.drivers.items()
                }
                async with stage(drivers, self.clock, self.counters):
                    health.sd_notify("READY=1")
                    log.info("running", extra={"devices": len(drivers), "epoch": self._journal.epoch})
                    await stop.wait()
                    health.sd_notify("STOPPING=1")
                    asyncio.get_running_loop().call_later(STOP_LIMIT_S, give_up_stopping)
                await self._end()
        await self.writer.close()
        self._state.close()
        log.info("stopped", extra={"seq": self._journal.last_seq})

    async def _begin(self) -> None:
        """Journal how this start came about, before the first reading."""
        assert self._beginning is not None
        self.status.refresh_clock()
        recovery, recovered = self._journal.recovery, self._beginning.recovered
        await self.pipeline.raise_again(recovered.missing)
        now_ns = self.clock.now_ns()
        if recovery.last_at_ns is not None and now_ns < recovery.last_at_ns:
            await self.pipeline.note("clock", {"step": now_ns - recovery.last_at_ns, "cause": "start"})
        await self.pipeline.note(
            "start",
            {
                "previous_end": recovery.last_at_ns,
                "not_measured_ns": None if recovery.last_at_ns is None else now_ns - recovery.last_at_ns,
                "version": VERSION,
                "has_snapshot": recovered.has_snapshot,
                "replayed": recovered.replayed,
            },
        )
        if self._state.moved_aside is not None:
            await self.pipeline.note("moved_aside", {"files": [str(self._state.moved_aside)]})
        for kind, fields in recovery_fields(recovery, self._journal.epoch):
            await self.pipeline.note(kind, fields)
        await self._adopt_configuration(self._beginning)
        self.pipeline.open()
        self._beginning = None
        compact_memory()

    async def _adopt_configuration(self, beginning: _Beginning) -> None:
        text = beginning.configuration
        if self._state.get_item(CONFIGURATION) == text:
            return
        actor = "install" if beginning.recovered.version is None else "offline"
        fields = {**json.loads(text), "digest": hashlib.sha256(text).hexdigest(), "actor": actor}
        old = self._state.get_item(CONFIGURATION)
        await self.pipeline.reconfigure(beginning.rules, fields)
        new: dict[str, Any] = json.loads(text)
        # Even an installation tells who accepted which presets: each acceptance is a record of its own.
        known: dict[str, Any] = {**new, "acceptances": {}} if old is None else json.loads(old)
        await tell_differences(self.pipeline, differences(known, new), {"actor": actor})
        await self._keep_configuration(text)

    async def _keep_configuration(self, text: bytes) -> None:
        """Keep the rule set now in force beside a snapshot that was made with it: both or neither."""
        self._unsaved[CONFIGURATION] = text
        await self._save_snapshot()

    async def _end(self) -> None:
        """Everything taken in is journaled and evaluated, the stop recorded, the destinations flushed."""
        self.status.is_stopping = True
        await self.pipeline.settle()
        await self.pipeline.note("stop", {"counts": self.status.conservation()})
        await self._save_snapshot()
        async with asyncio.TaskGroup() as group:
            for there in self._parts.destinations.values():
                group.create_task(there.drain(DRAIN_LIMIT_S))
        self.pipeline.stop()
        await self._save(self._state.flush)

    async def _keep_up(self) -> None:
        """Once a second: cursors to disk, the clock's state; every 10 s or 1 M readings a snapshot."""
        loop = asyncio.get_running_loop()
        saved_at, saved_readings = loop.time(), 0
        while True:
            await asyncio.sleep(1.0)
            await self._save(self._state.flush)
            self.status.refresh_clock()
            if not self._is_state_failing:  # a segment goes only when the cursor behind it is on disk
                self._journal.set_delivered(self._delivered_seq())
            await self._tell_losses()
            readings = self.pipeline.engine.evaluated
            if loop.time() - saved_at >= SNAPSHOT_EVERY_S or readings - saved_readings >= SNAPSHOT_READINGS:
                saved_at, saved_readings = loop.time(), readings
                await self._save_snapshot()

    def _delivered_seq(self) -> int:
        """Up to where every destination that gets readings has proved them."""
        seqs = [self._state.get(name, Lane.READINGS) for name in self._readings_destinations]
        return min((seq or 0 for seq in seqs), default=self._journal.synced_seq)

    async def _tell_losses(self) -> None:
        """What the journal gave up or found damaged becomes audit records."""
        for eviction in self._journal.take_evictions():
            await self.pipeline.note("evicted", asdict(eviction))
        for damage in self._journal.take_damage():
            await self.pipeline.note("gap", asdict(damage))

    async def _save_snapshot(self) -> None:
        taken = await self.pipeline.snapshot() if self.pipeline.disk_error is None else None
        if taken is not None:
            items, seq_and_image = dict(self._unsaved), taken
            if await self._save(lambda: self._state.put_snapshot(SNAPSHOT, *seq_and_image, items)):
                self._unsaved.clear()

    async def _save(self, write: Callable[[], None]) -> bool:
        """Write to state.db; where the disk refuses, a later time will do: it costs duplicates and replay, no data."""
        try:
            await asyncio.to_thread(write)
        except sqlite3.Error as error:
            self.counters.add("state_errors")
            if not self._is_state_failing:
                log.error("state.db cannot be written", extra={"error": str(error)})
            self._is_state_failing = True
        else:
            self._is_state_failing = False
        return not self._is_state_failing

    async def _watch(self) -> None:
        await health.feed_watchdog(self.is_progressing)

    def is_progressing(self) -> bool:
        """The pipeline took its turn lately, or waits for a sync that began under 60 s ago."""
        now_ns = self.clock.monotonic_ns()
        if now_ns - self.pipeline.progress.turn_ns < TURN_STUCK_NS:
            return True
        sync_ns = self.writer.sync_started_ns
        return sync_ns is not None and now_ns - sync_ns < SYNC_STUCK_NS

    async def _serve_http(self) -> None:
        ready = list(self._parts.drivers.values())
        await health.serve_http(
            self._listen, self.counters, self.status.refresh_gauges, lambda: is_ready(ready), self.is_progressing
        )

    def _make_destinations(self, configured: Sequence[DestinationBase]) -> dict[str, Destination]:
        context = DestinationContext(
            clock=self.clock,
            counters=self.counters,
            reader=self.writer,
            cursors=self._state,
            view=SiteView(
                status=self.status.message,
                tags=lambda: _tag_table(self._tags),
                alarms=self._standing,
                command=self.people.commands.handle,
                end_unknown=self._end_unknown,
            ),
            site=self._site.id,
            agent=self._agent_name,
            epoch=self._journal.epoch,
            tags=self._tags,
            on_quarantine=self._quarantine,
        )
        return {there.id: destination_factory(there.kind)(there, context) for there in configured}

    def _standing(self) -> list[dict[str, Any]]:
        now_ns = self.clock.now_ns()
        return [self._envelope.standing(view, now_ns) for view in self.pipeline.engine.standing()]

    async def _quarantine(self, destination: str, seqs: Sequence[int], reason: str) -> None:
        await self.pipeline.note("quarantined", {"destination": destination, "seqs": list(seqs), "reason": reason})

    async def _end_unknown(self, alarm: str) -> None:
        await self.pipeline.note("ended_unknown", {"alarm": alarm, "cause": "not known to this agent"})


def _envelope(config: Config, epoch: str, known: Sequence[Tag], rules: RuleSet) -> Envelope:
    site = config.site
    lon, lat = site.location if site.location is not None else (None, None)
    place = Place(site.name, site.code, site.hazard_code, lat, lon, site.duty_phone)
    state = "synchronised" if is_synchronised() else "unsynchronised"
    tags = {tag.id: tag for tag in known}
    return Envelope(site.id, config.agent.name, place, epoch, tags, rules.version, state)


def _tag_table(tags: Sequence[Tag]) -> list[dict[str, Any]]:
    """The tag table of spec/wire.md: id, name, unit, range, kind, device, location."""
    return [
        {
            "id": tag.id,
            "name": tag.name,
            "unit": tag.unit,
            "range": list(tag.range) if tag.range is not None else None,
            "kind": tag.kind,
            "device": tag.device,
            "location": tag.location,
            "source": tag.source.value,
        }
        for tag in tags
    ]


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii").strip() or "unknown"
    except OSError:
        return "unknown"


if __name__ == "__main__":
    sys.exit("run: davy run -c davy.yaml")
