"""Readings that came late (spec/rules.md T2): found_late, its acknowledgement, snapshots."""

from array import array

from agent.core.batch import Batch, Layout
from agent.core.tags import Tag
from rules.engine import Engine
from tests.support.rules import BAD, NAN, T0, Plant, S, rule

LAYOUT = Layout("D", ("T",))
HIGH = rule("high", limit=90, deadband=5, id="h")


def history(plant, at, *rows):
    """Historical readings (second, value) that arrive at one time."""
    column = array("d", [NAN if value is None else value for _, value in rows])
    quality = bytes(BAD if value is None else 0 for _, value in rows)
    batch_at = T0 + int(at * S)
    dt = array("q", [T0 + int(t * S) - batch_at for t, _ in rows])
    index = array("I", [0] * len(rows))
    plant.take(Batch(LAYOUT, batch_at, column, quality, index, dt, historical=True))


def found(plant):
    return [
        ((e.start - T0) / S, (e.end - T0) / S, e.extreme) for e in plant.events if e.transition.value == "found_late"
    ]


def test_t2_each_stretch_in_which_a_condition_was_true_is_one_event():
    plant = Plant(HIGH)
    plant.read(100, 50)
    history(plant, 100, (10, 50), (11, 91), (12, 95), (13, 86), (14, 84), (20, 92), (21, None), (22, 93))
    assert plant.events == []  # the step may go on
    plant.at(100)
    assert found(plant) == [(11, 14, 95), (20, 22, 93)]
    event = plant.events[0]
    fields = event.to_fields()
    assert (event.annunciated, event.state, event.time, fields["from"]) == (False, "normal", T0 + 100 * S, event.start)
    assert event.event == event.id
    assert "补传" in event.message["zh-CN"]


def test_t2_the_live_alarm_its_occurrence_and_its_memory_stay_untouched():
    plant = Plant(HIGH)
    plant.read(100, 95)
    live = plant.events[0].id
    history(plant, 100, (10, 99), (11, 1))
    plant.read(101, 87)  # between the columns: still true
    assert [e.transition.value for e in plant.events] == ["activated", "found_late"]
    late = plant.events[1]
    assert (late.state, late.occurrence) == ("unacknowledged", 1)
    assert plant.act("acknowledge", 102, "h", late.id) == "done"
    seen = plant.events[-1]
    assert (seen.transition, seen.state, seen.event, seen.actor) == ("acknowledged", "unacknowledged", late.id, "li")
    assert plant.act("acknowledge", 103, "h", late.id) == "superseded"
    assert plant.act("acknowledge", 104, "h", live) == "done"
    assert plant.events[-1].state == "acknowledged"


def test_t2_what_was_found_late_waits_for_a_person_over_restarts():
    plant = Plant(HIGH)
    history(plant, 100, (10, 99), (11, 1))
    plant.at(100)
    (late,) = plant.events
    plant.restored()
    assert plant.engine.found_late == {late.id: "h"}
    fresh = Engine(plant.engine.rules, epoch="0")
    fresh.adopt([late.to_fields()])
    assert fresh.found_late == {late.id: "h"}
    assert fresh.alarms()[0].state == "normal"
    assert plant.act("acknowledge", 101, "h", late.id) == "done"
    assert plant.engine.found_late == {}
    fresh.adopt([plant.events[-1].to_fields()])
    assert fresh.found_late == {}


def test_t2_what_was_found_late_stands_until_a_person_has_seen_it_one_after_the_other():
    plant = Plant(HIGH)
    history(plant, 100, (10, 99), (11, 1), (20, 97), (21, 1))
    plant.at(100)
    plant.restored()
    first, second = (event.id for event in plant.events)
    (view,) = plant.engine.standing()
    assert (view.id, view.event, view.state, view.active) == ("h", first, "returned_unacknowledged", False)
    assert (view.since, view.extreme, "补传" in view.message["zh-CN"]) == (T0 + 10 * S, 99, True)
    assert plant.act("acknowledge", 101, "h") == "done"  # without an event: the one that is listed
    assert [each.event for each in plant.engine.standing()] == [second]
    fresh = Engine(plant.engine.rules, epoch="0")
    fresh.adopt([event.to_fields() for event in plant.events])
    assert fresh.standing() == plant.engine.standing()
    plant.read(102, 95)
    (view,) = plant.engine.standing()  # the alarm itself comes first
    assert view.active
    assert plant.act("acknowledge", 103, "h") == "done"
    plant.read(104, 50)
    assert [each.event for each in plant.engine.standing()] == [second]
    assert plant.act("acknowledge", 105, "h") == "done"
    assert plant.engine.standing() == []
    assert plant.act("acknowledge", 106, "h") == "wrong_state"


def test_t2_a_step_that_is_cut_or_interrupted_tells_the_same():
    rows = [(10 + i, value) for i, value in enumerate([50, 91, 95, 92, 91, 50, 99])]
    rules = (HIGH, rule("state", values=[95], id="s"))
    straight, cut = Plant(*rules), Plant(*rules)
    history(straight, 100, *rows)
    for row in rows:
        history(cut, 100, row)
        cut.restored()
    for plant in (straight, cut):
        plant.read(101, 50)
    told = [[{**e.to_fields(), "cause_seq": None} for e in plant.events] for plant in (straight, cut)]
    assert told[0] == told[1]
    assert [(e.alarm, e.extreme) for e in straight.events] == [("h", 95), ("h", 99), ("s", None)]


def test_t2_averages_are_evaluated_over_late_readings_apart_and_rates_are_not():
    keys = {"window": "4s", "max_hold": "2s"}
    plant = Plant(rule("average", limit=10, **keys), rule("rate", limit=1, window="4s"), tags=[Tag("T")])
    plant.signal(*[0.0] * 5, start=96)
    history(plant, 100, *[(10 + i, 20.0 * i) for i in range(5)])
    plant.at(100)
    assert [e.alarm for e in plant.events] == ["average"]
    assert found(plant) == [(12, 14, 30.0)]


def test_t2_readings_older_than_those_before_begin_anew():
    plant = Plant(HIGH)
    history(plant, 100, (50, 95), (51, 95), (10, 88), (11, 80))
    plant.at(100)
    assert found(plant) == [(50, 51, 95)]
