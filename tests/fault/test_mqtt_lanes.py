"""An MQTT destination against a broker that refuses, lies, hangs up or falls silent."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mqtt5
import pytest

from agent.core.counters import labels
from agent.core.records import Lane
from agent.destinations.base import LanedDestination
from agent.destinations.mqtt.config import Config
from agent.destinations.mqtt.destination import make
from tests.support.fake_broker import Answer, FakeBroker, HangUp, seqs
from tests.support.memory_journal import Site, alarm_fields, eventually

OK = mqtt5.PubAckReasonCode.SUCCESS


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as broker:
        yield broker


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same back-off, ten times as fast."""
    monkeypatch.setattr("agent.destinations.lane.BACK_OFF_MIN_S", 0.05)
    monkeypatch.setattr("agent.destinations.lane.BACK_OFF_MAX_S", 0.5)


@asynccontextmanager
async def running(site: Site, port: int, **options: Any) -> AsyncIterator[LanedDestination]:
    settings = {"id": "platform", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "start": "oldest", "timeout": "2s"}
    destination = make(Config.model_validate(settings | options), site.context)
    assert isinstance(destination, LanedDestination)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(destination.run())
        yield destination
        task.cancel()


def refuse_first(topic: str, code: Answer, times: int = 1) -> Callable[[mqtt5.PublishPacket], Answer]:
    left = times

    def answer(packet: mqtt5.PublishPacket) -> Answer:
        nonlocal left
        if packet.topic.endswith(topic) and left:
            left -= 1
            return code
        return OK

    return answer


@pytest.mark.parametrize("lane", [Lane.READINGS, Lane.ALARMS])
async def test_a_negative_puback_moves_no_cursor_and_everything_comes_again(broker: FakeBroker, lane: Lane) -> None:
    site = Site()
    for i in range(3):
        site.journal.batch([float(i)])
        site.journal.alarm()
    topic = "/readings" if lane is Lane.READINGS else "/alarms"
    broker.on_publish = refuse_first(topic, mqtt5.PubAckReasonCode.QUOTA_EXCEEDED)
    cursor_at_refusal: list[int | None] = []
    inner = broker.on_publish

    def watch(packet: mqtt5.PublishPacket) -> Answer:
        code = inner(packet)
        if code is mqtt5.PubAckReasonCode.QUOTA_EXCEEDED:
            cursor_at_refusal.append(site.cursors.get("platform", lane))
        return code

    broker.on_publish = watch
    async with running(site, broker.port) as destination:
        await eventually(lambda: site.cursors.get("platform", lane) == (5 if lane is Lane.READINGS else 6))
        assert cursor_at_refusal == [0]
        assert site.context.counters.count("send_errors", labels(destination="platform")) == 1
        assert destination.lanes[lane].state == "up"
    expected = [1, 3, 5] if lane is Lane.READINGS else [2, 4, 6]
    assert set(seqs(broker.on(topic))) == set(expected)
    assert seqs(broker.on(topic))[-3:] == expected


async def test_a_poison_batch_is_isolated_quarantined_and_counted_and_its_neighbours_arrive(broker: FakeBroker) -> None:
    site = Site()
    for i in range(9):
        site.journal.batch([float(i), -1.0])
    broker.on_publish = lambda packet: (
        mqtt5.PubAckReasonCode.PAYLOAD_FORMAT_INVALID if b"[4.0," in packet.payload else OK
    )
    async with running(site, broker.port):
        await eventually(lambda: site.cursors.get("platform", Lane.READINGS) == 9)
    assert [(name, found) for name, found, _ in site.quarantined] == [("platform", [5])]
    assert "0x99" in site.quarantined[0][2]
    good = [packet for packet in broker.on("/readings") if b"[4.0," not in packet.payload]
    assert sorted(seqs(good)) == [1, 2, 3, 4, 6, 7, 8, 9]
    count = site.counters.count
    assert count("delivered_records", labels(destination="platform", lane="readings")) == 8
    assert count("delivered_readings", labels(destination="platform")) == 16
    assert count("quarantined_readings", labels(destination="platform")) == 2


