"""When to poll and when to connect again; pure."""

from zlib import crc32

_LATE_SHARE = 10
RECONNECT_FIRST_S = 0.1
RECONNECT_MAX_S = 10.0


class Grid:
    """Poll ticks at fixed distances on the monotonic clock: no drift, and every tick is either polled or missed.

    A tick may be served up to a tenth of the period late; one that passed by more is missed, never made up for::

        period 10     tick 0    10    20    30
        poll takes 10.5   |------|-----| .     tick 10 is served at 10.5
        poll takes 14     |----------|  |--    tick 10 is missed, 20 is next
    """

    def __init__(self, first_ns: int, period_ns: int) -> None:
        self.tick_ns = first_ns
        """The tick that is due next."""
        self._period_ns = period_ns
        self._late_ns = period_ns // _LATE_SHARE

    def passed(self, now_ns: int) -> int:
        """Move to the first tick that can still be served at ``now_ns`` and return how many were missed."""
        late_ns = now_ns - self.tick_ns - self._late_ns
        if late_ns <= 0:
            return 0
        missed = -(-late_ns // self._period_ns)
        self.tick_ns += missed * self._period_ns
        return missed

    def served(self) -> None:
        """The due tick was polled: the next one is due."""
        self.tick_ns += self._period_ns


def phase_ns(device: str, period_ns: int) -> int:
    """How long after the start a device polls first: staggered over a period, or a second where it is longer."""
    return crc32(device.encode()) * min(period_ns, 1_000_000_000) >> 32


def reconnect_delay_s(device: str, attempt: int) -> float:
    """Wait before connection attempt ``attempt`` (from 0): doubling up to 10 s, less up to half of it as jitter.

    The jitter is a function of its arguments, so devices behind one gateway spread out and a test can repeat it.
    """
    full = min(RECONNECT_MAX_S, RECONNECT_FIRST_S * 2.0 ** min(attempt, 10))
    jitter = crc32(f"{device}\n{attempt}".encode()) / 2**32
    return full * (1 - jitter / 2)
