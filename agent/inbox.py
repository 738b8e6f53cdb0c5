"""The one bounded queue between polling and journaling."""

import asyncio
from collections import deque
from typing import Final

from agent.core.batch import Batch
from agent.core.counters import Counters, labels

READINGS_MAX: Final = 200_000
"""When this many readings wait, the next poll waits too and its ticks count as missed (DESIGN "Data")."""

REFUSE_ABOVE: Final = 2 * READINGS_MAX
"""Notifications can't be asked to wait: above this they are refused and counted."""


class BoundedInbox:
    """Implements :class:`agent.core.ports.Inbox`; the pipeline takes everything that waits at once."""

    def __init__(self, counters: Counters, arrived: asyncio.Event) -> None:
        self._counters = counters
        self._arrived = arrived
        self._waiting: deque[Batch] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self.readings = 0

    async def room(self) -> None:
        """See :class:`agent.core.ports.Inbox`."""
        await self._room.wait()

    def put(self, batch: Batch) -> None:
        """See :class:`agent.core.ports.Inbox`."""
        count = len(batch.values)
        if self.readings + count > REFUSE_ABOVE:
            self._counters.add("readings_refused", count, labels(reason="queue"))
            return
        self._waiting.append(batch)
        self.readings += count
        if self.readings >= READINGS_MAX:
            self._room.clear()
        self._arrived.set()

    def take(self) -> list[Batch]:
        """Everything that waits, in order."""
        taken = list(self._waiting)
        self._waiting.clear()
        self.readings = 0
        self._room.set()
        return taken

    def __len__(self) -> int:
        return len(self._waiting)
