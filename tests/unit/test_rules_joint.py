"""Rules over several tags or over other rules, and the end of a step that looks at them (T6, C6)."""

import pytest

from agent.core.tags import Tag
from rules.check import check
from rules.conditions.vote import BadVote, hits_needed
from rules.steps import Agenda, Node, cycle, in_order
from tests.support.rules import Plant, rule, rule_set

ABC = ("A", "B", "C")


def limits(on_delay="0s", **keys):
    return [rule("high", id=f"{tag}-h", tag=tag, limit=10, on_delay=on_delay, priority="low", **keys) for tag in ABC]


def vote(k=2, **keys):
    keys = {"priority": "high", "members": ["A-h", "B-h", "C-h"], **keys}
    return rule("vote", id="V", tag=None, k=k, **keys)


def of(plant, name):
    return [
        (time, transition)
        for event, (time, transition) in zip(plant.events, plant.times, strict=True)
        if event.alarm == name
    ]


# ---- the order of T6


def test_t6_each_rule_is_looked_at_after_those_it_depends_on_ties_by_id():
    nodes = [Node("a", ("z",), False), Node("z", (), False), Node("b", (), False)]
    assert in_order(nodes).ids == ("b", "z", "a")


def test_t6_what_looks_at_states_and_what_depends_on_it_comes_after_the_timers():
    nodes = [Node("count", ("z",), True), Node("on-count", ("count",), False), Node("z", (), False)]
    order = in_order(nodes)
    assert (order.ids, order.late_from) == (("z", "count", "on-count"), 1)


def test_t6_a_circle_is_refused_at_load():
    nodes = [Node("a", ("b",), False), Node("b", ("a",), True)]
    assert cycle(nodes) is not None
    one = rule("vote", id="one", tag=None, k=1, members=["two", "A-h"])
    two = rule("vote", id="two", tag=None, k=1, members=["one", "A-h"])
    messages = [finding.message for finding in check([one, two, *limits()], [Tag(t) for t in ABC], keep_ns=None)]
    assert any("circle: one → two → one" in text or "circle: two → one → two" in text for text in messages)
    with pytest.raises(ValueError, match="circle"):
        Plant(one, two, *limits())


def test_g2_a_circle_made_by_a_rule_that_waits_is_cut_and_the_engine_goes_on():
    assert in_order([Node("a", ("b",), False), Node("b", ("a",), False)]).ids == ("b", "a")
    one = rule("vote", id="one", tag=None, k=1, members=["two", "A-h"], priority="high")
    two = rule("vote", id="two", tag=None, k=1, members=["B-h", "C-h"], priority="high")
    plant = Plant(one, two, *limits())
    plant.read(0, 12, 5, 5, tags=ABC)
    plant.at(0)
    weaker = rule("vote", id="one", tag=None, k=2, members=["B-h", "C-h"], priority="low")
    other = rule("vote", id="two", tag=None, k=1, members=["one", "C-h"], priority="high")
    plant.events += plant.engine.reconfigure(rule_set(weaker, other, *limits()), None)
    plant.read(1, 12, 5, 12, tags=ABC)
    plant.at(1)
    assert of(plant, "two") == [(1, "activated")]
    assert of(plant, "one") == [(0, "activated")]


def test_an_agenda_holds_each_place_once_and_gives_the_smallest_first():
    agenda = Agenda()
    agenda.touch((3, 1, 3))
    assert (agenda.places(), agenda.pop(), agenda.pop(), bool(agenda)) == ([1, 3], 1, 3, False)


# ---- discrepancy


def spread(**keys):
    return rule("discrepancy", id="D", tag=None, tags=list(ABC), limit=2, **keys)


def test_c_discrepancy_compares_the_extremes_of_the_usable_readings():
    plant = Plant(spread(deadband=1))
    for second, values in enumerate([(1, 2, 2.5), (1, 2, 3), (1, 2, 2), (1, 1, 1.5)]):
        plant.read(second, *values, tags=ABC)
    plant.at(9)
    assert plant.times == [(1, "activated"), (3, "returned")]
    assert [(e.value, e.limit, e.tag) for e in plant.events] == [(2.0, 2.0, None), (0.5, 2.0, None)]


def test_c_discrepancy_is_unknown_under_two_usable_readings():
    plant = Plant(spread())
    plant.read(0, 1, 5, 1, tags=ABC)
    plant.read(1, 1, None, None, tags=ABC)
    plant.at(5)
    assert plant.times == [(0, "activated")]
    plant.read(6, 1, None, 1, tags=ABC)
    plant.at(6)
    assert plant.times == [(0, "activated"), (6, "returned")]


