"""Errors at load of conditions with a window (spec/rules.md C9)."""

import pytest

from agent.core.events import Priority
from agent.core.tags import Tag
from rules.check import check
from tests.support.rules import S, rule

TAG = Tag("T", range=(0.0, 100.0), poll_ns=S)
DAY = 86_400 * S
SHIFT = {"starts": ["08:00"], "over": "8h"}


def said(*rules, tag=TAG, keep_ns=30 * DAY):
    return [(f.rule_id, f.key, f.is_warning) for f in check(rules, [tag], keep_ns=keep_ns)]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("average", {"limit": 90}),
        ("flatline", {}),
        ("time_to_limit", {"limit": 90, "horizon": "10min", "min_samples": 2}),
        ("rate", {"limit": 1}),
    ],
)
def test_c9_a_window_is_at_least_four_polls_and_at_most_what_the_journal_keeps(kind, keys):
    assert said(rule(kind, window="4s", **keys)) == []
    assert said(rule(kind, window="3999ms", **keys)) == [(kind, "window", False)]
    assert said(rule(kind, window="31d", **keys)) == [(kind, "window", False)]
    assert said(rule(kind, window="3s", **keys), tag=Tag("T")) == []


def test_c9_the_window_of_a_mean_that_a_deviation_refers_to_is_checked_too():
    sound = {"limit": 1, "min_samples": 2}
    assert said(rule("deviation", reference={"mean": "10s"}, **sound)) == []
    assert said(rule("deviation", reference={"mean": "3s"}, **sound)) == [("deviation", "reference", False)]
    assert said(rule("deviation", reference={"mean": "31d"}, **sound)) == [("deviation", "reference", False)]
    assert said(rule("deviation", reference=50, **sound)) == []


def test_c9_min_samples_that_a_window_never_holds_are_an_error():
    assert said(rule("flatline", window="10s", min_samples=11)) == []
    assert said(rule("flatline", window="10s", min_samples=12)) == [("flatline", "min_samples", False)]
    assert said(rule("rate", limit=1, window="10s", min_samples=50)) == []  # for least_squares only
    fitted = rule("rate", limit=1, window="10s", min_samples=50, method="least_squares")
    assert said(fitted) == [("rate", "min_samples", False)]


def test_c9_limits_of_means_and_forecasts_lie_inside_the_range():
    assert said(rule("average", limit=101, shift=SHIFT)) == [("average", "limit", False)]
    assert said(rule("time_to_limit", limit=-1, window="10s", horizon="1min")) == [("time_to_limit", "limit", False)]


def test_c9_max_hold_is_at_least_a_poll():
    assert said(rule("average", limit=9, shift=SHIFT, max_hold="999ms")) == [("average", "max_hold", False)]
    assert said(rule("average", limit=9, shift=SHIFT, max_hold="1s")) == []


def test_c8_a_suspicion_is_diagnostic_unless_set_otherwise():
    fields = {"id": "s", "tag": "T", "condition": "suspicion.noise_collapse"}
    from rules.registry import parse

    assert parse(fields).priority is Priority.DIAGNOSTIC
    assert parse({**fields, "priority": "low"}).priority is Priority.LOW
    assert parse({**fields, "condition": "suspicion.missing_near_limit", "limit": 1}).priority is Priority.DIAGNOSTIC
    assert said(parse(fields)) == []


def test_c5_a_shift_gets_the_sites_time_zone_unless_it_names_one():
    bare, own = rule("average", limit=1, shift=SHIFT), rule("average", limit=1, shift={**SHIFT, "zone": "UTC"})
    assert bare.at_site("Asia/Shanghai", ["07:00"]).shift.zone == "Asia/Shanghai"
    assert own.at_site("Asia/Shanghai", ["07:00"]) == own
    assert rule("high", limit=1).at_site("Asia/Shanghai", ["07:00"]) == rule("high", limit=1)
    without = rule("average", limit=1, shift={"over": "8h"})
    assert list(without.at_site("UTC", ["07:00", "19:00"]).shift.starts) == ["07:00", "19:00"]


def test_c5_the_loader_gives_shifts_the_sites_time_zone(tmp_path):
    from agent.config.load import load

    path = tmp_path / "davy.yaml"
    path.write_text(
        "site: {id: s, name: n, timezone: Asia/Shanghai}\n"
        "agent: {name: a, state_dir: state}\n"
        "devices:\n"
        "  - {id: d, driver: modbus, link: {kind: tcp, host: 127.0.0.1}, unit_id: 1, tags:\n"
        "     [{id: T, table: holding, address: 0, type: uint16}]}\n"
        "rules:\n"
        "  - {id: twa, tag: T, condition: average, priority: low, limit: 1, shift: {starts: ['08:00'], over: 8h}}\n"
    )
    (loaded,) = load(path, env={}).config.rules
    assert loaded.shift.zone == "Asia/Shanghai"
