"""An MQTT 5 broker that does what a test's script says; the packets are made by the ``mqtt5`` codec."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import mqtt5

Answer = mqtt5.PubAckReasonCode | None
"""What a PUBLISH gets: a reason code, or None for silence."""


class HangUp(Exception):  # noqa: N818
    """Raised by a script: close this connection at once."""


def accept(_: mqtt5.PublishPacket) -> Answer:
    return mqtt5.PubAckReasonCode.SUCCESS


@dataclass
class Peer:
    """One connection of a client."""

    connect: mqtt5.ConnectPacket
    writer: asyncio.StreamWriter
    published: list[mqtt5.PublishPacket] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    unacknowledged: int = 0
    unacknowledged_most: int = 0
    has_disconnected: bool = False

    def send(self, packet: Any) -> None:
        self.writer.write(packet.write())

    def ack(self, packet_id: int, code: mqtt5.PubAckReasonCode = mqtt5.PubAckReasonCode.SUCCESS) -> None:
        self.unacknowledged -= 1
        self.send(mqtt5.PubAckPacket(packet_id, reason_code=code))

    def drop(self) -> None:
        self.writer.transport.abort()


class FakeBroker:
    """``connack`` None: never answer CONNECT. ``on_publish`` decides about every PUBLISH."""

    def __init__(self) -> None:
        self.connack: mqtt5.ConnAckPacket | None = mqtt5.ConnAckPacket()
        self.on_publish: Callable[[mqtt5.PublishPacket], Answer] = accept
        self.answers_pings = True
        self.peers: list[Peer] = []
        self.subscriptions: list[str] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for peer in self.peers:
            peer.drop()
        await asyncio.sleep(0)

    @property
    def published(self) -> list[mqtt5.PublishPacket]:
        """Everything that came, over all connections."""
        return [packet for peer in self.peers for packet in peer.published]

    def on(self, suffix: str) -> list[mqtt5.PublishPacket]:
        """What came on topics that end with ``suffix``."""
        return [packet for packet in self.published if packet.topic.endswith(suffix)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        peer: Peer | None = None
        with contextlib.suppress(ConnectionError, HangUp):
            while data := await reader.read(1 << 20):
                buffer += data
                while True:
                    try:
                        packet, size = mqtt5.read(memoryview(buffer))
                    except IndexError:
                        break
                    buffer = buffer[size:]
                    peer = self._take(packet, size, peer, writer)
        writer.transport.abort()

    def _take(self, packet: Any, size: int, peer: Peer | None, writer: asyncio.StreamWriter) -> Peer:
        if isinstance(packet, mqtt5.ConnectPacket):
            peer = Peer(packet, writer)
            self.peers.append(peer)
            if self.connack is not None:
                peer.send(self.connack)
        assert peer is not None
        if isinstance(packet, mqtt5.PublishPacket):
            self._publish(packet, size, peer)
        elif isinstance(packet, mqtt5.SubscribePacket):
            patterns = [each.pattern for each in packet.topic_filters]
            self.subscriptions += patterns
            codes = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * len(patterns)
            peer.send(mqtt5.SubAckPacket(packet.packet_id, codes))
        elif isinstance(packet, mqtt5.PingReqPacket) and self.answers_pings:
            peer.send(mqtt5.PingRespPacket())
        elif isinstance(packet, mqtt5.DisconnectPacket):
            peer.has_disconnected = True
        return peer

    def _publish(self, packet: mqtt5.PublishPacket, size: int, peer: Peer) -> None:
        peer.published.append(packet)
        peer.sizes.append(size)
        peer.unacknowledged += 1
        peer.unacknowledged_most = max(peer.unacknowledged_most, peer.unacknowledged)
        code = self.on_publish(packet)
        if code is not None and packet.packet_id is not None:
            peer.ack(packet.packet_id, code)


def seqs(packets: list[mqtt5.PublishPacket]) -> list[int]:
    """The seqs of readings or alarm messages, in the order in which they came."""
    found: list[int] = []
    for packet in packets:
        message = json.loads(packet.payload)
        found += [block["seq"] for block in message["blocks"]] if "blocks" in message else [message["seq"]]
    return found
