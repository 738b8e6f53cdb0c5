"""From what a server sent to batches: type, status, range and time of each value."""

import math
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

from agent.core.batch import Batch, Layout
from agent.core.quality import FIRST_BAD, Quality
from drivers.opcua.status import GOOD, is_bad, quality_of
from drivers.opcua.times import SourceTimes

EXACT_MAX: Final = 1 << 53
"""Integers beyond this are not all float64."""
TEXT_MAX: Final = 1024
"""Longest text that is kept of a string node, in characters."""
_NAN: Final = math.nan


class Sample(NamedTuple):
    """One value as the server sent it."""

    tag: int
    """Position in the device's layout."""
    value: object
    """bool, int, float or str; None: no value; anything else: a type that Davy does not read."""
    status: int
    source_ns: int | None


class Value(NamedTuple):
    """One value as Davy reads it."""

    number: float
    exact: str | None
    quality: int


def convert(value: object, status: int, limits: tuple[float, float] | None) -> Value:
    """Number, exact text and quality of a value; the clock apart."""
    quality = GOOD if status == GOOD else quality_of(status)
    if is_bad(status):
        return Value(_NAN, None, quality)
    exact = None
    if isinstance(value, float):
        number = value
    elif isinstance(value, int):  # bool too
        number = float(value)
        if abs(value) > EXACT_MAX:
            exact, quality = str(int(value)), max(quality, Quality.UNCERTAIN)
    elif isinstance(value, str):
        return Value(_NAN, _text(value), quality)
    else:
        return Value(_NAN, None, Quality.NOT_A_NUMBER if value is None else Quality.CONFIG)
    if not math.isfinite(number):
        return Value(_NAN, None, Quality.NOT_A_NUMBER)
    if limits is not None and quality < Quality.OUT_OF_RANGE and not limits[0] <= number <= limits[1]:
        quality = Quality.OUT_OF_RANGE
    return Value(number, exact, quality)


def _text(value: str) -> str:
    # Bytes that are no UTF-8 come as lone surrogates, which no JSON writer takes.
    clean = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return clean if len(clean) <= TEXT_MAX else clean[: TEXT_MAX - 1] + "…"


class Builder:
    """Makes the batches of one device."""

    def __init__(self, layout: Layout, ranges: Sequence[tuple[float, float] | None], times: SourceTimes) -> None:
        self._layout = layout
        self._ranges = ranges
        self._times = times
        self._all = array("I", range(len(layout.tags)))

    def build(self, samples: Sequence[Sample], at_ns: int) -> tuple[Batch, int]:
        """A batch of the samples in their order, and how many of them have a doubtful clock (quality 4)."""
        values, qualities = array("d"), bytearray()
        index, dts, source_dts = array("I"), array("q"), array("q")
        exact: dict[int, str] = {}
        doubtful = 0
        for tag, raw, status, source_ns in samples:
            number, text, quality = convert(raw, status, self._ranges[tag])
            known = None if quality >= FIRST_BAD else number if text is None else text
            dt_ns, source_dt_ns, is_doubtful = self._times.judge(tag, at_ns, source_ns, known)
            if is_doubtful and quality <= Quality.OUT_OF_RANGE:
                quality = Quality.CLOCK
                doubtful += 1
            if text is not None:
                exact[len(values)] = text
            values.append(number)
            qualities.append(quality)
            index.append(tag)
            dts.append(dt_ns)
            source_dts.append(source_dt_ns)
        batch = Batch(
            self._layout,
            at_ns,
            values,
            quality=bytes(qualities) if any(qualities) else None,
            index=None if index == self._all else index,
            dt_ns=dts if any(dts) else None,
            source_dt_ns=source_dts if source_dts != dts else None,
            exact=exact,
        )
        return batch, doubtful
