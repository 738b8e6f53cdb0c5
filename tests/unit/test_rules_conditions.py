"""Conditions, quality and delays, clause by clause (spec/rules.md C, Q, A1)."""

import pytest

from agent.core.quality import Quality
from agent.core.tags import Scaling, Tag
from tests.support.rules import T0, Plant, S, rule

BAND = Quality.NE43_BAND.value


def test_c_high_is_true_at_the_limit_and_false_below_limit_minus_deadband():
    plant = Plant(rule("high", limit=90, deadband=10))
    plant.signal(89.9, 90, 80, 79.999, 80, 85, 90)
    assert plant.times == [(1, "activated"), (3, "returned"), (6, "activated")]


def test_c_low_low_is_true_at_the_limit_and_false_above_limit_plus_deadband():
    plant = Plant(rule("low_low", limit=10, deadband=1))
    plant.signal(10.1, 10, 11, 11.001, 11, 10)
    assert plant.times == [(1, "activated"), (3, "returned"), (5, "activated")]


def test_c_from_unknown_a_value_between_the_columns_is_false():
    plant = Plant(rule("high", limit=90, deadband=10))
    plant.signal(85, 89)
    assert plant.times == []


def test_c_state_is_true_for_one_of_its_values_only():
    plant = Plant(rule("state", values=[1, 3]))
    plant.signal(0, 1, 3, 2, 3)
    assert plant.times == [(1, "activated"), (3, "returned"), (4, "activated")]


def test_c1_a_deadband_may_be_a_share_of_the_range():
    plant = Plant(rule("high", limit=90, deadband="5%"), tags=[Tag("T", range=(0.0, 200.0))])
    plant.signal(90, 80, 79.9)
    assert plant.times == [(0, "activated"), (2, "returned")]
    assert plant.events[0].deadband == 10.0


def test_c2_live_limits_move_to_the_tags_grid_and_recorded_ones_do_not():
    tag = Tag("T", scaling=Scaling(is_float32=True))
    device_says = tag.scaling.nearest(11.2)
    assert device_says < 11.2
    live = Plant(rule("high", limit=11.2), tags=[tag], live=True)
    live.signal(device_says)
    assert live.times == [(0, "activated")]
    assert live.events[0].limit == 11.2
    recorded = Plant(rule("high", limit=11.2), tags=[tag])
    recorded.signal(device_says)
    assert recorded.times == []


def test_c2_reset_edge_and_state_values_move_too():
    tag = Tag("T", scaling=Scaling(scale=0.1))
    plant = Plant(rule("high", limit=30.0, deadband=0.3), rule("state", values=[0.3]), tags=[tag], live=True)
    plant.signal(300 * 0.1, 297 * 0.1, 296 * 0.1, 3 * 0.1)
    assert [(e.alarm, e.transition.value, e.time - T0) for e in plant.events] == [
        ("high", "activated", 0),
        ("high", "returned", 2 * S),
        ("state", "activated", 3 * S),
    ]


def test_c3_endpoints_are_unknown_until_half_the_window_is_covered():
    plant = Plant(rule("rate", limit=60, window="10s"))
    plant.signal(0, 10, 20, 30, 40, 50)
    assert plant.times == [(5, "activated")]
    assert plant.events[0].value == pytest.approx(600)
    assert plant.events[0].reading == 50


def test_c3_the_window_is_open_at_its_start():
    plant = Plant(rule("rate", limit=1, per="s", window="4s"))
    plant.signal(0, 100, 100, 100, 100)  # at 4 s the sample of 0 s stands at the very start and is out
    assert [round(e.value, 6) for e in plant.events] == [50.0, 0.0]
    assert plant.times == [(2, "activated"), (4, "returned")]


@pytest.mark.parametrize(("direction", "active"), [("rising", [5]), ("falling", [15]), ("both", [5])])
def test_c3_directions(direction, active):
    plant = Plant(rule("rate", limit=30, window="10s", direction=direction, deadband=5))
    plant.signal(*[float(i) for i in range(11)], *[10.0 - i for i in range(1, 11)])
    assert [t for t, transition in plant.times if transition == "activated"][:1] == active or direction == "falling"
    falling = [e for e in plant.events if e.transition == "activated" and e.value < 0]
    assert bool(falling) == (direction != "rising")


