"""The receiving end of an MQTT destination on a real broker, and a plant that feeds it."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.core.records import Lane
from agent.destinations.base import LanedDestination
from agent.destinations.mqtt.config import Config
from agent.destinations.mqtt.destination import make
from tests.support.memory_journal import Site, float32, is_same

BASE = "davy/v1/s1/gw1"


class Platform:
    """The receiving end: every message, blocks and events by seq, holes judged by ``after``."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.retained: dict[str, bytes] = {}
        self.blocks: dict[int, tuple[list[str], dict[str, Any]]] = {}
        self.events: dict[int, dict[str, Any]] = {}
        self.first_seen: dict[str, list[int]] = {"readings": [], "alarms": []}
        self.holes: list[str] = []
        self.duplicates = 0

    def take(self, message: aiomqtt.Message) -> None:
        topic, payload = str(message.topic).removeprefix(f"{BASE}/"), bytes(message.payload)
        self.messages.append((topic, payload, bool(message.retain)))
        if topic == "readings":
            self._readings(json.loads(payload))
        elif topic in ("alarms", "audit"):
            event = json.loads(payload)
            self._seen("alarms", event["seq"], event["after"])
            self.events[event["seq"]] = event
        else:
            self.retained[topic] = payload

    def on(self, topic: str) -> list[Any]:
        return [json.loads(payload) for name, payload, _ in self.messages if name == topic and payload]

    def _readings(self, message: dict[str, Any]) -> None:
        after = message["after"]
        for block in message["blocks"]:
            self._seen("readings", block["seq"], after)
            after = block["seq"]
            tags = message["tags"]
            self.blocks[block["seq"]] = (tags if "i" not in block else [tags[i] for i in block["i"]], block)

    def _seen(self, lane: str, seq: int, after: int) -> None:
        seen = self.first_seen[lane]
        if seq in seen[-20_000:] or (seen and seq <= seen[-1]):
            self.duplicates += 1
            return
        if seen and seen[-1] < after:
            self.holes.append(f"{lane}: {seq} after {after}, but last seen is {seen[-1]}")
        seen.append(seq)


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Platform]:
    platform = Platform()
    ready = asyncio.Event()

    async def listen() -> None:
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 600
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", port, identifier="platform", protocol=aiomqtt.ProtocolVersion.V5, clean_start=False,
                    properties=session,
                ) as client:  # fmt: skip
                    await client.subscribe(f"{BASE}/#", options=SubscribeOptions(qos=1, retainAsPublished=True))
                    ready.set()
                    async for message in client.messages:
                        platform.take(message)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(listen())
        await ready.wait()
        yield platform
        task.cancel()


@asynccontextmanager
async def running(site: Site, port: int, **options: Any) -> AsyncIterator[LanedDestination]:
    settings = {"id": "platform", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "start": "oldest"}
    destination = make(Config.model_validate(settings | options), site.context)
    assert isinstance(destination, LanedDestination)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(destination.run())
        yield destination
        task.cancel()


async def feed(site: Site, count: int, sent: dict[int, list[float]], pause_s: float = 0.004) -> None:
    """Append batches, and now and then an alarm, as a running plant would."""
    chance = random.Random(7)
    for n in range(count):
        values = [float32(chance.uniform(-1e3, 1e3)) for _ in range(20)]
        sent[site.journal.batch(values).seq] = values
        if n % 50 == 25:
            site.journal.alarm(f"a{n}")
        await asyncio.sleep(pause_s)


def assert_nothing_lost_or_wrong(site: Site, platform: Platform, sent: dict[int, list[float]]) -> None:
    assert set(platform.blocks) == set(sent)
    for seq, values in sent.items():
        tags, block = platform.blocks[seq]
        assert all(is_same(a, b) for a, b in zip(values, block["v"], strict=True)), f"wrong values in {seq}"
        assert tags[0] == "d1.t0"
    assert set(platform.events) == {r.seq for r in site.journal.records if r.kind in Lane.ALARMS.kinds}
    for lane, seen in platform.first_seen.items():
        assert seen == sorted(seen), f"{lane} out of order"
    assert platform.holes == []
