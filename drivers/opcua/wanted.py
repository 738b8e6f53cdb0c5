"""The driver's own list of wanted nodes: what the server watches, what it refused, and what has gone quiet."""

from collections.abc import Iterable
from typing import Final

_SCANS_PER_REFRESH: Final = 10
_SCAN_MAX_NS: Final = 1_000_000_000


class Backoff:
    """Waits that double from ``first_ns`` to ``longest_ns``."""

    def __init__(self, first_ns: int, longest_ns: int) -> None:
        self._first_ns = first_ns
        self._longest_ns = longest_ns
        self._next_ns = first_ns

    def reset(self) -> None:
        """Begin anew with the first wait."""
        self._next_ns = self._first_ns

    def take(self) -> int:
        """The next wait, ns."""
        wait_ns = self._next_ns
        self._next_ns = min(wait_ns * 2, self._longest_ns)
        return wait_ns


class Wanted:
    """Compares what was asked for with what the server gave; all times are monotonic ns."""

    def __init__(self, tags: int, refresh_ns: int, retry: tuple[int, int]) -> None:
        """``retry``: first and longest wait before a refused node is asked for again."""
        self._retry = retry
        self._heard_ns = [0] * tags
        self._refused: dict[int, tuple[int, int, Backoff]] = {}
        """By tag: status of the refusal, when to try again, and the waits."""
        self._suspected: dict[int, int] = {}
        """By tag: until when its notification may come."""
        self.scan_ns = max(1, min(refresh_ns // _SCANS_PER_REFRESH, _SCAN_MAX_NS))
        """Distance of two looks for quiet nodes."""
        # An item that would be quiet for longer than refresh at the next look is read at this one.
        self._quiet_ns = refresh_ns - self.scan_ns

    def connect(self, now_ns: int) -> None:
        """A new connection: nothing is watched, nothing has been quiet yet."""
        self._heard_ns = [now_ns] * len(self._heard_ns)
        self._refused.clear()
        self._suspected.clear()

    def refuse(self, tag: int, status: int, now_ns: int) -> None:
        """The server does not have this node; it is asked for again with back-off."""
        known = self._refused.get(tag)
        backoff = Backoff(*self._retry) if known is None else known[2]
        self._refused[tag] = (status, now_ns + backoff.take(), backoff)
        self._suspected.pop(tag, None)

    def accept(self, tag: int) -> None:
        """The server watches this node."""
        self._refused.pop(tag, None)

    def refused(self) -> dict[int, int]:
        """The refused nodes and the status of each refusal."""
        return {tag: status for tag, (status, _, _) in self._refused.items()}

    def due(self, now_ns: int) -> list[int]:
        """Refused nodes whose next attempt is due."""
        return [tag for tag, (_, retry_ns, _) in self._refused.items() if retry_ns <= now_ns]

    def hear(self, tags: Iterable[int], now_ns: int) -> None:
        """Readings of these tags were put."""
        for tag in tags:
            self._heard_ns[tag] = now_ns
        if self._suspected:
            for tag in tags:
                self._suspected.pop(tag, None)

    def quiet(self, now_ns: int) -> list[int]:
        """Tags, refused ones included, without a reading for as long as T3 allows; suspected ones apart."""
        limit_ns = now_ns - self._quiet_ns
        return [
            tag for tag, heard_ns in enumerate(self._heard_ns) if heard_ns <= limit_ns and tag not in self._suspected
        ]

    def suspect(self, tag: int, until_ns: int) -> None:
        """A quiet node has a value that no notification brought yet.

        One may be on its way, with older changes before it: so this value waits, and does not overtake them. When none
        has come by ``until_ns``, the server no longer watches the node.
        """
        self._suspected.setdefault(tag, until_ns)

    def wait_longer(self, until_ns: int) -> None:
        """Notifications were held up on the agent's own side: suspected nodes get more time."""
        self._suspected = {tag: max(until_ns, known_ns) for tag, known_ns in self._suspected.items()}

    def silent(self, now_ns: int) -> list[int]:
        """Suspected nodes whose time is over."""
        return [tag for tag, until_ns in self._suspected.items() if until_ns <= now_ns]
