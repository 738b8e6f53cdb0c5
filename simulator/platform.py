"""The stand-in for a receiving platform: an MQTT 5 subscriber that keeps, checks, confirms and acknowledges."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.core.clock import Clock
from simulator.intake import Intake, WireError
from simulator.operator import Operator

TOPIC: Final = "davy/v1/+/+/#"
ANSWERS: Final = "davy-platform/answers"
QUEUE_MAX: Final = 200_000
"""Messages waiting inside the client; more would mean that this stand-in is too slow for the load."""
_TICK_S: Final = 0.2
_BACK_OFF_S: Final = 1.0
_log = logging.getLogger("davy.simulator.platform")

OnEvent = Callable[[Mapping[str, Any]], None]


class Platform:
    """Connects to the broker directly: the outages of the demo are on the agent's side of it."""

    def __init__(self, port: int, clock: Clock, operator: Operator, on_event: OnEvent | None = None) -> None:
        self._port = port
        self._clock = clock
        self._operator = operator
        self._on_event = on_event
        self.intake = Intake()
        self.status: dict[str, bytes] = {}
        """Last message by retained topic: status, tags, alarms/active."""
        self.ready = asyncio.Event()
        """Set while subscribed."""
        self.first_readings = asyncio.Event()

    @property
    def answers(self) -> Sequence[Mapping[str, Any]]:
        """The agent's answers to commands, in the order they came."""
        return self._operator.answers

    async def run(self) -> None:
        """Receive until cancelled; a lost broker connection is made again."""
        while True:
            try:
                async with self._client() as client:
                    await client.subscribe(TOPIC, qos=1)
                    await client.subscribe(ANSWERS, qos=1)
                    self.ready.set()
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._receive(client))
                        tasks.create_task(self._acknowledge(client))
            except* aiomqtt.MqttError as error:
                self.ready.clear()
                _log.warning("platform lost its broker", extra={"error": str(error.exceptions[0])})
            await asyncio.sleep(_BACK_OFF_S)

    def _client(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            self._port,
            identifier="davy-platform",
            protocol=aiomqtt.ProtocolVersion.V5,
            max_queued_incoming_messages=QUEUE_MAX,
            max_inflight_messages=100,
        )

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            await self._take(client, message.topic.value, message.payload)

    async def _take(self, client: aiomqtt.Client, topic: str, payload: bytes) -> None:
        if topic == ANSWERS:
            self._operator.answered(payload)
            return
        site, agent, rest = [*topic.split("/", 4), ""][2:5]
        try:
            if rest == "readings":
                self.intake.take_readings(payload)
                self.first_readings.set()
            elif rest in {"alarms", "audit"}:
                await self._take_event(client, f"davy/v1/{site}/{agent}/command", payload, is_alarm=rest == "alarms")
            elif rest == "answers":
                self._operator.answered(payload)
            elif rest != "command":
                self.status[topic] = payload
        except WireError as error:
            _log.error("message refused", extra={"topic": topic, "error": str(error)})

    async def _take_event(self, client: aiomqtt.Client, command: str, payload: bytes, *, is_alarm: bool) -> None:
        event = self.intake.take_event(payload, is_alarm=is_alarm)
        if event is None:
            return
        if is_alarm:
            self._operator.watch(event, self._clock.now_ns())
            await client.publish(
                command, self._operator.receipt(event, self._clock.now_ns()), 1, properties=_reply_to()
            )
        if self._on_event is not None:
            self._on_event(event)

    async def _acknowledge(self, client: aiomqtt.Client) -> None:
        while True:
            for topic in [topic for topic in self.status if topic.endswith("/status")]:
                command = topic.removesuffix("/status") + "/command"
                for payload in self._operator.due(self._clock.now_ns()):
                    await client.publish(command, payload, 1, properties=_reply_to())
            await asyncio.sleep(_TICK_S)


def _reply_to() -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = ANSWERS
    return properties
