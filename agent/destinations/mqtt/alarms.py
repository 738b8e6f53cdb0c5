"""The alarms lane of an MQTT destination: alarm and audit records, and beside them tags, status, standing alarms."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt
import orjson
from paho.mqtt.client import MQTTMessage

from agent.core.ports import DestinationContext, RejectedError, UnavailableError
from agent.core.records import Kind, Record
from agent.destinations import alarms
from agent.destinations.filters import PriorityFilter
from agent.destinations.mqtt import commands, standing
from agent.destinations.mqtt.client import Address, Connection, RefusedError
from agent.destinations.mqtt.sender import JSON, TOPICS, Proofs, Retained, content_type

log = logging.getLogger("davy.destinations.mqtt")

STATUS_CHECK_S: Final = 1.0
VOLATILE: Final = frozenset({"time", "next_by", "checkpoint"})
"""Fields of the status whose change alone is no reason to publish it before the heartbeat."""
VOLATILE_COUNTS: Final = frozenset({"waiting"})


@dataclass(slots=True)
class LanePosition:
    """The last record of the alarms lane that this destination proved; outlives connections."""

    seq: int | None = None
    hash: str | None = None

    def note(self, record: Record) -> None:
        """The record was proved; older ones, and those without a seq, change nothing."""
        if record.seq > (self.seq or 0):
            self.seq, self.hash = record.seq, record.hash.hex()


@dataclass(frozen=True, slots=True)
class AlarmOptions:
    """What the alarms lane of one destination is told once."""

    destination: str
    address: Address
    is_operator: bool
    heartbeat_s: float
    has_commands: bool
    filter: PriorityFilter
    proofs: Proofs
    position: LanePosition
    is_through: Callable[[int], bool]
    """Tells whether the lane has dealt with everything up to a seq."""


class AlarmsSender:
    """The alarms lane over one connection."""

    def __init__(self, options: AlarmOptions, context: DestinationContext) -> None:
        self._options = options
        self._context = context
        self._view = context.view
        self._base = f"{TOPICS}/{context.site}/{context.agent}"
        self._topics = {Kind.ALARM: f"{self._base}/alarms", Kind.AUDIT: f"{self._base}/audit"}
        self._json = content_type(JSON)
        will = orjson.dumps({"v": 1, **self._identity(), "state": "offline", "time": context.clock.now_ns()})
        self._connection = Connection(
            options.address,
            aiomqtt.Will(f"{self._base}/status", will, qos=1, retain=True, properties=None),
            self._on_message,
        )
        self._retained = Retained(self._connection, self._base, options.destination, context.counters)
        backlog_end = context.reader.synced_seq
        self._standing = standing.Standing(
            self._retained, self._view, options.filter, lambda: options.is_through(backlog_end)
        )
        self._commands = commands.Commands(self._connection, self._base, self._view, context.counters)
        self._last_status: dict[str, Any] = {}

    async def open(self) -> None:
        """See :class:`agent.core.ports.Sender`. Publishes status and tag table before anything else."""
        await self._connection.open()
        await self._publish_status()
        tags = {"v": 1, **self._identity(), "tags": self._view.tags()}
        await self._retained.publish({"tags": orjson.dumps(tags)})

    async def attend(self) -> None:
        """Status, standing alarms, commands until cancelled; UnavailableError when the connection is gone."""
        options = self._options
        text = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_connection())
                group.create_task(self._keep_status())
                group.create_task(self._standing.run())
                group.create_task(self._commands.run(options.destination, is_operator=options.is_operator))
                await self._subscribe()
        except* UnavailableError as errors:
            text = str(errors.exceptions[0])
        raise UnavailableError(text)

    async def send(self, records: Sequence[Record], after: int) -> None:
        """See :class:`agent.core.ports.Sender`. One message per record, pipelined."""
        waiting: list[tuple[Record, asyncio.Future[int] | RefusedError]] = []
        for record in records:
            waiting.append((record, await self._post(record, after)))
            after = record.seq or after
        refused: list[int] = []
        reason = ""
        for record, proof in waiting:
            if isinstance(proof, RefusedError):
                error: RefusedError | None = proof
            else:
                error = await self._options.proofs.settle(self._connection, self._topics[record.kind], proof)
            if error is not None:
                refused.append(record.seq)
                reason = str(error)
            else:
                self._options.position.note(record)
            if record.kind is Kind.ALARM:
                self._standing.mark(str(record.fields["alarm"]))
        if refused:
            raise RejectedError(reason, refused)

    async def close(self) -> None:
        """See :class:`agent.core.ports.Sender`. Says offline where the connection still works; else the will does."""
        offline = orjson.dumps({**self._status(), "state": "offline", "next_by": None})
        await self._connection.farewell(f"{self._base}/status", offline, self._json)
        await self._connection.close()

    def _identity(self) -> dict[str, Any]:
        return {"site": self._context.site, "agent": self._context.agent}

    async def _post(self, record: Record, after: int) -> "asyncio.Future[int] | RefusedError":
        try:
            message = alarms.encode(record, after)
            return await self._connection.post(self._topics[record.kind], message, properties=self._json)
        except RefusedError as error:
            return error

    async def _watch_connection(self) -> None:
        await asyncio.wait((self._connection.gone,))
        self._connection.check()

    async def _subscribe(self) -> None:
        self._standing.mark_all()
        topics = [standing.TOPIC + "+"]
        if self._options.has_commands:
            topics.append(commands.TOPIC)
        for topic in topics:
            if (refusal := await self._connection.listen(f"{self._base}/{topic}")) is not None:
                extra = {"destination": self._options.destination, "topic": topic, "error": refusal}
                log.error("subscription refused: works without it", extra=extra)

    def _on_message(self, message: MQTTMessage) -> None:
        topic = message.topic.removeprefix(f"{self._base}/")
        if topic == commands.TOPIC:
            self._commands.take(message, self._options.destination)
        elif topic.startswith(standing.TOPIC) and message.retain and message.payload:
            self._standing.found(topic.removeprefix(standing.TOPIC))

    def _status(self) -> dict[str, Any]:
        now_ns = self._context.clock.now_ns()
        position = self._options.position
        return {
            "v": 1,
            **self._identity(),
            "state": "online",
            "time": now_ns,
            **self._view.status(),
            "next_by": now_ns + int(2e9 * self._options.heartbeat_s),
            "lanes": {"alarms": {"seq": position.seq, "hash": position.hash}},
        }

    async def _publish_status(self) -> None:
        status = self._status()
        self._last_status = _lasting(status)
        await self._retained.publish({"status": orjson.dumps(status)})

    async def _keep_status(self) -> None:
        clock, heartbeat_s = self._context.clock, self._options.heartbeat_s
        due_ns = clock.monotonic_ns() + int(heartbeat_s * 1e9)
        while True:
            await asyncio.sleep(min(STATUS_CHECK_S, heartbeat_s))
            self._standing.check_foreign()
            if clock.monotonic_ns() >= due_ns or _lasting(self._status()) != self._last_status:
                await self._publish_status()
                due_ns = clock.monotonic_ns() + int(heartbeat_s * 1e9)


def _lasting(status: dict[str, Any]) -> dict[str, Any]:
    """The status without what changes all the time."""
    lasting = {key: value for key, value in status.items() if key not in VOLATILE}
    counts: dict[str, Any] = lasting.get("counts") or {}
    return lasting | {"counts": {key: value for key, value in counts.items() if key not in VOLATILE_COUNTS}}
