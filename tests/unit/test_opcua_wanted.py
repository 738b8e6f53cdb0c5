"""The list of wanted nodes, back-off and the poll grid."""

import logging

from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from agent.core.clock import VirtualClock
from agent.core.counters import Counters
from drivers.opcua.config import Config
from drivers.opcua.schedule import first_tick_ns, next_tick_ns
from drivers.opcua.session import Session
from drivers.opcua.wanted import Backoff, Wanted

S = 1_000_000_000


def wanted() -> Wanted:
    list_ = Wanted(3, 10 * S, (S, 4 * S))
    list_.connect(0)
    return list_


def test_waits_double_up_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(1, 5)
    assert [backoff.take() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.take() == 1


def test_a_tag_is_quiet_one_look_before_refresh_would_be_exceeded() -> None:
    list_ = wanted()
    assert list_.scan_ns == S
    list_.hear([1], 5 * S)
    assert list_.quiet(9 * S - 1) == []
    assert list_.quiet(9 * S) == [0, 2]
    assert list_.quiet(14 * S) == [0, 1, 2]


def test_a_refused_node_is_due_again_with_back_off() -> None:
    list_ = wanted()
    now, waits = 0, []
    for _ in range(4):
        list_.refuse(2, 0x80340000, now)
        wait = next(w for w in range(1, 10) if list_.due(now + w * S))
        waits.append(wait)
        now += wait * S
    assert waits == [1, 2, 4, 4]
    assert list_.refused() == {2: 0x80340000}
    list_.accept(2)
    assert list_.due(now + 100 * S) == []


def test_a_change_seen_by_reading_waits_for_its_notification() -> None:
    list_ = wanted()
    list_.suspect(0, 20 * S)
    assert 0 not in list_.quiet(15 * S)
    list_.hear([0], 16 * S)
    assert list_.silent(30 * S) == []


def test_a_change_without_notification_is_told_when_its_time_is_over() -> None:
    list_ = wanted()
    list_.suspect(0, 20 * S)
    list_.suspect(0, 25 * S)  # read again meanwhile: the first time counts
    assert list_.silent(20 * S - 1) == []
    assert list_.silent(20 * S) == [0]
    list_.wait_longer(30 * S)
    assert list_.silent(29 * S) == []
    list_.connect(40 * S)
    assert list_.silent(99 * S) == []


@given(st.text(min_size=1, max_size=8), st.integers(1, 10**10), st.integers(0, 10**18))
def test_the_first_tick_is_less_than_a_poll_away_and_on_one_grid(device: str, poll: int, now: int) -> None:
    tick = first_tick_ns(device, poll, now)
    assert now < tick <= now + poll
    assert (tick - first_tick_ns(device, poll, now + 7 * poll)) % poll == 0


@given(st.integers(0, 10**12), st.integers(1, 10**10), st.integers(0, 10**12))
def test_missed_ticks_are_counted_and_never_bunched(last: int, poll: int, late: int) -> None:
    now = last + late
    due, missed = next_tick_ns(last, poll, now)
    assert due >= now
    assert due == last + (missed + 1) * poll
    assert missed == 0 or due - poll < now


def session() -> Session:
    fields = {
        "id": "dcs",
        "driver": "opcua",
        "endpoint": "opc.tcp://127.0.0.1:4840",
        "tags": [{"id": "a", "node": "ns=2;s=a"}],
    }
    return Session(Config.model_validate(fields), VirtualClock(), Counters())


def published(number: int, *values: float) -> ua.PublishResult:
    items = [ua.MonitoredItemNotification(ClientHandle=1, Value=ua.DataValue(ua.Variant(v))) for v in values]
    data = [ua.DataChangeNotification(MonitoredItems=items)] if values else []
    return ua.PublishResult(NotificationMessage=ua.NotificationMessage(SequenceNumber=number, NotificationData=data))


async def test_a_hole_in_the_numbers_of_notifications_is_counted() -> None:
    s = session()
    assert [s._unpack(published(n, 1.0)).lost for n in (1, 2, 5)] == [0, 0, 2]


async def test_a_sign_of_life_carries_the_next_number() -> None:
    s = session()
    s._unpack(published(1, 1.0))
    assert [s._unpack(published(2)).lost, s._unpack(published(2)).lost, s._unpack(published(2, 3.0)).lost] == [0, 0, 0]
    assert s._unpack(published(5)).lost == 2  # it also shows what was lost before it


async def test_a_notification_for_a_handle_that_is_not_ours_is_ignored() -> None:
    item = ua.MonitoredItemNotification(ClientHandle=99, Value=ua.DataValue(ua.Variant(1.0)))
    data = [ua.DataChangeNotification(MonitoredItems=[item])]
    message = ua.NotificationMessage(SequenceNumber=1, NotificationData=data)
    assert session()._unpack(ua.PublishResult(NotificationMessage=message)).samples == []


async def test_asyncua_never_reconnects_by_itself_and_keeps_quiet() -> None:
    client = session()._client
    assert client._auto_reconnect is False
    assert client.session_timeout == 60_000
    assert logging.getLogger("asyncua").level >= logging.WARNING
    assert not logging.getLogger("asyncua.client.ua_client").isEnabledFor(logging.ERROR)


async def test_two_connections_never_share_a_client() -> None:
    assert session()._client is not session()._client
