"""How much one lane may have on its way: grows on a fast link, shrinks on a slow one or after failures (pure)."""

from typing import Final

IN_FLIGHT_MIN: Final = 64 << 10
"""Bytes; the start and the floor (spec/wire.md)."""
IN_FLIGHT_MAX: Final = 4 << 20
MESSAGE_MIN: Final = 2 << 10
MESSAGE_MAX: Final = 64 << 10
QUICK_NS: Final = 250_000_000
SLOW_NS: Final = 500_000_000
REGROW_NS: Final = 600_000_000_000
"""A message size that failed is tried again after this long."""
JOURNAL_SHARE: Final = 2
"""A record is about twice as long as JSON as it is in the journal."""


class Flow:
    """Adapts unacknowledged bytes to the link, so that nothing long stands in front of an alarm.

    A send that took less than 0.25 s doubles the allowance, one over 0.5 s halves it. Two connections in a row that
    proved nothing halve the size of a message: some brokers just hang up on what is too large for them.
    """

    def __init__(self, most_bytes: int = IN_FLIGHT_MAX) -> None:
        self._most = max(IN_FLIGHT_MIN, most_bytes)
        self._in_flight = IN_FLIGHT_MIN
        self._message_most = MESSAGE_MAX
        self._fruitless = 0
        self._shrunk_ns = 0

    @property
    def in_flight_bytes(self) -> int:
        """Bytes that may wait for their proof."""
        return self._in_flight

    @property
    def chunk_bytes(self) -> int:
        """Journal bytes to read for one send."""
        return self._in_flight // JOURNAL_SHARE

    @property
    def message_bytes(self) -> int:
        """Aim for the length of one message: a quarter of the allowance, so that a slow link proves something soon."""
        return min(self._message_most, self._in_flight // 4)

    def proved(self, took_ns: int, now_ns: int, *, was_full: bool) -> None:
        """Learn from a proved send; only a full one tells that more would have fitted."""
        self._fruitless = 0
        if took_ns > SLOW_NS:
            self._in_flight = max(IN_FLIGHT_MIN, self._in_flight // 2)
        elif was_full and took_ns < QUICK_NS:
            self._in_flight = min(self._most, self._in_flight * 2)
        if self._message_most < MESSAGE_MAX and now_ns - self._shrunk_ns >= REGROW_NS:
            self._message_most = min(MESSAGE_MAX, self._message_most * 2)
            self._shrunk_ns = now_ns

    def failed(self, now_ns: int, *, was_sending: bool) -> None:
        """Learn from a connection that ended; ``was_sending``: with a send under way that proved nothing."""
        self._in_flight = IN_FLIGHT_MIN
        if not was_sending:
            return
        self._fruitless += 1
        if self._fruitless >= 2:
            self._message_most = max(MESSAGE_MIN, min(self._message_most, IN_FLIGHT_MIN // 4) // 2)
            self._shrunk_ns = now_ns
