"""The OPC UA driver against a real server that restarts, falls silent, forgets, lies about the time."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.client.ua_session import UaSession

from drivers.opcua import driver as driver_module
from drivers.opcua.session import Session
from simulator.proxy import Link, Proxy
from simulator.servers.opcua import OpcuaNode, OpcuaServer
from tests.support.opcua import REFRESH_NS, Running, config, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_NS = 3_600_000_000_000
NODES = [
    OpcuaNode("level", 1.0, "m", (0, 12)),
    OpcuaNode("temp", 20.0),
    OpcuaNode("press", 3.0),
    OpcuaNode("float", 0.5, type="Float"),
    OpcuaNode("switch", False, type="Boolean"),
    OpcuaNode("count", 7, type="UInt64"),
    OpcuaNode("small", 7, type="Int16"),
    OpcuaNode("text", "idle", type="String"),
]
TWO = {"L": "ns=2;s=level", "T": "nsu=urn:davy:simulator;s=temp"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[OpcuaServer]:
    server = OpcuaServer(nodes=NODES)
    server.port = await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(server: OpcuaServer) -> OpcuaServer:
    """The same server with its initial values and nothing of the test before."""
    subscriptions = server.server.iserver.subscription_service
    await subscriptions.delete_subscriptions(list(subscriptions.subscriptions))
    await server.write({node.id: node.initial for node in NODES})
    return server


async def connected(run: Running) -> None:
    await run.box.until(lambda r: r.tag == "T" and r.quality == 0)


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_values_of_every_type_arrive(fresh: OpcuaServer, mode: str) -> None:
    await fresh.write({"float": 11.2, "switch": True, "count": 2**60 + 1, "small": -3, "text": "运行"})
    tags = {node.id: f"ns=2;s={node.id}" for node in NODES}
    async with running(config(fresh.port, tags, mode=mode)) as run:
        await run.box.until(lambda r: r.tag == "text" and r.quality == 0)
    got = {r.tag: r for r in run.box.all() if r.quality < 100}
    assert (got["level"].value, got["small"].value, got["switch"].value) == (1.0, -3.0, 1.0)
    assert got["float"].value == pytest.approx(11.2, rel=1e-6)
    assert (got["count"].value, got["count"].quality, got["count"].exact) == (2.0**60, 1, str(2**60 + 1))
    assert math.isnan(got["text"].value)
    assert got["text"].exact == "运行"


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_a_change_arrives_with_the_sources_time(fresh: OpcuaServer, mode: str) -> None:
    async with running(config(fresh.port, TWO, mode=mode)) as run:
        await connected(run)
        source_ns = time.time_ns() // 1000 * 1000
        await fresh.write({"level": 7.25}, source_ns)
        reading = await run.box.until(lambda r: r.value == 7.25)
        assert (reading.tag, reading.quality, reading.t_ns) == ("L", 0, source_ns)
        assert run.counters.total("readings_polled") == len(run.box.all())
        assert run.driver.status()["state"] == "up"


async def test_one_notification_is_one_batch(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        await fresh.write({"level": 5.0, "temp": 50.0})
        await run.box.until(lambda r: r.value == 50.0)
        batch = next(b for b in run.box.batches if 50.0 in b.values)
        assert 5.0 in batch.values


async def test_every_change_between_two_notifications_arrives(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO, publish="400ms", sampling="10ms")) as run:
        await connected(run)
        run.box.skip()
        for value in range(40, 46):
            await fresh.write({"temp": float(value)})
        await run.box.until(lambda r: r.value == 45.0)
        assert [r.value for r in run.box.all("T") if r.value >= 40] == [40, 41, 42, 43, 44, 45]


async def test_all_nodes_are_back_after_a_server_restart() -> None:
    server = OpcuaServer(nodes=NODES[:3])
    port = await server.start()
    try:
        async with running(config(port, TWO)) as subscribed, running(config(port, TWO, mode="poll")) as polled:
            both = (subscribed, polled)
            for run in both:
                await connected(run)
            await server.stop()
            for run in both:
                down = [await run.box.until(lambda r: r.quality == 101 and r.tag == "L") for _ in range(3)]
                assert run.driver.status()["state"] == "down"
                assert down[2].at_ns - down[1].at_ns == pytest.approx(1e8, rel=0.9)  # every poll
            await server.start()
            for run in both:
                await run.box.until(lambda r: r.tag == "L" and r.quality == 0)
            await server.write({"level": 9.0, "temp": 19.0})
            for run in both:
                await run.box.until(lambda r: r.value == 19.0)
                assert {r.value for r in run.box.all("L")[-3:]} >= {9.0}
                assert run.driver.status()["state"] == "up"
    finally:
        await server.stop()


async def test_a_node_that_comes_late_is_taken_in_and_hurts_nobody_before(fresh: OpcuaServer) -> None:
    tags = {**TWO, "G": "ns=2;s=gone", "U": "nsu=urn:nobody;s=temp"}
    async with running(config(fresh.port, tags)) as run:
        await run.box.until(lambda r: r.tag == "G" and r.quality == 104)
        await run.box.until(lambda r: r.tag == "L" and r.quality == 0)
        assert run.driver.status()["quarantined"] == ["G", "U"]
        await run.box.until(lambda r: r.tag == "U" and r.quality == 104)  # again: missing is never an absence
        await fresh.add(OpcuaNode("gone", 42.0))
        assert (await run.box.until(lambda r: r.tag == "G" and r.quality == 0)).value == 42.0
        await fresh.write({"gone": 43.0})
        await run.box.until(lambda r: r.value == 43.0)
        await fresh.remove("gone")
        await run.box.until(lambda r: r.tag == "G" and r.quality == 104)
        await fresh.add(OpcuaNode("gone", 44.0))
        await run.box.until(lambda r: r.value == 44.0)
        await fresh.write({"gone": 45.0})
        await run.box.until(lambda r: r.value == 45.0)
        await fresh.remove("gone")
    assert {r.quality for r in run.box.all("L")} == {0}


async def test_bad_and_uncertain_statuses_become_qualities(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        for status, quality in (
            (0x808C0000, 102),
            (0x80310000, 101),
            (0x40940000, 2),
            (0x40000000, 1),
            (0x80000000, 100),
        ):
            await fresh.write({"temp": 30.0}, status={"temp": status})
            reading = await run.box.until(lambda r, wanted=quality: r.tag == "T" and r.quality == wanted)
            assert math.isnan(reading.value) == (quality >= 100)
        await fresh.write({"temp": 31.0})
        assert (await run.box.until(lambda r: r.value == 31.0)).quality == 0


async def test_values_outside_the_range_and_not_finite_are_marked(fresh: OpcuaServer) -> None:
    cfg = config(fresh.port, {}, tags=[{"id": "L", "node": "ns=2;s=level", "range": [0, 12]}])
    async with running(cfg) as run:
        await fresh.write({"level": 13.5})
        assert (await run.box.until(lambda r: r.value == 13.5)).quality == 2
        for value in (math.nan, math.inf, -math.inf):
            await fresh.write({"level": value})
            await run.box.until(lambda r: r.quality == 103 and math.isnan(r.value))
            await fresh.write({"level": 2.0})
            await run.box.until(lambda r: r.value == 2.0)


@pytest.mark.parametrize("offset_ns", [HOUR_NS, -HOUR_NS], ids=["ahead", "back"])
@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_source_clock_an_hour_wrong_loses_nothing_and_is_marked(
    fresh: OpcuaServer, mode: str, offset_ns: int
) -> None:
    async with running(config(fresh.port, TWO, mode=mode)) as run:
        await connected(run)
        for value in (60.0, 61.0, 62.0):
            source_ns = (time.time_ns() + offset_ns) // 1000 * 1000
            await fresh.write({"temp": value}, source_ns)
            reading = await run.box.until(lambda r, v=value: r.value == v)
            assert (reading.quality, reading.t_ns, reading.source_ns) == (4, reading.at_ns, source_ns)
        await fresh.write({"temp": 63.0})
        healed = await run.box.until(lambda r: r.value == 63.0)
        assert healed.quality == 0
        assert run.counters.total("source_clock_doubtful") == 3


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_frozen_source_clock_loses_nothing_and_is_marked(fresh: OpcuaServer, mode: str) -> None:
    async with running(config(fresh.port, TWO, mode=mode)) as run:
        await connected(run)
        frozen_ns = time.time_ns() // 1000 * 1000
        await fresh.write({"temp": 70.0}, frozen_ns)
        first = await run.box.until(lambda r: r.value == 70.0)
        assert (first.quality, first.t_ns) == (0, frozen_ns)
        for value in (71.0, 72.0):
            await fresh.write({"temp": value}, frozen_ns)
            reading = await run.box.until(lambda r, v=value: r.value == v)
            assert (reading.quality, reading.t_ns, reading.source_ns) == (4, reading.at_ns, frozen_ns)


async def test_a_quiet_item_is_read_again_before_refresh_is_over(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        for _ in range(3):
            await run.box.until(lambda r: r.tag == "L")
        distances = [b.at_ns - a.at_ns for a, b in zip(run.box.all("L"), run.box.all("L")[1:], strict=False)]
        assert max(distances) <= REFRESH_NS * 1.2, distances  # 20 % for a busy machine
        assert {(r.quality, r.value) for r in run.box.all("L")} == {(0, 1.0)}
        assert all(r.t_ns == r.at_ns for r in run.box.all("L")[1:])


async def test_an_item_that_the_server_forgot_is_watched_again(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        (subscription,) = fresh.server.iserver.subscription_service.subscriptions.values()
        items = subscription.monitored_item_srv
        items.delete_monitored_items(list(items._monitored_items))
        for value in (5.0, 6.0):  # seen by reading it again
            await fresh.write({"level": value})
            await run.box.until(lambda r, v=value: r.value == v)
        await run.box.until(lambda _: len(items._monitored_items) > 0)


async def test_a_subscription_that_the_server_forgot_is_made_anew(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        service = fresh.server.iserver.subscription_service
        await service.delete_subscriptions(list(service.subscriptions))
        await run.box.until(lambda r: r.quality == 101)
        await connected(run)
        await fresh.write({"level": 8.0})
        await run.box.until(lambda r: r.value == 8.0)


async def test_a_killed_connection_comes_back(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        for client in list(fresh.server.bserver.clients):
            client.transport.abort()
        await run.box.until(lambda r: r.quality == 101)
        await connected(run)
        assert len(fresh.server.bserver.clients) == 1


async def test_a_stopped_driver_leaves_neither_session_nor_subscription_behind(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        (client,) = fresh.server.bserver.clients
        session = client.processor.session
    assert len(fresh.server.iserver.subscription_service.subscriptions) == 0
    assert session.state.name == "Closed"


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_a_silent_link_is_noticed_and_survived(fresh: OpcuaServer, mode: str) -> None:
    proxy = Proxy("127.0.0.1", fresh.port)
    port = await proxy.start()
    try:
        async with running(config(port, TWO, mode=mode)) as run:
            await connected(run)
            await proxy.put(Link.SILENT)
            await run.box.until(lambda r: r.quality == 101)
            await fresh.write({"level": 6.5})
            await proxy.put(Link.RESET)
            await proxy.put(Link.PASS)
            await run.box.until(lambda r: r.value == 6.5)
    finally:
        await proxy.stop()


async def test_a_notification_lost_on_the_way_is_counted_and_its_values_are_read(
    fresh: OpcuaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lossy(Session):
        async def _on_publish(self, result: ua.PublishResult) -> None:
            if not any(
                item.Value.Value.Value == 66.0
                for part in result.NotificationMessage.NotificationData or []
                for item in part.MonitoredItems
            ):
                await super()._on_publish(result)

    monkeypatch.setattr(driver_module, "Session", Lossy)
    async with running(config(fresh.port, TWO), refresh_ns=60_000_000_000) as run:
        await connected(run)
        await fresh.write({"level": 66.0})
        await run.box.until(lambda r: r.value == 66.0)
        assert run.counters.total("notifications_lost") == 1


async def test_a_server_that_takes_few_nodes_at_once_is_asked_in_small_requests(
    fresh: OpcuaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    isession = type(fresh.server.iserver.isession)
    read, create = isession.read, isession.create_monitored_items

    async def small_read(self: object, params: ua.ReadParameters) -> list[ua.DataValue]:
        if len(params.NodesToRead) > 3:
            raise ua.uaerrors.BadTooManyOperations
        return await read(self, params)

    async def small_create(self: object, params: ua.CreateMonitoredItemsParameters) -> list[object]:
        if len(params.ItemsToCreate) > 3:
            raise ua.uaerrors.BadTooManyOperations
        return await create(self, params)

    monkeypatch.setattr(isession, "read", small_read)
    monkeypatch.setattr(isession, "create_monitored_items", small_create)
    tags = {node.id: f"ns=2;s={node.id}" for node in NODES}
    for mode in ("poll", "subscribe"):
        async with running(config(fresh.port, tags, mode=mode)) as run:
            await run.box.until(lambda r: r.tag == "text" and r.quality == 0)
            assert {r.tag for r in run.box.all()} == set(tags)


async def test_a_value_that_cannot_be_decoded_does_not_take_its_neighbours_with_it(
    fresh: OpcuaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = UaSession.read

    async def strict_read(self: UaSession, params: ua.ReadParameters) -> list[ua.DataValue]:
        if any(node.NodeId.Identifier == "text" for node in params.NodesToRead):
            raise ValueError("what is this?")
        return await read(self, params)

    monkeypatch.setattr(UaSession, "read", strict_read)
    tags = {node.id: f"ns=2;s={node.id}" for node in NODES}
    async with running(config(fresh.port, tags, mode="poll")) as run:
        await run.box.until(lambda r: r.tag == "text" and r.quality == 104)
        good = {r.tag for r in run.box.all() if r.quality == 0}
    assert good == set(tags) - {"text"}


async def test_the_server_is_asked_for_signs_of_life_in_seconds_and_for_queues(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO, queue_size=7)) as run:
        await connected(run)
        (subscription,) = fresh.server.iserver.subscription_service.subscriptions.values()
        granted = subscription.data
        items = subscription.monitored_item_srv._monitored_items.values()
        assert (granted.RevisedPublishingInterval, granted.RevisedMaxKeepAliveCount) == (50.0, 6)
        assert granted.RevisedLifetimeCount >= 3 * granted.RevisedMaxKeepAliveCount
        assert [item.queue_size for item in items] == [7, 7]


async def test_more_than_a_thousand_nodes_are_asked_for_in_parts_and_batched_in_parts() -> None:
    server = OpcuaServer(nodes=[OpcuaNode(f"n{i}", float(i)) for i in range(1_100)])
    port = await server.start()
    try:
        tags = {f"T{i}": f"ns=2;s=n{i}" for i in range(1_100)}
        async with running(config(port, tags, publish="500ms", timeout="10s", poll="10s"), 60_000_000_000) as run:
            await run.box.until(lambda r: r.tag == "T1099" and r.quality == 0)
            assert max(len(b) for b in run.box.batches) <= 1_000
            assert {r.tag: r.value for r in run.box.all()} == {f"T{i}": float(i) for i in range(1_100)}
    finally:
        await server.stop()


async def test_the_first_connection_failing_raises_nothing_and_readings_go_on(unused_tcp_port: int) -> None:
    async with running(config(unused_tcp_port, TWO)) as run:
        for _ in range(3):
            await run.box.until(lambda r: r.quality == 101)
        assert run.driver.status()["state"] == "down"
        assert run.counters.total("request_errors") > 0
        assert {len(b) for b in run.box.batches} == {2}


async def test_something_that_speaks_no_opcua_is_a_device_that_is_down() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        await writer.drain()

    other = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with other, running(config(other.sockets[0].getsockname()[1], TWO, timeout="200ms")) as run:
        for _ in range(3):
            await run.box.until(lambda r: r.quality == 101)


async def test_a_user_with_password_gets_in_and_a_wrong_password_does_not(caplog: pytest.LogCaptureFixture) -> None:
    server = OpcuaServer(nodes=NODES[:3], user="davy", password="secret-1")
    port = await server.start()
    try:
        async with running(config(port, TWO, login={"user": "davy", "password": "secret-1"})) as run:
            await connected(run)
        for login in ({"user": "davy", "password": "wrong"}, None):
            async with running(config(port, TWO, login=login)) as run:
                for _ in range(3):
                    await run.box.until(lambda r: r.quality == 101)
                assert {r.quality for r in run.box.all()} == {101}
    finally:
        await server.stop()
    assert "secret-1" not in caplog.text


async def test_an_outage_is_two_log_lines_however_long(caplog: pytest.LogCaptureFixture, fresh: OpcuaServer) -> None:
    proxy = Proxy("127.0.0.1", fresh.port)
    port = await proxy.start()
    try:
        async with running(config(port, TWO)) as run:
            await connected(run)
            with caplog.at_level(logging.INFO):
                await proxy.put(Link.REFUSE)
                for _ in range(10):
                    await run.box.until(lambda r: r.quality == 101 and r.tag == "L")
                await proxy.put(Link.PASS)
                await connected(run)
    finally:
        await proxy.stop()
    ours = [r for r in caplog.records if not r.name.startswith("asyncua.server")]
    assert [(r.name, r.message) for r in ours] == [("davy.opcua", "device down"), ("davy.opcua", "device up")]


async def test_a_slow_consumer_holds_the_server_back_and_loses_no_change(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO, queue_size=100)) as run:
        await connected(run)
        gate = asyncio.Event()
        run.box.room = gate.wait
        for value in range(100, 130):
            await fresh.write({"temp": float(value)})
            await asyncio.sleep(0.02)  # spread over notifications; not a synchronisation
        gate.set()
        await run.box.until(lambda r: r.value == 129.0)
        assert [r.value for r in run.box.all("T") if r.value >= 100] == list(range(100, 130))


async def test_stopping_is_quick_even_on_a_silent_link(fresh: OpcuaServer) -> None:
    proxy = Proxy("127.0.0.1", fresh.port)
    port = await proxy.start()
    try:
        async with running(config(port, TWO)) as run:
            await connected(run)
            await proxy.put(Link.SILENT)
            started = time.monotonic()
        assert time.monotonic() - started < 3
    finally:
        await proxy.stop()


async def test_a_cancellation_that_asyncua_swallows_still_stops_the_driver(
    fresh: OpcuaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = asyncio.Event()
    disconnect = Client.disconnect

    async def swallowing(self: Client) -> None:
        await disconnect(self)
        closing.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(Client, "disconnect", swallowing)
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        for client in list(fresh.server.bserver.clients):
            client.transport.abort()
        await closing.wait()
        started = time.monotonic()
    assert time.monotonic() - started < 0.8
