"""The columns of a batch as bytes and back, bit for bit; pure.

Values are split by what they can be written as, tag by tag: binary32, decimal (an integer and a power of ten, plus,
where that does not give the value back exactly, the distance in units in the last place), or plain binary64. Bytes of
equal weight stand together (planes), which is what makes them compressible; the planes that are mostly noise are kept
apart from the others, which then compress better.
"""

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add, itemgetter, sub
from typing import Final

PLACES_MAX: Final = 8
"""Most decimal places of a value that is written as an integer."""
FLOAT64: Final = 0
FLOAT32: Final = 1
DIVIDED: Final = 2
"""Classes from here on: k / 10**places."""
SCALED: Final = DIVIDED + PLACES_MAX + 1
"""Classes from here on: k * 10**-places, which is not always the same number (3 * 0.1 is not 0.3)."""
_CLASSES_END: Final = SCALED + PLACES_MAX + 1
POWERS: Final = tuple(10.0**places for places in range(PLACES_MAX + 1))
STEPS: Final = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
UNKNOWN: Final = 0xFF
"""No finite value of the tag was seen yet; never written."""
_K_MAX: Final = 2.0**50
_SHIFT: Final = 1.5 * 2.0**52 + 32768.0
"""Added to a float, it leaves the nearest integer + 32,768 in the low bits: rounds a column without a call a value."""
_ULP_MAX: Final = 127
_ULP_NEAR: Final = 4

_PLAN_UNIFORM: Final = 0
_PLAN_BY_READING: Final = 1
_CONSTANT: Final = 2

_COUNT: Final = struct.Struct("<H")
_PATCH: Final = struct.Struct("<Hd")


class CodecError(ValueError):
    """The bytes are no columns of this format version."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which class each reading is written as, and how to take the readings apart and together again."""

    classes: bytes
    groups: tuple[tuple[int, Callable[[Sequence[float]], tuple[float, ...]] | None], ...]
    """Class and getter of its readings, in ascending order of class; no getter: all readings."""
    restore: Callable[[Sequence[float]], tuple[float, ...]] | None
    """From the groups one after the other to the order of the batch; None: it is that already."""
    packed: bytes
    """The plan as it stands in front of the values."""


def _getter(positions: Sequence[int]) -> Callable[[Sequence[float]], tuple[float, ...]]:
    if len(positions) == 1:
        only = positions[0]
        return lambda values: (values[only],)
    return itemgetter(*positions)


@lru_cache(maxsize=512)
def plan_of(classes: bytes) -> Plan:
    """The plan for a class per reading."""
    members: dict[int, list[int]] = {}
    for position, kind in enumerate(classes):
        members.setdefault(kind, []).append(position)
    if len(members) <= 1:
        head = bytes((_PLAN_UNIFORM, *members))
        return Plan(classes, tuple((kind, None) for kind in members), None, head)
    order = sorted(members)
    flat = [position for kind in order for position in members[kind]]
    back = [0] * len(flat)
    for place, position in enumerate(flat):
        back[position] = place
    groups = tuple((kind, _getter(members[kind])) for kind in order)
    return Plan(classes, groups, _getter(back), _pack_classes(classes, order))


def _pack_classes(classes: bytes, order: Sequence[int]) -> bytes:
    """How many classes, which, and for each reading its place among them in as few bits as that takes."""
    bits = (len(order) - 1).bit_length()
    number = 0
    for kind in reversed(classes):
        number = number << bits | order.index(kind)
    size = (len(classes) * bits + 7) // 8
    return bytes((_PLAN_BY_READING, len(order), *order)) + number.to_bytes(size, "little")


@lru_cache(maxsize=512)
def _unpack_classes(order: bytes, packed: bytes, count: int) -> bytes:
    bits = (len(order) - 1).bit_length()
    number = int.from_bytes(packed, "little")
    mask = (1 << bits) - 1
    places = [number >> bits * position & mask for position in range(count)]
    if max(places, default=0) >= len(order):
        raise CodecError("plan names a class that it does not have")
    return bytes([order[place] for place in places])


