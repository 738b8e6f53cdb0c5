"""The far end of an MQTT destination: keeps every message, de-duplicates, judges holes and values."""

import json
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.counting_device import WAVE_ADDRESS, is_right


class Receiver:
    """Subscribes with a session that outlives broken links. ``keep=False`` keeps identities only, for long runs."""

    def __init__(self, port: int, name: str = "receiver", *, keep: bool = True) -> None:
        self.on_alarm: Callable[[dict[str, Any]], None] = lambda _: None
        self._keep = keep
        self.blocks: dict[tuple[str, int], dict[str, Any]] = {}
        self.events: dict[tuple[str, int], dict[str, Any]] = {}
        self.unjournaled: dict[str, dict[str, Any]] = {}
        self.retained: dict[str, bytes] = {}
        self.duplicates = 0
        self.messages: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self._client.on_message = self._take
        self._client.on_connect = self._subscribe
        self._client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self.subscribed = threading.Event()
        self._client.connect("127.0.0.1", port, keepalive=20, clean_start=False, properties=session)
        self._client.loop_start()
        assert self.subscribed.wait(10), "receiver could not subscribe"

    def _subscribe(self, client: paho.Client, *_: Any) -> None:
        client.subscribe("davy/v1/#", qos=1)
        self.subscribed.set()

    def _take(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._lock:
            kind = message.topic.split("/", 4)[4]
            if self._keep:
                self.messages.append((kind, message.payload))
            if kind == "readings":
                self._take_readings(json.loads(message.payload))
            elif kind in ("alarms", "audit"):
                fields = json.loads(message.payload)
                if fields["seq"] is None:
                    self.unjournaled[fields["id"]] = fields
                    return
                key = fields["epoch"], fields["seq"]
                if kind == "alarms":
                    self.on_alarm(fields)
                self.duplicates += key in self.events
                self.events[key] = fields
            elif message.payload:
                self.retained[kind] = message.payload
            else:
                self.retained.pop(kind, None)

    def _take_readings(self, message: dict[str, Any]) -> None:
        for block in message["blocks"]:
            key = message["epoch"], block["seq"]
            self.duplicates += key in self.blocks
            names = message["tags"] if "i" not in block else [message["tags"][i] for i in block["i"]]
            self.blocks[key] = {**block, "names": names} if self._keep else {}

    @property
    def seqs(self) -> set[int]:
        with self._lock:
            return {seq for _, seq in self.blocks} | {seq for _, seq in self.events}

    def alarms(self, transition: str | None = None) -> list[dict[str, Any]]:
        """Alarm events in seq order."""
        with self._lock:
            found = [fields for _, fields in sorted(self.events.items()) if "transition" in fields]
        return [fields for fields in found if transition in (None, fields["transition"])]

    def audit(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            return [f for _, f in sorted(self.events.items()) if "transition" not in f and f["kind"] == kind]

    def good_batches(self, tags: int) -> list[tuple[int, list[float]]]:
        """Blocks of a counting device without a bad value, in seq order."""
        with self._lock:
            blocks = sorted(self.blocks.items())
        return [
            (seq, block["v"])
            for (_, seq), block in blocks
            if block["v"] is not None and len(block["v"]) == tags and None not in block["v"]
        ]

    def wrong(self, tags: int) -> int:
        """Batches of a counting device that no single poll can have sent."""
        return sum(not is_right(values) for _, values in self.good_batches(tags))

    def crossings(self, tags: int, limit: float) -> list[int]:
        """Seqs of the batches in which the wave reached the limit, judged from the readings alone."""
        found, was_high = [], False
        for seq, values in self.good_batches(tags):
            is_high = values[WAVE_ADDRESS] >= limit
            if is_high and not was_high:
                found.append(seq)
            was_high = is_high
        return found

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
