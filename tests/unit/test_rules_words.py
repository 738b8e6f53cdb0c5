"""The words and numbers that others read: quality codes, transitions, priorities (spec/rules.md Q1, A6, A10)."""

import pytest

from agent.core.batch import Batch
from agent.core.events import Priority, Transition
from agent.core.quality import Quality, is_bad, is_usable
from tests.support.rules import Plant, rule

CODES = {
    "GOOD": 0,
    "UNCERTAIN": 1,
    "OUT_OF_RANGE": 2,
    "LAST_USABLE": 3,
    "CLOCK": 4,
    "DEVICE_UNCERTAIN": 5,
    "BAD": 100,
    "COMM_FAIL": 101,
    "SENSOR_FAULT": 102,
    "NOT_A_NUMBER": 103,
    "CONFIG": 104,
    "MAINTENANCE": 105,
    "DEVICE": 106,
    "SUBSTITUTED": 107,
}
ADDED = {"NE43_BAND": 6}
"""Davy's own, inside the usable range (Q3)."""


def test_q1_every_quality_has_its_code_and_only_usable_ones_are_added():
    assert {quality.name: quality.value for quality in Quality} == CODES | ADDED
    assert all(is_usable(code) for code in ADDED.values())


@pytest.mark.parametrize("code", [0, 1, 5, 42, 99])
def test_q1_a_code_below_100_is_usable_known_or_not(code):
    plant = Plant(rule("high", limit=90))
    plant.read(0, 95.0, q=code)
    assert is_usable(code)
    assert [(each.transition, each.quality) for each in plant.events] == [("activated", code)]


@pytest.mark.parametrize("code", [100, 101, 107, 150, 255])
def test_q1_a_code_from_100_on_is_evidence_of_nothing_known_or_not(code):
    plant = Plant(rule("high", limit=90))
    plant.signal(95.0)
    plant.read(1, 20.0, q=code)
    plant.read(2, 99.0, q=code)
    assert is_bad(code)
    assert [each.transition for each in plant.events] == ["activated"]


def test_q1_historical_and_exercise_are_marks_of_the_batch_and_leave_the_quality_alone():
    assert {"historical", "exercise"} <= set(Batch.__dataclass_fields__)
    plant = Plant(rule("high", limit=90))
    plant.read(0, 95.0, exercise=True)
    (event,) = plant.events
    assert (event.quality, event.exercise) == (Quality.GOOD, True)


def test_a6_the_transitions_have_these_words_and_no_others():
    assert {transition.value for transition in Transition} == {
        *("activated", "acknowledged", "returned", "reset", "shelved", "unshelved", "suppressed", "unsuppressed"),
        *("removed_from_service", "returned_to_service", "escalated", "priority_changed", "re_alarmed", "silenced"),
        *("confirmed", "ended", "found_late", "suppression_overrun"),
    }


@pytest.mark.parametrize(
    ("priority", "severity", "colour"),
    [
        ("critical", 900, "red"),
        ("high", 800, "orange"),
        ("medium", 650, "yellow"),
        ("low", 450, "blue"),
        ("diagnostic", 300, None),
    ],
)
def test_a10_an_event_carries_the_severity_and_colour_of_its_priority(priority, severity, colour):
    plant = Plant(rule("high", limit=90, priority=priority))
    plant.signal(95.0)
    fields = plant.events[0].to_fields()
    assert (fields["priority"], fields["severity"], fields["colour"]) == (priority, severity, colour)


def test_a10_there_are_five_priorities():
    assert [priority.value for priority in Priority] == ["critical", "high", "medium", "low", "diagnostic"]
