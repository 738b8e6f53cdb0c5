"""Event times of OPC UA readings, clause T1 of spec/rules.md."""

from drivers.opcua.times import SourceTimes

S = 1_000_000_000
AT = 1_795_248_000 * S
SKEW = 5 * S


def times() -> SourceTimes:
    return SourceTimes(2, SKEW)


def test_t1_a_source_time_that_rises_near_at_is_the_event_time() -> None:
    t = times()
    assert t.judge(0, AT, AT - S, 1.0) == (-S, -S, False)
    assert t.judge(0, AT + S, AT, 2.0) == (-S, -S, False)
    assert t.judge(0, AT + 2 * S, AT + 2 * S + SKEW, 3.0) == (SKEW, SKEW, False)


def test_t1_an_unchanged_value_read_again_with_its_old_source_time_is_fresh() -> None:
    t = times()
    t.judge(0, AT, AT - S, 1.0)
    for k in range(1, 100):
        assert t.judge(0, AT + k * S, AT - S, 1.0) == (0, 0, False)


def test_t1_a_changed_value_with_a_frozen_source_time_is_doubtful_and_keeps_it() -> None:
    t = times()
    t.judge(0, AT, AT - S, 1.0)
    assert t.judge(0, AT + S, AT - S, 2.0) == (0, -2 * S, True)
    assert t.judge(0, AT + 2 * S, AT - S, 2.0) == (0, 0, False)  # unchanged again


def test_t1_a_changed_value_outside_max_skew_is_doubtful() -> None:
    hour = 3600 * S
    for offset in (hour, -hour, SKEW + 1, -SKEW - 1):
        t = times()
        t.judge(0, AT, AT, 1.0)
        assert t.judge(0, AT + S, AT + S + offset, 2.0) == (0, offset, True)


def test_t1_a_clock_set_right_again_is_believed_at_once() -> None:
    t = times()
    t.judge(0, AT, AT, 1.0)
    t.judge(0, AT + S, AT + 3600 * S, 2.0)
    assert t.judge(0, AT + 2 * S, AT + 2 * S, 3.0) == (0, 0, False)


def test_a_first_value_may_be_old_but_not_from_the_future() -> None:
    assert times().judge(0, AT, AT - 3600 * S, 1.0) == (0, -3600 * S, False)
    assert times().judge(0, AT, AT + 3600 * S, 1.0) == (0, 3600 * S, True)


def test_after_a_reconnect_the_first_value_may_have_changed_while_nobody_listened() -> None:
    t = times()
    t.judge(0, AT, AT, 1.0)
    t.reconnect()
    assert t.judge(0, AT + 100 * S, AT + 50 * S, 2.0) == (0, -50 * S, False)
    assert t.judge(0, AT + 101 * S, AT + 60 * S, 3.0) == (0, -41 * S, True)  # but not the second


def test_after_a_reconnect_a_source_time_that_fell_is_doubtful() -> None:
    t = times()
    t.judge(0, AT, AT, 1.0)
    t.reconnect()
    assert t.judge(0, AT + 100 * S, AT - S, 2.0) == (0, -101 * S, True)


def test_without_a_source_time_at_is_the_event_time() -> None:
    assert times().judge(0, AT, None, 1.0) == (0, 0, False)


def test_a_bad_reading_is_never_blamed_on_the_clock() -> None:
    t = times()
    t.judge(0, AT, AT, 1.0)
    assert t.judge(0, AT + S, AT, None) == (0, 0, False)
    assert t.judge(0, AT + 2 * S, AT - 3600 * S, None)[2] is False


def test_event_times_of_a_tag_never_fall_where_the_source_is_slow_or_fast() -> None:
    t = times()
    t.judge(0, AT, AT - 2 * S, 1.0)
    assert t.judge(0, AT + S, AT - 2 * S, 1.0) == (0, 0, False)  # read again
    assert t.judge(0, AT + S + 1, AT + S - 2 * S, 2.0) == (0, 0, False)  # rises, but is older than that reading
    t.judge(1, AT, AT + 3 * S, 1.0)
    assert t.judge(1, AT + S, AT + 3 * S, 1.0) == (2 * S + 1, 2 * S + 1, False)


def test_two_readings_of_one_notification_do_not_share_a_time() -> None:
    t = times()
    assert [t.judge(0, AT, None, v)[0] for v in (1.0, 2.0, 3.0)] == [0, 1, 2]


def test_the_agents_own_clock_set_back_an_hour_does_not_freeze_event_times() -> None:
    t = times()
    t.judge(0, AT, AT, 1.0)
    back = AT - 3600 * S
    assert t.judge(0, back, back - S, 2.0) == (-S, -S, False)
    assert t.judge(0, back + S, back - S, 2.0) == (0, 0, False)


def test_absurd_source_times_fit_into_a_column() -> None:
    t = times()
    t.judge(0, AT, AT, 1.0)
    for year in (-300, 8000):
        _, source_dt, is_doubtful = t.judge(0, AT + S, AT + year * 31_557_600 * S, float(year))
        assert is_doubtful
        assert abs(source_dt) < 2**63
