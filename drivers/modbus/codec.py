"""From the bytes of a reply to values and qualities: every type and byte order, scaling, NE 43, ranges; pure."""

import math
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add, gt, itemgetter, lt, mul
from typing import Any, Final, Literal, NamedTuple

from agent.core.quality import Quality
from agent.core.tags import MA_LOW, MA_SPAN, Scaling
from drivers.modbus.pdu import Table

Type = Literal["bool", "bit", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"]
Order = Literal["AB", "BA", "ABCD", "CDAB", "BADC", "DCBA", "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"]

FORMATS: Final[Mapping[str, str]] = {
    "bool": "H", "bit": "H", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
    "int64": "q", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip
"""struct letters of the types that have a fixed width."""
ORDERS: Final[Mapping[int, tuple[Order, ...]]] = {
    2: ("AB", "BA"),
    4: ("ABCD", "CDAB", "BADC", "DCBA"),
    8: ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"),
}
"""Byte orders by width in bytes, the natural one first."""

EXACT_MAX: Final = 1 << 53
"""Beyond it float64 no longer holds every integer."""
NE43_EDGES: Final = (3.6, 3.8, 20.5, 21.0)
"""mA: fault up to the first, then the lower band, good from the second to the third, the upper band, fault from the
last (NE 43; spec/rules.md Q3)."""
_EDGE_TOLERANCE: Final = 1e-6
_BITS: Final = tuple(tuple(byte >> bit & 1 for bit in range(8)) for byte in range(256))

_AS_IT_IS: Final = Scaling()
Unpack = Callable[[bytes], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a tag's value stands in a device and what it means."""

    table: Table
    address: int
    type: Type
    order: Order | None = None
    """None: the natural order of the type's width."""
    bit: int = 0
    length: int = 0
    """Bytes of a string."""
    scaling: Scaling = _AS_IT_IS
    range: tuple[float, float] | None = None

    @property
    def width(self) -> int:
        """Items of the table (registers or bits) it covers."""
        if self.table.is_bits:
            return 1
        if self.type == "string":
            return (self.length + 1) // 2
        return struct.calcsize(">" + FORMATS[self.type]) // 2

    @property
    def end(self) -> int:
        """Address of the first item behind it."""
        return self.address + self.width


@dataclass(slots=True)
class Decoded:
    """The readings of one reply; positions count from the first point of the block."""

    values: Sequence[float]
    marks: Mapping[int, int]
    """Quality by position where it is not good."""
    exact: Mapping[int, str]
    """Text by position, of strings."""


_NO_MARKS: Final[Mapping[int, int]] = {}
_NO_TEXT: Final[Mapping[int, str]] = {}


class BlockDecoder:
    """Decodes the reply to one request for ``points``, of which all lie between its start and its end.

    Everything that can be is prepared once: what is left per poll is one unpack, one multiplication and one comparison
    a value. Values outside their range and those that aren't finite go through the slow path, one by one.
    """

    def __init__(self, points: Sequence[Point], start: int) -> None:
        self._points = tuple(points)
        self._unpack = _bits_unpack(points, start) if points[0].table.is_bits else _registers_unpack(points, start)
        self._scales = [p.scaling.scale for p in points]
        self._offsets = [p.scaling.offset for p in points]
        self._is_scaled = any(s != 1.0 for s in self._scales) or any(o != 0.0 for o in self._offsets)
        self._has_floats = any(p.type.startswith("float") for p in points)
        self._has_ranges = any(p.range is not None for p in points)
        limits = [_limits(p) for p in points]
        self._lows = [low for low, _ in limits]
        self._highs = [high for _, high in limits]
        self._flags = [(i, p.bit) for i, p in enumerate(points) if p.type == "bit"]
        self._booleans = [i for i, p in enumerate(points) if p.type == "bool" and not p.table.is_bits]
        self._texts = [i for i, p in enumerate(points) if p.type == "string"]
        self._wide = [i for i, p in enumerate(points) if p.type in ("int64", "uint64")]
        self._signals = [_Signal.of(i, p.scaling) for i, p in enumerate(points) if p.scaling.span is not None]
        self._is_odd = bool(self._flags or self._booleans or self._texts or self._wide or self._signals)

    def decode(self, data: bytes) -> Decoded:
        """Values and qualities; ``data`` must be as long as the request implies (struct.error otherwise)."""
        raws = self._unpack(data)
        if self._is_odd:
            return self._decode_odd(list(raws))
        values = self._scaled(raws) if self._is_scaled else raws
        if self._is_sound(values):
            return Decoded(values, _NO_MARKS, _NO_TEXT)
        values = list(values)
        return Decoded(values, self._mark_odd(values), _NO_TEXT)

    def _scaled(self, raws: Sequence[Any]) -> list[float]:
        """raw * scale + offset, to the bit as Scaling does it."""
        return list(map(add, map(mul, raws, self._scales), self._offsets))

    def _is_sound(self, values: Sequence[float]) -> bool:
        """Tell, without a look at each in Python, that all values are finite and in range."""
        if self._has_floats:
            total = sum(values)
            if total - total != 0:  # infinity and NaN, in any of them, are the ones that fail
                return False
        if not self._has_ranges:
            return True
        return True not in map(lt, values, self._lows) and True not in map(gt, values, self._highs)

    def _mark_odd(self, values: list[float]) -> dict[int, int]:
        """Qualities by position; what isn't finite becomes NaN."""
        marks: dict[int, int] = {}
        for i, (value, low, high) in enumerate(zip(values, self._lows, self._highs, strict=True)):
            if low <= value <= high:
                continue
            if math.isfinite(value):
                marks[i] = Quality.OUT_OF_RANGE
            else:
                marks[i] = Quality.NOT_A_NUMBER
                values[i] = math.nan
        return marks

    def _decode_odd(self, raws: list[Any]) -> Decoded:
        """Blocks with flags, strings, 64 bit integers or currents."""
        exact = {i: _text(raws[i], self._points[i]) for i in self._texts}
        for i in self._texts:
            raws[i] = 0
        for i, bit in self._flags:
            raws[i] = raws[i] >> bit & 1
        for i in self._booleans:
            raws[i] = int(raws[i] != 0)
        marks: dict[int, int] = {i: Quality.UNCERTAIN for i in self._wide if not -EXACT_MAX <= raws[i] <= EXACT_MAX}
        values = self._scaled(raws)
        signals: dict[int, int] = {}
        for i, edges, low, span in self._signals:
            current = values[i]
            if not edges[1] <= current <= edges[2]:
                signals[i] = _current_quality(current, edges)
            values[i] = low + (current - MA_LOW) / MA_SPAN * span
        if not self._is_sound(values):
            marks |= self._mark_odd(values)
        # NE 43 speaks about the signal and wins over the range, which speaks about the value; only NaN is worse.
        marks |= {i: quality for i, quality in signals.items() if marks.get(i) != Quality.NOT_A_NUMBER}
        for i in self._texts:
            values[i] = math.nan
        return Decoded(values, marks, exact)


class _Signal(NamedTuple):
    """A 4-20 mA signal: its position, the edges of NE 43 as the device sends them, and Scaling.value taken apart."""

    position: int
    edges: tuple[float, ...]
    low: float
    span: float

    @staticmethod
    def of(position: int, scaling: Scaling) -> "_Signal":
        low, high = scaling.span or (0.0, 0.0)
        current = Scaling(scaling.scale, scaling.offset, None, scaling.is_float32, scaling.is_float64)
        return _Signal(position, tuple(_on_grid(current, edge) for edge in NE43_EDGES), low, high - low)


def _limits(point: Point) -> tuple[float, float]:
    if point.range is None:
        return -sys.float_info.max, sys.float_info.max
    low, high = point.range
    return _on_grid(point.scaling, low), _on_grid(point.scaling, high)


def _on_grid(scaling: Scaling, edge: float) -> float:
    """The edge as the device would send it, so that 41 * 0.1 is not above 4.1; an edge between two values stays."""
    nearest = scaling.nearest(edge)
    size = max(abs(edge), abs(scaling.offset), abs(scaling.scale))
    return nearest if abs(nearest - edge) <= _EDGE_TOLERANCE * size else edge


def _current_quality(current: float, edges: tuple[float, ...]) -> int:
    """Of a current outside the good band."""
    return Quality.SENSOR_FAULT if current <= edges[0] or current >= edges[3] else Quality.NE43_BAND


def _text(raw: bytes, point: Point) -> str:
    """A string up to its first NUL, without trailing blanks: UTF-8 if it decodes strictly, else GB 18030."""
    text = raw[: point.length].split(b"\0", 1)[0].rstrip(b" ")
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("gb18030", errors="replace")


def _bits_unpack(points: Sequence[Point], start: int) -> Unpack:
    offsets = [p.address - start for p in points]

    def unpack(data: bytes) -> Sequence[int]:
        bits = [bit for byte in data for bit in _BITS[byte]]
        return [bits[offset] for offset in offsets]

    return unpack


def _registers_unpack(points: Sequence[Point], start: int) -> Unpack:
    """One precompiled struct for the block, behind a byte permutation only where an order or an overlap asks for it."""
    is_plain = all(p.order in (None, "AB", "ABCD", "ABCDEFGH") for p in points)
    ends = [start, *(p.end for p in points)]
    if is_plain and all(p.address >= end for p, end in zip(points, ends, strict=False)):
        form = ">"
        for p, end in zip(points, ends, strict=False):
            form += "x" * (2 * (p.address - end)) + _format(p)
        return struct.Struct(form).unpack
    picks = [2 * (p.address - start) + offset for p in points for offset in _byte_offsets(p)]
    pick = itemgetter(*picks)
    unpack = struct.Struct(">" + "".join(_format(p) for p in points)).unpack
    return lambda data: unpack(bytes(pick(data)))


def _format(point: Point) -> str:
    return f"{2 * point.width}s" if point.type == "string" else FORMATS[point.type]


def _byte_offsets(point: Point) -> list[int]:
    """Where on the wire each byte of the big-endian value stands, counted from the point's first byte."""
    width = 2 * point.width
    if point.type == "string":
        swap = 1 if point.order == "BA" else 0
        return [offset ^ swap for offset in range(width)]
    order = point.order or ORDERS[width][0]
    return [order.index(letter) for letter in sorted(order)]
