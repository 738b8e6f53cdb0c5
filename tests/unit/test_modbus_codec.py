"""Values, qualities and texts out of registers, by worked examples."""

import math
import struct

import pytest

from agent.core.quality import Quality
from agent.core.tags import Scaling
from drivers.modbus.codec import BlockDecoder, Point
from drivers.modbus.pdu import (
    DeviceExceptionError,
    MalformedReplyError,
    ReadRequest,
    Table,
    reply_data,
)

MA = Scaling(0.01, 0.0, (0.0, 1.6))


def decode(point: Point, data: bytes) -> tuple[float, int]:
    decoded = BlockDecoder([point], point.address).decode(data)
    return decoded.values[0], decoded.marks.get(0, 0)


def holding(type_: str, **keys: object) -> Point:
    return Point(Table.HOLDING, 0, type_, **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "order", "wire", "value"),
    [
        ("float32", None, "42f6e979", 123.45600128173828),
        ("float32", "ABCD", "42f6e979", 123.45600128173828),
        ("float32", "CDAB", "e97942f6", 123.45600128173828),
        ("float32", "BADC", "f64279e9", 123.45600128173828),
        ("float32", "DCBA", "79e9f642", 123.45600128173828),
        ("float64", "ABCDEFGH", "405edd2f1a9fbe77", 123.456),
        ("float64", "GHEFCDAB", "be771a9fdd2f405e", 123.456),
        ("float64", "BADCFEHG", "5e402fdd9f1a77be", 123.456),
        ("float64", "HGFEDCBA", "77be9f1a2fdd5e40", 123.456),
        ("int16", "AB", "fffe", -2),
        ("int16", "BA", "feff", -2),
        ("uint16", None, "fffe", 65534),
        ("int32", "CDAB", "fffeffff", -2),
        ("uint32", "CDAB", "00010002", 0x00020001),
        ("int64", "HGFEDCBA", "feffffffffffffff", -2),
        ("uint64", "GHEFCDAB", "0004000300020001", 0x0001000200030004),
        ("bool", None, "0100", 1),
        ("bool", None, "0000", 0),
    ],
)  # fmt: skip
def test_each_type_is_read_in_each_byte_order(type_, order, wire, value):
    assert decode(holding(type_, order=order), bytes.fromhex(wire)) == (value, Quality.GOOD)


@pytest.mark.parametrize(("bit", "value"), [(0, 1), (3, 1), (4, 0), (15, 1), (14, 0)])
def test_a_bit_is_counted_from_the_lowest(bit, value):
    assert decode(holding("bit", bit=bit), bytes.fromhex("8009")) == (value, Quality.GOOD)


def test_bits_of_one_register_and_its_number_are_read_together():
    points = [holding("bit", bit=0), holding("bit", bit=1), holding("uint16")]
    assert list(BlockDecoder(points, 0).decode(bytes.fromhex("0002")).values) == [0, 1, 2]


def test_coils_stand_lowest_bit_first():
    points = [Point(Table.COIL, address, "bool") for address in (20, 22, 29)]
    assert list(BlockDecoder(points, 20).decode(bytes([0b00000101, 0b10])).values) == [1, 1, 1]
    assert list(BlockDecoder(points, 20).decode(bytes([0b00000010, 0b00])).values) == [0, 0, 0]


@pytest.mark.parametrize("wire", ["7fc00000", "7f800000", "ff800000"])
def test_what_is_not_finite_is_not_a_number(wire):
    value, quality = decode(holding("float32", range=(0, 10)), bytes.fromhex(wire))
    assert math.isnan(value)
    assert quality == Quality.NOT_A_NUMBER


def test_one_value_that_is_not_finite_leaves_its_neighbours_alone():
    points = [Point(Table.HOLDING, 2 * i, "float32") for i in range(3)]
    decoded = BlockDecoder(points, 0).decode(struct.pack(">3f", 1.5, math.inf, 2.5))
    assert (decoded.values[0], decoded.values[2]) == (1.5, 2.5)
    assert dict(decoded.marks) == {1: Quality.NOT_A_NUMBER}


