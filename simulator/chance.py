"""Repeatable noise: a pure function of seed, stream and sample number, so a value never depends on who asked when."""

import math
import zlib
from typing import Final

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_UNIT: Final = 1.0 / (1 << 32)


def stream(seed: int, name: str) -> int:
    """The number of a named stream of one run."""
    return _mix((seed * _GOLDEN + zlib.crc32(name.encode())) & _MASK)


def normal(of: int, number: int) -> float:
    """The ``number``-th standard normal value of a stream (Box-Muller over a 64-bit mix)."""
    bits = _mix((of + number * _GOLDEN) & _MASK)
    radius = math.sqrt(-2.0 * math.log(((bits >> 32) + 1) * _UNIT))
    return radius * math.cos(2.0 * math.pi * (bits & 0xFFFFFFFF) * _UNIT)


def _mix(bits: int) -> int:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    bits = ((bits ^ bits >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ bits >> 27) * 0x94D049BB133111EB) & _MASK
    return bits ^ bits >> 31