def test_q5_on_bad_decides_a_discrepancy_that_bad_readings_leave_with_one_instrument():
    for on_bad, expected in (("hold", []), ("alarm", [(1, "activated"), (2, "returned")]), ("clear", [])):
        plant = Plant(spread(on_bad=on_bad))
        plant.read(0, 1, 1, 1, tags=ABC)
        plant.read(1, 1, None, None, tags=ABC)
        plant.read(2, 1, 1, 1, tags=ABC)
        plant.at(2)
        assert plant.times == expected, on_bad
        assert all(event.cause == "bad_input" for event in plant.events[:1])


def test_t6_several_devices_in_one_step_are_looked_at_once_when_the_step_ends():
    plant = Plant(spread())
    plant.read(0, 1, tags=("A",))
    plant.read(0, 9, tags=("B",))
    plant.read(0, 1, tags=("B",))
    assert plant.events == []
    plant.read(1, 1, tags=("C",))
    assert plant.events == []


def test_t6_a_reading_at_the_due_time_that_ends_the_condition_keeps_the_timer_from_firing():
    plant = Plant(spread(on_delay="5s"))
    plant.read(0, 1, 5, 1, tags=ABC)
    plant.read(5, 1, 1, 1, tags=ABC)
    plant.at(5)
    assert plant.events == []


# ---- deviation from another tag


def apart(**keys):
    return rule("deviation", id="X", tag="A", reference="B", limit=2, **keys)


def test_c_deviation_from_a_tag_is_looked_at_on_readings_of_either():
    plant = Plant(apart(deadband=1))
    plant.read(0, 1, tags=("A",))
    plant.read(1, 3, tags=("B",))
    plant.read(2, 1.5, tags=("A",))
    plant.read(3, 2.2, tags=("B",))
    plant.at(3)
    assert plant.times == [(1, "activated"), (3, "returned")]
    assert [(e.tag, e.value, e.reading) for e in plant.events][:1] == [("A", 2.0, 1.0)]


def test_q5_a_bad_reading_of_a_reference_is_a_bad_reading_of_the_rule():
    for on_bad, expected in (("hold", []), ("alarm", [(1, "activated"), (2, "returned")]), ("clear", [])):
        plant = Plant(apart(on_bad=on_bad))
        plant.read(0, 1, 1, tags=("A", "B"))
        plant.read(1, None, tags=("B",))
        plant.read(2, 1, tags=("B",))
        plant.at(2)
        assert plant.times == expected, on_bad


def test_q3_a_reading_in_the_ne43_band_starts_and_never_ends_a_rule_over_several_tags():
    for one in (apart(), rule("discrepancy", id="X", tag=None, tags=["A", "B"], limit=2)):
        plant = Plant(one)
        plant.read(0, 5, 1, tags=("A", "B"), q=6)
        plant.read(1, 1, tags=("A",), q=6)
        plant.at(1)
        assert plant.times == [(0, "activated")]


def test_c9_values_of_different_units_are_not_compared():
    tags = [Tag("A", unit="kPa"), Tag("B", unit="MPa"), Tag("C", unit="kPa")]
    found = {(f.rule_id, f.message) for f in check([apart(), spread()], tags, keep_ns=None)}
    wrong = "values of different units are compared"
    assert {("X", wrong), ("D", wrong)} <= found


# ---- vote


@pytest.mark.parametrize(
    ("policy", "k", "bad", "needed"),
    [
        ("degrade", 2, 0, 2),
        ("degrade", 2, 1, 1),
        ("degrade", 2, 2, 1),
        ("trip", 2, 1, 1),
        ("trip", 2, 2, 0),
        ("healthy", 2, 1, 2),
        ("drop", 2, 1, 2),
        ("drop", 2, 2, 1),
        ("drop", 3, 1, 2),
    ],
)
def test_c6_bad_members_change_the_hits_that_are_needed_by_policy(policy, k, bad, needed):
    assert hits_needed(BadVote(policy), k, 3, bad) == needed


def test_c6_a_vote_looks_at_conditions_before_their_delays():
    plant = Plant(vote(), *limits(on_delay="10s"))
    plant.read(0, 5, 5, 5, tags=ABC)
    plant.read(1, 12, 12, 5, tags=ABC)
    plant.read(2, 5, 12, 5, tags=ABC)
    plant.at(3)
    assert of(plant, "V") == [(1, "activated"), (2, "returned")]
    assert [e.value for e in plant.events if e.alarm == "V"] == [2.0, 1.0]
    assert of(plant, "A-h") == []


