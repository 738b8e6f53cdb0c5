"""The OPC UA driver against a real server that restarts, falls silent and forgets."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise

import pytest
import pytest_asyncio
from asyncua import Client, ua

from drivers.opcua import driver as driver_module
from drivers.opcua.session import Session
from simulator.proxy import Link, Proxy
from simulator.servers.opcua import OpcuaNode, OpcuaServer
from tests.support.opcua import NODES, REFRESH_NS, TWO, config, connected, reset, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[OpcuaServer]:
    server = OpcuaServer(nodes=NODES)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(server: OpcuaServer) -> OpcuaServer:
    await reset(server)
    return server


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
                assert 0 < down[2].at_ns - down[1].at_ns < 1e9  # every poll of 100 ms; a busy machine misses some
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
    qualities = [r.quality for r in run.box.all("L")]
    assert set(qualities[qualities.index(0) :]) == {0}  # from the connection on


async def test_a_quiet_item_is_read_again_before_refresh_is_over(fresh: OpcuaServer) -> None:
    async with running(config(fresh.port, TWO)) as run:
        await connected(run)
        for _ in range(4):
            await run.box.until(lambda r: r.tag == "L" and r.quality == 0)
        # Before the connection stood, a tick may have given 101.
        good = [r for r in run.box.all("L") if r.quality != 101]
        distances = [b.at_ns - a.at_ns for a, b in pairwise(good)]
        assert max(distances) <= REFRESH_NS * 3, distances  # three times: a busy machine
        assert {(r.quality, r.value) for r in good} == {(0, 1.0)}
        assert all(r.t_ns == r.at_ns for r in good[1:])


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
    assert time.monotonic() - started < 2
