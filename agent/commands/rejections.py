"""How often somebody was turned away: five times a minute is an alarm, and a flood is not written down one by one."""

from collections import deque
from dataclasses import dataclass
from typing import Final

ALARM: Final = "davy:commands"
ALARM_COUNT: Final = 5
MINUTE_NS: Final = 60_000_000_000
RECORDED_MAX: Final = 60
"""So many rejections a minute get a record each; more are counted in one, or whoever floods us would fill the disk."""
MESSAGE: Final = {
    "zh-CN": "一分钟内 {} 次以上命令或登录被拒绝",
    "en": "{} or more commands or logins rejected within a minute",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What changes now; ``is_true`` None: nothing."""

    is_true: bool | None = None
    unrecorded: int = 0
    """Rejections that got no record of their own, to be told in one."""


class Rejections:
    """Counts over the last minute, on the monotonic clock."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()
        self._unrecorded = 0
        self.is_alarm = False

    def add(self, now_ns: int) -> bool:
        """Count one; tells whether it gets a record of its own."""
        self._forget(now_ns)
        if len(self._times) == RECORDED_MAX:
            self._unrecorded += 1
            return False
        self._times.append(now_ns)
        return True

    def look(self, now_ns: int) -> Verdict:
        """What is to be told now; call it after each rejection and once a second."""
        self._forget(now_ns)
        unrecorded = 0
        if len(self._times) < RECORDED_MAX:
            unrecorded, self._unrecorded = self._unrecorded, 0
        is_alarm = len(self._times) >= ALARM_COUNT
        if is_alarm == self.is_alarm:
            return Verdict(None, unrecorded)
        self.is_alarm = is_alarm
        return Verdict(is_alarm, unrecorded)

    def _forget(self, now_ns: int) -> None:
        while self._times and self._times[0] <= now_ns - MINUTE_NS:
            self._times.popleft()