def test_c3_least_squares_ignores_one_outlier_that_endpoints_take():
    signal = [0.0] * 9 + [3.0]
    ends = Plant(rule("rate", limit=20, window="10s"))
    ends.signal(*signal)
    fitted = Plant(rule("rate", limit=20, window="10s", method="least_squares"))
    fitted.signal(*signal)
    assert ends.times == [(9, "activated")]
    assert fitted.times == []


def test_c3_least_squares_asks_for_min_samples():
    plant = Plant(rule("rate", limit=1, window="10s", method="least_squares", min_samples=4))
    for at in (0, 4, 8):
        plant.read(at, float(at))
    assert plant.times == []
    plant.read(9, 9.0)
    assert plant.times == [(9, "activated")]
    assert plant.events[0].value == pytest.approx(60)


def test_c_stale_is_true_at_the_last_usable_at_plus_after():
    plant = Plant(rule("stale", after="5s"))
    plant.signal(1, 1, None, None)
    plant.at(5.999)
    assert plant.times == []
    plant.read(30, 2)
    assert plant.times == [(6, "activated"), (30, "returned")]
    assert (plant.events[0].value, plant.events[1].extreme) == (5.0, 29.0)


def test_c_stale_counts_from_the_first_record_where_no_usable_reading_came():
    plant = Plant(rule("stale", after="5s"))
    plant.signal(None, None, None)
    plant.at(5)
    assert plant.times == [(5, "activated")]


def test_c_bad_quality_follows_the_last_reading():
    plant = Plant(rule("bad_quality"))
    plant.signal(1, None, None, 1)
    plant.read(5, 1, q=Quality.OUT_OF_RANGE)
    assert plant.times == [(1, "activated"), (3, "returned")]
    assert plant.events[0].quality == 101
    assert plant.events[0].value is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_q2_a_value_that_is_no_number_is_a_bad_reading_whatever_its_quality_says(value):
    plant = Plant(rule("high", limit=90, id="h"), rule("bad_quality", id="bq"))
    plant.read(0, 50)
    plant.read(1, value)
    assert [(e.alarm, e.quality, e.reading) for e in plant.events] == [("bq", 103, None)]


def test_q2_out_of_range_is_evaluated_as_it_stands():
    plant = Plant(rule("high", limit=90))
    plant.read(0, 95, q=Quality.OUT_OF_RANGE)
    plant.read(1, 80, q=Quality.OUT_OF_RANGE)
    assert plant.times == [(0, "activated"), (1, "returned")]
    assert plant.events[0].quality == 2


