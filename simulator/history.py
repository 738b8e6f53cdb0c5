"""What the simulated devices said, and when: the truth that received values are held against."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

SAMPLES_MAX: Final = 200_000
"""Per tag; at twice that the older half goes, and values from before it can no longer be judged."""


class History:
    """Values by tag in the order of their times, ns UTC; NaN where the device said that it has none."""

    def __init__(self) -> None:
        self._times: dict[str, list[int]] = {}
        self._values: dict[str, list[float]] = {}
        self.count = 0
        """Values noted so far, forgotten ones too."""

    def note(self, time_ns: int, values: Mapping[str, float]) -> None:
        """Add values at one time, not before the last."""
        for tag, value in values.items():
            times = self._times.setdefault(tag, [])
            kept = self._values.setdefault(tag, [])
            times.append(time_ns)
            kept.append(value)
            if len(times) > 2 * SAMPLES_MAX:
                del times[:SAMPLES_MAX], kept[:SAMPLES_MAX]
        self.count += len(values)

    def tags(self) -> tuple[str, ...]:
        """The tags that ever had a value."""
        return tuple(self._times)

    def times(self, tag: str) -> list[int]:
        """When the tag's values were noted."""
        return list(self._times.get(tag, ()))

    def last_before(self, tag: str, time_ns: int) -> tuple[int, float] | None:
        """The newest value at or before a time; None where there is none (or it was forgotten)."""
        times = self._times.get(tag, [])
        position = bisect_right(times, time_ns) - 1
        return None if position < 0 else (times[position], self._values[tag][position])

    def current(self, tag: str, from_ns: int, to_ns: int) -> list[float]:
        """Every value that was the newest one at some time in ``[from_ns, to_ns]``."""
        times = self._times.get(tag, [])
        first = max(bisect_right(times, from_ns) - 1, 0)
        return self._values.get(tag, [])[first : bisect_right(times, to_ns)]
