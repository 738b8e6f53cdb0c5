"""Laws of the rule engine: the oracle agrees; cuts and restarts change nothing; no way to normal while active."""

import json
from array import array

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.batch import Batch, Layout
from agent.core.events import AlarmEvent
from agent.core.records import Kind, Record
from rules.alarm import ACTIVE, TRANSITIONS, Input
from rules.engine import Engine
from rules.registry import parse
from tests.support.rules import T0, rule_set
from tests.support.rules_oracle import Oracle, S, Sample

many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

DURATIONS = ("window", "after", "on_delay", "off_delay")
numbers = st.sampled_from([0.0, 1.0, 4.0, 5.0, 7.5, 8.0, 8.25, 9.0, 10.0, 10.5, 12.0])
qualities = st.sampled_from([0] * 8 + [1, 2, 6, 6, 100, 101, 101])
gaps = st.sampled_from([1, 1, 1, 1, 2, 3, 7])


@st.composite
def rules(draw, name="r", tag="T"):
    kind = draw(st.sampled_from(["high", "high_high", "low", "low_low", "rate", "stale", "bad_quality", "state"]))
    keys = {"id": name, "condition": kind, "tag": tag, "priority": "medium"}
    keys["on_delay"] = draw(st.integers(0, 4))
    keys["off_delay"] = draw(st.integers(0, 4))
    keys["latch"] = draw(st.booleans())
    keys["on_bad"] = draw(st.sampled_from(["hold", "hold", "alarm", "clear"]))
    if kind == "stale":
        keys["after"] = draw(st.integers(1, 5))
    elif kind == "state":
        keys["values"] = draw(st.lists(numbers, min_size=1, max_size=3))
    elif kind == "rate":
        keys["limit"] = draw(st.sampled_from([30.0, 61.0, 119.0, 301.0]))
        keys["deadband"] = draw(st.sampled_from([0, 7.0, 31.7]))
        keys["window"] = draw(st.integers(2, 12))
        keys["direction"] = draw(st.sampled_from(["rising", "falling", "both"]))
        keys["method"] = draw(st.sampled_from(["endpoints", "least_squares"]))
        keys["min_samples"] = draw(st.integers(2, 5))
    elif kind != "bad_quality":
        keys["limit"] = draw(st.sampled_from([5.0, 8.0, 9.0]))
        keys["deadband"] = draw(st.sampled_from([0, 0.5, 1.0, 3.0]))
    return keys


def configured(keys):
    return parse({key: f"{value}s" if key in DURATIONS else value for key, value in keys.items()})


@st.composite
def signals(draw, most=40):
    at, samples = T0, []
    for _ in range(draw(st.integers(1, most))):
        samples.append(
            (at, draw(numbers), draw(qualities), draw(st.sampled_from(["", "", "", "acknowledge", "reset"])))
        )
        at += draw(gaps) * S
    return samples


LAYOUT = Layout("D", ("T",))


def one(at, value, quality):
    return Batch(LAYOUT, at, array("d", [value]), bytes([quality]) if quality else None)


def near_an_edge(keys, samples):
    """C10: samples whose slope lies within 1e-9 of its edge are left out; here such a signal is not judged at all."""
    if keys["condition"] != "rate":
        return False
    oracle = Oracle(keys)
    edges = (keys["limit"], keys["limit"] - keys["deadband"])
    for at, value, quality, _ in samples:
        oracle.feed(Sample(at, value, quality))
        if quality < 100:
            from tests.support.rules_oracle import slope

            size = slope(oracle.history, keys)
            if size is not None and any(abs(abs(size) - abs(edge)) <= 1e-9 * max(1, abs(edge)) for edge in edges):
                return True
    return False


