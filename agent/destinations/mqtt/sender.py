"""What both lanes of an MQTT destination share, and the readings lane."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import zstandard
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.core.counters import Counters, labels
from agent.core.ports import RejectedError, UnavailableError
from agent.core.records import Record
from agent.destinations import readings
from agent.destinations.flow import Flow
from agent.destinations.mqtt.client import NO_SUBSCRIBERS, TOO_LARGE, Connection, RefusedError

log = logging.getLogger("davy.destinations.mqtt")

MESSAGE_FAULTS: Final = frozenset({TOO_LARGE, 0x99})
"""Codes that blame this one message (too large, payload format invalid); any other means: not now."""
TOPICS: Final = "davy/v1"
JSON: Final = "application/json"
JSON_ZSTD: Final = "application/json+zstd"
ZSTD_LEVEL: Final = 1


def content_type(name: str) -> Properties:
    """Properties of a PUBLISH that name its content type."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = name
    return properties


def ignore(message: MQTTMessage) -> None:
    """The readings connection subscribes to nothing; what comes all the same is not ours."""
    del message


class Proofs:
    """Reads PUBACKs: delivered, refused for this message, or not now."""

    def __init__(self, destination: str, counters: Counters) -> None:
        self._destination = destination
        self._counters = counters
        self._of = labels(destination=destination)
        self._unheard: set[str] = set()

    async def settle(self, connection: Connection, topic: str, proof: "asyncio.Future[int]") -> RefusedError | None:
        """None when proved; the error where the broker blames this message; UnavailableError for all else."""
        try:
            code = await connection.proved(proof)
        except RefusedError as error:
            if error.code in MESSAGE_FAULTS:
                return error
            raise UnavailableError(str(error)) from error
        self._note_subscribers(topic, is_unheard=code == NO_SUBSCRIBERS)
        return None

    def _note_subscribers(self, topic: str, *, is_unheard: bool) -> None:
        if is_unheard:
            self._counters.add("unheard_messages", of=self._of)
        if is_unheard == (topic in self._unheard):
            return
        self._unheard ^= {topic}
        text = "broker takes messages, but nobody subscribes" if is_unheard else "somebody subscribes again"
        log.warning(text, extra={"destination": self._destination, "topic": topic})


class Retained:
    """Publishes retained messages of one connection under the agent's topic."""

    def __init__(self, connection: Connection, base: str, destination: str, counters: Counters) -> None:
        self._connection = connection
        self._base = base
        self._destination = destination
        self._counters = counters
        self._json = content_type(JSON)

    async def publish(self, messages: Mapping[str, bytes]) -> None:
        """Publish payloads by topic; return when each has its PUBACK.

        What the broker refuses is counted and logged, no more: alarms must not wait for it.
        """
        waiting: dict[str, asyncio.Future[int]] = {}
        for topic, payload in messages.items():
            try:
                waiting[topic] = await self._connection.post(
                    f"{self._base}/{topic}", payload, retain=True, properties=self._json
                )
            except RefusedError as error:
                self._note(topic, error)
        for topic, proof in waiting.items():
            try:
                await self._connection.proved(proof)
            except RefusedError as error:
                self._note(topic, error)

    def _note(self, topic: str, error: RefusedError) -> None:
        self._counters.add("send_errors", of=labels(destination=self._destination))
        extra = {"destination": self._destination, "topic": topic, "error": str(error)}
        log.warning("retained message refused", extra=extra)


class ReadingsSender:
    """The readings lane over one connection: pipelined messages, each record proved by its own PUBACK."""

    def __init__(
        self, connection: Connection, origin: readings.Origin, flow: Flow, proofs: Proofs, *, compress: bool
    ) -> None:
        self._connection = connection
        self._encoder = readings.Encoder(origin)
        self._flow = flow
        self._proofs = proofs
        self._topic = f"{TOPICS}/{origin.site}/{origin.agent}/readings"
        self._properties = content_type(JSON_ZSTD if compress else JSON)
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL) if compress else None
        self._refused: list[int] = []
        self._reason = ""

    async def open(self) -> None:
        """See :class:`agent.core.ports.Sender`."""
        await self._connection.open()

    async def attend(self) -> None:
        """UnavailableError when the connection is gone."""
        await asyncio.wait((self._connection.gone,))
        self._connection.check()

    async def send(self, records: Sequence[Record], after: int) -> None:
        """See :class:`agent.core.ports.Sender`. A refused message is halved down to the record that is to blame."""
        self._refused.clear()
        parts = list(readings.plan(records, self._flow.message_bytes))
        refused = await self._deliver(parts, after)
        while refused:
            part, before = refused.pop(0)
            middle = len(part) // 2
            refused += await self._deliver([part[:middle], part[middle:]], before)
        if self._refused:
            raise RejectedError(self._reason, self._refused)

    async def close(self) -> None:
        """See :class:`agent.core.ports.Sender`."""
        await self._connection.close()

    async def _deliver(self, parts: Sequence[Sequence[Record]], after: int) -> list[tuple[Sequence[Record], int]]:
        """Send messages; those refused that can still be cut, each with what was sent before it."""
        waiting: list[tuple[Sequence[Record], int, asyncio.Future[int] | None]] = []
        for part in parts:
            waiting += await self._post(part, after)
            after = part[-1].seq
            await asyncio.sleep(0)  # a long chunk must not keep the loop from an alarm
        divisible: list[tuple[Sequence[Record], int]] = []
        for part, before, proof in waiting:
            error = None if proof is None else await self._proofs.settle(self._connection, self._topic, proof)
            if error is not None and len(part) > 1:
                divisible.append((part, before))
            elif error is not None:
                self._refuse(part[0], error)
        return divisible

    async def _post(
        self, part: Sequence[Record], after: int
    ) -> list[tuple[Sequence[Record], int, "asyncio.Future[int] | None"]]:
        """Post one message, in smaller ones where the broker's maximum packet size asks for it."""
        try:
            message = self._encoder.encode(part, after)
            if self._compressor is not None:
                message = self._compressor.compress(message)
            return [(part, after, await self._connection.post(self._topic, message, properties=self._properties))]
        except RefusedError as error:
            if len(part) == 1:
                self._refuse(part[0], error)
                return [(part, after, None)]
            middle = len(part) // 2
            return [*await self._post(part[:middle], after), *await self._post(part[middle:], part[middle - 1].seq)]

    def _refuse(self, record: Record, error: RefusedError) -> None:
        self._refused.append(record.seq)
        self._reason = str(error)
