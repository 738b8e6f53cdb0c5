"""Laws of line protocol: what is written is read back bit for bit; the reader never crashes."""

import contextlib
import math
import struct
from array import array

from hypothesis import given
from hypothesis import strategies as st

from agent.core.batch import Batch, Layout
from agent.core.records import Kind, Record
from agent.destinations.influxdb.lines import Lines, field_text, tag_text
from simulator.influx_lines import LineError, parse_line

AT = 1_795_248_000_000_000_000
TAGS = ("T101.level", "罐 2,温=度", "x\\")


@st.composite
def batches(draw):
    count = draw(st.integers(1, 8))
    values = array("d", draw(st.lists(st.floats(), min_size=count, max_size=count)))
    index = draw(st.none() | st.lists(st.integers(0, 2), min_size=count, max_size=count))
    if index is None:
        values = (values * 3)[:3]
        count = 3
    stamps = st.lists(st.integers(-2, 2), min_size=count, max_size=count)
    dt = draw(st.none() | stamps)
    quality = draw(st.none() | st.binary(min_size=count, max_size=count))
    return Batch(
        Layout("d", TAGS),
        AT,
        values,
        quality,
        None if index is None else array("I", index),
        None if dt is None else array("q", dt),
        historical=draw(st.booleans()),
    )


@given(batches())
def test_every_reading_is_one_point_with_its_value_bit_for_bit(batch):
    points = [parse_line(line) for line in Lines("s", "g", "davy").record(Record(1, Kind.READINGS, batch))]
    assert len(points) == len(batch)
    assert len({point.identity for point in points}) == len(points)
    for i, point in enumerate(points):
        code = 0 if batch.quality is None else batch.quality[i]
        assert point.fields["quality"] == code
        assert 0 <= point.time_ns - batch.t_ns(i) < len(points)
        value = batch.values[i]
        if code < 100 and math.isfinite(value):
            assert struct.pack("<d", point.fields["value"]) == struct.pack("<d", value)
        else:
            assert "value" not in point.fields


@given(st.text(), st.text())
def test_any_text_stays_one_line_with_one_tag_and_one_field(tag, text):
    line = f"m,t={tag_text(tag)} f={field_text(text)} 1"
    assert "\n" not in line
    point = parse_line(line)
    assert set(point.fields) == {"f"}
    assert [key for key, _ in point.tags] == ["t"]
    assert point.fields["f"] == text.replace("\n", " ").replace("\r", " ")


@given(st.text(alphabet='davy,=\\" 1i\n.e-t') | st.text())
def test_the_reader_says_line_error_and_nothing_else(text):
    with contextlib.suppress(LineError):
        parse_line(text)
