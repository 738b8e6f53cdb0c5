"""Hiding and its ends, exclusive, re-alarm, silence, confirm, floods, blindness (spec/rules.md A3-A11, Q7, Q8)."""

from dataclasses import replace
from typing import Any

import pytest

from agent.core.events import Priority
from agent.core.quality import Quality
from agent.core.tags import Tag
from rules.changes import Force
from rules.engine import Engine
from rules.settings import Settings
from tests.support.rules import T0, Plant, S, rule, rule_set

H = 3600
HIGH = rule("high", limit=90, deadband=5)


def do(plant: Plant, kind: str, at: float, alarm: str = "high", **fields: Any) -> str:
    """Judge, journal and apply an action as the pipeline does."""
    plant.at(at)
    action = {"kind": kind, "alarm": alarm, "actor": "li", "time": T0 + int(at * S), **fields}
    if isinstance(action.get("until"), int | float):
        action["until"] = T0 + int(action["until"] * S)
    outcome = plant.engine.judge(action)
    if outcome.until is not None:
        action["until"] = outcome.until
    plant.audit(kind, at, **{k: v for k, v in action.items() if k not in ("kind", "time")}, outcome=outcome.outcome)
    return outcome.reason or outcome.outcome


def shelve(plant: Plant, at: float, until: float, alarm: str = "high") -> str:
    return do(plant, "shelve", at, alarm, until=until, reason="sensor is being cleaned")


def of(plant: Plant, alarm: str) -> list[tuple[float, str, str]]:
    return [((e.time - T0) / S, e.transition.value, e.state.value) for e in plant.events if e.alarm == alarm]


def test_a3_under_a_flag_the_table_goes_on_unannunciated_and_the_state_shown_is_the_flag():
    plant = Plant(HIGH)
    plant.read(0, 50)
    assert shelve(plant, 1, 100) == "done"
    plant.read(2, 95)
    plant.read(3, 50)
    assert of(plant, "high") == [(1, "shelved", "shelved"), (2, "activated", "shelved"), (3, "returned", "shelved")]
    assert [e.annunciated for e in plant.events] == [True, False, False]
    shelved = plant.events[0]
    assert (shelved.actor, shelved.reason, shelved.until) == ("li", "sensor is being cleaned", T0 + 100 * S)
    plant.at(100)
    assert of(plant, "high")[-1] == (100, "unshelved", "returned_unacknowledged")
    assert plant.events[-1].cause == "expired"


def test_a3_when_the_last_flag_goes_an_active_alarm_is_a_new_occurrence_whatever_its_state_was():
    plant = Plant(HIGH)
    plant.read(0, 95)
    do(plant, "acknowledge", 1)
    shelve(plant, 2, 50)
    do(plant, "remove_from_service", 3, until=1000, reason="work order 7")
    assert plant.engine.standing()[0].state == "out_of_service"
    plant.at(50)
    assert of(plant, "high")[-1] == (50, "unshelved", "out_of_service")
    do(plant, "return_to_service", 60)
    assert of(plant, "high")[-2:] == [
        (60, "returned_to_service", "acknowledged"),
        (60, "activated", "unacknowledged"),
    ]
    assert (plant.events[-1].annunciated, plant.events[-1].occurrence) == (True, 2)


def test_a3_nothing_is_annunciated_at_the_end_while_an_on_delay_runs():
    plant = Plant(rule("high", limit=90, on_delay="10s"))
    plant.read(0, 50)
    shelve(plant, 1, 5)
    plant.read(2, 95)
    plant.at(12)
    assert of(plant, "high") == [
        (1, "shelved", "shelved"),
        (5, "unshelved", "normal"),
        (12, "activated", "unacknowledged"),
    ]