def classify(value: float, known: int = UNKNOWN) -> int:
    """The cheapest class that holds a finite ``value`` bit for bit; near to ``known``, that of values before."""
    is_float32 = abs(value) < 3.4e38 and struct.unpack("<f", struct.pack("<f", value))[0] == value
    start = 0
    forms = (SCALED, DIVIDED)
    if DIVIDED <= known < _CLASSES_END:
        start = places_of(known)
        forms = (SCALED, DIVIDED) if known >= SCALED else (DIVIDED, SCALED)
    near: int | None = None
    for places in range(start, PLACES_MAX + 1):
        scaled = value * POWERS[places]
        if abs(scaled) >= _K_MAX or (is_float32 and abs(scaled) > 40_000):
            break
        for form in forms:
            distance = abs(_ulps(value, _approach(round(scaled), form + places)))
            if distance == 0:
                return form + places
            if distance <= _ULP_NEAR and near is None:
                near = form + places
    if near is not None:
        return near
    return FLOAT32 if is_float32 else FLOAT64


def places_of(kind: int) -> int:
    """Decimal places of a decimal class."""
    return kind - (SCALED if kind >= SCALED else DIVIDED)


def _approach(k: int, kind: int) -> float:
    return k * STEPS[kind - SCALED] if kind >= SCALED else k / POWERS[kind - DIVIDED]


def _ulps(value: float, near: float) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0] - struct.unpack("<q", struct.pack("<d", near))[0]


def merge(known: int, seen: int) -> int:
    """The class for a tag that was written as ``known`` and now shows a value of class ``seen`` that does not fit."""
    if known in (UNKNOWN, seen):
        return seen
    if known >= DIVIDED and seen >= DIVIDED:
        return seen if places_of(seen) >= places_of(known) else known
    return FLOAT32 if seen == FLOAT32 and known >= DIVIDED else FLOAT64


def planes(raw: bytes, width: int) -> bytes:
    """Bytes of equal weight together, the most significant first (``raw`` is little-endian)."""
    return b"".join([raw[plane::width] for plane in range(width - 1, -1, -1)])


def unplanes(data: bytes, width: int) -> bytes:
    """The inverse of :func:`planes`."""
    count = len(data) // width
    raw = bytearray(len(data))
    for plane in range(width):
        start = (width - 1 - plane) * count
        raw[plane::width] = data[start : start + count]
    return bytes(raw)


def encode_values(values: "array[float]", classes: bytes) -> tuple[bytes, bytes, dict[int, float]]:
    """The values under a plan, noise apart, and those that another class would suit better, by position."""
    raw = values.tobytes()
    if raw and raw == raw[:8] * len(values):
        return bytes((_CONSTANT,)) + raw[:8], b"", {}
    plan = plan_of(classes)
    columns: list[bytes] = []
    noise: list[bytes] = []
    patches: dict[int, float] = {}
    strays: dict[int, float] = {}
    for kind, getter in plan.groups:
        group = values if getter is None else getter(values)
        column = _encode_group(group, kind)
        columns.append(column.data)
        noise.append(column.noise)
        if column.misfits or column.strays:
            positions = [i for i, member in enumerate(classes) if member == kind]
            patches.update({positions[place]: group[place] for place in column.misfits})
            strays.update({positions[place]: group[place] for place in column.strays})
    patch_bytes = b"".join([_PATCH.pack(position, value) for position, value in patches.items()])
    head = b"".join((plan.packed, _COUNT.pack(len(patches)), patch_bytes, *columns))
    return head, b"".join(noise), strays | patches


@dataclass(slots=True)
class _Column:
    data: bytes
    noise: bytes
    misfits: Sequence[int] = ()
    """Places of values that the class cannot hold; something else stands there."""
    strays: Sequence[int] = ()
    """Places of values that are held at a price."""


def _encode_group(group: Sequence[float], kind: int) -> _Column:
    if kind == FLOAT64:
        data = planes(array("d", group).tobytes(), 8)
        return _Column(data[: 2 * len(group)], data[2 * len(group) :])
    if kind == FLOAT32:
        return _encode_float32(group)
    return _encode_decimal(group, kind)


