"""Average, flatline, deviation, time_to_limit, overdue, clause by clause (spec/rules.md C, C3-C5, C10; DOMAIN 1.3)."""

import pytest
from pydantic import ValidationError

from agent.core.tags import Tag
from rules.conditions._shift import ShiftStarts
from tests.support.rules import T0, Plant, S, rule

MIN = 60


def story(plant):
    return [((e.time - T0) / S, e.transition.value) for e in plant.events if e.rule]


def test_c5_stel_vector_co_40_for_15_min_after_clean_air_alarms_when_the_mean_reaches_30():
    plant = Plant(rule("average", limit=30, window="15min", max_hold="3s"))
    plant.signal(*[0.0] * 900, *[40.0] * 900, *[0.0] * 400)
    assert story(plant) == [(900 + 11.25 * MIN, "activated"), (1800 + 226, "returned")]
    assert plant.events[0].value == pytest.approx(30)
    assert plant.events[-1].extreme == pytest.approx(40)  # the STEL's maximum, at 15 min
    assert plant.events[0].coverage == 1.0
    assert plant.events[0].quality == 0


def test_c5_twa_vector_co_40_for_15_min_in_8_h_is_1_25():
    shift = {"starts": ["00:00", "08:00", "16:00"], "over": "8h"}
    plant = Plant(rule("average", limit=1.25, shift=shift, max_hold="60s"), tags=[Tag("T", poll_ns=60 * S)])
    for minute in range(480):
        plant.read(minute * MIN, 40.0 if minute < 15 else 0.0)
    assert story(plant) == [(15 * MIN, "activated")]
    assert plant.events[0].value == pytest.approx(1.25)
    assert plant.engine.alarms()[0].value == pytest.approx(1.25)


def test_c5_twa_vector_a_constant_20_for_8_h_is_20():
    shift = {"starts": ["08:00"], "over": "8h"}  # T0 is 08:00 UTC
    plant = Plant(rule("average", limit=20, shift=shift, max_hold="60s"))
    for minute in range(481):
        plant.read(minute * MIN, 20.0)
    assert story(plant) == [(480 * MIN, "activated")]


def test_c5_at_the_start_of_a_shift_the_sum_is_0_and_false():
    shift = {"starts": ["08:00", "08:10"], "over": "5min"}
    plant = Plant(rule("average", limit=10, shift=shift, max_hold="60s"))
    for minute in range(12):
        plant.read(minute * MIN, 20.0)
    assert story(plant) == [(150 + 30, "activated"), (600, "returned")]
    assert plant.events[-1].value == 0.0


def test_c5_shifts_start_in_the_sites_time_zone_summer_time_included():
    starts = ShiftStarts(["08:00", "20:00"], "Europe/Berlin")
    hour = 3600 * S
    spring = 1_774_746_000 * S  # 2026-03-29T01:00Z, when the clocks go forward
    start, following = starts.around(spring)
    assert (spring - start, following - spring) == (6 * hour, 5 * hour)
    assert ShiftStarts(["08:00"], "Asia/Shanghai").around(T0 + 1)[0] % (24 * hour) == 0
    with pytest.raises(ValidationError, match="unknown time zone"):
        rule("average", limit=1, shift={"starts": ["08:00"], "over": "8h", "zone": "Mars"})


def test_c5_under_50_percent_is_unknown_under_75_percent_uncertain():
    plant = Plant(rule("average", limit=30, window="100s", max_hold="1s"))
    plant.signal(*[31.0] * 60)
    assert story(plant) == [(50, "activated")]
    assert plant.events[0].coverage == 0.5
    assert plant.events[0].quality == 1
    assert plant.events[0].to_fields()["coverage"] == 0.5


def test_c5_under_50_percent_it_is_true_as_soon_as_the_covered_part_alone_reaches_the_limit():
    plant = Plant(rule("average", limit=30, window="100s", max_hold="1s"))
    plant.signal(*[100.0] * 60)
    assert story(plant) == [(30, "activated")]
    low = Plant(rule("average", limit=30, window="100s", max_hold="1s", direction="low"))
    low.signal(*[0.0] * 60)
    assert story(low) == [(50, "activated")]  # that exception is for high only


def test_c5_a_reading_holds_until_the_next_of_any_quality_or_max_hold():
    plant = Plant(rule("average", limit=15, window="10s", max_hold="4s"))
    plant.signal(10.0, 10.0, None, None, 20.0)  # 0-2 s: 10, then nothing until 4 s
    plant.read(12, 20.0)  # 4-8 s: 20; the window begins at 2 s
    assert plant.engine.alarms()[0].value is None  # 40 % covered
    plant.read(13, 20.0)  # 4-8 and 12-13 s
    assert story(plant) == [(13, "activated")]
    assert (plant.events[0].value, plant.events[0].coverage) == (20.0, 0.5)


