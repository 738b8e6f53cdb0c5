"""One MQTT 5 connection: aiomqtt with its traps closed (LIBRARIES 2d).

A connection is used once. A negative PUBACK raises, everything in flight fails the moment the connection is gone, the
limits of the CONNACK are kept, closing never waits for a dead peer, and connecting can be cancelled.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.core.ports import UnavailableError

WINDOW_MAX: Final = 100
"""Most messages without PUBACK on one connection; fewer where the broker's Receive Maximum says so."""
RECEIVE_MAX: Final = 20
INCOMING_BYTES_MAX: Final = 512 << 10
"""What the broker may send at once, told it in CONNECT: bounds our memory."""
PACKET_OVERHEAD: Final = 64
"""More than the header of a PUBLISH without its topic and payload."""
CLOSE_S: Final = 1.0
"""Longest wait for an orderly end."""
TOO_LARGE: Final = 0x95
NO_SUBSCRIBERS: Final = 0x10
REFUSAL: Final = 0x80

# What paho logs about a lost connection, the lane logs once, with its name.
_paho_log = logging.getLogger("davy.destinations.paho")
_paho_log.setLevel(logging.CRITICAL)


class RefusedError(Exception):
    """The broker refused this one message (negative PUBACK), or it is longer than the broker takes."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to connect, and as whom."""

    host: str
    port: int
    client_id: str
    keep_alive_s: int = 20
    timeout_s: float = 15.0
    user: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Limits:
    """What the broker allows (CONNACK)."""

    receive_max: int = 65_535
    packet_max: int = 268_435_455
    qos_max: int = 2
    can_retain: bool = True


