"""The expression language (C7): what may be written, what it means, and what is refused with its place."""

import math
import re

import pytest

from agent.core.tags import Tag
from rules.check import check
from rules.expression.lexer import ExpressionError, words
from rules.expression.parser import parse
from rules.expression.program import Program
from rules.expression.tree import Held, names
from tests.support.rules import Plant, rule


def value(text, *values):
    """The condition with a, b, c … given; None is unknown."""
    return Program(parse(text)).run(values)


def expression(text, **keys):
    return rule("expression", id="E", tag=None, expression=text, **keys)


# ---- words


def test_durations_are_seconds_and_names_may_have_dots_and_letters_of_any_script():
    texts = [token.text for token in words("held(1号罐.液位 > 10.5, 10min) and T101.level <= 1e-3")]
    assert texts == [
        "held",
        "(",
        "1号罐.液位",
        ">",
        "10.5",
        ",",
        "10min",
        ")",
        "and",
        "T101.level",
        "<=",
        "1e-3",
        "the end",
    ]
    assert [token.value for token in words("500ms 1.5min 8h")][:3] == [0.5, 90.0, 28800.0]


def test_a_name_that_reads_otherwise_stands_in_quotes():
    tree = parse("""'T-101.level' > 1 and "10s" > 2 and `and` > 3""")
    assert [name.tag for name in names(tree)] == ["T-101.level", "10s", "and"]


# ---- meaning


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a + b * 2 > 7", (2, 3), True),
        ("(a + b) * 2 > 10", (2, 3), False),
        ("a - b - 1 == 0", (3, 2), True),
        ("a / b / 2 == 1", (8, 4), True),
        ("-a < 0 and not b > 5", (1, 5), True),
        ("0 < a <= 5", (5,), True),
        ("0 < a <= 5", (6,), False),
        ("min(a, b, 7) == 3 or max(a, b) == 9", (3, 8), True),
        ("abs(a - b) >= 2", (1, 3), True),
        ("a > 1 or b > 1 and c > 1", (0, 2, 0), False),
        ("a != 1", (1,), False),
    ],
)
def test_c7_arithmetic_comparison_logic(text, values, expected):
    assert value(text, *values) is expected


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a > 1 and b > 1", (0, None), False),
        ("a > 1 and b > 1", (2, None), None),
        ("a > 1 or b > 1", (2, None), True),
        ("a > 1 or b > 1", (0, None), None),
        ("not a > 1", (None,), None),
        ("a / b > 1", (1, 0), None),
        ("a / b > 1 or a == 1", (1, 0), True),
        ("a / b > 1 and a == 2", (1, 0), False),
        ("not a * b - a * b > 1", (1e300, 1e300), None),
        ("min(a * b - a * b, 1) > 0 or a > 1", (1e300, 1e300), True),
        ("a * b > 1", (1e300, 1e300), True),
    ],
)
def test_c7_unknown_is_three_valued_and_so_are_division_by_zero_and_nan(text, values, expected):
    assert value(text, *values) is expected


def test_c7_what_was_compiled_is_not_python():
    """Hostile texts are refused by the grammar; nothing of them reaches the compiler."""
    for text in (
        "__import__('os').system('id') > 1",
        "a.__class__ > (lambda: 1)()",
        "[x for x in a] > 1",
        "a ** 9 ** 9 > 1",
        "f'{a}' > 1",
        "a if b else c",
        "exec(a) > 1",
        "a > 1; b > 2",
        "a := 1",
    ):
        with pytest.raises(ExpressionError):
            parse(text)
    assert names(parse("__class__ > 1"))[0].tag == "__class__"  # a tag's name and nothing else