async def test_a_rejected_alarm_is_kept_and_tried_again_and_holds_up_no_other(broker: FakeBroker) -> None:
    site = Site()
    for name in ("a", "poison", "b"):
        site.journal.alarm(name)
    is_poison_taken = False

    def answer(packet: mqtt5.PublishPacket) -> Answer:
        bad = packet.topic.endswith("/alarms") and b"poison" in packet.payload and not is_poison_taken
        return mqtt5.PubAckReasonCode.PAYLOAD_FORMAT_INVALID if bad else OK

    broker.on_publish = answer
    async with running(site, broker.port) as destination:
        lane = destination.lanes[Lane.ALARMS]
        await eventually(lambda: lane.status()["held"] == 1)
        assert seqs(broker.on("/alarms")) == [1, 2, 3]
        assert site.cursors.get("platform", Lane.ALARMS) == 1, "the cursor stands before what is not proved"
        is_poison_taken = True
        lane._held_due_ns = 0
        site.journal.alarm("c")
        await eventually(lambda: site.cursors.get("platform", Lane.ALARMS) == 4)
        assert lane.status()["held"] == 0
    assert set(seqs(broker.on("/alarms"))) == {1, 2, 3, 4}
    assert not site.quarantined
    assert site.counters.count("delivered_records", labels(destination="platform", lane="alarms")) == 4


async def test_what_was_in_flight_at_a_drop_comes_again_in_order_and_nothing_is_missing(broker: FakeBroker) -> None:
    site = Site()
    for _ in range(50):
        site.journal.alarm()
    seen = 0

    def drop_in_the_middle(packet: mqtt5.PublishPacket) -> Answer:
        nonlocal seen
        seen += packet.topic.endswith("/alarms")
        if seen == 20:
            raise HangUp
        return OK if seen < 10 else None

    broker.on_publish = drop_in_the_middle
    async with running(site, broker.port):
        await eventually(lambda: seen >= 20)
        broker.on_publish = lambda _: OK
        await eventually(lambda: site.cursors.get("platform", Lane.ALARMS) == 50)
    received = seqs(broker.on("/alarms"))
    first, again = received[:20], received[20:]
    assert first == list(range(1, 21))
    assert again[0] <= 10, "nothing after the last proof may be skipped"
    assert again == list(range(again[0], 51)), "in order, without a hole"


async def test_after_names_the_record_sent_before_across_reconnects(broker: FakeBroker) -> None:
    site = Site()
    site.journal.batch([1.0])
    site.journal.tick()
    site.journal.alarm()
    site.journal.batch([2.0])
    async with running(site, broker.port):
        await eventually(lambda: seqs(broker.on("/readings")) == [1, 4])
        broker.peers[0].drop()
        broker.peers[1].drop()
        site.journal.tick()
        site.journal.batch([3.0])
        site.journal.alarm()
        await eventually(lambda: seqs(broker.on("/readings"))[-1] == 6 and seqs(broker.on("/alarms"))[-1] == 7)
    assert json.loads(broker.on("/readings")[-1].payload)["after"] in (1, 4)
    assert [json.loads(packet.payload)["after"] for packet in broker.on("/alarms")] == [0, 3]


async def test_messages_fit_the_brokers_maximum_packet_size_and_a_record_that_cannot_is_quarantined(
    broker: FakeBroker,
) -> None:
    broker.connack = mqtt5.ConnAckPacket(max_packet_size=2_000)
    site = Site()
    for i in range(20):
        site.journal.batch([i + 0.5] * 40)
    too_long = site.journal.batch([0.123456789] * 400)
    site.journal.batch([1.0])
    async with running(site, broker.port):
        await eventually(lambda: site.cursors.get("platform", Lane.READINGS) == 22)
    assert max(size for peer in broker.peers for size in peer.sizes) <= 2_000
    assert seqs(broker.on("/readings")) == [*range(1, 21), 22]
    assert [found for _, found, _ in site.quarantined] == [[too_long.seq]]