def _encode_float32(group: Sequence[float]) -> _Column:
    narrow = array("f", group)
    wide = array("d", narrow).tobytes()
    exact = array("d", group).tobytes()
    misfits: list[int] = []
    if wide != exact:
        misfits = [i for i in range(len(group)) if wide[i * 8 : i * 8 + 8] != exact[i * 8 : i * 8 + 8]]
        for place in misfits:
            narrow[place] = 0.0
    raw = narrow.tobytes()
    return _Column(raw[3::4], raw[2::4] + raw[1::4] + raw[0::4], misfits)


def _encode_decimal(group: Sequence[float], kind: int) -> _Column:
    power = POWERS[places_of(kind)]
    shifted = [value * power + _SHIFT for value in group]
    if kind >= SCALED:
        step = STEPS[kind - SCALED]
        near = array("d", [(number - _SHIFT) * step for number in shifted]).tobytes()
    else:
        near = array("d", [(number - _SHIFT) / power for number in shifted]).tobytes()
    exact = array("d", group).tobytes()
    raw = array("d", shifted).tobytes()
    if raw[7::8] != _SHIFT_HIGH[0] * len(group):
        return _encode_one_by_one(group, kind)  # NaN, infinity, or far too large
    offsets = b""
    strays: list[int] = []
    if near != exact:
        ulps = list(map(sub, array("q", exact), array("q", near)))
        if min(ulps) < -_ULP_MAX or max(ulps) > _ULP_MAX:
            return _encode_one_by_one(group, kind)
        offsets = array("b", ulps).tobytes()
        strays = [place for place, distance in enumerate(ulps) if distance]
    zeros = bytes(len(group))
    high = raw[6::8] + raw[5::8] + raw[4::8]
    if raw[2::8] == zeros == raw[3::8] and high == b"".join([byte * len(group) for byte in _SHIFT_HIGH[1:]]):
        return _Column(bytes((2, bool(offsets))) + raw[1::8] + offsets, raw[0::8], (), strays)
    scaled = [round(number - _SHIFT) for number in shifted]
    if max(scaled) >= _K_MAX or min(scaled) <= -_K_MAX:
        return _encode_one_by_one(group, kind)
    return _integers(scaled, offsets, (), strays)


def _encode_one_by_one(group: Sequence[float], kind: int) -> _Column:
    """A decimal column in which some values do not fit."""
    power = POWERS[places_of(kind)]
    scaled: list[int] = []
    ulps: list[int] = []
    misfits: list[int] = []
    strays: list[int] = []
    for place, value in enumerate(group):
        number = value * power
        k, distance = 0, _ULP_MAX + 1
        if abs(number) < _K_MAX:  # false for NaN too
            k = round(number)
            distance = _ulps(value, _approach(k, kind))
        if distance:
            strays.append(place)
        if abs(distance) > _ULP_MAX:
            misfits.append(place)
            k, distance = scaled[-1] if scaled else 0, 0
        scaled.append(k)
        ulps.append(distance)
    return _integers(scaled, array("b", ulps).tobytes() if any(ulps) else b"", misfits, strays)


def _integers(scaled: Sequence[int], offsets: bytes, misfits: Sequence[int], strays: Sequence[int]) -> _Column:
    low, high = min(scaled), max(scaled)
    limit = max(high, -1 - low)
    width = 2 if limit < 1 << 15 else 4 if limit < 1 << 31 else 8
    if width == 2:
        body = planes(array("H", [k + 32768 for k in scaled]).tobytes(), 2)
    else:
        body = planes(array("i" if width == 4 else "q", scaled).tobytes(), width)
    cut = _QUIET_PLANES[width] * len(scaled)
    return _Column(bytes((width, bool(offsets))) + body[:cut] + offsets, body[cut:], misfits, strays)


_SHIFT_HIGH: Final = tuple(bytes((byte,)) for byte in struct.pack(">d", _SHIFT)[:4])
_QUIET_PLANES: Final = {2: 1, 4: 2, 8: 6}
"""By width of an integer: how many of its planes, from the top, are no noise."""