@pytest.mark.parametrize(
    ("priority", "kind", "hours"),
    [
        ("medium", "shelve", 12),
        ("high", "shelve", 1),
        ("critical", "remove_from_service", 7 * 24),
        ("low", "remove_from_service", 7 * 24),
    ],
)
def test_a4_a_longer_request_is_cut_to_the_limit_and_the_answer_says_so(priority, kind, hours):
    plant = Plant(rule("high", limit=90, priority=priority))
    plant.read(0, 50)
    assert do(plant, kind, 1, until=1 + hours * H, reason="r") == "done"
    plant = Plant(rule("high", limit=90, priority=priority))
    plant.read(0, 50)
    assert do(plant, kind, 1, until=2 + hours * H, reason="r") == "until_cut"
    assert plant.events[-1].until == T0 + (1 + hours * H) * S
    plant.at(hours * H)
    assert len(plant.events) == 1
    plant.at(1 + hours * H)
    assert len([e for e in plant.events if e.alarm == "high"]) == 2


def test_a4_critical_is_not_shelved_unless_the_rule_says_so():
    plant = Plant(rule("high", limit=90, priority="critical"))
    assert shelve(plant, 1, 10) == "not_shelvable"
    plant = Plant(rule("high", limit=90, priority="critical", shelvable=True))
    assert shelve(plant, 1, 2 * H) == "until_cut"
    assert shelve(Plant(rule("high", limit=90, shelvable=False)), 1, 10) == "not_shelvable"


def test_a4_only_a_normal_or_acknowledged_alarm_is_shelved_or_taken_out_of_service():
    plant = Plant(HIGH)
    plant.read(0, 95)
    assert shelve(plant, 1, 10) == "wrong_state"
    assert do(plant, "remove_from_service", 1, until=9, reason="r") == "wrong_state"
    plant.read(2, 50)
    assert shelve(plant, 3, 10) == "wrong_state"
    do(plant, "acknowledge", 4)
    assert shelve(plant, 5, 10) == "done"


def test_a4_each_hiding_names_person_reason_and_end_and_is_not_prolonged():
    plant = Plant(HIGH)
    plant.read(0, 50)
    assert do(plant, "shelve", 1, until=10, reason="") == "no_reason"
    assert do(plant, "shelve", 1, reason="r") == "no_until"
    assert do(plant, "shelve", 5, until=5, reason="r") == "until_is_past"
    assert do(plant, "shelve", 5, until=9, reason="r", actor=None) == "no_actor"
    assert do(plant, "unshelve", 5) == "not_hidden"
    assert shelve(plant, 6, 10) == "done"
    assert shelve(plant, 7, 20) == "already_hidden"
    assert do(plant, "unshelve", 8) == "done"
    assert plant.events[-1].actor == "li"


FLAGGED = (
    rule("high", limit=90, id="r", suppress_when="off"),
    rule("state", values=[0], id="off", tag="pump", priority="diagnostic"),
)


def two(plant: Plant, at: float, value: float | None, pump: float | None) -> None:
    plant.read(at, value, pump, tags=("T", "pump"))


def test_a3_a_flag_suppresses_at_the_end_of_the_step_and_its_person_is_its_tag():
    plant = Plant(*FLAGGED)
    two(plant, 0, 50, 0)
    two(plant, 1, 95, 0)
    two(plant, 2, 95, 1)
    plant.at(2)
    assert of(plant, "r") == [
        (0, "suppressed", "suppressed"),
        (1, "activated", "suppressed"),
        (2, "unsuppressed", "unacknowledged"),
        (2, "activated", "unacknowledged"),
    ]
    assert (plant.events[1].by, plant.events[1].actor) == ("off", "pump")
    assert plant.events[1].until == T0 + 8 * H * S


@pytest.mark.parametrize("how", ["bad", "stale", "unknown"])
def test_a4_a_flag_that_is_bad_unknown_or_stale_does_not_suppress(how):
    plant = Plant(*FLAGGED, rule("stale", after="5s", tag="pump"))
    if how != "unknown":
        two(plant, 0, 50, 0)
    plant.read(1, 95)
    if how == "bad":
        two(plant, 2, 95, None)
    plant.at(7)
    shown = {view.id: view.state for view in plant.engine.alarms()}
    assert shown["r"] == "unacknowledged"


