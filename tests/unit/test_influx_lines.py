"""Records as line protocol, and the strict reader of it."""

from array import array

import pytest

from agent.core.batch import Batch, Layout, Source
from agent.core.records import Kind, Record
from agent.destinations.influxdb.lines import Lines, field_text, tag_text
from simulator.influx_lines import LineError, parse_line
from tests.support.memory_journal import AT, alarm_fields

TANK = Layout("tankfarm", ("T101.level", "T101.temp", "一号罐.压力"))


def lines_of(batch: Batch) -> list[str]:
    return Lines("s1", "gw1", "davy").record(Record(7, Kind.READINGS, batch))


def test_a_good_reading_is_a_value_and_a_quality():
    lines = lines_of(Batch(TANK, AT, array("d", [7.431, 24.0, -1e-9])))
    assert lines[0] == (
        f"davy,agent=gw1,device=tankfarm,site=s1,source=sensor,tag=T101.level value=7.431,quality=0i {AT}"
    )
    assert parse_line(lines[2]).fields == {"value": -1e-9, "quality": 0}
    assert parse_line(lines[2]).tag("tag") == "一号罐.压力"


def test_a_bad_reading_has_no_value_but_its_quality():
    nan = float("nan")
    lines = lines_of(Batch(TANK, AT, array("d", [nan, 3.0, 5.0]), quality=bytes([101, 102, 2])))
    assert [dict(parse_line(line).fields) for line in lines] == [
        {"quality": 101},
        {"quality": 102},
        {"value": 5.0, "quality": 2},
    ]


def test_a_value_that_is_not_finite_never_leaves_as_one():
    lines = lines_of(Batch(TANK, AT, array("d", [float("nan"), float("inf"), 1.0])))
    assert [dict(parse_line(line).fields) for line in lines] == [
        {"quality": 0},
        {"quality": 0},
        {"value": 1.0, "quality": 0},
    ]


def test_large_finite_values_whose_sum_is_infinite_are_kept():
    lines = lines_of(Batch(TANK, AT, array("d", [1.7e308, 1.7e308, 1.0])))
    assert parse_line(lines[1]).fields["value"] == 1.7e308


def test_the_stamp_is_the_event_time():
    batch = Batch(TANK, AT, array("d", [1.0, 2.0]), index=array("I", [2, 0]), dt_ns=array("q", [-5, 1_500_000]))
    points = [parse_line(line) for line in lines_of(batch)]
    assert [(point.tag("tag"), point.time_ns) for point in points] == [
        ("一号罐.压力", AT - 5),
        ("T101.level", AT + 1_500_000),
    ]


def test_two_readings_of_one_tag_at_one_time_keep_two_stamps():
    batch = Batch(TANK, AT, array("d", [1.0, 2.0, 3.0]), index=array("I", [1, 1, 0]), dt_ns=array("q", [0, 0, 0]))
    assert [parse_line(line).time_ns for line in lines_of(batch)] == [AT, AT + 1, AT]


def test_historical_exercise_and_simulated_readings_are_series_of_their_own():
    layout = Layout("d", ("t",), Source.SIMULATOR)
    live = lines_of(Batch(layout, AT, array("d", [1.0])))
    past = lines_of(Batch(layout, AT, array("d", [1.0]), historical=True, exercise=True))
    assert ",source=simulator," in live[0]
    assert ",exercise=true,historical=true," in past[0]
    assert parse_line(live[0]).identity != parse_line(past[0]).identity


def test_what_float64_cannot_hold_is_text_beside_the_value():
    batch = Batch(TANK, AT, array("d", [9.007199254740992e15, 1.0, 1.0]), exact={0: "9007199254740993"})
    assert dict(parse_line(lines_of(batch)[0]).fields) == {
        "value": 9007199254740992.0,
        "quality": 0,
        "text": "9007199254740993",
    }


def test_an_alarm_event_is_one_point_at_its_time():
    record = Record(9005, Kind.ALARM, fields={**alarm_fields("T101-level-h"), "note": 'he said "no"\nand \\left'})
    (line,) = Lines("s 1", "gw1", "davy").record(record)
    point = parse_line(line)
    assert point.measurement == "davy_alarm"
    assert point.time_ns == AT
    assert dict(point.tags) == {
        "agent": "gw1",
        "alarm": "T101-level-h",
        "kind": "high",
        "priority": "high",
        "site": "s 1",
        "tag": "T101.level",
        "transition": "activated",
    }
    assert point.fields["value"] == 10.52
    assert point.fields["seq"] == 9005
    assert point.fields["annunciated"] is True
    assert point.fields["message_zh_CN"] == "1号罐液位高"
    assert point.fields["note"] == 'he said "no" and \\left'
    assert "actor" not in point.fields


def test_an_alarm_that_is_not_journaled_has_no_seq():
    (line,) = Lines("s1", "gw1", "davy").record(Record(0, Kind.ALARM, fields=alarm_fields("a")))
    assert "seq" not in parse_line(line).fields


def test_audit_records_of_one_time_keep_stamps_of_their_own():
    fields = {"kind": "configuration", "time": AT, "actor": "root"}
    lines = Lines("s1", "gw1", "davy")
    points = [parse_line(lines.record(Record(seq, Kind.AUDIT, fields=fields))[0]) for seq in (17, 18)]
    assert points[0].identity != points[1].identity
    assert all(point.fields["time"] == AT for point in points)
    assert '"actor": "root"' in str(points[0].fields["record"])


@pytest.mark.parametrize(("text", "escaped"), [("a b", r"a\ b"), ("a,b=c", r"a\,b\=c"), ("a\\", "a/"), ("", "-")])
def test_tag_values_are_escaped(text, escaped):
    assert tag_text(text) == escaped


def test_string_fields_are_quoted():
    assert field_text('a "b" \\') == '"a \\"b\\" \\\\"'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("davy", "missing fields"),
        ("davy value=1 ", "missing timestamp"),
        ("davy value=1 12x", "bad timestamp"),
        ("davy value=nan 1", "invalid number"),
        ("davy value=inf 1", "invalid number"),
        ("davy value=1,value=2 1", "duplicate field"),
        ("davy,a=1,a=2 value=1 1", "duplicate tag"),
        ("davy,a= value=1 1", "expected key=value"),
        (",a=1 value=1 1", "missing measurement"),
        ('davy value="open 1', "missing timestamp"),
        ("davy value=99999999999999999999i 1", "out of range"),
        ("davy value=1 99999999999999999999999", "bad timestamp"),
        ("davy time=1 99999999999999999999", "bad timestamp"),
        ("davy,time=1 value=1 1", "reserved tag"),
        ("davy value= 1", "expected key=value"),
        ('davy value="a"b 1', "closing quote"),
    ],
)
def test_the_strict_reader_refuses(line, why):
    with pytest.raises(LineError, match=why):
        parse_line(line)
