"""What a server sent, as Davy reads it."""

import math
from enum import IntEnum

import pytest

from agent.core.batch import Layout
from agent.core.quality import Quality
from drivers.opcua.readings import TEXT_MAX, Builder, Sample, convert
from drivers.opcua.times import SourceTimes

AT = 1_795_248_000_000_000_000


class Mode(IntEnum):
    RUN = 3


@pytest.mark.parametrize(
    ("value", "number", "exact", "quality"),
    [
        (1.5, 1.5, None, Quality.GOOD),
        (True, 1.0, None, Quality.GOOD),
        (False, 0.0, None, Quality.GOOD),
        (-7, -7.0, None, Quality.GOOD),
        (Mode.RUN, 3.0, None, Quality.GOOD),
        (2**53, 2.0**53, None, Quality.GOOD),
        (2**53 + 1, 2.0**53, "9007199254740993", Quality.UNCERTAIN),
        (2**64 - 1, 2.0**64, "18446744073709551615", Quality.UNCERTAIN),
        ("运行", math.nan, "运行", Quality.GOOD),
        ("", math.nan, "", Quality.GOOD),
        (math.nan, math.nan, None, Quality.NOT_A_NUMBER),
        (math.inf, math.nan, None, Quality.NOT_A_NUMBER),
        (-math.inf, math.nan, None, Quality.NOT_A_NUMBER),
        (None, math.nan, None, Quality.NOT_A_NUMBER),
        (object(), math.nan, None, Quality.CONFIG),
        ([1.0], math.nan, None, Quality.CONFIG),
        (b"x", math.nan, None, Quality.CONFIG),
    ],
)
def test_every_type_has_its_reading(value: object, number: float, exact: str | None, quality: Quality) -> None:
    got = convert(value, 0, None)
    assert (got.exact, got.quality) == (exact, quality)
    assert got.number == number or (math.isnan(got.number) and math.isnan(number))


def test_a_value_with_a_bad_status_is_ignored() -> None:
    got = convert(25.0, 0x808C_0000, (0, 10))
    assert math.isnan(got.number)
    assert got.quality == Quality.SENSOR_FAULT


def test_a_substituted_value_is_kept_as_raw_value() -> None:
    assert convert(25.0, 0x0096_0000, None) == (25.0, None, Quality.SUBSTITUTED)


def test_out_of_range_does_not_hide_a_worse_reason() -> None:
    assert convert(11.0, 0, (0, 10)).quality == Quality.OUT_OF_RANGE
    assert convert(10.0, 0, (0, 10)).quality == Quality.GOOD
    assert convert(11.0, 0x4000_0000, (0, 10)).quality == Quality.OUT_OF_RANGE
    assert convert(11.0, 0x4090_0000, (0, 10)).quality == Quality.LAST_USABLE
    assert convert(11.0, 0x4091_0000, (0, 10)).quality == Quality.SUBSTITUTED


def test_text_can_always_be_written_as_json_and_is_not_endless() -> None:
    text = convert("a\udcffb" + "x" * 5000, 0, None).exact
    assert text is not None
    assert text.encode()
    assert len(text) == TEXT_MAX


def builder(tags: int) -> Builder:
    layout = Layout("dcs", tuple(f"t{i}" for i in range(tags)))
    return Builder(layout, [None] * tags, SourceTimes(tags, 5_000_000_000))


def test_an_ordinary_batch_has_no_columns_that_say_nothing() -> None:
    batch, doubtful = builder(2).build([Sample(0, 1.0, 0, None), Sample(1, 2.0, 0, None)], AT)
    assert (batch.quality, batch.index, batch.dt_ns, batch.source_dt_ns, doubtful) == (None, None, None, None, 0)
    assert list(batch.values) == [1.0, 2.0]


def test_a_part_of_the_tags_is_named_by_index_in_the_servers_order() -> None:
    batch, _ = builder(3).build([Sample(2, 1.0, 0, None), Sample(0, "x", 0, None), Sample(2, 3.0, 0, None)], AT)
    assert batch.tag_ids() == ("t2", "t0", "t2")
    assert batch.exact == {1: "x"}
    assert [batch.t_ns(i) - AT for i in range(3)] == [0, 0, 1]


def test_a_doubtful_clock_is_quality_4_with_the_source_time_kept() -> None:
    make = builder(2)
    make.build([Sample(0, 1.0, 0, AT), Sample(1, 1.0, 0, AT)], AT)
    batch, doubtful = make.build([Sample(0, 2.0, 0, AT), Sample(1, 2.0, 0, AT + 500)], AT + 1000)
    assert (batch.quality, doubtful) == (bytes([Quality.CLOCK, 0]), 1)
    assert batch.source_dt_ns is not None
    assert batch.dt_ns is not None
    assert (list(batch.source_dt_ns), list(batch.dt_ns)) == ([-1000, -500], [0, -500])


def test_a_doubtful_clock_does_not_hide_a_bad_reading() -> None:
    make = builder(1)
    make.build([Sample(0, 1.0, 0, AT)], AT)
    batch, doubtful = make.build([Sample(0, math.nan, 0, AT)], AT + 1)
    assert (batch.quality, doubtful) == (bytes([Quality.NOT_A_NUMBER]), 0)
