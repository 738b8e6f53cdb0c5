"""When a device is polled: a fixed grid on the monotonic clock, without drift, devices staggered by their id."""

import hashlib


def first_tick_ns(device: str, poll_ns: int, now_ns: int) -> int:
    """The first tick after ``now_ns``; the phase is a function of the device's id."""
    phase_ns = int.from_bytes(hashlib.sha256(device.encode()).digest()[:8], "big") % poll_ns
    return now_ns + poll_ns - (now_ns - phase_ns) % poll_ns


def next_tick_ns(last_ns: int, poll_ns: int, now_ns: int) -> tuple[int, int]:
    """The tick after ``last_ns`` that is not over yet, and how many were missed on the way there."""
    due_ns = last_ns + poll_ns
    if due_ns >= now_ns:
        return due_ns, 0
    missed = (now_ns - due_ns + poll_ns - 1) // poll_ns
    return due_ns + missed * poll_ns, missed
