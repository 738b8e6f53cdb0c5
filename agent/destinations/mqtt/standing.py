"""Standing alarms as retained messages under ``alarms/active`` (spec/wire.md)."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from agent.core.ports import SiteView
from agent.destinations.filters import PriorityFilter
from agent.destinations.mqtt.sender import Retained

log = logging.getLogger("davy.destinations.mqtt")

TOPIC: Final = "alarms/active/"
FOREIGN_MAX: Final = 10_000
"""Most retained alarms that are remembered until the backlog is through; more are found after the next connect."""


class Standing:
    """What stands under ``alarms/active`` of one connection, and what has to be changed there.

    Published is always the alarm as it stands now, never as it was when the event happened, so that an older state
    never overtakes a newer one, whatever the backlog.
    """

    def __init__(
        self, retained: Retained, view: SiteView, least: PriorityFilter, is_backlog_through: Callable[[], bool]
    ) -> None:
        self._retained = retained
        self._view = view
        self._least = least
        self._is_backlog_through = is_backlog_through
        self._dirty: dict[str, None] = {}
        self._touched: set[str] = set()
        self._foreign: dict[str, None] = {}
        self._has_work = asyncio.Event()

    def mark(self, alarm: str) -> None:
        """The alarm changed: publish it again."""
        self._dirty[alarm] = None
        self._touched.add(alarm)
        self._foreign.pop(alarm, None)
        self._has_work.set()

    def mark_all(self) -> None:
        """Publish all standing alarms again; after each connect, before :meth:`found` is fed."""
        for alarm in self._sendable():
            self.mark(alarm)

    def found(self, alarm: str) -> None:
        """The broker retains an alarm: ours, an older state of ours, or none that is known here."""
        if alarm not in self._touched and len(self._foreign) < FOREIGN_MAX:
            self._foreign[alarm] = None

    def check_foreign(self) -> None:
        """Deal with what was found once the backlog, which may end it as well, is through."""
        if self._foreign and self._is_backlog_through():
            self._has_work.set()

    async def run(self) -> None:
        """Publish until cancelled; UnavailableError when the connection is gone."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            dirty, self._dirty = self._dirty, {}
            sendable = self._sendable()
            await self._retained.publish({TOPIC + name: _payload(sendable.get(name)) for name in dirty})
            if self._is_backlog_through():
                await self._end_foreign()

    async def _end_foreign(self) -> None:
        foreign, self._foreign = self._foreign, {}
        standing = {str(alarm["alarm"]) for alarm in self._view.alarms()}
        for name in foreign:
            if name not in standing:
                log.warning("retained alarm is not known here: ended", extra={"alarm": name})
                await self._view.end_unknown(name)
        await self._retained.publish({TOPIC + name: b"" for name in foreign})

    def _sendable(self) -> dict[str, Mapping[str, Any]]:
        return {str(alarm["alarm"]): alarm for alarm in self._view.alarms() if self._least.allows(alarm)}


def _payload(alarm: Mapping[str, Any] | None) -> bytes:
    return b"" if alarm is None else orjson.dumps(alarm)
