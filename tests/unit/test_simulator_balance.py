import io
import json
import math

import pytest

from simulator.balance import Truth, settle, unaccounted, wrong_reading
from simulator.history import SAMPLES_MAX, History
from simulator.intake import Intake, Received
from simulator.narrator import Narrator, language_of

T = 1_795_248_000_000_000_000
MS = 1_000_000
COUNTS = {"polled": 2, "journaled": 2, "evaluated": 2, "refused": 0, "waiting": 0, "alarms_raised": 0}


def polled(*samples) -> dict[str, Truth]:
    history = History()
    for ms, value in samples:
        history.note(T + ms * MS, {"x": value})
    return {"x": Truth(history, is_polled=True)}


def reported(*samples) -> dict[str, Truth]:
    return {"x": Truth(polled(*samples)["x"].history, is_polled=False)}


def reading(ms: int, value: float | None, quality: int = 0, t_ms: int | None = None) -> Received:
    return Received(7, "x", T + ms * MS, T + (ms if t_ms is None else t_ms) * MS, value, quality)


def is_wrong(received: Received, truth: dict[str, Truth]) -> bool:
    return wrong_reading(received, truth) is not None


def test_a_polled_value_is_the_last_reply_before_it_was_taken_in():
    truth = polled((0, 1.0), (500, 2.0), (1000, 3.0))
    assert not is_wrong(reading(503, 2.0), truth)
    assert is_wrong(reading(503, 1.0), truth)
    assert is_wrong(reading(503, 3.0), truth)


def test_a_value_without_a_recent_reply_is_made_up():
    truth = polled((0, 1.0))
    assert is_wrong(reading(2_000, 1.0), truth)
    assert not is_wrong(reading(2_000, None, 101), truth)


def test_a_usable_reading_has_a_value_and_a_tag_that_exists():
    truth = polled((0, 1.0))
    assert is_wrong(reading(1, None), truth)
    assert is_wrong(Received(7, "y", T, T, 1.0, 0), truth)


def test_a_reported_value_belongs_to_its_source_time():
    truth = reported((0, 1.0), (250, 2.0), (500, 3.0))
    assert not is_wrong(reading(300, 2.0, t_ms=250), truth)
    assert is_wrong(reading(300, 1.0, t_ms=250), truth)


def test_a_reported_value_that_is_read_again_was_current_lately():
    truth = reported((0, 1.0), (10_000, 2.0), (10_250, 3.0))
    assert not is_wrong(reading(9_000, 1.0), truth)
    assert not is_wrong(reading(10_300, 2.0), truth)
    assert is_wrong(reading(10_300, 4.0), truth)
    assert is_wrong(reading(13_000, 2.0), truth)


def test_a_dead_instrument_may_be_any_bad_number_but_no_usable_one():
    truth = polled((0, math.nan))
    assert not is_wrong(reading(1, -2.5, 102), truth)
    assert is_wrong(reading(1, -2.5, 0), truth)


def test_replies_without_a_reading_are_unaccounted_for():
    truth = polled((0, 1.0), (500, 2.0), (1000, 3.0))
    readings = [reading(3, 1.0), reading(1_003, 3.0)]
    assert unaccounted(readings, truth, T, T + 2_000 * MS) == 1
    assert unaccounted([*readings, reading(504, None, 101)], truth, T, T + 2_000 * MS) == 0
    assert unaccounted(readings, truth, T + 600 * MS, T + 2_000 * MS) == 0


def test_a_reply_that_the_next_one_overtakes_is_no_poll():
    truth = polled((0, 1.0), (100, 2.0))
    assert unaccounted([reading(103, 2.0)], truth, T, T + 2_000 * MS) == 0


def intake(*values: float) -> Intake:
    made = Intake()
    blocks = [{"seq": n + 1, "t": T + (500 * n + 3) * MS, "v": [value]} for n, value in enumerate(values)]
    fields = {"v": 1, "site": "s", "agent": "a", "epoch": "e", "after": 0, "tags": ["x"], "blocks": blocks}
    made.take_readings(json.dumps(fields).encode())
    return made


TRUTH = polled((0, 1.0), (500, 2.0))


def test_the_balance_is_right_when_everything_came_as_it_was_sent():
    balance = settle(intake(1.0, 2.0), TRUTH, COUNTS)
    assert balance.is_right
    assert (balance.delivered, balance.lost, balance.wrong) == (2, 0, 0)


def test_a_reading_that_never_came_is_lost():
    balance = settle(intake(1.0), TRUTH, COUNTS)
    assert (balance.lost, balance.is_right) == (1, False)


def test_a_value_that_was_never_sent_is_wrong():
    balance = settle(intake(1.0, 9.0), TRUTH, COUNTS)
    assert (balance.wrong, balance.is_right) == (1, False)


def test_an_alarm_that_never_came_is_lost():
    balance = settle(intake(1.0, 2.0), TRUTH, {**COUNTS, "alarms_raised": 1})
    assert (balance.lost, balance.is_right) == (1, False)


@pytest.mark.parametrize("counts", [{"polled": 3}, {"journaled": 1, "polled": 1}])
def test_books_that_do_not_add_up_are_a_problem(counts):
    assert not settle(intake(1.0, 2.0), TRUTH, {**COUNTS, **counts}).is_right


def test_the_balance_as_json_has_the_keys_of_the_contract():
    keys = list(settle(intake(1.0, 2.0), TRUTH, COUNTS).to_fields())
    assert keys[:7] == ["polled", "journaled", "evaluated", "delivered", "lost", "duplicated", "wrong"]
    assert keys[7:10] == ["alarms_raised", "alarms_received", "alarms_acknowledged"]


def test_a_history_forgets_its_older_half():
    history = History()
    for number in range(2 * SAMPLES_MAX + 1):
        history.note(number, {"x": float(number)})
    assert len(history.times("x")) == SAMPLES_MAX + 1
    assert history.last_before("x", 5) is None
    assert history.count == 2 * SAMPLES_MAX + 1


def test_the_language_follows_the_environment():
    assert language_of({"LANG": "zh_CN.UTF-8"}) == "zh-CN"
    assert language_of({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}) == "en"
    assert language_of({"LANG": "C.UTF-8"}) is None


EVENT = {
    "transition": "activated",
    "priority": "high",
    "kind": "high",
    "message": {"zh-CN": "液位高", "en": "level high"},
    "value": 10.52,
    "limit": 10.5,
    "unit": "m",
}


def told(language: str | None, event: dict) -> str:
    out = io.StringIO()
    Narrator(out, language, lambda: 3.21).event(event)
    return out.getvalue()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "ALARM [high] level high  10.52 m (limit 10.5)"),
        ("zh-CN", "报警 [high] 液位高  10.52 m (限值 10.5)"),
        (None, "报警 / ALARM [high] 液位高 / level high  10.52 m (限值 / limit 10.5)"),
    ],
)
def test_the_narrator_speaks_it(language, text):
    assert told(language, EVENT) == f"   3.2 s !! {text}\n"


def test_an_alarm_for_want_of_a_signal_says_so():
    line = told("en", {**EVENT, "kind": "state", "cause": "bad_input"})
    assert line.endswith("level high  (no valid signal)\n")


def test_the_table_stands_straight_in_chinese():
    out = io.StringIO()
    Narrator(out, "zh-CN", lambda: 0.0).balance(settle(intake(1.0, 2.0), TRUTH, COUNTS))
    rows = [line for line in out.getvalue().splitlines() if line[-1:].isdigit()]
    assert len({len(row.encode("gb18030")) for row in rows}) == 1
    assert "无丢失" in out.getvalue()
