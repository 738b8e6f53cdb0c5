"""Differences of configurations (spec/rules.md G3)."""

from agent.differences import differences


def test_g3_each_key_that_differs_is_one_difference_old_to_new():
    old = {"rules": [{"id": "a", "limit": 1}, {"id": "b", "limit": 2}], "tags": [], "settings": {"hiding": {"x": 1}}}
    new = {"rules": [{"id": "b", "limit": 3}, {"id": "c", "limit": 9}], "tags": [], "settings": {"hiding": {"x": 2}}}
    assert [(d.path, d.old, d.new) for d in differences(old, new)] == [
        ("rules/a", {"id": "a", "limit": 1}, None),
        ("rules/b/limit", 2, 3),
        ("rules/c", None, {"id": "c", "limit": 9}),
        ("settings/hiding/x", 1, 2),
    ]


def test_g3_a_moved_rule_and_another_version_are_no_difference():
    one, other = {"id": "a", "limit": 1}, {"id": "b", "limit": 2}
    assert (
        differences({"rules": [one, other], "rules_version": "1"}, {"rules": [other, one], "rules_version": "2"}) == []
    )