def test_c6_a_degraded_vote_says_so_in_its_events():
    plant = Plant(vote(), *limits())
    plant.read(0, 5, 5, 5, tags=ABC)
    plant.read(1, 12, None, 5, tags=ABC)
    plant.at(1)
    (event,) = [event for event in plant.events if event.alarm == "V"]
    assert (event.transition, event.note, event.value, event.limit) == ("activated", "1oo2 (1 bad)", 1.0, 2.0)
    assert "1oo2 (1 bad)" in event.message["en"]


def test_c6_a_degraded_vote_is_a_diagnostic_until_all_members_are_good_again():
    plant = Plant(vote(), *limits())
    plant.read(0, 5, 5, 5, tags=ABC)
    plant.read(1, 5, None, 5, tags=ABC)
    plant.read(2, 5, 5, 5, tags=ABC)
    plant.at(2)
    assert of(plant, "davy:degraded:V") == [(1, "activated"), (2, "returned")]
    (event, _) = plant.events
    assert (event.rule, event.priority, event.kind) == (None, "diagnostic", "degraded")
    assert event.message["en"] == "vote V is degraded: 1oo2 (1 bad)"


def test_c6_the_diagnostic_of_a_vote_that_is_gone_returns():
    plant = Plant(vote(), *limits())
    plant.read(0, 5, None, 5, tags=ABC)
    plant.at(0)
    plant.events += plant.engine.reconfigure(rule_set(*limits()), None)
    assert of(plant, "davy:degraded:V") == [(0, "activated"), (0, "returned")]


def test_c6_the_members_on_bad_plays_no_part():
    plant = Plant(vote(bad_vote="healthy"), *limits(on_bad="alarm"))
    plant.read(0, 5, 5, 5, tags=ABC)
    plant.read(1, None, None, 5, tags=ABC)
    plant.at(1)
    assert of(plant, "A-h") == [(1, "activated")]
    assert of(plant, "V") == []


def test_c6_all_bad_is_true_for_trip_and_unknown_for_the_others():
    for policy, expected in (("trip", [(1, "activated")]), ("degrade", []), ("drop", []), ("healthy", [])):
        plant = Plant(vote(bad_vote=policy), *limits())
        plant.read(0, 5, 5, 5, tags=ABC)
        plant.read(1, None, None, None, tags=ABC)
        plant.at(1)
        assert of(plant, "V") == expected, policy


def test_c6_an_alarm_of_a_vote_stays_while_all_its_members_are_bad():
    plant = Plant(vote(), *limits())
    plant.read(0, 12, 12, 5, tags=ABC)
    plant.read(1, None, None, None, tags=ABC)
    plant.at(9)
    assert of(plant, "V") == [(0, "activated")]


def test_c6_healthy_is_refused_for_a_critical_vote():
    with pytest.raises(ValueError, match="refused for priority critical"):
        vote(bad_vote="healthy", priority="critical")


def test_c6_a_stale_member_votes_when_its_time_comes():
    """T6: what the timers of a time change is looked at again at that time."""
    members = [rule("stale", id=f"{tag}-h", tag=tag, after="5s") for tag in ABC]
    plant = Plant(vote(), *members)
    plant.read(0, 1, 1, 1, tags=ABC)
    plant.read(2, 1, tags=("C",))
    plant.at(5)
    assert [(e.alarm, t) for e, (t, _) in zip(plant.events, plant.times, strict=True)] == [
        ("A-h", 5),
        ("B-h", 5),
        ("V", 5),
    ]


def test_a2_a_latched_vote_is_reset_unless_it_is_unknown():
    plant = Plant(vote(latch=True), *limits())
    plant.read(0, 12, 12, 5, tags=ABC)
    plant.read(1, 5, 5, 5, tags=ABC)
    plant.act("acknowledge", 2, "V")
    plant.read(3, None, None, None, tags=ABC)
    assert plant.act("reset", 4, "V") == "bad_input"
    plant.read(5, 5, None, None, tags=ABC)
    assert plant.act("reset", 6, "V") == "done"


def test_a2_a_rule_over_several_tags_needs_a_usable_reading_of_each_to_be_reset():
    plant = Plant(spread(latch=True))
    plant.read(0, 1, 5, 1, tags=ABC)
    plant.read(1, 1, 1, 1, tags=ABC)
    plant.act("acknowledge", 2, "D")
    plant.read(3, None, 1, 1, tags=ABC)
    assert plant.act("reset", 4, "D") == "bad_input"