def test_a4_a_suppression_by_a_flag_ends_after_eight_hours_whatever_the_flag_says():
    plant = Plant(*FLAGGED)
    two(plant, 0, 95, 0)
    plant.at(8 * H - 1)
    assert of(plant, "r")[-1][1] == "suppressed"
    plant.at(8 * H)
    assert of(plant, "r")[-2:] == [
        (8 * H, "suppression_overrun", "unacknowledged"),
        (8 * H, "activated", "unacknowledged"),
    ]
    two(plant, 8 * H + 1, 95, 0)
    plant.at(8 * H + 2)
    assert of(plant, "r")[-1][0] == 8 * H  # the same flag does not suppress again before it has gone
    two(plant, 8 * H + 3, 95, 1)
    two(plant, 8 * H + 4, 95, 0)
    plant.at(8 * H + 4)
    assert of(plant, "r")[-1] == (8 * H + 4, "suppressed", "suppressed")


def test_a4_too_much_hidden_at_once_is_an_alarm():
    rules = [rule("high", limit=90, id=f"r{i}", tag=f"T{i}", priority="high") for i in range(8)]
    plant = Plant(*rules)
    for i in range(3):
        shelve(plant, i, 600, f"r{i}")
    assert of(plant, "davy:hidden") == []
    shelve(plant, 3, 600, "r3")
    assert of(plant, "davy:hidden") == [(3, "activated", "unacknowledged")]
    assert plant.engine.hidden == 4
    (hidden,) = (view for view in plant.engine.alarms() if view.id == "davy:hidden")
    assert hidden.priority == Priority.HIGH
    do(plant, "unshelve", 9, "r0")
    assert of(plant, "davy:hidden")[-1] == (9, "returned", "returned_unacknowledged")


def test_a4_gas_tags_hidden_by_maintenance_count():
    tags = [Tag(f"G{i}", kind="gas") for i in range(4)]
    plant = Plant(*(rule("high", limit=9, id=f"r{i}", tag=f"G{i}") for i in range(4)), tags=tags)
    for i in range(4):
        assert do(plant, "maintenance", i, "", tag=f"G{i}", until=600, reason="r") == "done"
    assert of(plant, "davy:hidden") == [(3, "activated", "unacknowledged")]


def test_a5_a_confirm_closes_an_occurrence_once_acknowledged_and_returned_with_the_older_ones():
    plant = Plant(HIGH)
    plant.signal(95, 50, 95)
    first, second = (e.id for e in plant.events if e.transition == "activated")
    words = {"finding": "valve stuck", "measure": "replaced"}
    assert do(plant, "confirm", 3, event=second, **words) == "wrong_state"
    do(plant, "acknowledge", 4)
    plant.read(5, 50)
    assert do(plant, "confirm", 6, event=first, **words) == "superseded"
    assert do(plant, "confirm", 6, event=second) == "no_finding"
    assert plant.engine.alarms()[0].open
    assert do(plant, "confirm", 7, event=second, **words) == "done"
    event = plant.events[-1]
    assert (event.transition, event.state, event.finding, event.measure) == (
        "confirmed",
        "normal",
        "valve stuck",
        "replaced",
    )
    assert not plant.engine.alarms()[0].open
    count = len(plant.events)
    assert do(plant, "confirm", 8, event=second, **words) == "done"  # no event
    assert len(plant.events) == count


def test_a7_an_acknowledged_alarm_still_active_sounds_again_under_a_flag_too():
    plant = Plant(rule("high", limit=90, re_alarm="10min"))
    plant.read(0, 95)
    do(plant, "acknowledge", 60)
    plant.at(659)
    assert of(plant, "high")[-1] == (60, "acknowledged", "acknowledged")
    plant.at(660)
    assert of(plant, "high")[-1] == (660, "re_alarmed", "unacknowledged")
    assert plant.events[-1].occurrence == 1
    do(plant, "acknowledge", 700)
    shelve(plant, 800, 2000)
    plant.at(1300)
    assert of(plant, "high")[-1] == (1300, "re_alarmed", "shelved")
    assert not plant.events[-1].annunciated


