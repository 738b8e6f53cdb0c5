"""Gas over range (spec/rules.md Q4)."""

import pytest

from agent.core.quality import Quality
from agent.core.tags import Scaling, Tag
from tests.support.rules import Plant, S, rule

SPAN = Scaling(scale=0.001, span=(0.0, 100.0))
GAS = Tag("T", kind="gas", range=(0.0, 100.0), scaling=SPAN, poll_ns=S)
LATCHING = Tag("T", kind="gas", range=(0.0, 100.0), over_range_latch=True)
HIGH = rule("high", limit=25, deadband=2)


@pytest.mark.parametrize("on_bad", ["hold", "clear"])
def test_q4_a_current_of_a_fault_above_the_range_makes_high_true_whatever_on_bad_says(on_bad):
    plant = Plant(rule("high", limit=25, on_bad=on_bad), rule("high_high", limit=50, on_bad=on_bad), tags=[GAS])
    plant.read(0, 10)
    plant.read(1, SPAN.value(21500.0), q=Quality.SENSOR_FAULT)
    plant.read(2, SPAN.value(21500.0), q=Quality.SENSOR_FAULT)
    assert [(e.alarm, e.transition.value) for e in plant.events] == [("high", "activated"), ("high_high", "activated")]
    assert plant.events[0].cause is None
    assert (plant.events[0].quality, plant.events[0].value) == (102, plant.events[0].reading)


def test_q4_a_wire_break_is_no_gas():
    plant = Plant(HIGH, tags=[GAS])
    plant.read(0, 10)
    plant.read(1, SPAN.value(0.0), q=Quality.SENSOR_FAULT)
    plant.read(2, None)
    assert plant.times == []


def test_q4_from_20_5_ma_on_where_no_range_is_known():
    plant = Plant(rule("high", limit=150), tags=[Tag("T", kind="gas", scaling=SPAN)])
    plant.read(0, SPAN.value(20490.0), q=Quality.SENSOR_FAULT)
    assert plant.times == []
    plant.read(1, SPAN.value(20500.0), q=Quality.SENSOR_FAULT)
    assert plant.times == [(1, "activated")]


@pytest.mark.parametrize("quality", [Quality.MAINTENANCE, Quality.SUBSTITUTED])
def test_q4_a_bump_test_and_a_hand_entered_value_are_no_gas(quality):
    plant = Plant(HIGH, tags=[GAS])
    plant.read(0, 10)
    plant.read(1, 100, q=quality)
    assert plant.times == []


def test_q4_other_kinds_of_tags_are_held_as_ever():
    plant = Plant(HIGH, tags=[Tag("T", kind="level", range=(0.0, 100.0))])
    plant.read(0, 10)
    plant.read(1, 120, q=Quality.SENSOR_FAULT)
    assert plant.times == []


def test_q4_without_the_latch_it_returns_by_the_next_value_below_the_edge():
    plant = Plant(HIGH, tags=[GAS])
    plant.read(0, 110, q=Quality.SENSOR_FAULT)
    plant.signal(24, 22.9, start=1)  # 24 lies between the columns
    assert plant.times == [(0, "activated"), (2, "returned")]


def test_q4_with_the_latch_it_stays_true_until_a_reset_and_survives_a_restart():
    plant = Plant(HIGH, tags=[LATCHING])
    plant.signal(30, 100, 0, None, 0)
    plant.restored()
    plant.signal(0, 0, start=5)
    assert plant.times == [(0, "activated")]
    assert plant.act("reset", 7, "high") == "wrong_state"  # acknowledge it first
    assert plant.act("acknowledge", 8, "high") == "done"
    plant.read(9, None)
    assert plant.act("reset", 10, "high") == "bad_input"
    plant.read(11, 0)
    assert plant.act("reset", 12, "high") == "done"
    assert plant.times[-1] == (8, "acknowledged")
    plant.read(13, 0)
    assert plant.times[-1] == (13, "returned")
    plant.signal(30, 0, start=14)
    assert plant.times[-1] == (15, "returned")  # below the top of the range nothing latches


def test_q4_a_gas_tag_keeps_its_latch_in_the_configuration_record():
    assert Tag.from_fields(LATCHING.to_fields()) == LATCHING
    assert Tag.from_fields(GAS.to_fields()).over_range_latch is False
