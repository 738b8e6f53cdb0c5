"""The Modbus driver: keeps one connection to one unit, polls it on a fixed grid, and never stops giving readings."""

import asyncio
import logging
from typing import Any, Final

from agent.core.batch import Batch, Layout, all_bad, split
from agent.core.counters import labels
from agent.core.ports import Driver, DriverContext, Inbox
from agent.core.quality import Quality
from agent.core.tags import Tag
from drivers.modbus.config import Config
from drivers.modbus.link import Link, PymodbusTcpLink
from drivers.modbus.pdu import ExchangeError
from drivers.modbus.plan import wire_order
from drivers.modbus.reader import Reader, Row
from drivers.modbus.schedule import Grid, phase_ns, reconnect_delay_s

SILENT_POLLS_MAX: Final = 2
"""After so many polls without any reply the connection is given up: half-open, or the device behind it is gone."""

_log = logging.getLogger("davy.modbus")


def make(config: Config, context: DriverContext) -> Driver:
    """The driver of a device; devices that share a gateway have a connection each."""
    link = PymodbusTcpLink(config.link.host, config.link.port, config.unit_id, config.timeout.s)
    return ModbusDriver(config, context, link)


class ModbusDriver:
    """See :class:`agent.core.ports.Driver`. Up means that the device answers, not that a socket is open.

    While the device is down a batch of comm_fail (101) comes at every tick, and a task of its own connects and asks
    until there is an answer, with back-off and jitter.
    """

    def __init__(self, config: Config, context: DriverContext, link: Link) -> None:
        ordered = sorted(config.tags, key=lambda tag: (*wire_order(tag.point()), tag.id))
        self._tags = tuple(config.tag(tag) for tag in ordered)
        self._layout = Layout(config.id, tuple(tag.id for tag in self._tags), config.source)
        self._device = config.id
        self._period_ns = config.poll.ns
        self._clock = context.clock
        self._counters = context.counters
        self._of_device = labels(device=config.id)
        self._link = link
        self._reader = Reader([tag.point() for tag in ordered], self._on_error)
        self._lost = asyncio.Event()
        self._lost.set()
        self._attempt = 0
        self._silent_polls = 0
        self._is_up: bool | None = None
        self._since_ns = self._clock.now_ns()
        self._last_error: str | None = None
        self._missed = 0
        self._left_out: dict[int, int] = {}

    @property
    def layout(self) -> Layout:
        """The tags in the order in which they stand in the device."""
        return self._layout

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Its tags, in the order of the layout."""
        return self._tags

    def status(self) -> dict[str, Any]:
        """State (starting, up, down), since (ns UTC), last error, requests, missed polls, tags that are left out."""
        return {
            "state": "starting" if self._is_up is None else "up" if self._is_up else "down",
            "since": self._since_ns,
            "last_error": self._last_error,
            "requests": self._reader.requests,
            "polls_missed": self._missed,
            "quarantined": [self._layout.tags[position] for position in sorted(self._left_out)],
        }

    async def run(self, inbox: Inbox) -> None:
        """Poll until cancelled."""
        self._counters.put("device_connected", 0, self._of_device)
        try:
            await asyncio.sleep(phase_ns(self._device, self._period_ns) / 1e9)
            await self._connect()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_connected())
                await self._keep_polling(inbox)
        finally:
            self._link.close()
            self._lost.set()

    async def _keep_polling(self, inbox: Inbox) -> None:
        grid = Grid(self._clock.monotonic_ns(), self._period_ns)
        while True:
            self._miss(grid.passed(self._clock.monotonic_ns()))
            # The loop's timers may fire a millisecond early (uvloop); the grid counts from the clock, so no matter.
            await asyncio.sleep((grid.tick_ns - self._clock.monotonic_ns()) / 1e9)
            await inbox.room()
            missed = grid.passed(self._clock.monotonic_ns())
            if missed:
                self._miss(missed)
                continue
            grid.served()
            await self._poll(inbox)

    async def _poll(self, inbox: Inbox) -> None:
        if self._lost.is_set():
            self._set_up(False)
            self._put(inbox, all_bad(self._layout, self._clock.now_ns(), Quality.COMM_FAIL))
            return
        before = self._reader.requests
        row = await self._reader.read(self._link, self._clock.monotonic_ns())
        self._counters.add("requests", self._reader.requests - before, self._of_device)
        self._put(inbox, self._batch(row))
        if self._left_out != self._reader.left_out:
            self._tell_left_out()
        self._silent_polls = 0 if row.replies else self._silent_polls + 1
        if row.replies:
            self._set_up(True)
        elif self._silent_polls >= SILENT_POLLS_MAX or not self._link.is_connected:
            self._give_up()

    def _batch(self, row: Row) -> Batch:
        quality = bytes(row.quality) if any(row.quality) else None
        return Batch(self._layout, self._clock.now_ns(), row.values, quality, exact=row.exact)

    def _put(self, inbox: Inbox, batch: Batch) -> None:
        """Hand readings over; the caller stamped them in this very step of the loop (spec/rules.md T5)."""
        for piece in split(batch):
            inbox.put(piece)
        self._counters.add("readings_polled", len(batch), self._of_device)

    def _miss(self, ticks: int) -> None:
        if ticks:
            self._missed += ticks
            self._counters.add("polls_missed", ticks, self._of_device)

    async def _keep_connected(self) -> None:
        while True:
            await self._lost.wait()
            await asyncio.sleep(reconnect_delay_s(self._device, self._attempt))
            self._attempt += 1
            await self._connect()

    async def _connect(self) -> None:
        """Connect and ask; only an answer, be it an exception, makes the device reachable again."""
        try:
            await self._link.connect(self._on_lost)
            await self._prove()
        except ExchangeError as error:
            self._on_error(error)
            self._give_up()
            return
        self._attempt = 0
        self._silent_polls = 0
        self._reader.forget()
        self._lost.clear()

    async def _prove(self) -> None:
        self._counters.add("requests", 1, self._of_device)
        try:
            await self._link.exchange(self._reader.request(self._attempt))
        except ExchangeError as error:
            if error.quality != Quality.DEVICE:
                raise

    def _on_lost(self) -> None:
        """The device ended the connection, between two requests or during one."""
        self._last_error = "the device ended the connection"
        self._lost.set()

    def _give_up(self) -> None:
        self._link.close()
        self._lost.set()
        self._set_up(False)

    def _on_error(self, error: ExchangeError) -> None:
        self._last_error = str(error)
        self._counters.add("request_errors", 1, labels(device=self._device, error=error.label))

    def _set_up(self, is_up: bool) -> None:
        if self._is_up == is_up:
            return
        self._is_up = is_up
        self._since_ns = self._clock.now_ns()
        self._counters.put("device_connected", int(is_up), self._of_device)
        if is_up:
            _log.info("device up", extra={"device": self._device})
        else:
            _log.warning("device down", extra={"device": self._device, "error": self._last_error})

    def _tell_left_out(self) -> None:
        before, self._left_out = self._left_out, self._reader.left_out
        gone = [self._layout.tags[p] for p in sorted(self._left_out.keys() - before.keys())]
        back = [self._layout.tags[p] for p in sorted(before.keys() - self._left_out.keys())]
        if gone:
            _log.warning("tags left out", extra={"device": self._device, "tags": gone, "error": self._last_error})
        if back:
            _log.info("tags readable again", extra={"device": self._device, "tags": back})