def test_a7_re_alarm_is_thirty_minutes_for_critical_and_off_else():
    for priority, due in (("critical", T0 + 1801 * S), ("high", None)):
        plant = Plant(rule("high", limit=90, priority=priority))
        plant.read(0, 95)
        do(plant, "acknowledge", 1)
        assert plant.engine.next_due_ns == due
        plant.read(5, 50)
        assert plant.engine.next_due_ns is None


def test_a7_silence_stops_the_horn_until_the_next_activation():
    plant = Plant(HIGH)
    plant.read(0, 95)
    assert do(plant, "silence", 1) == "done"
    assert plant.events[-1].state == "unacknowledged"
    assert plant.engine.alarms()[0].silenced
    assert do(plant, "silence", 2) == "wrong_state"
    plant.signal(50, 95, start=3)
    assert not plant.engine.alarms()[0].silenced
    assert do(plant, "silence", 6, "") == "done"
    assert plant.events[-1].alarm == "high"
    assert do(plant, "silence", 7, "") == "wrong_state"


def test_a7_a_comment_changes_nothing():
    plant = Plant(HIGH)
    plant.read(0, 95)
    assert do(plant, "comment", 1, note="operator on the way") == "done"
    assert do(plant, "comment", 1) == "no_note"
    assert len(plant.events) == 1


EXCLUSIVE = (rule("high", limit=80, id="h", exclusive=True), rule("high_high", limit=90, id="hh"))


@pytest.mark.parametrize("names", [("h", "hh"), ("z", "hh")])
def test_a8_exclusive_hides_the_lesser_limit_and_annunciates_it_before_the_worse_one_returns(names):
    low, high = names
    plant = Plant(rule("high", limit=80, id=low, exclusive=True), rule("high_high", limit=90, id=high))
    plant.signal(50, 85, 95, 85, 50)
    plant.at(4)
    assert [(*t, e.alarm) for t, e in zip(plant.times, plant.events, strict=True)] == [
        (1, "activated", low),
        (2, "activated", high),
        (2, "suppressed", low),
        (3, "unsuppressed", low),
        (3, "activated", low),
        (3, "returned", high),
        (4, "returned", low),
    ]
    assert plant.events[2].by == high


def test_a8_a_level_that_has_gone_with_the_worse_one_is_not_annunciated():
    plant = Plant(rule("high", limit=80, id="z", exclusive=True), rule("high_high", limit=90, id="hh"))
    plant.signal(95, 50)
    plant.at(1)
    assert [e.transition for e in plant.events if e.alarm == "z"] == [
        "activated",
        "suppressed",
        "returned",
        "unsuppressed",
    ]
    assert plant.events[-1].alarm == "hh"


def test_a8_a_worse_alarm_that_is_hidden_itself_hides_nothing():
    plant = Plant(*EXCLUSIVE)
    plant.read(0, 50)
    shelve(plant, 1, 100, "hh")
    plant.read(2, 95)
    plant.at(2)
    assert of(plant, "h") == [(2, "activated", "unacknowledged")]


def test_a8_the_first_of_a_group_is_marked():
    plant = Plant(*(rule("high", limit=90, id=name, tag=name, first_out="trip") for name in "AB"))
    plant.read(0, 95, tags=("A",))
    plant.read(1, 95, tags=("B",))
    assert [e.first for e in plant.events] == [True, None]


