"""Due times: a heap with at most one entry per rule and kind; who postpones its time does not touch the heap."""

import heapq
from collections.abc import Callable, Mapping
from typing import Final

STALE: Final = 0
DELAY: Final = 1
RE_ALARM: Final = 2
HIDING: Final = 3
BLIND: Final = 4
COUNT: Final = 5
FAULT: Final = 6
"""Kinds, in the order in which several of one rule fire at one time (spec/rules.md T6)."""

Due = tuple[int, int, str, int]
"""When (ns), rank, rule id, kind: the order in which timers fire (T5). Rank: 0, or the place of a late rule (T6)."""


class Timers:
    """``due_of(rule, kind)`` is the truth; an entry that is too early is moved when it comes to the top."""

    def __init__(self, due_of: Callable[[str, int], int | None]) -> None:
        self._due_of = due_of
        self._heap: list[Due] = []
        self.ranks: Mapping[str, int] = {}
        """Of rules that are looked at after the timers of their time; set it before the timers."""
        self._queued: dict[tuple[str, int], int] = {}

    def set(self, due_ns: int, rule: str, kind: int) -> None:
        """Say that a timer is due at ``due_ns`` or, as far as the heap knows, later."""
        queued = self._queued.get((rule, kind))
        if queued is None or due_ns < queued:
            self._queued[rule, kind] = due_ns
            heapq.heappush(self._heap, (due_ns, self.ranks.get(rule, 0), rule, kind))

    def may_be_due(self, before_ns: int) -> bool:
        """False: surely nothing is due before that time."""
        return bool(self._heap) and self._heap[0][0] < before_ns

    def first(self) -> Due | None:
        """The timer that is due first, with its true time."""
        heap = self._heap
        while heap:
            due_ns, _, rule, kind = heap[0]
            if self._queued.get((rule, kind)) == due_ns:
                true_ns = self._due_of(rule, kind)
                if true_ns == due_ns:
                    return heap[0]
                del self._queued[rule, kind]
                if true_ns is not None:
                    self.set(true_ns, rule, kind)
                    if true_ns < due_ns:
                        continue
            heapq.heappop(heap)
        return None

    def pop(self) -> Due:
        """Take the timer that :meth:`first` returned."""
        due = heapq.heappop(self._heap)
        del self._queued[due[2], due[3]]
        return due

    def clear(self) -> None:
        """Forget all; set them anew after every time has moved."""
        self._heap.clear()
        self._queued.clear()
