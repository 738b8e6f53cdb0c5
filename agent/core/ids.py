"""Identifiers: UUIDv7 for journals and commands, and derived ids for alarm events."""

import hashlib
import os
from typing import Final

_RANDOM_BITS: Final = 74
_NS_PER_MS: Final = 1_000_000


def _uuid7(time_ms: int, low: int) -> str:
    """UUIDv7 layout (RFC 9562 5.7): 48 bits of milliseconds, then 12 + 62 bits taken from the 74 bits of ``low``."""
    value = (time_ms & (1 << 48) - 1) << 80
    value |= 0x7 << 76
    value |= (low >> 62) << 64
    value |= 0b10 << 62
    value |= low & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_id(now_ns: int) -> str:
    """A fresh random UUIDv7 at ``now_ns`` (ns UTC)."""
    return _uuid7(now_ns // _NS_PER_MS, int.from_bytes(os.urandom(10), "big") >> (80 - _RANDOM_BITS))


def event_id(epoch: str, alarm: str, at_ns: int, transition: str, count: int) -> str:
    """The id of an alarm event (spec/rules.md A9): the same event derived again has the same id.

    ``count`` is the number of events of this alarm so far, this one included. The hashed text joins the five parts with
    a newline, which no id contains.
    """
    text = "\n".join((epoch, alarm, str(at_ns), transition, str(count)))
    digest = hashlib.sha256(text.encode()).digest()
    return _uuid7(at_ns // _NS_PER_MS, int.from_bytes(digest[:10], "big") >> (80 - _RANDOM_BITS))
