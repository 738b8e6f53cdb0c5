"""What an OPC UA server says, and what it may be asked, on a real server: values, qualities, times."""

import asyncio
import math
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.client.ua_session import UaSession

from simulator.servers.opcua import OpcuaNode, OpcuaServer
from tests.support.opcua import NODES, TWO, config, connected, reset, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_NS = 3_600_000_000_000


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
