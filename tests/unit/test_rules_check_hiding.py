"""Keys that hide an alarm, at load (spec/rules.md A4, A8, C9)."""

from rules.check_hiding import check_hiding
from tests.support.rules import rule


def said(*rules):
    return [(finding.rule_id, finding.key) for finding in check_hiding(rules)]


def test_a8_exclusive_is_for_limits():
    assert said(rule("high", limit=1, exclusive=True)) == []
    assert said(rule("stale", after="30s", exclusive=True)) == [("stale", "exclusive")]


def test_a4_a_flag_is_another_rule_and_critical_is_not_suppressed_unless_said():
    flag = rule("state", values=[1], id="f")
    assert said(flag, rule("high", limit=1, suppress_when="f")) == []
    assert said(flag, rule("high", limit=1, suppress_when="g")) == [("high", "suppress_when")]
    assert said(flag, rule("high", limit=1, suppress_when="f", priority="critical")) == [("high", "suppress_when")]
    assert said(flag, rule("high", limit=1, suppress_when="f", priority="critical", suppressible=True)) == []