def test_c5_partial_fills_gaps_after_the_first_reading_with_the_mean_of_the_covered_part():
    plant = Plant(rule("average", limit=15, window="10s", max_hold="1s", partial=True))
    plant.signal(10.0, 30.0, start=0, step=5)
    plant.read(6, 30.0)  # 0-1: 10, 5-6: 30, mean 20 over 6 s
    assert story(plant) == [(6, "activated")]
    assert (plant.events[0].value, plant.events[0].coverage) == (20.0, 0.6)


def test_c5_at_a_bad_reading_on_bad_applies_and_the_mean_is_evaluated_at_usable_ones_only():
    plant = Plant(rule("average", limit=15, window="10s", max_hold="5s", on_bad="alarm"))
    plant.signal(10.0, None)
    assert story(plant) == [(1, "activated")]
    assert plant.events[0].cause == "bad_input"


def test_c5_max_hold_is_three_polls_or_60_s_where_no_poll_is_known():
    for tags, held in (([Tag("T", poll_ns=2 * S)], 6), ([], 60)):
        plant = Plant(rule("average", limit=15, window="100s"), tags=tags)
        plant.signal(10.0, 10.0, step=90)
        assert plant.engine.watch("average").coverage == held / 100


def test_c4_flatline_needs_its_window_covered_and_min_samples():
    plant = Plant(rule("flatline", window="5s", epsilon=0.1, min_samples=4))
    plant.signal(1, 5, 5.1, 5, 5.05, 5, 5, 5.2, 5.2)
    assert story(plant) == [(6, "activated"), (7, "returned")]
    assert plant.events[0].value == pytest.approx(0.1)
    sparse = Plant(rule("flatline", window="5s", min_samples=4))
    sparse.signal(5, 5, 5, step=4)
    assert story(sparse) == []


def test_c4_the_newest_sample_at_or_before_the_windows_start_belongs_to_it():
    plant = Plant(rule("flatline", window="5s"))
    plant.read(0, 5)
    plant.read(4, 6)
    plant.read(6, 6)
    plant.read(8.9, 6)  # the 5 of 0 s still stands at the window's start
    assert story(plant) == []
    plant.read(9, 6)
    assert story(plant) == [(9, "activated")]


def test_c4_a_bad_reading_empties_the_window():
    plant = Plant(rule("flatline", window="3s", min_samples=2))
    plant.signal(5, 5, 5, None, 5, 5, 5, 5)
    assert story(plant) == [(7, "activated")]


def test_c4_on_gas_values_within_2_percent_of_zero_are_ignored_unless_at_zero():
    gas = [Tag("T", kind="gas", range=(0.0, 100.0))]
    plant = Plant(rule("flatline", window="3s"), tags=gas)
    plant.signal(*[2.0] * 10, *[2.1] * 4)
    assert story(plant) == [(13, "activated")]
    at_zero = Plant(rule("flatline", window="3s", at_zero=True), tags=gas)
    at_zero.signal(*[0.0] * 4)
    assert story(at_zero) == [(3, "activated")]


def test_c_deviation_from_a_number():
    plant = Plant(rule("deviation", limit=5, deadband=1, reference=50))
    plant.signal(54, 45, 46, 46.1)
    assert story(plant) == [(1, "activated"), (3, "returned")]
    assert (plant.events[0].value, plant.events[0].reading) == (5, 45)


def test_c_deviation_from_the_mean_of_the_usable_samples_before_it():
    plant = Plant(rule("deviation", limit=5, reference={"mean": "20s"}))
    plant.signal(*[50.0] * 5, None, *[50.0] * 4, 56.0)
    assert story(plant) == []  # nine of ten samples
    plant.signal(56.0, start=11)
    assert story(plant) == [(11, "activated")]
    assert plant.events[0].value == pytest.approx(56 - (9 * 50 + 56) / 10)


def test_c3_time_to_limit_by_the_line_through_the_window():
    plant = Plant(rule("time_to_limit", limit=100, window="10s", horizon="30s", deadband="5s"))
    plant.signal(*[float(i) for i in range(80)])
    assert story(plant) == [(70, "activated")]
    assert plant.events[0].value == pytest.approx(30)
    assert plant.events[0].limit == 100


