"""When shifts start: local times of day in a time zone, as UTC (C5)."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ShiftStarts:
    """Times of day at which shifts start; ValueError for a time zone that nobody knows."""

    def __init__(self, starts: Sequence[str], zone: str) -> None:
        try:
            self._zone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {zone!r}; expected a name such as Asia/Shanghai") from error
        self._times = sorted(time.fromisoformat(start) for start in starts)

    def around(self, t_ns: int) -> tuple[int, int]:
        """The last start at or before a time, and the first after it (ns UTC)."""
        today = (_EPOCH + timedelta(seconds=t_ns // _NS)).astimezone(self._zone).date()
        starts = sorted(self._on(today + timedelta(days=days)) for days in range(-2, 3))
        flat = sorted(start for day in starts for start in day)
        return max(start for start in flat if start <= t_ns), min(start for start in flat if start > t_ns)

    def _on(self, day: date) -> list[int]:
        moments = (datetime.combine(day, start, self._zone) for start in self._times)
        return [int((moment - _EPOCH) / timedelta(seconds=1)) * _NS for moment in moments]