def test_c6_a_member_in_fault_is_bad():
    plant = Plant(vote(), *limits())
    plant.read(0, 12, 5, 5, tags=ABC)
    plant.at(0)
    plant.engine.set_fault("B", True)
    plant.at(1)
    assert of(plant, "V") == [(0, "activated")]


# ---- count_upgrade


def upgrade(name, members, level, n, priority, **keys):
    return rule("count_upgrade", id=name, tag=None, members=members, level=level, n=n, priority=priority, **keys)


def test_c_count_upgrade_counts_active_alarms_of_its_level_and_upgraded_ones():
    low = ["A-h", "B-h", "C-h"]
    medium = rule("high", id="A-hh", tag="A", limit=20, priority="medium")
    yellow = upgrade("yellow", low, "low", 3, "medium")
    orange = upgrade("orange", ["yellow", "A-hh", "A-h"], "medium", 2, "high")
    plant = Plant(yellow, orange, medium, *limits())
    plant.read(0, 12, 12, 5, tags=ABC)
    plant.read(1, 12, 12, 12, tags=ABC)
    plant.read(2, 25, 12, 12, tags=ABC)
    plant.read(3, 25, 12, 5, tags=ABC)
    plant.at(3)
    assert of(plant, "yellow") == [(1, "activated"), (3, "returned")]
    assert of(plant, "orange") == [(2, "activated"), (3, "returned")]
    assert [e.value for e in plant.events if e.alarm == "orange"] == [2.0, 1.0]


def test_t6_count_upgrade_comes_after_the_timers_of_its_time_and_then_its_own():
    yellow = upgrade("a-yellow", ["A-h", "B-h", "C-h"], "low", 3, "medium", on_delay="5s", off_delay="5s")
    plant = Plant(yellow, *limits(on_delay="5s"))
    plant.read(0, 12, 12, 12, tags=ABC)
    plant.at(10)
    assert [(e.alarm, t) for e, (t, _) in zip(plant.events, plant.times, strict=True)] == [
        ("A-h", 5),
        ("B-h", 5),
        ("C-h", 5),
        ("a-yellow", 10),
    ]


def test_t6_a_member_that_returns_at_the_very_due_time_keeps_count_upgrade_from_firing():
    yellow = upgrade("a-yellow", ["A-h", "B-h", "C-h"], "low", 3, "medium", on_delay="5s")
    plant = Plant(yellow, *limits(off_delay="3s"))
    plant.read(0, 12, 12, 12, tags=ABC)
    plant.read(2, 5, 12, 12, tags=ABC)
    plant.at(9)
    assert of(plant, "A-h") == [(0, "activated"), (5, "returned")]
    assert of(plant, "a-yellow") == []


# ---- stop and continue, time


def test_stop_and_continue_in_the_middle_of_a_step_changes_nothing():
    plant = Plant(spread(), vote(), *limits())
    plant.read(0, 1, 12, 12, tags=ABC)
    plant.restored()
    plant.at(0)
    assert [(e.alarm, e.transition.value) for e in plant.events] == [
        ("B-h", "activated"),
        ("C-h", "activated"),
        ("D", "activated"),
        ("V", "activated"),
    ]


def test_t9_an_on_delay_of_a_vote_that_ran_out_during_a_stop_fires_on_the_first_reading_that_proves_it():
    plant = Plant(vote(on_delay="20s"), *limits())
    plant.read(0, 12, 12, 5, tags=ABC)
    plant.start(60, previous_end=1)
    plant.at(61)
    assert of(plant, "V") == []
    plant.read(62, 12, 12, 5, tags=ABC)
    plant.at(62)
    assert of(plant, "V") == [(62, "activated")]


def test_c9_members_and_tags_must_exist_and_not_mix_simulated_and_real():
    from agent.core.batch import Source

    tags = [Tag("A"), Tag("B", source=Source.SIMULATOR), Tag("C")]
    off = rule("high", id="off", tag="A", limit=1, enabled=False)
    bad = [vote(members=["A-h", "A-hh", "off"]), rule("discrepancy", id="D", tag=None, tags=["A", "B", "AC"], limit=2)]
    found = {(f.rule_id, f.key, str(f.found)) for f in check([*bad, off, *limits()], tags, keep_ns=None)}
    assert {("V", "members", "A-hh"), ("V", "members", "off"), ("D", "tags", "AC"), ("D", None, "None")} <= found


def test_t6_the_place_of_an_event_over_several_tags_is_no_tag():
    plant = Plant(vote(), *limits())
    assert next(view.tag for view in plant.engine.alarms() if view.id == "V") is None