def test_c_time_to_limit_returns_beyond_horizon_plus_deadband_only():
    plant = Plant(rule("time_to_limit", limit=0, direction="falling", window="4s", min_samples=3, horizon="20s"))
    plant.signal(30, 28, 26, 24, 22, 22, 22, 22, 22, 22, -1, 50)
    assert story(plant) == [(2, "activated"), (6, "returned"), (10, "activated"), (11, "returned")]
    wide = {"window": "4s", "min_samples": 3, "horizon": "20s", "deadband": "1d"}
    plant = Plant(rule("time_to_limit", limit=0, direction="falling", **wide))
    plant.signal(30, 28, 26, 24, 23.9, 23.8, 23.7, 23.6)
    assert story(plant) == [(2, "activated")]


def test_c3_at_or_beyond_the_limit_it_is_true_without_a_slope():
    plant = Plant(rule("time_to_limit", limit=10, window="10s", horizon="5s"))
    plant.signal(10.0)
    assert story(plant) == [(0, "activated")]
    assert plant.events[0].value == 0.0


def test_c_overdue_counts_from_the_last_done_record_of_its_tag_and_rule():
    plant = Plant(rule("overdue", every="10s", id="bump"), rule("overdue", every="10s", id="proof"))
    plant.read(0, 1)
    plant.audit("done", 5, tag="T", rule="bump", actor="li")
    plant.audit("done", 6, tag="other")
    plant.at(9.999)
    assert plant.events == []
    plant.at(15)
    assert [(e.alarm, (e.time - T0) / S, e.value) for e in plant.events] == [("proof", 10, 10), ("bump", 15, 10)]
    plant.audit("done", 17, tag="T", rule=None)
    assert [(e.alarm, e.transition) for e in plant.events[2:]] == [("bump", "returned"), ("proof", "returned")]
    plant.restored()
    plant.at(27)
    assert len(plant.events) == 6


def test_c_overdue_what_fell_due_while_the_agent_did_not_run_is_told_at_the_start():
    plant = Plant(rule("overdue", every="1h"))
    plant.read(0, 1)
    plant.start(7200, 1)
    plant.at(7200)
    assert plant.times == [(7200, "activated")]
    assert plant.events[0].value == 7200


def test_c10_a_spike_of_any_size_costs_no_digits_once_it_has_left_the_window():
    kinds = [
        rule("average", limit=1e9, window="10s", max_hold="2s"),
        rule("deviation", limit=1e-3, reference={"mean": "10s"}, min_samples=1),
        rule("rate", limit=1e9, per="s", window="10s", method="least_squares"),
    ]
    plant = Plant(*kinds)
    plant.signal(*[0.1] * 5, 1e19, 1e308, -1e308, *[0.1] * 15)
    values = {view.id: view.value for view in plant.engine.alarms() if view.rule}
    assert values["average"] == pytest.approx(0.1, rel=1e-12)
    assert abs(values["deviation"]) < 1e-12
    assert abs(values["rate"]) < 1e-12


def test_t8_a_clock_step_moves_every_window():
    keys = {"average": {"limit": 5, "window": "10s", "max_hold": "2s"}, "flatline": {"window": "10s"}}
    rules = [rule(kind, **more) for kind, more in keys.items()]
    rules.append(rule("deviation", limit=9, reference={"mean": "10s"}, min_samples=1))
    rules.append(rule("average", limit=5, shift={"starts": ["08:00"], "over": "20s"}, id="shift"))
    rules.append(rule("overdue", every="15s"))
    straight, stepped = Plant(*rules), Plant(*rules)
    straight.signal(*[5.0] * 30)
    stepped.signal(*[5.0] * 8)
    stepped.audit("clock", 8, step=-100 * S)
    stepped.signal(*[5.0] * 22, start=-92)
    moved = [(t + 100 if t < 0 else t, what) for t, what in story(stepped)]
    assert moved == story(straight)
    assert moved


@pytest.mark.parametrize(
    "wrong",
    [
        ("average", {"limit": 1}),
        ("average", {"limit": 1, "window": "1min", "shift": {"starts": ["08:00"], "over": "8h"}}),
        ("average", {"limit": 1, "shift": {"starts": ["8"], "over": "8h"}}),
        ("average", {"limit": 1, "window": "0s"}),
        ("deviation", {"limit": 1}),
        ("deviation", {"limit": 1, "reference": {"mean": "0s"}}),
        ("flatline", {"window": "1min", "epsilon": -1}),
        ("time_to_limit", {"limit": 1, "window": "1min"}),
        ("overdue", {"every": "0s"}),
    ],
)
def test_k_keys_that_make_no_sense_are_errors(wrong):
    kind, keys = wrong
    with pytest.raises(ValidationError):
        rule(kind, **keys)
