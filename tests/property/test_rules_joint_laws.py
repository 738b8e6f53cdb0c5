"""Laws of rules over several tags and other rules: an oracle agrees; cuts and stops change nothing (T6, C6, C7)."""

import json
from array import array

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.batch import Batch, Layout
from rules.engine import Engine
from rules.expression.lexer import ExpressionError
from rules.expression.parser import parse
from rules.expression.program import Program
from rules.registry import parse as parse_rule
from tests.support.rules import BAD, NAN, T0, S, rule_set
from tests.support.rules_joint_oracle import EXPRESSIONS, Plant

many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TAGS = ("A", "B", "C")
LAYOUT = Layout("D", TAGS)
DURATIONS = ("after", "on_delay", "off_delay")
OWN = ("sees", "inputs")
numbers = st.sampled_from([0.0, 4.0, 5.0, 7.5, 8.0, 9.0, 10.0, 12.0])
values = st.one_of(numbers, numbers, numbers, numbers, st.none())


def common(draw, name, **keys):
    delays = {key: draw(st.sampled_from([0, 0, 1, 2, 4])) for key in ("on_delay", "off_delay")}
    return {"id": name, "priority": draw(st.sampled_from(["low", "medium"])), **delays, **keys}


@st.composite
def plants(draw):
    """Three members, what looks at several tags, votes over them and over each other, counts of what stands."""
    on_bad = st.sampled_from(["hold", "hold", "alarm", "clear"])
    margin = {"limit": 3.0, "deadband": draw(st.sampled_from([0.0, 1.0]))}
    rules = []
    for name, tag in (("a", "A"), ("b", "B"), ("c", "C")):
        if draw(st.integers(0, 3)):
            rule = common(draw, name, condition="high", tag=tag, limit=8.0, on_bad=draw(on_bad))
            rules.append({**rule, "deadband": draw(st.sampled_from([0.0, 1.0]))})
        else:
            rules.append(common(draw, name, condition="stale", tag=tag, after=draw(st.integers(1, 4))))
    text = draw(st.sampled_from(sorted(EXPRESSIONS)))
    policy = st.sampled_from(["degrade", "trip", "healthy", "drop"])
    rules += [
        common(draw, "D", condition="discrepancy", inputs="ABC", tags=list(TAGS), on_bad=draw(on_bad), **margin),
        common(draw, "X", condition="deviation", tag="A", reference="B", inputs="AB", on_bad=draw(on_bad), **margin),
        common(draw, "E", condition="expression", expression=text, inputs=EXPRESSIONS[text], on_bad=draw(on_bad)),
        common(
            *(draw, "V"),
            condition="vote",
            members=["a", "b", "c"],
            k=draw(st.integers(1, 3)),
            bad_vote=draw(policy),
            sees=set(),
        ),
        common(
            *(draw, "W"),
            condition="vote",
            members=["V", "E", "D", "c"],
            k=draw(st.integers(1, 4)),
            bad_vote=draw(policy),
            sees=set(TAGS),
        ),
        common(
            *(draw, "U"),
            condition="count_upgrade",
            members=["a", "b", "c", "W"],
            level="low",
            n=draw(st.integers(1, 3)),
        ),
        common(
            *(draw, "UU"), condition="count_upgrade", members=["U", "E", "a"], level="medium", n=draw(st.integers(1, 2))
        ),
    ]
    return rules


def configured(keys):
    return parse_rule({k: f"{v}s" if k in DURATIONS else v for k, v in keys.items() if k not in OWN})


seconds = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), values), max_size=4), min_size=1, max_size=25)


def batch(second, tag, value):
    column, quality = array("d", [NAN if value is None else value]), bytes([BAD]) if value is None else None
    return Batch(LAYOUT, T0 + second * S, column, quality, array("I", [TAGS.index(tag)]))


def told(rules, story, stops=frozenset()):
    engine = Engine(rule_set(*map(configured, rules)), epoch="0")
    events, count = [], 0
    for second, readings in enumerate(story):
        for tag, value in readings:
            if count in stops:
                engine = Engine.restore(engine.rules, engine.snapshot(), epoch="0")
            count += 1
            events += engine.apply_batch(batch(second, tag, value), None)
    events += engine.advance(T0 + (len(story) + 6) * S, None)
    assert not engine.faults
    return [event for event in events if event.rule is not None]


@many
@given(plants(), seconds)
def test_t6_c6_c7_the_engine_agrees_with_the_oracle_event_for_event(rules, story):
    oracle = Plant(rules)
    for second, readings in enumerate([*story, *([[]] * 7)]):
        oracle.second(second, readings)
    got = [((e.time - T0) // S, e.alarm, e.transition.value) for e in told(rules, story)]
    assert got == oracle.told


@many
@given(plants(), seconds, st.sets(st.integers(0, 60)))
def test_t4_any_stop_and_continue_tells_the_same_events_byte_for_byte(rules, story, stops):
    def lines(events):
        return [json.dumps(event.to_fields(), sort_keys=True) for event in events]

    assert lines(told(rules, story, stops)) == lines(told(rules, story))


# ---- the two ways of an expression

leaves = st.sampled_from(["a", "b", "c", "2", "0.5"])
sums = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        inner.map(lambda p: f"abs(-{p})"),
    ),
    max_leaves=6,
)
comparisons = st.tuples(sums, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), sums).map(" ".join)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda p: f"not ({p})"),
    ),
    max_leaves=5,
)
inputs = st.sampled_from([0.0, 1.0, 2.0, -3.0, 0.1, 1e200, -1e300, None])


@many
@given(conditions, st.tuples(inputs, inputs, inputs))
def test_c7_the_compiled_and_the_three_valued_way_agree_and_nothing_is_raised(text, numbers):
    program = Program(parse(text))
    taken = [numbers["abc".index(leaf.tag)] for leaf in program.leaves]
    assert program.run(taken) is program._slow(taken)


@many
@given(st.text(alphabet="ab1.5 ()<>=+-*/,'\"and or not held(avg(10s\n（&", max_size=40))
def test_c9_any_text_is_a_tree_or_an_error_with_its_place(text):
    try:
        Program(parse(text))
    except ExpressionError as error:
        refused = str(error)
    else:
        refused = "line 1, column 1: not refused"
    assert refused.startswith("line ")