async def test_a_broker_that_hangs_up_on_large_messages_gets_smaller_ones(broker: FakeBroker) -> None:
    site = Site()
    for i in range(200):
        site.journal.batch([i + 0.25] * 10)

    def hang_up(packet: mqtt5.PublishPacket) -> Answer:
        if len(packet.payload) > 6_000:
            raise HangUp
        return OK

    broker.on_publish = hang_up
    async with running(site, broker.port):
        await eventually(lambda: site.cursors.get("platform", Lane.READINGS) == 200)
    proved = [packet for packet in broker.on("/readings") if len(packet.payload) <= 6_000]
    assert set(seqs(proved)) == set(range(1, 201))


async def test_alarms_pass_while_the_readings_connection_gets_no_puback(broker: FakeBroker) -> None:
    site = Site()
    for i in range(100):
        site.journal.batch([float(i)] * 100)
    broker.on_publish = lambda packet: None if packet.topic.endswith("/readings") else OK
    async with running(site, broker.port) as destination:
        await eventually(lambda: len(broker.on("/readings")) > 0)
        for n in range(5):
            site.journal.alarm(f"a{n}")
            await eventually(lambda n=n: len(broker.on("/alarms")) == n + 1)
        assert site.cursors.get("platform", Lane.ALARMS) == 105
        assert site.cursors.get("platform", Lane.READINGS) == 0
        assert destination.lanes[Lane.ALARMS].state == "up"


async def test_unacknowledged_bytes_of_readings_start_at_64_kib(broker: FakeBroker) -> None:
    site = Site()
    for i in range(500):
        site.journal.batch([i + 0.5] * 100)
    broker.on_publish = lambda packet: None if packet.topic.endswith("/readings") else OK
    async with running(site, broker.port, timeout="500ms"):
        await eventually(lambda: len([peer for peer in broker.peers if peer.published]) > 4)
    per_peer = [sum(peer.sizes) for peer in broker.peers if peer.connect.client_id.endswith("readings")]
    assert 0 < max(per_peer) <= 64 << 10


async def test_a_record_that_no_disk_took_is_sent_with_seq_null(broker: FakeBroker) -> None:
    site = Site()
    site.journal.audit()
    async with running(site, broker.port) as destination:
        await eventually(lambda: len(broker.on("/audit")) == 1)
        record = site.journal.alarm()
        site.journal.records.pop()
        fields = {**alarm_fields("T1"), "seq": None, "epoch": "e", "recorded": 1}
        destination.offer(type(record)(0, record.kind, fields=fields))
        await eventually(lambda: len(broker.on("/alarms")) == 1)
    message = json.loads(broker.on("/alarms")[0].payload)
    assert (message["seq"], message["id"], message["after"]) == (None, fields["id"], 1)
    assert message["hash"] is None


async def test_the_drain_at_stop_delivers_what_is_synced_and_says_offline(broker: FakeBroker) -> None:
    site = Site()
    async with running(site, broker.port) as destination:
        await eventually(lambda: all(lane.state == "up" for lane in destination.lanes.values()))
        for i in range(30):
            site.journal.batch([float(i)])
        site.journal.audit("stop")
        assert await destination.drain(2.0)
    assert seqs(broker.on("/readings")) == list(range(1, 31))
    assert seqs(broker.on("/audit")) == [31]
    assert json.loads(broker.on("/status")[-1].payload)["state"] == "offline"
    await eventually(lambda: all(peer.has_disconnected for peer in broker.peers))


async def test_the_drain_does_not_wait_for_a_destination_that_is_down(broker: FakeBroker) -> None:
    site = Site()
    site.journal.audit()
    broker.connack = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.BANNED)
    async with running(site, broker.port) as destination:
        await eventually(lambda: all(lane.state == "down" for lane in destination.lanes.values()))
        async with asyncio.timeout(1):
            assert not await destination.drain(30.0)


