"""Commands that come over MQTT, and where their answers go."""

import asyncio
import logging
from typing import Final

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.core.counters import Counters, labels
from agent.core.ports import Request, SiteView
from agent.destinations.mqtt.client import Connection, RefusedError
from agent.destinations.mqtt.sender import JSON

log = logging.getLogger("davy.destinations.mqtt")

WAITING_MAX: Final = 100
"""Commands that wait to be carried out; the newest beyond that are dropped and counted, and get no answer."""
TOPIC: Final = "command"
ANSWERS: Final = "answers"


class Commands:
    """Carries out one command after the other; the answer goes where MQTT 5 says the asker listens."""

    def __init__(self, connection: Connection, base: str, view: SiteView, counters: Counters) -> None:
        self._connection = connection
        self._base = base
        self._view = view
        self._counters = counters
        self._waiting: asyncio.Queue[MQTTMessage] = asyncio.Queue(WAITING_MAX)

    def take(self, message: MQTTMessage, destination: str) -> None:
        """Queue a command; never blocks."""
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self._counters.add("commands_dropped", of=labels(destination=destination))

    async def run(self, destination: str, *, is_operator: bool) -> None:
        """Answer until cancelled; UnavailableError when the connection is gone."""
        while True:
            message = await self._waiting.get()
            request = Request(bytes(message.payload), destination, is_operator, retained=bool(message.retain))
            answer = await self._view.command(request)
            topic, properties = self._where(message.properties)
            try:
                await self._connection.proved(await self._connection.post(topic, answer, properties=properties))
            except RefusedError as error:
                log.warning("answer refused", extra={"destination": destination, "topic": topic, "error": str(error)})

    def _where(self, asked: Properties | None) -> tuple[str, Properties]:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = JSON
        if (correlation := getattr(asked, "CorrelationData", None)) is not None:
            properties.CorrelationData = correlation
        topic: str = getattr(asked, "ResponseTopic", None) or ""
        if not topic or "+" in topic or "#" in topic or topic.startswith(f"{self._base}/"):
            # Nobody may make us write into our own topics of alarms and readings.
            topic = f"{self._base}/{ANSWERS}"
        return topic, properties
