"""Laws of the conditions with windows: the oracle agrees, stop and continue is exact (spec/rules.md C, C3-C5, C10)."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agent.core.events import AlarmEvent
from agent.core.records import Kind, Record
from agent.core.tags import Tag
from rules.engine import Engine
from rules.registry import parse
from tests.property.test_rules_laws import gaps, one, qualities
from tests.support.rules import T0, rule_set
from tests.support.rules_oracle import S, Sample
from tests.support.rules_oracle_windows import KINDS, WindowOracle

many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
numbers = st.sampled_from([0.0, 1.0, 4.0, 5.0, 5.0, 5.0, 5.25, 7.5, 8.0, 9.0, 12.0, -3.0, 1e7])


@st.composite
def rules(draw):
    kind = draw(st.sampled_from(KINDS))
    keys = {"id": "r", "condition": kind, "tag": "T", "priority": "medium"}
    for delay in ("on_delay", "off_delay"):
        keys[delay] = draw(st.sampled_from([0, 0, 3]))
    keys["on_bad"] = draw(st.sampled_from(["hold", "hold", "alarm", "clear"]))
    if kind != "flatline":
        keys["limit"] = draw(st.sampled_from([2.0, 5.01, 6.01, 8.0]))
    if kind == "deviation":
        keys["deadband"] = draw(st.sampled_from([0.0, 0.51, 1.0]))
        keys["reference"] = draw(st.sampled_from([5.0, {"mean": 6}, {"mean": 20}]))
        keys["min_samples"] = draw(st.integers(1, 5))
    elif kind == "flatline":
        keys["window"] = draw(st.integers(2, 8))
        keys["epsilon"] = draw(st.sampled_from([0.0, 0.25, 1.0]))
        keys["min_samples"] = draw(st.integers(2, 5))
    elif kind == "average":
        keys["deadband"] = draw(st.sampled_from([0.0, 0.51]))
        keys["max_hold"] = draw(st.integers(1, 4))
        keys["direction"] = draw(st.sampled_from(["high", "high", "low"]))
        keys["partial"] = draw(st.booleans())
        if draw(st.booleans()):
            keys["window"] = draw(st.integers(2, 15))
        else:
            keys["shift"] = {"every": 60, "over": draw(st.sampled_from([11, 23]))}
    else:
        keys["deadband"] = draw(st.sampled_from([0, 2]))
        keys["horizon"] = draw(st.integers(1, 8))
        keys["window"] = draw(st.integers(3, 12))
        keys["direction"] = draw(st.sampled_from(["rising", "falling"]))
        keys["min_samples"] = draw(st.integers(2, 5))
    return keys


def configured(keys):
    seconds = ("window", "max_hold", "on_delay", "off_delay", "horizon")
    fields = {key: f"{value}s" if key in seconds else value for key, value in keys.items()}
    if keys["condition"] == "time_to_limit":
        fields["deadband"] = f"{keys['deadband']}s"
    if isinstance(keys.get("reference"), dict):
        fields["reference"] = {"mean": f"{keys['reference']['mean']}s"}
    if "shift" in keys:
        minutes = [f"{i // 60:02}:{i % 60:02}" for i in range(24 * 60)]
        fields["shift"] = {"starts": minutes, "over": f"{keys['shift']['over']}s"}
    return parse(fields)


@st.composite
def signals(draw):
    at, samples = T0 + 31 * S, []
    for _ in range(draw(st.integers(1, 40))):
        samples.append((at, draw(numbers), draw(qualities)))
        at += draw(gaps) * S
    return samples


@many
@given(rules(), signals(), st.sets(st.integers(0, 40)))
def test_c10_the_engine_agrees_with_exact_fractions_and_stop_and_continue_is_exact(keys, samples, stops):
    oracle, engine = WindowOracle(keys), Engine(rule_set(configured(keys)), epoch="0")
    events: list[AlarmEvent] = []
    for i, (at, value, quality) in enumerate(samples):
        if i in stops:
            engine = Engine.restore(engine.rules, engine.snapshot(), epoch="0")
        oracle.feed(Sample(at, value, quality))
        events += engine.apply(Record(1, Kind.READINGS, batch=one(at, value, quality)))
    assume(not oracle.is_near)
    end = samples[-1][0] + 3 * S
    oracle.pass_time(end)
    events += engine.advance(end, None)
    assert [(e.time, e.transition.value, e.state.value) for e in events if e.rule == "r"] == oracle.told


@many
@given(rules(), signals(), st.integers(1, 39))
def test_g1_a_window_left_out_of_the_snapshot_and_refilled_goes_on_as_if_nothing_had_been(keys, samples, stop):
    minutes = ("window", "max_hold", "on_delay", "off_delay", "horizon")
    slow = {key: value * 60 if key in minutes else value for key, value in keys.items()}
    if isinstance(keys.get("reference"), dict):
        slow["reference"] = {"mean": keys["reference"]["mean"] * 60}
    batches = [one(T0 + (at - T0) * 60, value, quality) for at, value, quality in samples]
    rules_ = rule_set(configured(slow), tags=[Tag("T")])
    straight, stopped = Engine(rules_, epoch="0"), Engine(rules_, epoch="0")
    one_way, other_way = [], []
    for i, batch in enumerate(batches):
        one_way += straight.apply_batch(batch, None)
        if i == stop:
            stopped = Engine.restore(rules_, stopped.snapshot(), epoch="0")
            start_ns = stopped.refill_from_ns
            for old in batches[:i] if start_ns is not None else ():
                if old.at_ns >= start_ns:
                    stopped.refill(old)
        other_way += stopped.apply_batch(batch, None)
    assert [e.to_fields() for e in other_way if e.rule] == [e.to_fields() for e in one_way if e.rule]
    assert stopped.watch("r").to_row() == straight.watch("r").to_row()