class Connection(aiomqtt.Client):
    """A connection to a broker, from ``open`` to ``close``; never opened twice."""

    def __init__(self, address: Address, will: aiomqtt.Will | None, incoming: Callable[[MQTTMessage], None]) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = RECEIVE_MAX
        properties.MaximumPacketSize = INCOMING_BYTES_MAX
        super().__init__(
            address.host,
            address.port,
            username=address.user,
            password=address.password,
            identifier=address.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=address.keep_alive_s,
            timeout=address.timeout_s,
            max_inflight_messages=WINDOW_MAX + RECEIVE_MAX,  # paho may not queue: our window is the limit
            properties=properties,
            tls_context=address.tls,
            will=will,
            logger=_paho_log,
        )
        self._name = f"mqtt {address.host}:{address.port}"
        self._incoming = incoming
        self._proofs: dict[int, asyncio.Future[int]] = {}
        self._window = asyncio.Semaphore(WINDOW_MAX)
        self._is_connecting = False
        self.limits = Limits()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        """Done when the connection has ended; the result says why."""
        self._disconnected.add_done_callback(self._on_io_failure)

    async def open(self) -> None:
        """Connect and wait for the CONNACK; UnavailableError says what went wrong."""
        try:
            await self._connect_in_thread()
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{self._name}: cannot connect: {error}") from error
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        done, _ = await asyncio.wait(
            (self._connected, self.gone), timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise UnavailableError(f"{self._name}: no CONNACK within {self.timeout:.1f} s")
        if self._connected.done() and (error := self._connected.exception()) is not None:
            raise UnavailableError(f"{self._name}: connection refused: {error}")
        self.check()
        if self.limits.qos_max < 1:
            raise UnavailableError(f"{self._name}: the broker grants QoS 0 only, which proves nothing")
        for _ in range(WINDOW_MAX - self.limits.receive_max):
            await self._window.acquire()

    def check(self) -> None:
        """UnavailableError when the connection has ended."""
        if self.gone.done():
            raise UnavailableError(f"{self._name}: connection lost: {self.gone.result()}")

    async def post(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: Properties | None = None
    ) -> "asyncio.Future[int]":
        """Send a message with QoS 1 once the window has room; the future is its proof.

        The proof is the PUBACK's reason code, or raises RefusedError (negative PUBACK) or UnavailableError.
        RefusedError is raised at once where the message is longer than the broker takes.
        """
        length = len(topic.encode()) + len(payload) + PACKET_OVERHEAD
        if length > self.limits.packet_max:
            raise RefusedError(
                f"{self._name}: message of {length} bytes, the broker takes {self.limits.packet_max}", TOO_LARGE
            )
        try:
            async with asyncio.timeout(self.timeout):
                await self._window.acquire()
        except TimeoutError:
            raise UnavailableError(f"{self._name}: no PUBACK within {self.timeout:.1f} s") from None
        if self.gone.done():
            self._window.release()
            self.check()
        info = self._client.publish(topic, payload, 1, retain and self.limits.can_retain, properties)
        proof: asyncio.Future[int] = self._loop.create_future()
        proof.add_done_callback(self._on_proof)
        if info.rc:
            proof.set_exception(UnavailableError(f"{self._name}: cannot publish: {info.rc!r}"))
        else:
            self._proofs[info.mid] = proof
        return proof

    async def proved(self, proof: "asyncio.Future[int]") -> int:
        """The PUBACK's reason code; UnavailableError when none comes in time. Then the connection must be closed."""
        done, _ = await asyncio.wait((proof,), timeout=self.timeout)
        if not done:
            raise UnavailableError(f"{self._name}: no PUBACK within {self.timeout:.1f} s")
        return proof.result()

    async def listen(self, topic: str) -> str | None:
        """Subscribe with QoS 1, without our own messages; the broker's reason where it refuses."""
        # Not aiomqtt's subscribe(): its wait_for loses a cancellation that comes together with the SUBACK.
        result, mid = self._client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True))
        if result or mid is None:
            raise UnavailableError(f"{self._name}: cannot subscribe to {topic}: {result!r}")
        suback: asyncio.Future[tuple[int, ...] | list[ReasonCode]] = self._loop.create_future()
        self._pending_subscribes[mid] = suback
        done, _ = await asyncio.wait((suback,), timeout=self.timeout)
        if not done:
            raise UnavailableError(f"{self._name}: no SUBACK within {self.timeout:.1f} s")
        codes = suback.result()
        refused = [code for code in codes if isinstance(code, ReasonCode) and code.is_failure]
        return str(refused[0]) if refused else None

    async def farewell(self, topic: str, payload: bytes, properties: Properties) -> None:
        """Publish a last retained word if the connection is healthy; else the last will says it."""
        if self.gone.done() or self._proofs or not self._connected.done():
            return
        with contextlib.suppress(UnavailableError, RefusedError):
            proof = await self.post(topic, payload, retain=True, properties=properties)
            await asyncio.wait((proof,), timeout=CLOSE_S)

    async def close(self) -> None:
        """End it: with DISCONNECT where it is alive, else by closing the socket. Bounded, never raises."""
        if not self.gone.done() and self._connected.done() and not self._proofs:
            self._client.disconnect()
            await asyncio.wait((self.gone,), timeout=CLOSE_S)
        self._drop("closed")

    def _drop(self, why: str) -> None:
        self._lose(why)
        if self._is_connecting:
            return  # the socket is the thread's; once it is through, it comes here again
        # paho has no public way to close a socket that may never be writable again.
        self._client._sock_close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if not self._disconnected.done():
            self._disconnected.set_result(None)

    async def _connect_in_thread(self) -> None:
        """Name resolution, TCP and TLS block: in a thread that nobody waits for when this is cancelled."""
        done: asyncio.Future[None] = self._loop.create_future()

        def settle(error: Exception | None) -> None:
            self._is_connecting = False
            if done.cancelled():
                self._drop("cancelled")
            elif error is not None:
                done.set_exception(error)
            else:
                done.set_result(None)

        def connect() -> None:
            error: Exception | None = RuntimeError(f"{self._name}: connect failed with a bug; see the traceback")
            try:
                self._client_connect()
                error = None
            except (OSError, ValueError) as found:
                error = found
            except RuntimeError:
                if not self._loop.is_closed():
                    raise
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: the agent has ended meanwhile
                    self._loop.call_soon_threadsafe(settle, error)

        self._is_connecting = True
        threading.Thread(target=connect, name=self._name, daemon=True).start()
        await done

    def _lose(self, why: str) -> None:
        if self.gone.done():
            return
        self.gone.set_result(why)
        proofs, self._proofs = self._proofs, {}
        for proof in proofs.values():
            if not proof.done():
                proof.set_exception(UnavailableError(f"{self._name}: connection lost: {why}"))

    def _on_proof(self, proof: "asyncio.Future[int]") -> None:
        self._window.release()
        if not proof.cancelled():
            proof.exception()  # seen, even where nobody waits for it any more

    def _on_io_failure(self, disconnected: "asyncio.Future[None]") -> None:
        if disconnected.cancelled():
            return
        error = disconnected.exception()
        self._lose(str(error) if error is not None else "closed")

    def _on_connect(
        self,
        client: PahoClient,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.limits = Limits(
            receive_max=getattr(properties, "ReceiveMaximum", 65_535),
            packet_max=getattr(properties, "MaximumPacketSize", 268_435_455),
            qos_max=getattr(properties, "MaximumQoS", 2),
            can_retain=bool(getattr(properties, "RetainAvailable", 1)),
        )
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: PahoClient,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        if flags.is_disconnect_packet_from_server:
            self._lose(f"the broker says: {reason_code}")
        elif str(reason_code) == "Unspecified error":
            self._lose("closed or reset by the network or the broker")
        else:
            self._lose(str(reason_code))

    def _on_publish(
        self,
        client: PahoClient,  # noqa: ARG002  # paho's signature, here and below
        userdata: Any,  # noqa: ARG002
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,  # noqa: ARG002
    ) -> None:
        proof = self._proofs.pop(mid, None)
        if proof is None or proof.done():
            return
        code = reason_code.value
        if code >= REFUSAL:
            proof.set_exception(RefusedError(f"{self._name}: PUBACK 0x{code:02x} ({reason_code})", code))
        else:
            proof.set_result(code)

    def _on_message(self, client: PahoClient, userdata: Any, message: MQTTMessage) -> None:  # noqa: ARG002
        self._incoming(message)