class Reader:
    """Takes bytes from the front; CodecError when there are too few."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        end = self.offset + size
        if size < 0 or end > len(self.data):
            raise CodecError(f"{size} bytes wanted, {len(self.data) - self.offset} left")
        piece = self.data[self.offset : end]
        self.offset = end
        return piece


def decode_values(reader: Reader, noise: Reader, count: int) -> "array[float]":
    """The inverse of :func:`encode_values`."""
    mode = reader.take(1)[0]
    if mode == _CONSTANT:
        return array("d", reader.take(8)) * count
    if mode == _PLAN_UNIFORM:
        classes = reader.take(1) * count if count else b""
    elif mode == _PLAN_BY_READING:
        order = reader.take(reader.take(1)[0])
        classes = _unpack_classes(order, reader.take((count * (len(order) - 1).bit_length() + 7) // 8), count)
    else:
        raise CodecError(f"unknown plan {mode}")
    (patch_count,) = _COUNT.unpack(reader.take(2))
    patches = reader.take(patch_count * _PATCH.size)
    plan = plan_of(classes)
    together: array[float] = array("d")
    for kind, getter in plan.groups:
        together.extend(_decode_group(reader, noise, kind, count if getter is None else classes.count(kind)))
    values = together if plan.restore is None else array("d", plan.restore(together))
    for position, value in _PATCH.iter_unpack(patches):
        if position >= count:
            raise CodecError(f"patch at {position} of {count}")
        values[position] = value
    return values


def _decode_group(reader: Reader, noise: Reader, kind: int, count: int) -> "array[float]":
    if kind == FLOAT64:
        return array("d", unplanes(reader.take(2 * count) + noise.take(6 * count), 8))
    if kind == FLOAT32:
        return array("d", array("f", unplanes(reader.take(count) + noise.take(3 * count), 4)))
    if not DIVIDED <= kind < _CLASSES_END:
        raise CodecError(f"unknown class {kind}")
    width, has_offsets = reader.take(2)
    if width not in _QUIET_PLANES:
        raise CodecError(f"unknown width {width}")
    quiet = _QUIET_PLANES[width]
    raw = unplanes(reader.take(quiet * count) + noise.take((width - quiet) * count), width)
    scaled = [k - 32768 for k in array("H", raw)] if width == 2 else array("i" if width == 4 else "q", raw)
    if kind >= SCALED:
        step = STEPS[kind - SCALED]
        values = array("d", [k * step for k in scaled])
    else:
        power = POWERS[kind - DIVIDED]
        values = array("d", [k / power for k in scaled])
    if has_offsets:
        bits = array("q", values.tobytes())
        offsets = array("b", reader.take(count))
        values = array("d", array("q", map(add, bits, offsets)).tobytes())
    return values


def encode_integers(values: "array[int]") -> bytes:
    """A column of integers (typecode I or q): same width for all, difference to the first, planes."""
    first = values[0] if values else 0
    differences = [value - first for value in values]
    low, high = (min(differences), max(differences)) if differences else (0, 0)
    head = struct.pack("<q", first)
    if low == high == 0:
        return head + b"\x00"
    for width, typecode in ((1, "b"), (2, "h"), (4, "i"), (8, "q")):
        limit = 1 << (8 * width - 1)
        if -limit <= low and high < limit:
            return head + bytes((width,)) + planes(array(typecode, differences).tobytes(), width)
    # The span of two int64 is wider than an int64: as they are.
    return head + b"\xff" + planes(values.tobytes(), 8)


def decode_integers(reader: Reader, count: int, typecode: str) -> "array[int]":
    """The inverse of :func:`encode_integers`."""
    (first,) = struct.unpack("<q", reader.take(8))
    width = reader.take(1)[0]
    if width == 0:
        return array(typecode, [first]) * count
    if width == 0xFF:
        return array("q", unplanes(reader.take(8 * count), 8))
    codes = {1: "b", 2: "h", 4: "i", 8: "q"}
    if width not in codes:
        raise CodecError(f"unknown width {width}")
    differences = array(codes[width], unplanes(reader.take(width * count), width))
    return array(typecode, [first + difference for difference in differences])
