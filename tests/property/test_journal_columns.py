"""Batches and frames come back bit for bit, whatever stands in them."""

import math
import struct
from array import array

import hypothesis.strategies as st
from hypothesis import example, given, settings

from agent.core.batch import Batch, Layout
from agent.core.records import Kind
from agent.journal.encoding import BatchEncoder, decode_batch
from agent.journal.format import (
    Compressor,
    FormatError,
    RawRecord,
    group,
    is_intact,
    parse_frame_header,
    unpack_payload,
)
from tests.support.journals import content

INT64 = st.integers(-(2**63), 2**63 - 1)


def from_bits(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<q", bits))[0]


VALUES = st.one_of(
    st.floats(),
    INT64.map(from_bits),
    st.floats(width=32),
    st.integers(-40_000, 40_000).map(lambda k: k * 0.1),
    st.integers(-(10**9), 10**9).map(lambda k: k / 1000),
    st.integers(-4_000, 4_000).map(lambda k: k * 0.05 - 40.0),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e300, 5e-324, 2.0**53, 2.0**31, 2.0**49 + 0.5]),
)


@st.composite
def batches(draw: st.DrawFn, layout: Layout) -> Batch:
    size = len(layout.tags)
    index = draw(st.none() | st.lists(st.integers(0, size - 1), max_size=12).map(lambda i: array("I", i)))
    count = size if index is None else len(index)
    values = draw(st.lists(VALUES, min_size=count, max_size=count))
    column = st.lists(INT64, min_size=count, max_size=count).map(lambda c: array("q", c))
    exact = st.dictionaries(st.integers(0, count - 1), st.text(max_size=8), max_size=3) if count else st.just({})
    return Batch(
        layout,
        draw(INT64),
        array("d", values),
        draw(st.none() | st.binary(min_size=count, max_size=count)),
        index,
        draw(st.none() | column),
        draw(st.none() | column),
        draw(exact),
        draw(st.booleans()),
        draw(st.booleans()),
    )


LAYOUT = Layout("d", ("a", "b", "c", "d", "e"))


@settings(max_examples=200, deadline=None)
@given(st.lists(batches(LAYOUT), max_size=6))
@example([Batch(LAYOUT, 0, array("d", [1.0, -0.0, 2.0, math.nan, 3.0]))])
@example([Batch(LAYOUT, 0, array("d", [0.1, math.nan]), None, array("I", [0, 0]))])
@example([Batch(LAYOUT, 0, array("d", [0.1, math.inf]), None, array("I", [0, 0]))])
@example([Batch(LAYOUT, 0, array("d", [9223372474941440.0, 0.001]), None, array("I", [0, 0]))])
def test_a_batch_comes_back_bit_for_bit_however_often_the_encoder_learns(story: list[Batch]) -> None:
    encoder = BatchEncoder()
    for batch in story:
        assert content(decode_batch(encoder.encode(batch, 1), lambda *_: LAYOUT)) == content(batch)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=40_000), st.binary(max_size=40_000)), max_size=12), st.integers(0, 2**32 - 1)
)
def test_frames_hold_every_record_once_and_in_order(bodies: list[tuple[bytes, bytes]], seed: int) -> None:
    records = [RawRecord(seq, Kind.READINGS, *parts) for seq, parts in enumerate(bodies, 7)]
    read: list[RawRecord] = []
    compressor = Compressor()
    for part in group(records):
        data = compressor.frame(part, 1, 6, seed=seed)
        header = parse_frame_header(data, 0, seed)
        assert header is not None
        assert header.size == len(data)
        assert is_intact(header, data[-header.stored_length :], seed)
        read += unpack_payload(header, data[-header.stored_length :])
    assert read == records


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=2_000), st.data())
def test_a_frame_with_one_flipped_bit_is_no_frame(body: bytes, data: st.DataObject) -> None:
    frame = bytearray(Compressor().frame([RawRecord(1, Kind.READINGS, body)], 1, 0, seed=5))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    try:
        header = parse_frame_header(bytes(frame), 0, 5)
    except FormatError:
        return
    assert header is None or not is_intact(header, bytes(frame[len(frame) - header.stored_length :]), 5)


def test_a_frame_of_another_segment_is_no_frame() -> None:
    frame = Compressor().frame([RawRecord(1, Kind.TICK, b"x")], 1, 0, seed=5)
    assert parse_frame_header(frame, 0, 5) is not None
    assert parse_frame_header(frame, 0, 6) is None