def test_q3_a_value_in_the_ne43_band_makes_a_condition_true_but_never_false():
    plant = Plant(rule("high", limit=90, id="h"), rule("low", limit=10, id="l"))
    plant.read(0, 95, q=BAND)
    plant.read(1, 5, q=BAND)
    plant.read(2, 50)
    assert [(e.alarm, e.transition.value, (e.time - T0) // S) for e in plant.events] == [
        ("h", "activated", 0),
        ("l", "activated", 1),
        ("h", "returned", 2),
        ("l", "returned", 2),
    ]


def test_q3_the_band_does_not_touch_memory_and_stops_an_off_delay():
    plant = Plant(rule("high", limit=90, off_delay="3s"))
    plant.signal(95, 50, 50)
    plant.read(3, 1, q=BAND)
    plant.read(4, 50)
    plant.at(6.5)
    assert plant.times == [(0, "activated")]
    plant.at(7)
    assert plant.times == [(0, "activated"), (7, "returned")]


def test_q5_hold_keeps_the_state_while_readings_are_bad():
    plant = Plant(rule("high", limit=90))
    plant.signal(95, None, None, 50)
    assert plant.times == [(0, "activated"), (3, "returned")]


def test_q5_hold_lets_an_on_delay_run_on():
    plant = Plant(rule("high", limit=90, on_delay="3s"))
    plant.signal(95, None, None, None, None)
    assert plant.times == [(3, "activated")]
    assert plant.events[0].value == 95
    assert plant.events[0].reading is None


def test_q5_hold_starts_an_off_delay_anew_at_the_first_usable_reading_that_leaves_it_false():
    plant = Plant(rule("high", limit=90, off_delay="3s"))
    plant.signal(95, 50, 50, None, None, 50, 50, 50, 50)
    plant.at(8)
    assert plant.times == [(0, "activated"), (8, "returned")]


def test_q5_alarm_is_true_while_readings_are_bad_and_says_so():
    plant = Plant(rule("high", limit=90, deadband=5, on_bad="alarm"))
    plant.signal(87, None, 87)
    assert plant.times == [(1, "activated"), (2, "returned")]  # the memory was false and stays: 87 does not hold it
    assert plant.events[0].cause == "bad_input"


def test_q5_alarm_that_a_value_began_is_not_caused_by_bad_input():
    plant = Plant(rule("high", limit=90, on_bad="alarm", on_delay="3s"))
    plant.signal(95, None, None, None)
    plant.at(3)
    assert [(e.cause, (e.time - T0) // S) for e in plant.events] == [(None, 3)]


def test_q5_an_unknown_after_alarm_leaves_it_true():
    plant = Plant(rule("rate", limit=60, window="10s", on_bad="alarm"))
    plant.signal(0, None, 0, 0)
    assert plant.times == [(1, "activated")]
    plant.signal(0, 0, start=4)
    assert plant.times == [(1, "activated"), (5, "returned")]


def test_q5_clear_is_false_and_keeps_the_deadbands_memory():
    plant = Plant(rule("high", limit=90, deadband=5, on_bad="clear"))
    plant.signal(95, None, 87)
    assert plant.times == [(0, "activated"), (1, "returned"), (2, "activated")]


def test_a1_the_condition_must_stay_true_without_a_break():
    plant = Plant(rule("high", limit=90, on_delay="3s"))
    plant.signal(95, 95, 80, 95, 95, 95, 95)
    plant.at(6)
    assert plant.times == [(6, "activated")]


def test_a1_unknown_acts_on_an_off_delay_as_a_bad_reading():
    plant = Plant(rule("rate", limit=60, window="4s", off_delay="3s"))
    plant.signal(0, 10, 20, 20, 20, 20)  # slope 0 from 5 s on
    plant.read(5.5, 20)
    plant.read(20, 20)  # the window is empty: unknown
    assert plant.times == [(2, "activated"), (8, "returned")]
    again = Plant(rule("rate", limit=60, window="4s", off_delay="3s"))
    again.signal(0, 10, 20, 20, 20, 20)
    again.read(7.9, None)
    again.read(9.5, 20)
    again.read(11.6, 20)
    again.at(14.5)
    assert again.times == [(2, "activated")]
    again.at(14.6)
    assert again.times[-1] == (14.6, "returned")


def test_t5_a_reading_at_the_due_time_that_ends_the_condition_keeps_its_timer_from_firing():
    plant = Plant(rule("high", limit=90, on_delay="3s"))
    plant.signal(95, 95, 95, 80)
    plant.at(10)
    assert plant.times == []


def test_t5_a_reading_at_the_due_time_that_does_not_end_it_lets_the_timer_fire_after_the_step():
    plant = Plant(rule("high", limit=90, on_delay="3s"))
    plant.signal(95, 95, 95, 97)
    assert plant.times == []
    plant.read(3.5, 80)
    assert plant.times == [(3, "activated"), (3.5, "returned")]
    assert (plant.events[0].value, plant.events[0].extreme) == (97, 97)


def test_t5_timers_fire_in_due_order_with_ties_by_rule_id():
    rules = [rule("high", limit=90, on_delay=delay, id=name) for name, delay in (("c", "2s"), ("b", "3s"), ("a", "3s"))]
    plant = Plant(*rules)
    plant.read(0, 95)
    plant.read(9, 95)
    assert [e.alarm for e in plant.events] == ["c", "a", "b"]


def test_t5_a_stale_reading_at_the_due_time_keeps_the_tag_alive():
    plant = Plant(rule("stale", after="5s"))
    plant.read(0, 1)
    plant.read(5, 1)
    plant.at(9.9)
    assert plant.times == []


def test_t2_historical_readings_change_no_state():
    plant = Plant(rule("high", limit=90, id="h"), rule("stale", after="3s", id="s"))
    plant.read(0, 50)
    plant.read(2, 99, historical=True)
    plant.at(3)
    assert [(e.alarm, e.transition.value, e.state.value) for e in plant.events] == [
        ("h", "found_late", "normal"),
        ("s", "activated", "unacknowledged"),
    ]
    assert plant.engine.evaluated == 1