def test_c7_too_long_too_deep_or_too_many_parts_are_refused_with_the_place():
    long = Program(parse(" + ".join(f"a{i}" for i in range(140)) + " > 139.5"))
    assert long.run([1.0] * 140) is True
    assert long.run([1.0] * 139 + [None]) is None
    for text, message in (
        ("a > 1 or " * 200 + "a > 1", "more than 300 parts"),
        ("(" * 25 + "a > 1" + ")" * 25, "nested deeper than 20"),
        ("not " * 25 + "a > 1", "nested deeper than 20"),
        ("-" * 25 + "a > 1", "nested deeper than 20"),
        ("a > " + "1" * 4_000, "longer than 4000"),
    ):
        with pytest.raises(ExpressionError, match=message):
            parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a >", "line 1, column 4: expected a tag, a number, a function or '(', found the end"),
        ("a > 1 and\n  b", "line 2, column 3: expected a condition, found a number; write b == 1"),
        ("a = 1", "line 1, column 3: '=' has no meaning here; write == to compare"),
        ("a > 1 && b > 1", "line 1, column 7: '&' has no meaning here; write and"),
        ("a ≥ 1", "line 1, column 3: '≥' has no meaning here; write >="),
        ("avgg(a, 10min) > 1", "line 1, column 1: unknown function avgg; did you mean avg?"),
        ("avg(a, 10) > 1", "line 1, column 1: expected avg(tag, 10min)"),
        ("avg(a + 1, 10min) > 1", "line 1, column 1: expected avg(tag, 10min)"),
        ("held(a, 10s)", "line 1, column 6: expected a condition, found a number; write a == 1"),
        ("held(a > 1, 0s)", "line 1, column 13: expected a duration above zero"),
        ("(a > 1) + 2 > 3", "line 1, column 4: expected a number, found a condition"),
        ("bad(a) == 1", "line 1, column 1: expected a number, found a condition"),
        ("a > 1 b", "line 1, column 7: expected and, or, a comparison or the end, found 'b'"),
        ("'a > 1", 'line 1, column 1: "\'" has no meaning here; the quote is not closed'),
        ("1 > 2", "expected at least one tag"),
        ("flat(a, 10min)", "line 1, column 1: expected flat(tag, 10min, epsilon)"),
        ("a > 1e999", "1e999 is too large"),
    ],
)
def test_c9_wrong_words_and_types_are_errors_with_line_and_column(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        expression(text)


def findings(text, *tags):
    return [f.message for f in check([expression(text)], [Tag(**tag) for tag in tags], keep_ns=None)]


def test_c9_unknown_names_are_errors_with_the_place_and_the_closest_name():
    fan, level = {"id": "fan.running"}, {"id": "T101-level"}
    assert findings("fna.running == 0", fan) == ["line 1, column 1: unknown tag fna.running; did you mean fan.running?"]
    (message,) = findings("fan.running == 0 and T101-level > 1", fan, level)[:1]
    assert message == "line 1, column 22: unknown tag T101; a name with - is written in quotes: 'T101-level'"


def test_c9_units_that_do_not_go_together_are_errors():
    kpa, mpa, bare = {"id": "A", "unit": "kPa"}, {"id": "B", "unit": "MPa"}, {"id": "C"}
    assert findings("A > B", kpa, mpa) == [
        "line 1, column 3: different units: kPa and MPa; multiply by the factor between them"
    ]
    assert findings("max(A, B) > 1", kpa, mpa)
    assert findings("avg(A, 10min) - B > 1", kpa, mpa)
    assert findings("rate(A, 10min) > A", kpa)
    for fine in ("A > B * 1000", "A > 5", "A > C", "age(A) > 30s", "A - 3 > C"):
        assert findings(fine, kpa, mpa, bare) == [], fine


def test_c9_windows_of_an_expression_are_checked_like_those_of_rules():
    tag = {"id": "A", "poll_ns": 10_000_000_000}
    assert "four polls" in findings("avg(A, 30s) > 1", tag)[0]
    assert findings("avg(A, 40s) > 1", tag) == []
    assert "shorter than a poll" in findings("held(A > 1, 5s)", tag)[0]
    keep = check([expression("avg(A, 10h) > 1")], [Tag(id="A")], keep_ns=3600 * 10**9)
    assert [f.message for f in keep] == ["line 1, column 1: window is longer than the journal keeps readings"]


# ---- in the engine

AB = ("A", "B")


def test_t6_an_expression_sees_the_last_readings_of_its_step_and_tells_no_value():
    plant = Plant(expression("A > 5 and B > 5"))
    plant.read(0, 1, 1, tags=AB)
    plant.read(1, 9, tags=("A",))
    plant.read(1, 9, tags=("B",))
    plant.read(2, 9, 1, tags=AB)
    plant.at(2)
    assert plant.times == [(1, "activated"), (2, "returned")]
    (event, _) = plant.events
    assert (event.value, event.limit, event.tag, event.rule, event.kind) == (None, None, None, "E", "expression")
    assert "reading" not in event.to_fields()


def test_c7_a_bad_tag_is_unknown_and_starts_and_ends_nothing():
    plant = Plant(expression("A > 5 and B > 5"))
    plant.read(0, 9, None, tags=AB)
    plant.read(1, 9, 9, tags=AB)
    plant.read(2, None, 9, tags=AB)
    plant.read(3, None, 1, tags=AB)
    plant.at(3)
    assert plant.times == [(1, "activated"), (3, "returned")]


def test_c7_a_tag_in_fault_is_unknown_but_bad_knows():
    plant = Plant(expression("not A > 5 and B > 5"), rule("expression", id="F", tag=None, expression="bad(A)"))
    plant.read(0, 9, 9, tags=AB)
    plant.at(0)
    plant.engine.set_fault("A", True)
    plant.read(1, 9, tags=("B",))
    plant.at(1)
    assert [(event.alarm, event.transition) for event in plant.events] == [("F", "activated")]


def test_c7_on_bad_turns_unknown_into_true_or_false():
    for on_bad, expected in (("alarm", [(1, "activated"), (2, "returned")]), ("clear", [])):
        plant = Plant(expression("A > 5", on_bad=on_bad))
        plant.read(0, 1, tags=("A",))
        plant.read(1, None, tags=("A",))
        plant.read(2, 1, tags=("A",))
        plant.at(2)
        assert plant.times == expected
        assert [event.cause for event in plant.events[:1]] == ["bad_input"][: len(expected)]


def test_q3_a_reading_in_the_ne43_band_makes_an_expression_true_never_false():
    plant = Plant(expression("A > 5 and B > 5"))
    plant.read(0, 9, 9, tags=AB, q=6)
    plant.read(1, 1, tags=("A",), q=6)
    plant.at(1)
    assert plant.times == [(0, "activated")]
    plant.read(2, 1, tags=("B",))
    plant.at(2)
    assert plant.times == [(0, "activated"), (2, "returned")]


def test_t6_held_is_no_timer_it_turns_true_at_the_first_reading_that_proves_it():
    plant = Plant(expression("held(A == 0, 10s) and B >= 0.8"))
    for second, a in enumerate([1, 0]):
        plant.read(second, a, 0.9, tags=AB)
    plant.at(30)
    assert plant.times == []
    plant.read(31, 0.9, tags=("B",))
    plant.at(31)
    assert plant.times == [(31, "activated")]
    plant.read(32, 1, tags=("A",))
    plant.read(33, 0, tags=("A",))
    plant.read(42, 0, tags=("A",))
    plant.read(43, 0, tags=("A",))
    plant.at(43)
    assert plant.times == [(31, "activated"), (32, "returned"), (43, "activated")]


def test_c7_held_sees_every_look_whatever_the_rest_says():
    plant = Plant(expression("B > 0 and held(A == 0, 10s)"))
    plant.read(0, 0, 0, tags=AB)
    plant.read(10, 0, 1, tags=AB)
    plant.at(10)
    assert plant.times == [(10, "activated")]


def test_c7_an_unknown_is_no_break_of_held():
    plant = Plant(expression("held(A == 0, 10s)"))
    for second, a in ((0, 0), (5, None), (10, 0)):
        plant.read(second, a, tags=("A",))
    plant.at(10)
    assert plant.times == [(10, "activated")]


def test_c7_rate_avg_and_flat_are_the_quantities_of_c3_c5_and_c4():
    plant = Plant(expression("rate(A, 1min) >= 6"), device="D")
    for second in range(0, 61, 10):
        plant.read(second, second / 10, tags=("A",))
    plant.at(60)
    assert plant.times == [(30, "activated")]
    plant = Plant(expression("avg(A, 1min) >= 5"))
    for second in range(0, 121, 10):
        plant.read(second, 0 if second < 60 else 10, tags=("A",))
    plant.at(120)
    assert plant.times == [(90, "activated")]
    plant = Plant(expression("flat(A, 1min, 0.5)"))
    for second in range(0, 121, 10):
        plant.read(second, 5 if second < 100 else 7, tags=("A",))
    plant.at(120)
    assert plant.times == [(60, "activated"), (100, "returned")]


def test_c7_age_counts_from_the_last_usable_reading_and_bad_knows_bad_readings():
    plant = Plant(expression("age(A) > 10s"))
    plant.read(0, 1, 1, tags=AB)
    plant.read(9, None, 1, tags=AB)
    plant.read(10.5, None, tags=("A",))
    plant.read(12, 1, tags=("A",))
    plant.at(12)
    assert plant.times == [(10.5, "activated"), (12, "returned")]
    plant = Plant(expression("bad(A) and B > 5"))
    plant.read(0, 1, 9, tags=AB)
    plant.read(1, None, 9, tags=AB)
    plant.read(2, 1, 9, tags=AB)
    plant.at(2)
    assert plant.times == [(1, "activated"), (2, "returned")]


def test_g1_an_expressions_memory_survives_stop_and_continue():
    text = "held(A > 1, 20s) and avg(A, 1min) > 1 or rate(B, 1min) > 600 and not flat(B, 20s, 0)"

    def told(stops):
        plant = Plant(expression(text))
        for second in range(0, 200, 5):
            plant.read(second, 3 * math.sin(second / 25), second % 70, tags=AB)
            if second in stops:
                plant.restored()
        plant.at(200)
        return plant.times

    assert told(()) == told(range(0, 200, 5))
    assert told(())


def test_t8_a_clock_step_moves_what_held_waits_for():
    plant = Plant(expression("held(A > 1, 20s)"))
    plant.read(0, 2, tags=("A",))
    plant.audit("clock", 0, step=3600 * 10**9)
    plant.read(3610, 2, tags=("A",))
    plant.read(3620, 2, tags=("A",))
    plant.at(3620)
    assert plant.times == [(3620, "activated")]


def test_c7_the_example_of_the_configuration():
    tree = parse("held(fan.running == 0, 10s) and face.ch4 >= 0.8")
    assert isinstance(tree.parts[0], Held)
    assert [name.tag for name in names(tree)] == ["fan.running", "face.ch4"]
