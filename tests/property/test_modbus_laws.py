"""Laws of the Modbus codec, planner and poll grid."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.quality import Quality
from agent.core.tags import Scaling
from drivers.modbus.codec import FORMATS, ORDERS, BlockDecoder, Point
from drivers.modbus.pdu import Table
from drivers.modbus.plan import plan, wire_order
from drivers.modbus.schedule import Grid, phase_ns, reconnect_delay_s
from tests.support.modbus_device import registers_of

RANGES = {"int16": 15, "int32": 31, "int64": 63, "uint16": 16, "uint32": 32, "uint64": 64}


def raw_values(type_: str) -> st.SearchStrategy[float | int]:
    if type_ == "float32":
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    if type_ == "float64":
        return st.floats(allow_nan=False, allow_infinity=False)
    bits = RANGES[type_]
    low = 0 if type_.startswith("u") else -(2**bits)
    return st.integers(low, 2**bits - 1)


def orders(type_: str) -> list[str | None]:
    return [None, *ORDERS[struct.calcsize(">" + FORMATS[type_])]]


EVERY = [(type_, order) for type_ in ("float32", "float64", *RANGES) for order in orders(type_)]


@pytest.mark.parametrize(("type_", "order"), EVERY)
def test_what_a_device_holds_is_what_is_read(type_, order):
    @given(st.lists(raw_values(type_), min_size=1, max_size=5), st.integers(0, 3))
    def law(raws, gap):
        width = struct.calcsize(">" + FORMATS[type_]) // 2
        step = width + gap
        points = [Point(Table.HOLDING, 5 + i * step, type_, order) for i in range(len(raws))]
        cells = [0xDEAD] * (step * len(raws) - gap)
        for i, raw in enumerate(raws):
            cells[i * step : i * step + width] = registers_of(raw, type_, order)
        decoded = BlockDecoder(points, 5).decode(struct.pack(f">{len(cells)}H", *cells))
        assert [float(v) for v in decoded.values] == [float(raw) for raw in raws]
        assert dict(decoded.marks) == {
            i: Quality.UNCERTAIN for i, raw in enumerate(raws) if isinstance(raw, int) and abs(raw) > 2**53
        }

    law()


scales = st.sampled_from([0.1, 0.01, 0.5, 1.0, -0.25, 3.0])
offsets = st.sampled_from([0.0, -40.0, 273.15])


@given(st.lists(st.tuples(st.integers(0, 65535), scales, offsets, st.booleans()), min_size=1, max_size=30))
def test_scaled_values_equal_those_of_scaling_to_the_bit(rows):
    scalings = [Scaling(s, o, (0.0, 1.6) if is_signal else None) for _, s, o, is_signal in rows]
    points = [Point(Table.INPUT, i, "uint16", scaling=scaling) for i, scaling in enumerate(scalings)]
    raws = [row[0] for row in rows]
    decoded = BlockDecoder(points, 0).decode(struct.pack(f">{len(raws)}H", *raws))
    assert list(decoded.values) == [scaling.value(raw) for scaling, raw in zip(scalings, raws, strict=True)]


@given(st.lists(st.tuples(st.floats(width=32), st.floats(-100, 0), st.floats(0, 100)), min_size=1, max_size=30))
def test_the_fast_path_finds_every_odd_value(rows):
    ranges = [(low, high) if low < high else None for _, low, high in rows]
    points = [Point(Table.HOLDING, 2 * i, "float32", range=limits) for i, limits in enumerate(ranges)]
    values = [row[0] for row in rows]
    decoded = BlockDecoder(points, 0).decode(struct.pack(f">{len(rows)}f", *values))
    for i, (value, limits) in enumerate(zip(values, ranges, strict=True)):
        mark = decoded.marks.get(i, 0)
        if not math.isfinite(value):
            assert (mark, math.isnan(decoded.values[i])) == (Quality.NOT_A_NUMBER, True)
        else:
            assert decoded.values[i] == value
            is_clear = limits is None or all(abs(value - edge) > 1e-3 for edge in limits)
            if is_clear:  # within a millionth of an edge the edge moves to the value's grid
                assert mark == (0 if limits is None or limits[0] <= value <= limits[1] else Quality.OUT_OF_RANGE)


points = st.lists(
    st.one_of(
        st.builds(
            Point,
            st.sampled_from([Table.HOLDING, Table.INPUT]),
            st.integers(0, 400),
            st.sampled_from(["uint16", "int16", "float32", "int64", "bit"]),
        ),
        st.builds(Point, st.sampled_from([Table.COIL, Table.DISCRETE]), st.integers(0, 5000), st.just("bool")),
        st.builds(Point, st.just(Table.HOLDING), st.integers(0, 400), st.just("string"), length=st.integers(1, 250)),
    ),
    min_size=1,
    max_size=200,
).map(lambda found: sorted(found, key=wire_order))


@given(points, st.data())
def test_a_plan_reads_each_wanted_point_once_whole_and_within_the_limits(found, data):
    everything = range(len(found))
    wanted = data.draw(st.sets(st.sampled_from(everything), max_size=len(found)))
    cuts = data.draw(st.sets(st.sampled_from(everything), max_size=5))
    blocks = plan(found, wanted, cuts)
    assert sorted(p for block in blocks for p in range(block.start, block.end)) == sorted(wanted)
    for block in blocks:
        request = block.request
        assert 1 <= request.count <= request.table.request_max
        for point in found[block.start : block.end]:
            assert point.table == request.table
            assert request.address <= point.address < point.end <= request.address + request.count
        assert not cuts.intersection(range(block.start + 1, block.end))
        read = {a for point in found[block.start : block.end] for a in range(point.address, point.end)}
        assert len(read) == request.count, "no register is read that nobody asked for"


@given(st.integers(1, 125))
def test_adjacent_registers_share_one_request_up_to_125(count):
    found = [Point(Table.HOLDING, 10 + i, "uint16") for i in range(count)]
    assert len(plan(found, range(count))) == 1
    longer = [Point(Table.HOLDING, 10 + i, "uint16") for i in range(count + 125)]
    assert len(plan(longer, range(count + 125))) == 2 if count < 126 else 3


@given(st.integers(10, 1000), st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_every_tick_is_polled_or_missed_and_none_is_early_or_made_up_for(period, durations):
    grid = Grid(0, period)
    now = missed = 0
    for polled, duration in enumerate(durations):
        missed += grid.passed(now)
        now = max(now, grid.tick_ns)
        assert now - grid.tick_ns <= period // 10, "served at most a tenth of the period late"
        assert grid.tick_ns == (polled + missed) * period, "on the grid: no drift, no tick left out of the count"
        grid.served()
        now += duration


@given(st.text(min_size=1, max_size=20), st.integers(1, 10**12), st.integers(0, 10**6))
def test_devices_are_spread_and_back_off_is_bounded(device, period, attempt):
    assert 0 <= phase_ns(device, period) < min(period, 10**9)
    delay = reconnect_delay_s(device, attempt)
    assert 0 < delay <= 10.0
    assert delay >= 0.5 * min(10.0, 0.1 * 2 ** min(attempt, 10))
