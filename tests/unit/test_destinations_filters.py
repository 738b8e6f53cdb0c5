"""Filters of a destination, and how much a lane may have on its way."""

import math

from agent.core.events import Priority
from agent.core.records import Record
from agent.destinations.filters import ChangeFilter, PriorityFilter
from agent.destinations.flow import IN_FLIGHT_MAX, IN_FLIGHT_MIN, MESSAGE_MAX, MESSAGE_MIN, Flow
from tests.support.memory_journal import Site

SECOND = 1_000_000_000


def test_flow_shrinks_messages_that_prove_nothing_and_tries_larger_ones_after_ten_minutes() -> None:
    flow = Flow(IN_FLIGHT_MAX)
    for _ in range(20):
        flow.failed(0, was_sending=True)
    assert flow.message_bytes == MESSAGE_MIN
    for _ in range(10):
        flow.proved(1, 1, was_full=True)
    assert flow.message_bytes == MESSAGE_MIN
    for n in range(1, 7):
        flow.proved(1, n * 601 * SECOND, was_full=True)
    assert flow.message_bytes == MESSAGE_MAX
    assert flow.in_flight_bytes == IN_FLIGHT_MAX


def test_flow_gives_a_slow_link_less() -> None:
    flow = Flow()
    for _ in range(3):
        flow.proved(SECOND // 10, 0, was_full=True)
    assert flow.in_flight_bytes == 8 * IN_FLIGHT_MIN
    flow.proved(2 * SECOND, 0, was_full=True)
    assert flow.in_flight_bytes == 4 * IN_FLIGHT_MIN
    flow.proved(SECOND // 10, 0, was_full=False)
    assert flow.in_flight_bytes == 4 * IN_FLIGHT_MIN


def transitions(site: Site, *steps: tuple[str, str, str, str]) -> list[Record]:
    return [
        site.journal.alarm(name, transition=transition, state=state, priority=priority)
        for name, transition, state, priority in steps
    ]


def test_an_occurrence_once_sent_is_sent_to_its_end_whatever_its_priority_becomes() -> None:
    site = Site()
    records = transitions(
        site,
        ("a", "activated", "unacknowledged", "high"),
        ("b", "activated", "unacknowledged", "low"),
        ("a", "priority_changed", "unacknowledged", "low"),
        ("b", "acknowledged", "acknowledged", "low"),
        ("a", "returned", "normal", "low"),
        ("b", "returned", "normal", "low"),
        ("a", "activated", "unacknowledged", "low"),
        ("a", "priority_changed", "unacknowledged", "critical"),
        ("a", "returned", "normal", "critical"),
    )
    audit = site.journal.audit()
    least = PriorityFilter(Priority.MEDIUM)
    for _ in range(2):
        passed = least.apply([*records, audit])
        assert [record.seq for record in passed.records] == [1, 3, 5, 8, 9, 10]
        assert passed.filtered_records == 4
    passed.commit()


def test_an_occurrence_whose_start_was_before_this_process_is_sent_when_in_doubt() -> None:
    site = Site()
    records = transitions(site, ("a", "returned", "normal", "low"), ("b", "activated", "unacknowledged", "low"))
    passed = PriorityFilter(Priority.HIGH).apply(records)
    assert [record.seq for record in passed.records] == [1]


def test_report_change_lets_quality_changes_text_and_history_through() -> None:
    site = Site()
    nan = math.nan
    journal = site.journal
    records = [
        journal.batch([1.0, 5.0]),
        journal.batch([1.2, 5.0]),
        journal.batch([nan, 5.0], quality=bytes([101, 0])),
        journal.batch([nan, 5.0], quality=bytes([101, 0])),
        journal.batch([1.2, 5.0]),
        journal.batch([1.0, 5.0], historical=True),
        journal.batch([1.2, 5.0], exact={0: "text"}),
        journal.batch([1.7, 5.0]),
        journal.batch([1.7, 5.0], quality=bytes([2, 0])),
    ]
    change = ChangeFilter({"d1.t0": 0.5})
    passed = change.apply(records)
    sent = [(r.seq, r.batch.tag_ids()) for r in passed.records if r.batch is not None]
    both, second = ("d1.t0", "d1.t1"), ("d1.t1",)
    assert sent == [
        (1, both),
        (2, second),
        (3, both),
        (4, second),
        (5, both),
        (6, both),
        (7, both),
        (8, both),
        (9, both),
    ]
    assert passed.filtered_readings == 2
    assert passed.filtered_records == 0