@many
@given(rules(), signals(), st.integers(0, 8))
def test_the_engine_agrees_with_the_oracle_sample_for_sample(keys, samples, rest):
    if near_an_edge(keys, samples):
        return
    oracle, engine = Oracle(keys), Engine(rule_set(configured(keys)), epoch="0")
    events: list[AlarmEvent] = []
    for at, value, quality, action in samples:
        oracle.feed(Sample(at, value, quality))
        events += engine.apply(Record(1, Kind.READINGS, batch=one(at, value, quality)))
        if action:
            oracle.act(action, at)
            events += engine.apply(Record(1, Kind.AUDIT, fields={"kind": action, "time": at, "alarm": "r"}))
    end = samples[-1][0] + rest * S
    oracle.pass_time(end)
    events += engine.advance(end, None)
    assert [(e.time, e.transition.value, e.state.value) for e in events if e.alarm == "r"] == oracle.told


@st.composite
def plants(draw):
    tags = ("A", "B", "C")
    chosen = [draw(rules(name=f"r{i}", tag=draw(st.sampled_from(tags)))) for i in range(draw(st.integers(1, 5)))]
    at, rows = T0, []
    for _ in range(draw(st.integers(1, 25))):
        poll = draw(st.lists(st.sampled_from(range(3)), min_size=1, max_size=5))
        rows += [(at, tag, draw(numbers), draw(qualities | st.just(4)), draw(st.integers(-1, 0))) for tag in poll]
        at += draw(gaps) * S
    return Layout("D", tags), chosen, rows


def cut(layout, rows, ends):
    """Rows as batches: of one ``at`` each, cut further wherever ``ends`` says."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i][0] != rows[start][0] or i in ends:
            piece = rows[start:i]
            quality = bytes(row[3] for row in piece)
            yield Batch(
                layout,
                piece[0][0],
                array("d", [row[2] for row in piece]),
                quality if any(quality) else None,
                None if [row[1] for row in piece] == [0, 1, 2] else array("I", [row[1] for row in piece]),
                array("q", [row[4] for row in piece]) if any(row[4] for row in piece) else None,
            )
            start = i


def told(layout, rule_keys, rows, ends, stops):
    engine = Engine(rule_set(*[configured(keys) for keys in rule_keys]), epoch="0")
    events: list[AlarmEvent] = []
    for i, batch in enumerate(cut(layout, rows, ends)):
        if i in stops:
            engine = Engine.restore(engine.rules, engine.snapshot(), epoch="0")
        events += engine.apply_batch(batch, None)
    events += engine.advance(rows[-1][0], None)
    return [json.dumps(event.to_fields(), sort_keys=True) for event in events], engine.snapshot()


@many
@given(plants(), st.sets(st.integers(0, 120)), st.sets(st.integers(0, 120)))
def test_any_cut_and_any_stop_and_continue_tell_the_same_events_byte_for_byte(plant, ends, stops):
    layout, rule_keys, rows = plant
    straight = told(layout, rule_keys, rows, set(), set())
    assert told(layout, rule_keys, rows, ends, stops) == straight


@many
@given(rules(), signals())
def test_no_path_leads_to_normal_while_active_and_own_events_give_the_states(keys, samples):
    engine = Engine(rule_set(configured(keys)), epoch="0")
    events: list[AlarmEvent] = []
    for at, value, quality, action in samples:
        events += engine.apply(Record(1, Kind.READINGS, batch=one(at, value, quality)))
        if action:
            events += engine.apply(Record(1, Kind.AUDIT, fields={"kind": action, "time": at, "alarm": "r"}))
    active = False
    for event in (each for each in events if each.alarm == "r"):
        if event.state == "normal":
            assert not active or event.transition == "returned"
        active = event.state in ACTIVE
    again = Engine(engine.rules, epoch="0")
    again.adopt(event.to_fields() for event in events)
    one_view, other = engine.alarms()[0], again.alarms()[0]
    same = ("state", "active", "occurrence", "event", "since")
    assert [getattr(one_view, key) for key in same] == [getattr(other, key) for key in same]
    assert len({event.id for event in events}) == len(events)


def test_a2_the_table_has_no_way_to_normal_from_an_active_state_but_the_conditions_return():
    for state in ACTIVE:
        ways = {change for change, move in TRANSITIONS[state].items() if move.state == "normal"}
        assert ways <= {Input.FALSE}
