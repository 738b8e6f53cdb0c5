"""The driver's own list of wanted nodes: what the server watches, what it refused, and what has gone quiet."""

from collections.abc import Iterable
from typing import Final

_SCANS_PER_REFRESH: Final = 10


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
        self._doubtful: set[int] = set()
        self.scan_ns = max(1, refresh_ns // _SCANS_PER_REFRESH)
        """Distance of two looks for quiet nodes."""
        # An item that would be quiet for longer than refresh at the next look is read at this one.
        self._quiet_ns = refresh_ns - self.scan_ns

    def connect(self, now_ns: int) -> None:
        """A new connection: nothing is watched, nothing has been quiet yet."""
        self._heard_ns = [now_ns] * len(self._heard_ns)
        self._refused.clear()
        self._doubtful.clear()

    def refuse(self, tag: int, status: int, now_ns: int) -> None:
        """The server does not have this node; it is asked for again with back-off."""
        known = self._refused.get(tag)
        backoff = Backoff(*self._retry) if known is None else known[2]
        self._refused[tag] = (status, now_ns + backoff.take(), backoff)

    def accept(self, tag: int) -> None:
        """The server watches this node."""
        self._refused.pop(tag, None)
        self._doubtful.discard(tag)

    def hear(self, tag: int, now_ns: int) -> None:
        """A notification of this node arrived."""
        self._heard_ns[tag] = now_ns
        if self._doubtful:
            self._doubtful.discard(tag)

    def read(self, tag: int, now_ns: int, *, is_news: bool) -> bool:
        """A quiet node was read; True when its item must be made anew.

        ``is_news``: the value is not the one notified last. Once may be chance; news at two readings in a row with no
        notification in between means that the server no longer watches the node.
        """
        self._heard_ns[tag] = now_ns
        if not is_news:
            return False
        if tag in self._doubtful:
            self._doubtful.discard(tag)
            return True
        self._doubtful.add(tag)
        return False

    def refused(self) -> dict[int, int]:
        """The refused nodes and the status of each refusal."""
        return {tag: status for tag, (status, _, _) in self._refused.items()}

    def due(self, now_ns: int) -> list[int]:
        """Refused nodes whose next attempt is due."""
        return [tag for tag, (_, retry_ns, _) in self._refused.items() if retry_ns <= now_ns]

    def quiet(self, now_ns: int) -> list[int]:
        """Nodes, refused ones included, without a reading for as long as T3 allows."""
        limit_ns = now_ns - self._quiet_ns
        return [tag for tag, heard_ns in enumerate(self._heard_ns) if heard_ns <= limit_ns]

    def report(self, tags: Iterable[int], now_ns: int) -> None:
        """Bad readings of refused nodes were put."""
        for tag in tags:
            self._heard_ns[tag] = now_ns