async def test_a_message_nobody_subscribes_to_is_delivered_and_counted(broker: FakeBroker) -> None:
    site = Site()
    site.journal.audit()
    broker.on_publish = lambda _: mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS
    async with running(site, broker.port):
        await eventually(lambda: site.cursors.get("platform", Lane.ALARMS) == 1)
    assert site.counters.count("unheard_messages", labels(destination="platform")) == 1


async def test_an_outage_is_two_log_lines(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    caplog.set_level("INFO", "davy")
    async with running(site, broker.port, send=["alarms"]):
        await eventually(lambda: [r.message for r in caplog.records] == ["destination up"])
        broker.connack = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.SERVER_BUSY)
        broker.peers[0].drop()
        await eventually(lambda: len(broker.peers) >= 6)
        broker.connack = mqtt5.ConnAckPacket()
        await eventually(lambda: [r.message for r in caplog.records].count("destination up") == 2)
    lines = [r.message for r in caplog.records if r.name.startswith("davy")]
    assert lines == ["destination up", "destination down", "destination up"]


async def test_the_same_client_id_taken_over_again_and_again_is_backed_off(broker: FakeBroker) -> None:
    site = Site()
    taken_over = mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)

    def kick(packet: mqtt5.PublishPacket) -> Answer:
        broker.peers[-1].send(taken_over)
        raise HangUp

    broker.on_publish = kick
    async with running(site, broker.port, send=["alarms"]) as destination:
        await eventually(lambda: destination.lanes[Lane.ALARMS].status()["failures"] >= 5)
        status = destination.lanes[Lane.ALARMS].status()
    assert status["breaker"] == "open"
    assert "taken over" in status["error"].lower()


async def test_a_stop_at_any_moment_ends_it(broker: FakeBroker) -> None:
    site = Site()
    site.standing["a"] = alarm_fields("a")
    for n in range(3):
        site.journal.batch([float(n)])
        site.journal.alarm()
    for turns in range(0, 120, 3):
        async with asyncio.timeout(5), running(site, broker.port, commands=["receipt"]):
            for _ in range(turns):
                await asyncio.sleep(0)
    for pause_ms in range(0, 20, 2):
        async with asyncio.timeout(5), running(site, broker.port, commands=["receipt"]):
            await asyncio.sleep(pause_ms / 1000)


async def test_many_connections_leave_no_file_descriptor_thread_or_task_behind(broker: FakeBroker) -> None:
    site = Site()
    site.journal.alarm()

    def leftovers() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    async with running(site, broker.port):
        await eventually(lambda: len(broker.peers) >= 2)
        before, tasks = leftovers(), len(asyncio.all_tasks())
        for n in range(25):
            count = len(broker.peers)
            broker.connack = None if n % 5 == 0 else mqtt5.ConnAckPacket()
            for peer in broker.peers[-2:]:
                peer.drop()
            await eventually(lambda count=count: len(broker.peers) > count)
            broker.connack = mqtt5.ConnAckPacket()
        await eventually(lambda: site.counters.total("send_errors") >= 25)
        for peer in broker.peers[:-2]:
            peer.drop()
        await eventually(lambda: leftovers()[0] <= before[0] + 4 and leftovers()[1] <= before[1] + 2)
        assert len(asyncio.all_tasks()) <= tasks + 8


async def test_an_alarm_below_the_least_priority_is_not_sent_though_no_disk_took_it(broker: FakeBroker) -> None:
    site = Site()
    record = site.journal.alarm()
    site.journal.records.clear()
    async with running(site, broker.port, min_priority="high") as destination:
        for name, priority in (("low", "low"), ("high", "high")):
            fields = alarm_fields(name) | {"priority": priority, "seq": None}
            destination.offer(type(record)(0, record.kind, fields=fields))
        await eventually(lambda: len(broker.on("/alarms")) == 1)
    assert json.loads(broker.on("/alarms")[0].payload)["alarm"] == "high"
