"""Fault alarms of tags and devices (spec/rules.md Q6)."""

from agent.core.tags import Tag
from rules.engine import Engine
from tests.support.rules import T0, Plant, S, rule

TAGS = [Tag(name, device="D", poll_ns=S) for name in "ABC"]
RULES = [
    rule("high", limit=90, id=f"r{name}", tag=name, priority="critical" if name == "A" else "low") for name in "ABC"
]


def live(*rules, tags=TAGS):
    plant = Plant(*rules, tags=tags)
    plant.engine = Engine(plant.engine.rules, epoch="0", has_fault_alarms=True)
    return plant


def of(plant):
    return [((e.time - T0) / S, e.alarm, e.transition.value) for e in plant.events]


def poll(plant, at, *values, q=101):
    plant.read(at, *values, tags=("A", "B", "C"))


def test_q6_a_tag_is_in_fault_when_its_readings_are_bad_for_three_polls_or_ten_seconds():
    plant = live(*RULES)
    for at in range(15):
        poll(plant, at, None if at > 2 else 1, 1, 1)
    plant.at(14)
    assert of(plant) == [(12, "davy:tag:A:fault", "activated")]
    assert plant.events[0].priority == "high"  # critical's, at most high
    assert plant.events[0].tag == "A"
    poll(plant, 20, 1, 1, 1)
    assert of(plant)[-1] == (20, "davy:tag:A:fault", "returned")


def test_q6_a_tag_may_say_itself_when_it_is_in_fault():
    tags = [Tag("A", device="D", poll_ns=S, fault_after_ns=4 * S), *TAGS[1:]]
    plant = live(*RULES, tags=tags)
    for at in range(9):
        poll(plant, at, None if at > 2 else 1, 1, 1)
    assert of(plant) == [(6, "davy:tag:A:fault", "activated")]


def test_q8_a_silent_tag_in_maintenance_is_not_in_fault_after_a_restart_either():
    plant = live(*RULES)
    poll(plant, 0, 1, 1, 1)
    plant.audit("maintenance", 1, tag="B", reason="r", actor="li", until=T0 + 600 * S, outcome="done")
    image = plant.engine.snapshot()
    plant.engine = Engine.restore(plant.engine.rules, image, epoch="0", has_fault_alarms=True)
    plant.events.clear()
    for at in range(2, 20):
        plant.read(at, 1, 1, tags=("A", "C"))
    plant.at(20)
    assert of(plant) == []


def test_q6_the_tags_of_a_dead_device_raise_one_alarm_that_names_them():
    plant = live(*RULES)
    poll(plant, 0, 1, 1, 1)
    plant.at(30)
    assert of(plant) == [(10, "davy:device:D:fault", "activated")]
    assert "A, B, C" in plant.events[0].message["en"]
    poll(plant, 40, 1, None, 1)
    plant.at(40)
    assert of(plant)[1:] == [(40, "davy:device:D:fault", "returned"), (40, "davy:tag:B:fault", "activated")]


def test_q6_a_device_that_never_answers_is_in_fault_after_the_start():
    plant = live(*RULES)
    plant.start(0, previous_end=None)
    plant.at(10)
    assert of(plant) == [(10, "davy:device:D:fault", "activated")]


def test_q6_a_tag_that_a_stale_or_bad_quality_rule_names_has_none():
    plant = live(RULES[0], rule("stale", after="1h", tag="A"), RULES[1], rule("bad_quality", tag="B", id="q"))
    poll(plant, 0, 1, 1, 1)
    plant.at(600)
    assert not any("fault" in alarm for _, alarm, _ in of(plant))


def test_q6_a_replay_adds_none():
    plant = Plant(*RULES, tags=TAGS)
    poll(plant, 0, 1, 1, 1)
    plant.at(100)
    assert plant.events == []


def test_q6_a_fault_survives_a_stop_and_goes_on_counting():
    plant = live(*RULES)
    poll(plant, 0, 1, 1, 1)
    poll(plant, 5, None, 1, 1)
    image = plant.engine.snapshot()
    plant.engine = Engine.restore(plant.engine.rules, image, epoch="0", has_fault_alarms=True)
    assert plant.engine.snapshot() == image
    poll(plant, 9, None, 1, 1)
    plant.at(12)
    assert of(plant) == [(10, "davy:tag:A:fault", "activated")]


def test_q8_a_tag_in_maintenance_raises_no_fault():
    plant = live(*RULES)
    poll(plant, 0, 1, 1, 1)
    plant.audit("maintenance", 1, tag="A", reason="bump test", actor="li", outcome="done", until=T0 + 60 * S)
    for at in range(2, 70):
        poll(plant, at, None, 1, 1)
    plant.at(68)
    assert not any("fault" in alarm for _, alarm, _ in of(plant))
    poll(plant, 70, None, 1, 1)
    plant.at(70)
    assert (70, "davy:tag:A:fault", "activated") in of(plant)