@pytest.mark.parametrize(("raw", "quality"), [(-1, 2), (0, 0), (41, 0), (42, 2)])
def test_outside_its_range_a_value_stands_as_it_is_and_says_so(raw, quality):
    point = holding("int16", scaling=Scaling(0.1), range=(0.0, 4.1))  # 41 * 0.1 is 4.1000000000000005
    assert decode(point, struct.pack(">h", raw)) == (raw * 0.1 + 0.0, quality)


def test_a_scaled_value_is_the_one_that_limits_are_compared_with():
    scaling = Scaling(0.1, -40.0)
    for raw in range(0, 65536, 97):
        assert decode(holding("uint16", scaling=scaling), struct.pack(">H", raw))[0] == scaling.value(raw)


@pytest.mark.parametrize(
    ("hundredths", "quality"),
    [
        (0, 102), (359, 102), (360, 102), (361, 6), (379, 6), (380, 0), (400, 0), (2000, 0), (2050, 0), (2051, 6),
        (2099, 6), (2100, 102), (2101, 102), (65535, 102),
    ],
)  # fmt: skip
def test_q3_ne_43_tells_a_broken_wire_from_a_high_value(hundredths, quality):
    value, found = decode(holding("uint16", scaling=MA, range=(-0.1, 1.8)), struct.pack(">H", hundredths))
    assert found == quality
    assert value == MA.value(hundredths), "the value stays, never clamped to the span"


def test_ne_43_edges_do_not_move_with_a_coarse_resolution():
    coarse = holding("uint16", scaling=Scaling(1.0, 0.0, (0.0, 100.0)))
    assert decode(coarse, struct.pack(">H", 4)) == (0.0, Quality.GOOD)
    assert decode(coarse, struct.pack(">H", 3))[1] == Quality.SENSOR_FAULT


@pytest.mark.parametrize(("raw", "quality"), [(2**53, 0), (2**53 + 1, 1), (2**63 + 11, 1)])
def test_integers_that_float64_cannot_hold_are_uncertain(raw, quality):
    assert decode(holding("uint64"), struct.pack(">Q", raw)) == (float(raw), quality)


@pytest.mark.parametrize(
    ("length", "order", "wire", "text"),
    [
        (6, None, b"P-101 ", "P-101"),
        (5, None, b"P-101x", "P-101"),
        (6, None, b"P1\0xyz", "P1"),
        (4, "BA", b"-P01", "P-10"),
        (6, None, "罐区".encode(), "罐区"),
        (4, None, "罐区".encode("gb18030"), "罐区"),
    ],
)
def test_a_string_is_text_beside_a_value_that_is_none(length, order, wire, text):
    decoded = BlockDecoder([holding("string", length=length, order=order)], 0).decode(wire)
    assert dict(decoded.exact) == {0: text}
    assert math.isnan(decoded.values[0])
    assert not decoded.marks


REQUEST = ReadRequest(Table.HOLDING, 7, 2)


def test_a_request_is_what_the_standard_prints():
    assert ReadRequest(Table.HOLDING, 107, 3).pdu == bytes.fromhex("03006b0003")
    assert ReadRequest(Table.COIL, 19, 19).pdu == bytes.fromhex("0100130013")


def test_a_right_reply_gives_its_bytes():
    assert reply_data(ReadRequest(Table.HOLDING, 107, 3), bytes.fromhex("0306022b00000064")) == bytes.fromhex(
        "022b00000064"
    )
    assert reply_data(ReadRequest(Table.COIL, 19, 19), bytes.fromhex("0103cd6b05")) == bytes.fromhex("cd6b05")


@pytest.mark.parametrize(
    "reply",
    [
        "0302aaaa",
        "0306aaaaaaaaaaaa",
        "0304aaaaaa",
        "0302aaaaaaaa",
        "0404aaaaaaaa",
        "03",
        "0304",
        "84",
        "8402",
        "830200",
    ],
)
def test_a_reply_that_is_not_exactly_right_gives_nothing(reply):
    with pytest.raises(MalformedReplyError, match="FC3 @7 x2"):
        reply_data(REQUEST, bytes.fromhex(reply))


def test_an_exception_reply_keeps_its_code():
    with pytest.raises(DeviceExceptionError) as caught:
        reply_data(REQUEST, bytes.fromhex("8302"))
    assert (caught.value.code, caught.value.label, caught.value.is_address) == (2, "exception_2", True)
