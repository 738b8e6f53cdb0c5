"""The only reader of clocks: the agent's ``at`` clock for real and for virtual time."""

import asyncio
import ctypes
import selectors
import time
from typing import Final, Protocol

STEP_NS: Final = 1_000_000_000
"""UTC may wander this far from the monotonic clock before it counts as a step (spec/rules.md T8)."""


class Clock(Protocol):
    """``now_ns`` is what every ``at`` is read from: UTC at start plus monotonic time, so it never falls by itself."""

    def now_ns(self) -> int:
        """The agent's time, ns UTC; falls or jumps only by :meth:`take_step`."""
        ...

    def monotonic_ns(self) -> int:
        """Monotonic time, ns; for intervals only."""
        ...

    def take_step(self) -> int:
        """Adopt a step of UTC against the monotonic clock and return it, ns; 0 where there was none over 1 s."""
        ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._base_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """See :class:`Clock`."""
        return self._base_ns + time.monotonic_ns()

    def monotonic_ns(self) -> int:
        """See :class:`Clock`."""
        return time.monotonic_ns()

    def take_step(self) -> int:
        """See :class:`Clock`."""
        step = time.time_ns() - time.monotonic_ns() - self._base_ns
        if abs(step) <= STEP_NS:
            return 0
        self._base_ns += step
        return step


class VirtualClock:
    """A clock that moves only when told to; for tests and simulation."""

    def __init__(self, now_ns: int = 1_795_248_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0
        self._step_ns = 0

    def now_ns(self) -> int:
        """See :class:`Clock`."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """See :class:`Clock`."""
        return self._monotonic_ns

    def take_step(self) -> int:
        """See :class:`Clock`."""
        step, self._step_ns = self._step_ns, 0
        self._now_ns += step
        return step

    def advance(self, duration_ns: int) -> None:
        """Let time pass."""
        self._now_ns += duration_ns
        self._monotonic_ns += duration_ns

    def step(self, step_ns: int) -> None:
        """Set UTC forward or back while no time passes; seen by the next :meth:`take_step`."""
        self._step_ns += step_ns


class DeadlockError(Exception):
    """Every task of a virtual-time loop waits for something that no timer will bring."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps over idle time: a day of polling takes seconds, a deadlock raises.

    Use with in-process fakes only: a real socket would never get the time to answer.
    """

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        super().__init__(_JumpingSelector(self.clock))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.clock.monotonic_ns() / 1e9


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise DeadlockError("every task waits and no timer is set")
        # One nanosecond more than asked for, or rounding would wake the loop just before its timer and spin.
        self._clock.advance(int(timeout * 1e9) + 1)
        return ready


def process_cpu_ns() -> int:
    """CPU time this process has used, ns."""
    return time.process_time_ns()


def is_synchronised() -> bool:
    """Tell whether the kernel holds UTC for synchronised (NTP or PTP; adjtimex(2)); False where it can't be asked."""
    timex = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; modes = 0 only reads
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return False
    return state not in (-1, _TIME_ERROR)


_TIME_ERROR: Final = 5