def test_a8_a_planned_stop_leaves_gas_fire_level_and_critical_in_force():
    tags = [Tag("P", kind="pressure"), Tag("G", kind="gas"), Tag("L", kind="level"), Tag("X")]
    rules = [rule("high", limit=90, id=tag.id.lower(), tag=tag.id, area="unit 1") for tag in tags]
    rules.append(rule("high_high", limit=95, id="trip", tag="P", area="unit 1", priority="critical"))
    plant = Plant(*rules, tags=tags)
    words = {"area": "unit 1", "reason": "turnaround"}
    assert do(plant, "planned_stop", 1, "", **{**words, "area": "unit 9"}, until=99) == "unknown_area"
    start = {"from": T0 + 100 * S}
    assert do(plant, "planned_stop", 1, "", until=100 + 31 * 24 * H, **words, **start) == "until_cut"
    assert plant.events == []
    plant.at(100)
    assert of(plant, "p") == [(100, "suppressed", "suppressed")]
    assert {e.alarm for e in plant.events} == {"p"}
    plant.at(100 + 30 * 24 * H)
    assert of(plant, "p")[-1] == (100 + 30 * 24 * H, "unsuppressed", "normal")


def test_q8_maintenance_makes_readings_bad_and_holds_the_alarm_until_its_end():
    plant = Plant(rule("high", limit=90, on_bad="alarm"), tags=[Tag("T")])
    plant.read(0, 50)
    assert do(plant, "maintenance", 1, "", tag="T", until=10 * H, reason="bump test") == "until_cut"
    assert plant.engine.in_maintenance == {"T"}
    plant.read(2, 99)
    assert of(plant, "high") == []
    assert plant.engine.watch("high").quality == Quality.MAINTENANCE
    assert do(plant, "end_maintenance", 3, "", tag="T") == "done"
    plant.read(4, 99)
    assert of(plant, "high") == [(4, "activated", "unacknowledged")]
    assert of(plant, "davy:maintenance:T") == [
        (1, "activated", "unacknowledged"),
        (3, "returned", "returned_unacknowledged"),
    ]


def test_q8_maintenance_lasts_half_an_hour_unless_said_and_ends_by_itself():
    plant = Plant(HIGH)
    plant.read(0, 50)
    assert do(plant, "maintenance", 0, "", tag="T", reason="r") == "done"
    assert do(plant, "maintenance", 0, "", tag="nobody", reason="r") == "unknown_tag"
    plant.at(1800)
    assert plant.engine.in_maintenance == frozenset()


def test_q8_and_g1_maintenance_goes_on_until_its_end_after_a_start_without_a_snapshot():
    plant = Plant(HIGH)
    plant.read(0, 50)
    do(plant, "maintenance", 1, "", tag="T", until=600, reason="bump test")
    fresh = Plant(HIGH)
    fresh.engine.adopt([event.to_fields() for event in plant.events])
    assert fresh.engine.in_maintenance == {"T"}
    fresh.at(601)
    assert fresh.engine.in_maintenance == frozenset()
    assert of(fresh, "davy:maintenance:T") == [(600, "returned", "returned_unacknowledged")]
    again = Plant(HIGH)
    again.engine.adopt([event.to_fields() for event in (*plant.events, *fresh.events)])
    assert again.engine.in_maintenance == frozenset()


def test_q7_a_rule_that_is_held_for_ten_minutes_is_blind():
    plant = Plant(HIGH)
    plant.read(0, 95)
    plant.read(10, None)
    plant.at(609)
    assert plant.engine.blind == {}
    plant.at(610)
    assert plant.engine.blind == {"high": T0 + 10 * S}
    assert of(plant, "davy:blind") == [(610, "activated", "unacknowledged")]
    assert plant.events[-1].priority == "high"
    plant.read(700, 95)
    assert plant.engine.blind == {}
    assert of(plant, "davy:blind")[-1] == (700, "returned", "returned_unacknowledged")


def test_q7_and_a4_the_settings_of_a_new_rule_set_are_in_force_at_once():
    rules = [rule("high", limit=90, id=f"r{i}", priority="high") for i in range(4)]
    plant = Plant(*rules)
    plant.signal(50, None)
    settings = Settings(blind_after_ns=30 * S, max_hidden=0.5, hidden_floor=1)
    plant.at(5)
    plant.events += plant.engine.reconfigure(replace(plant.engine.rules, settings=settings), None)
    plant.at(31)
    assert of(plant, "davy:blind") == [(31, "activated", "unacknowledged")]
    for i in range(3):
        shelve(plant, 40 + i, 600, f"r{i}")
    assert of(plant, "davy:hidden") == [(42, "activated", "unacknowledged")]


