"""Alarm performance while the agent runs: gauges for the metrics, and an audit record ``kpi`` at each day's end."""

import asyncio
import logging
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from agent.core.clock import Clock
from agent.core.counters import Counters
from agent.core.ports import JournalReader
from agent.core.records import Kind, Lane, Record
from agent.local import follow
from agent.pipeline import Pipeline
from rules.kpi import Kpi, Recent, rating

log = logging.getLogger("davy.figures")

LOOK_EVERY_S: Final = 5.0


class LiveFigures:
    """A reader of the journal. After a restart within a day its figures begin there, and say so (``from``)."""

    def __init__(self, pipeline: Pipeline, reader: JournalReader, clock: Clock, counters: Counters, zone: str) -> None:
        self._pipeline = pipeline
        self._reader = reader
        self._clock = clock
        self._counters = counters
        self._zone = ZoneInfo(zone)
        self._recent = Recent()
        now_ns = clock.now_ns()
        self._day = Kpi(now_ns, next_midnight(now_ns, self._zone))
        for view in pipeline.engine.standing():
            if view.active and view.since is not None:
                self._recent.stands(view.id, view.since)
                self._day.stands(view.id, view.since)

    async def run(self) -> None:
        """Follow the journal, keep the gauges up to date and close each day, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            while True:
                await self.look()
                await asyncio.sleep(LOOK_EVERY_S)

    async def _follow(self) -> None:
        async for record in follow(self._reader, [Lane.ALARMS], self._reader.synced_seq):
            self.take(record)

    def take(self, record: Record) -> None:
        """The next record of the alarms lane."""
        if record.kind is Kind.ALARM:
            self._recent.take(record.fields)
            self._day.take(record.fields)

    async def look(self) -> None:
        """What is due now."""
        now_ns = self._clock.now_ns()
        for name, value in self._recent.gauges(now_ns).items():
            self._counters.put(name, value)
        if now_ns < self._day.end:
            return
        figures = self._day.figures()
        self._day = self._day.next(next_midnight(now_ns, self._zone))
        fields = {"from": figures.start, "to": figures.end, "rating": rating(figures), "kpi": figures.to_fields()}
        await self._pipeline.note("kpi", fields)


def next_midnight(now_ns: int, zone: ZoneInfo) -> int:
    """The next midnight of the site after ``now_ns``, ns UTC."""
    today = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).astimezone(zone).date()
    return int(datetime.combine(today + timedelta(days=1), time(), zone).timestamp()) * 1_000_000_000
