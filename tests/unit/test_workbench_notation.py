"""The short notation of signals (docs/rule-tests.md)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.testing.notation import NotationError, duration_ns, samples, show_time

S = 1_000_000_000


def values(text, step_ns=S, seed="1"):
    return [(one.place, one.value) for one in samples(text, step_ns, seed)[0]]


def test_one_sample_per_step_and_x_repeats():
    assert values("0 80x3 -1.5e1") == [(0, 0), (1, 80), (2, 80), (3, 80), (4, -15)]


def test_for_holds_a_value_as_long_as_it_says():
    assert values("7 for 3s 8", S) == [(0, 7), (1, 7), (2, 7), (3, 8)]
    assert len(values("7 for 1min", 10 * S)) == 6


def test_a_ramp_begins_at_its_first_value_and_is_at_its_last_after_its_time():
    assert values("0..100 over 4s") == [(0, 0), (1, 25), (2, 50), (3, 75), (4, 100)]
    assert values("10..0x3") == [(0, 10), (1, 5), (2, 0)]


def test_noise_stays_inside_and_is_the_same_for_the_same_seed_only():
    one, again, other = (values("80±0.5x50", seed=seed) for seed in ("a", "a", "b"))
    assert one == again != other
    assert all(79.5 <= value <= 80.5 for _, value in one)
    assert max(value for _, value in one) > 80.2
    assert min(value for _, value in one) < 79.8
    assert values("80+-0.5x50", seed="a") == one


def test_bad_readings_have_a_code_and_gaps_have_no_reading():
    found, steps = samples("1 bad bad(101)x2 gapx3 2(4)", S, "")
    assert [(one.place, one.quality) for one in found] == [(0, 0), (1, 100), (2, 101), (3, 101), (7, 4)]
    assert steps == 8
    assert math.isnan(found[1].value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("80 81y", "found '81y' at character 4, expected 80, 80x3"),
        ("0..100", "expected its length: over 60s, or x61 samples"),
        ("80x3 over 5s", "a number of samples or a time, not both"),
        ("bad(3)", "found quality 3 in 'bad(3)', expected a code from 100 to 255"),
        ("5(101)", "expected a code from 0 to 99"),
        ("gap(1)", "expected no code on gap"),
        ("80x0", "expected at least one sample"),
        ("5 over 1500ms", "expected a whole number of steps of 1s"),
        ("1x99999999999", "expected fewer"),
    ],
)
def test_what_is_no_signal_is_named_with_what_is_right(text, said):
    with pytest.raises(NotationError) as error:
        samples(text, S, "")
    assert said in str(error.value)


def test_times_have_units_and_may_be_joined():
    assert duration_ns("1min30s") == 90 * S
    assert duration_ns("0.5ms") == 500_000
    assert duration_ns("0") == 0
    assert duration_ns("1d") == 86_400 * S
    for text in ("9", "9x", "", "-3s", "0.0000000001s"):
        with pytest.raises(NotationError):
            duration_ns(text)


@given(st.integers(0, 10**16))
def test_a_time_is_shown_as_it_can_be_read(time_ns):
    assert duration_ns(show_time(time_ns)) == time_ns