def test_q7_stale_and_bad_quality_rules_are_never_blind_and_a_rule_that_never_said_anything_is():
    plant = Plant(HIGH, rule("stale", after="30min"), rule("bad_quality", tag="U"))
    plant.read(0, None)
    plant.at(600)
    assert set(plant.engine.blind) == {"high"}


def test_a11_three_activations_in_a_minute_are_chattering_until_fewer_are():
    plant = Plant(HIGH)
    plant.signal(95, 50, 95, 50, step=10)
    assert of(plant, "davy:chatter:high") == []
    plant.read(59, 95)
    assert of(plant, "davy:chatter:high") == [(59, "activated", "unacknowledged")]
    plant.at(59.9)
    assert len(of(plant, "davy:chatter:high")) == 1
    plant.at(60)
    assert of(plant, "davy:chatter:high")[-1] == (60, "returned", "returned_unacknowledged")
    assert next(e.priority for e in plant.events if e.alarm.startswith("davy:chatter")) == "diagnostic"


def test_a11_more_than_ten_annunciated_activations_in_ten_minutes_are_a_flood_until_under_five():
    names = [f"r{i:02}" for i in range(12)]
    plant = Plant(*(rule("high", limit=90, id=name, tag=name) for name in names))
    plant.read(0, *[50.0] * 12, tags=tuple(names))
    shelve(plant, 0, 3000, "r11")
    for i, name in enumerate(names[:10]):
        plant.read(i + 1, 95, tags=(name,))
    plant.read(11, 95, tags=("r11",))
    assert of(plant, "davy:flood") == []  # hidden ones are not counted
    plant.read(12, 95, tags=("r10",))
    assert of(plant, "davy:flood") == [(12, "activated", "unacknowledged")]
    plant.at(606)
    assert len(of(plant, "davy:flood")) == 1
    plant.at(607)
    assert of(plant, "davy:flood")[-1][:2] == (607, "returned")


def test_g3_an_exercise_is_told_from_start_to_end_and_lasts_at_most_four_hours():
    plant = Plant(HIGH)
    assert do(plant, "exercise", 0, "", until=5 * H, reason="drill") == "until_cut"
    assert do(plant, "exercise", 1, "", until=5 * H, reason="drill") == "already_hidden"
    plant.read(2, 95)
    assert [e.exercise for e in plant.events if e.alarm == "high"] == [False]
    plant.at(4 * H)
    assert of(plant, "davy:exercise")[-1][:2] == (4 * H, "returned")
    assert do(plant, "end_exercise", 4 * H + 1, "") == "wrong_state"


def test_a_condition_record_drives_an_alarm_of_another_part_of_davy():
    plant = Plant(HIGH)
    words = {"alarm": "davy:disk", "priority": "high", "message": {"zh-CN": "磁盘故障", "en": "disk fails"}}
    plant.audit("condition", 1, is_true=True, **words)
    plant.audit("condition", 2, is_true=True, **words)
    plant.audit("condition", 3, is_true=False, **words)
    assert of(plant, "davy:disk") == [(1, "activated", "unacknowledged"), (3, "returned", "returned_unacknowledged")]
    assert plant.events[0].message["zh-CN"] == "磁盘故障"
    assert do(plant, "acknowledge", 4, "davy:disk") == "done"


def test_t8_a_clock_step_moves_the_ends_of_hiding_and_re_alarm():
    plant = Plant(rule("high", limit=90, re_alarm="10min"))
    plant.read(0, 95)
    do(plant, "acknowledge", 0)
    shelve(plant, 0, 100)
    plant.audit("clock", 3610, step=3600 * S)
    plant.at(3699)
    assert of(plant, "high")[-1][1] == "shelved"
    plant.at(3700)
    assert [t for _, t, _ in of(plant, "high")[-2:]] == ["unshelved", "activated"]


