"""Errors and warnings of rules at load (spec/rules.md C9, K)."""

import pytest
from pydantic import ValidationError

from agent.core.tags import Tag
from rules.build import build, from_fields
from rules.check import check
from rules.registry import kinds, parse
from tests.support.rules import S, rule, rule_set

TAG = Tag("T", range=(0.0, 100.0), poll_ns=S, unit="m")
GAS = Tag("T", kind="gas", poll_ns=S)
DAY = 86_400 * S


def said(*rules, tag=TAG, keep_ns=30 * DAY):
    return [(f.rule_id, f.key, f.is_warning) for f in check(rules, [tag], keep_ns=keep_ns)]


def test_a_sound_rule_has_no_findings():
    assert said(rule("high", limit=90, deadband=1, on_delay="5s", unit="m"), rule("stale", after="3s")) == []


@pytest.mark.parametrize(
    ("bad", "key", "is_warning"),
    [
        (rule("high", limit=101), "limit", False),
        (rule("low", limit=99, deadband=2), "deadband", False),
        (rule("rate", limit=1, window="3s"), "window", False),
        (rule("rate", limit=1, window="31d"), "window", False),
        (rule("high", limit=90, deadband=1, on_delay="500ms"), "on_delay", False),
        (rule("high", limit=90, off_delay="999ms"), "off_delay", False),
        (rule("stale", after="2s"), "after", False),
        (rule("high", limit=90, unit="bar"), "unit", False),
        (rule("high", limit=90, on_bad="clear", priority="high"), "on_bad", False),
        (rule("high", limit=90, deadband=11), "deadband", True),
        (rule("high", limit=90, on_delay="2s"), "deadband", True),
    ],
)
def test_c9_each_finding_names_the_key(bad, key, is_warning):
    assert said(bad) == [(bad.id, key, is_warning)]


def test_c9_an_unknown_tag_comes_with_the_closest_name():
    (finding,) = check(
        [parse({**rule("stale", after="3s").model_dump(), "tag": "T101.levl"})], [Tag("T101.level")], keep_ns=None
    )
    assert (finding.found, finding.allowed) == ("T101.levl", "T101.level")
    assert "did you mean T101.level?" in finding.message
    assert "T101.level" in finding.message_zh


def test_c9_limits_of_one_tag_stand_in_order():
    assert ("hh", "limit", False) in said(rule("high", limit=90, id="h"), rule("high_high", limit=90, id="hh"))
    assert said(rule("low", limit=90, id="l"), rule("high", limit=80, id="h")) == [("h", "limit", False)]


def test_c9_reset_points_must_not_swap():
    pair = rule("high", limit=90, id="h"), rule("high_high", limit=95, deadband=8, id="hh")
    assert ("hh", "deadband", False) in said(*pair)


def test_c9_hh_on_the_instrument_of_h_is_a_warning():
    assert said(rule("high", limit=90, id="h"), rule("high_high", limit=95, id="hh")) == [("hh", "tag", True)]
    assert said(rule("low", limit=9, id="l"), rule("low_low", limit=5, id="ll")) == [("ll", "tag", True)]


def test_c9_an_on_delay_on_gas_needs_a_reason():
    keys = {"limit": 10, "deadband": 1, "on_delay": "2s", "priority": "high"}
    assert said(rule("high", **keys), tag=GAS) == [("high", "on_delay", False)]
    assert said(rule("high", **keys, delay_reason="purge"), tag=GAS) == []


def test_c9_what_a_tag_does_not_tell_is_not_checked():
    bare = Tag("T")
    assert said(rule("high", limit=1e9), rule("rate", limit=1, window="1s"), rule("stale", after="1s"), tag=bare) == []
    assert said(rule("high", limit=9, deadband="1%"), tag=bare) == [("high", "deadband", False)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": "90"},
        {"limit": float("nan")},
        {"limit": True},
        {"limit": 90, "deadband": -1},
        {"limit": 90, "deadband": "1 m"},
        {"limit": 90, "on_delay": 5},
        {"limit": 90, "exclusive": "yes, please"},
        {"limit": 90, "re_alarm": 30},
        {"limit": 90, "suppress_when": 7},
        {"limit": 90, "window": "5s"},
        {},
    ],
)
def test_k_keys_that_are_wrong_or_not_in_this_version_are_errors(wrong):
    with pytest.raises(ValidationError):
        rule("high", **wrong)


def test_k_a_condition_that_does_not_exist_names_those_that_do():
    with pytest.raises(ValueError, match=r"it has average, bad_quality, .*deviation, .*flatline, high, high_high, low"):
        parse({"condition": "nonsense"})
    single = {"average", "bad_quality", "deviation", "flatline", "high", "high_high", "low", "low_low", "rate", "stale"}
    assert single | {"state", "time_to_limit"} <= set(kinds())


def test_g1_a_rule_set_survives_its_json_form_and_its_version_follows_rules_and_tags():
    rules = [
        rule("high", limit=90, deadband="1%", message={"en": "x"}, rationale={"cause": "c", "time_to_respond": "5min"}),
        rule("rate", limit=1, window="60s", method="least_squares", id="r"),
        rule("state", values=[1, True], id="s"),
    ]
    one = build(rules, {"T": TAG}, live=True)
    other = from_fields(one.to_fields(), {"T": TAG}, live=True)
    assert (other.rules, other.version) == (one.rules, one.version)
    assert build(rules, {"T": GAS}, live=True).version != one.version
    assert build(rules[1:], {"T": TAG}, live=True).version != one.version


def test_two_rules_of_one_id_are_refused():
    with pytest.raises(ValueError, match="two rules have the id high"):
        rule_set(rule("high", limit=1), rule("high", limit=2))
