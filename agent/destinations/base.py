"""A destination: its lanes side by side, one status, an orderly end."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from agent.core.ports import DestinationContext
from agent.core.records import Lane as LaneName
from agent.core.records import Record
from agent.destinations.lane import Lane


class Destination(Protocol):
    """What the agent runs; ``make(config, context)`` of a kind's ``destination`` module returns one."""

    @property
    def id(self) -> str:
        """Its name in the configuration."""
        ...

    async def run(self) -> None:
        """Deliver until cancelled; raises only on a bug."""
        ...

    async def drain(self, limit_s: float) -> bool:
        """Before stopping: True when everything synced so far was delivered within the limit."""
        ...

    def offer(self, record: Record) -> None:
        """Send an alarm or audit record that could not be journaled, where this destination gets alarms."""
        ...

    def status(self) -> dict[str, Any]:
        """What an operator wants to know; JSON types."""
        ...


class LanedDestination:
    """The destination that every kind uses: lanes that know nothing of each other."""

    def __init__(self, name: str, kind: str, context: DestinationContext, lanes: Sequence[Lane]) -> None:
        self._name = name
        self._kind = kind
        self._context = context
        self.lanes = {lane.options.lane: lane for lane in lanes}
        for lane in lanes:
            lane.on_up = self._hurry_all

    @property
    def id(self) -> str:
        """See :class:`Destination`."""
        return self._name

    async def run(self) -> None:
        """See :class:`Destination`."""
        async with asyncio.TaskGroup() as group:
            for name, lane in self.lanes.items():
                group.create_task(lane.run(), name=f"{self._name}/{name.value}")

    async def drain(self, limit_s: float) -> bool:
        """See :class:`Destination`. A destination that is down gets one more attempt."""
        upto = self._context.reader.synced_seq
        try:
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                for lane in self.lanes.values():
                    group.create_task(lane.drain(upto))
        except TimeoutError:
            return False
        return all(lane.position >= upto for lane in self.lanes.values())

    def offer(self, record: Record) -> None:
        """See :class:`Destination`."""
        if (lane := self.lanes.get(LaneName.ALARMS)) is not None:
            lane.offer(record)

    def status(self) -> dict[str, Any]:
        """See :class:`Destination`."""
        states = {lane.state for lane in self.lanes.values()}
        return {
            "id": self._name,
            "kind": self._kind,
            "state": "up" if states <= {"up"} else "down" if "down" in states else "connecting",
            "waiting": max((lane.waiting for lane in self.lanes.values()), default=0),
            "last_error": next((text for lane in self.lanes.values() if (text := lane.status()["error"])), None),
            "lanes": {name.value: lane.status() for name, lane in self.lanes.items()},
        }

    def _hurry_all(self) -> None:
        for lane in self.lanes.values():
            lane.hurry()