def test_t9_hiding_is_real_time_and_expires_while_the_agent_does_not_run():
    plant = Plant(HIGH)
    plant.read(0, 50)
    shelve(plant, 1, 100)
    plant.restored()
    plant.start(1000, previous_end=2)
    assert of(plant, "high")[-1] == (100, "unshelved", "normal")


def test_g1_flags_counts_and_blindness_survive_a_stop():
    straight, stopped = (Plant(*EXCLUSIVE, rule("rate", limit=1, window="5min")) for _ in range(2))
    for plant in (straight, stopped):
        plant.signal(95, 50, 95)
        if plant is stopped:
            plant.restored()
        plant.signal(50, 95, 85, start=3)
        do(plant, "acknowledge", 7, "h")
        shelve(plant, 8, 50, "h")
        if plant is stopped:
            plant.restored()
        plant.at(1000)
    key = [(e.id, e.transition, e.state) for e in straight.events]
    assert [(e.id, e.transition, e.state) for e in stopped.events] == key
    assert stopped.engine.snapshot() == straight.engine.snapshot()


def test_g1_without_a_snapshot_flags_are_read_from_the_event_log():
    plant = Plant(HIGH)
    plant.read(0, 50)
    shelve(plant, 1, 100)
    plant.read(2, 95)
    again = Plant(HIGH)
    again.engine.adopt(e.to_fields() for e in plant.events)
    (view,) = again.engine.standing()
    assert (view.state, view.active, view.hidden[0]["until"]) == ("shelved", True, T0 + 100 * S)
    again.at(100)
    assert [t for _, t in again.times] == ["unshelved", "activated"]


def test_g2_a_weakening_change_waits_until_the_alarm_is_normal():
    plant = Plant(HIGH)
    plant.read(0, 95)
    assert plant.engine.reconfigure(rule_set(rule("high", limit=200, deadband=5)), 1) == []
    assert plant.engine.waiting == ["high"]
    plant.restored()
    assert plant.engine.waiting == ["high"]
    plant.read(1, 50)
    plant.at(1)
    do(plant, "acknowledge", 2)
    assert plant.engine.waiting == []
    plant.read(3, 150)
    assert [t for _, t in plant.times] == ["activated", "returned", "acknowledged"]


def test_g2_a_removed_rule_stays_until_its_alarm_is_normal_and_a_new_one_takes_its_place_at_once():
    plant = Plant(HIGH)
    plant.read(0, 95)
    assert plant.engine.reconfigure(rule_set(rule("low", limit=5)), 1) == []
    assert [view.id for view in plant.engine.alarms()] == ["high", "low"]
    do(plant, "acknowledge", 1)
    plant.read(2, 50)
    plant.at(2)
    assert [view.id for view in plant.engine.alarms()] == ["low"]


def test_g2_force_applies_it_now_and_the_alarm_ends_never_returns():
    plant = Plant(HIGH)
    plant.read(0, 95)
    (event,) = plant.engine.reconfigure(rule_set(rule("high", limit=94)), 1, Force("new basis", "wang"))
    assert (event.transition, event.cause, event.reason, event.actor) == ("ended", "config", "new basis", "wang")
    plant.read(1, 95)
    assert plant.times[-1] == (1, "activated")


def test_g2_a_change_that_does_not_weaken_applies_now_and_a_higher_priority_is_told():
    plant = Plant(HIGH)
    plant.read(0, 95)
    (event,) = plant.engine.reconfigure(rule_set(rule("high", limit=90, deadband=5, priority="critical")), 1)
    assert (event.transition, event.priority, event.state) == ("priority_changed", "critical", "unacknowledged")


def test_an_engine_without_rules_takes_actions():
    engine = Engine(rule_set(), epoch="0")
    assert engine.judge({"kind": "shelve", "alarm": "x"}).reason == "unknown_alarm"
    assert engine.judge({"kind": "dance", "alarm": "x"}).reason == "unknown_alarm"
