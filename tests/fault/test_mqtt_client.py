"""The traps of aiomqtt and paho (LIBRARIES 2d), each closed."""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator

import mqtt5
import pytest

from agent.core.ports import UnavailableError
from agent.destinations.mqtt.client import Address, Connection, RefusedError
from tests.support.fake_broker import FakeBroker
from tests.support.memory_journal import eventually

TIMEOUT_S = 5.0


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as broker:
        yield broker


def connection(port: int, timeout_s: float = TIMEOUT_S, **options: object) -> Connection:
    address = Address(host="127.0.0.1", port=port, client_id="c", timeout_s=timeout_s, **options)  # type: ignore[arg-type]
    return Connection(address, None, lambda _: None)


async def test_a_negative_puback_raises_and_names_its_code(broker: FakeBroker) -> None:
    broker.on_publish = lambda _: mqtt5.PubAckReasonCode.QUOTA_EXCEEDED
    client = connection(broker.port)
    await client.open()
    with pytest.raises(RefusedError, match="0x97") as refusal:
        await client.proved(await client.post("t", b"x"))
    assert refusal.value.code == 0x97
    await client.close()


async def test_a_publish_in_flight_fails_at_once_when_the_connection_drops(broker: FakeBroker) -> None:
    broker.on_publish = lambda _: None
    client = connection(broker.port, timeout_s=60)
    await client.open()
    proofs = [await client.post("t", b"x") for _ in range(3)]
    await eventually(lambda: len(broker.published) == 3)
    broker.peers[0].drop()
    async with asyncio.timeout(2):
        for proof in proofs:
            with pytest.raises(UnavailableError, match="connection lost"):
                await client.proved(proof)
    with pytest.raises(UnavailableError):
        await client.post("t", b"y")
    await client.close()


async def test_who_waits_for_the_window_fails_too_when_the_connection_drops(broker: FakeBroker) -> None:
    broker.connack = mqtt5.ConnAckPacket(receive_max=1)
    broker.on_publish = lambda _: None
    client = connection(broker.port, timeout_s=60)
    await client.open()
    await client.post("t", b"1")

    async def drop() -> None:
        await eventually(lambda: len(broker.published) == 1)
        broker.peers[0].drop()

    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        group.create_task(drop())
        with pytest.raises(UnavailableError):
            await client.post("t", b"2")
    await client.close()


async def test_a_refused_connection_is_noticed(broker: FakeBroker) -> None:
    broker.connack = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED)
    client = connection(broker.port)
    async with asyncio.timeout(2):
        with pytest.raises(UnavailableError, match=r"(?i)not authorized"):
            await client.open()
    await client.close()


async def test_a_broker_that_hangs_up_before_connack_is_noticed_at_once() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    client = connection(server.sockets[0].getsockname()[1], timeout_s=60)
    async with asyncio.timeout(2):
        with pytest.raises(UnavailableError, match="connection lost"):
            await client.open()
    await client.close()
    server.close()


async def test_no_connack_is_an_error_after_the_timeout_and_closes_the_socket(broker: FakeBroker) -> None:
    broker.connack = None
    client = connection(broker.port, timeout_s=0.3)
    with pytest.raises(UnavailableError, match=r"no CONNACK within 0\.3 s"):
        await client.open()
    await client.close()
    await eventually(broker.peers[0].writer.transport.is_closing)


async def test_nothing_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        client = connection(sock.getsockname()[1])
    with pytest.raises(UnavailableError, match="cannot connect"):
        await client.open()
    await client.close()


async def test_a_late_puback_proves_nothing_and_nothing_is_sent_again_behind_our_back(broker: FakeBroker) -> None:
    broker.on_publish = lambda _: None
    client = connection(broker.port, timeout_s=0.3)
    await client.open()
    proof = await client.post("t", b"once")
    with pytest.raises(UnavailableError, match="no PUBACK"):
        await client.proved(proof)
    await client.close()
    assert isinstance(proof.exception(), UnavailableError)
    await eventually(broker.peers[0].writer.transport.is_closing)
    assert not broker.peers[0].has_disconnected, "the last will has to speak: we do not know what arrived"
    assert [packet.payload for packet in broker.published] == [b"once"]


async def test_receive_maximum_of_the_broker_is_kept(broker: FakeBroker) -> None:
    broker.connack = mqtt5.ConnAckPacket(receive_max=5)
    broker.on_publish = lambda _: None
    client = connection(broker.port)
    await client.open()

    async def release() -> None:
        peer = broker.peers[0]
        for done in range(40):
            await eventually(lambda done=done: len(peer.published) > done)
            peer.ack(peer.published[done].packet_id or 0)

    async with asyncio.TaskGroup() as group:
        group.create_task(release())
        proofs = [await client.post("t", b"%d" % i) for i in range(40)]
        for proof in proofs:
            await client.proved(proof)
    assert broker.peers[0].unacknowledged_most == 5
    await client.close()


async def test_a_message_above_the_maximum_packet_size_is_not_sent(broker: FakeBroker) -> None:
    broker.connack = mqtt5.ConnAckPacket(max_packet_size=1000)
    client = connection(broker.port)
    await client.open()
    with pytest.raises(RefusedError, match="takes 1000"):
        await client.post("t", bytes(1000))
    await client.proved(await client.post("t", bytes(900)))
    assert max(broker.peers[0].sizes) <= 1000
    await client.close()


async def test_a_hundred_in_flight_are_quiet_and_in_order(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    client = connection(broker.port)
    await client.open()
    with caplog.at_level(logging.DEBUG):
        proofs = [await client.post("t", b"%d" % i) for i in range(300)]
        for proof in proofs:
            assert await client.proved(proof) == 0
    assert [packet.payload for packet in broker.published] == [b"%d" % i for i in range(300)]
    assert "pending" not in caplog.text
    await client.close()
    await eventually(lambda: broker.peers[0].has_disconnected)


async def test_connecting_can_be_cancelled_while_tls_hangs_and_leaves_no_connection_behind() -> None:
    accepted = threading.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = connection(port, timeout_s=60, tls=ssl.create_default_context())
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(client.open())
        await eventually(accepted.is_set)
        started = loop.time()
        opening.cancel()
    assert loop.time() - started < 1
    await client.close()
    server.close()


async def test_a_silent_broker_is_found_out_by_the_keep_alive(broker: FakeBroker) -> None:
    broker.answers_pings = False
    client = connection(broker.port, keep_alive_s=1)
    await client.open()
    async with asyncio.timeout(6):
        assert "Keep alive" in await client.gone
    await client.close()


async def test_a_broker_that_grants_qos_0_only_is_no_destination(broker: FakeBroker) -> None:
    broker.connack = mqtt5.ConnAckPacket(max_qos=mqtt5.QoS.AT_MOST_ONCE)
    client = connection(broker.port)
    with pytest.raises(UnavailableError, match="QoS 0"):
        await client.open()
    await client.close()
