"""The OPC UA driver: keeps one server connected and turns what it says into batches."""

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

from agent.core.batch import Layout, all_bad, split
from agent.core.counters import labels
from agent.core.ports import DriverContext, Inbox
from agent.core.quality import Quality
from agent.core.tags import Tag
from drivers.opcua.config import Config
from drivers.opcua.readings import Builder, Sample
from drivers.opcua.schedule import first_tick_ns, next_tick_ns
from drivers.opcua.session import LinkError, Notification, Session
from drivers.opcua.status import BAD_NODE_ID_UNKNOWN, is_overflow
from drivers.opcua.times import SourceTimes
from drivers.opcua.wanted import Backoff, Wanted

log = logging.getLogger("davy.opcua")

_NAMES_MAX: Final = 10
"""Most node names in one log line."""


def make(config: Config, context: DriverContext) -> "OpcuaDriver":
    """The driver of one OPC UA server."""
    return OpcuaDriver(config, context)


class OpcuaDriver:
    """See :class:`agent.core.ports.Driver`. *Up* means that readings arrived over this connection."""

    def __init__(self, config: Config, context: DriverContext) -> None:
        self._config = config
        self._clock = context.clock
        self._counters = context.counters
        self._of = labels(device=config.id)
        self.layout = Layout(config.id, tuple(tag.id for tag in config.tags), config.source)
        self.tags: Sequence[Tag] = tuple(config.tag(tag) for tag in config.tags)
        self._times = SourceTimes(len(config.tags), context.max_skew_ns)
        self._builder = Builder(self.layout, [tag.range for tag in config.tags], self._times)
        retry = (config.retry.ns, config.retry_max.ns)
        self._wanted = Wanted(len(config.tags), context.refresh_ns, retry)
        self._last: list[tuple[object, int]] = [(None, -1)] * len(config.tags)
        """Value and status of each tag's newest sample."""
        self._reconnect = Backoff(*retry)
        self._is_up = False
        self._since_ns = self._clock.now_ns()
        self._last_error: str | None = None
        self._missing: frozenset[int] = frozenset()
        self._is_clock_doubtful = False
        self._counters.put("device_connected", 0, self._of)
        if config.login is not None:
            log.warning("password is sent without encryption", extra={"device": config.id})

    def status(self) -> dict[str, Any]:
        """See :class:`agent.core.ports.Driver`."""
        return {
            "state": "up" if self._is_up else "down",
            "since": self._since_ns,
            "last_error": self._last_error,
            "mode": self._config.mode,
            "requests": self._counters.count("requests", self._of),
            "quarantined": [self._config.tags[tag].id for tag in sorted(self._missing)],
            "clock": "doubtful" if self._is_clock_doubtful else "ok",
        }

    async def run(self, inbox: Inbox) -> None:
        """See :class:`agent.core.ports.Driver`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report_outages(inbox))
            group.create_task(self._stay_connected(inbox))

    # The connection

    async def _stay_connected(self, inbox: Inbox) -> NoReturn:
        while True:
            session = Session(self._config, self._clock, self._counters)
            try:
                await session.open()
                self._times.reconnect()
                self._wanted.connect(self._clock.monotonic_ns())
                if self._config.mode == "poll":
                    await self._poll(session, inbox)
                else:
                    await self._subscribe(session, inbox)
            except LinkError as error:
                self._lose(error, inbox)
            finally:
                await session.close()
            # Jitter, so that many agents do not all come back in the same instant after a server's restart.
            await asyncio.sleep(self._reconnect.take() / 1e9 * random.uniform(0.5, 1.0))

    def _lose(self, error: LinkError, inbox: Inbox) -> None:
        self._counters.add("request_errors", of=labels(device=self._config.id, error=error.kind))
        is_news = self._is_up or self._last_error is None
        self._last_error = str(error)
        if is_news:
            log.warning("device down", extra={"device": self._config.id, "error": self._last_error})
        if self._is_up:
            self._is_up = False
            self._since_ns = self._clock.now_ns()
            self._counters.put("device_connected", 0, self._of)
            self._put_outage(inbox)

    def _arrive(self) -> None:
        if self._is_up:
            return
        self._is_up = True
        self._since_ns = self._clock.now_ns()
        self._reconnect.reset()
        self._counters.put("device_connected", 1, self._of)
        if self._last_error is not None:
            log.warning("device up", extra={"device": self._config.id})

    async def _report_outages(self, inbox: Inbox) -> NoReturn:
        """One bad batch at each tick while there is no connection."""
        poll_ns = self._config.poll.ns
        due_ns = first_tick_ns(self._config.id, poll_ns, self._clock.monotonic_ns())
        while True:
            await self._sleep_until(due_ns)
            if not self._is_up:
                await inbox.room()
                if not self._is_up:
                    self._put_outage(inbox)
            due_ns, missed = next_tick_ns(due_ns, poll_ns, self._clock.monotonic_ns())
            if missed and not self._is_up:
                self._counters.add("polls_missed", missed, self._of)

    def _put_outage(self, inbox: Inbox) -> None:
        if not self._config.tags:
            return
        for piece in split(all_bad(self.layout, self._clock.now_ns(), Quality.COMM_FAIL)):
            self._counters.add("readings_polled", len(piece), self._of)
            inbox.put(piece)

    async def _sleep_until(self, due_ns: int) -> None:
        await asyncio.sleep(max(0, due_ns - self._clock.monotonic_ns()) / 1e9)

    # Poll

    async def _poll(self, session: Session, inbox: Inbox) -> NoReturn:
        poll_ns, tags = self._config.poll.ns, range(len(self._config.tags))
        due_ns = first_tick_ns(self._config.id, poll_ns, self._clock.monotonic_ns()) - poll_ns
        resolve_at_ns = self._clock.monotonic_ns()
        while True:
            await inbox.room()
            samples = await session.read(tags)
            self._put(samples, inbox)
            missing = {s.tag for s in samples if s.status == BAD_NODE_ID_UNKNOWN}
            self._name_missing(missing)
            now_ns = self._clock.monotonic_ns()
            if missing and now_ns >= resolve_at_ns:  # a namespace may have come or moved
                await session.resolve()
                resolve_at_ns = now_ns + self._config.retry_max.ns
            due_ns, missed = next_tick_ns(due_ns, poll_ns, self._clock.monotonic_ns())
            self._counters.add("polls_missed", missed, self._of)
            await self._sleep_until(due_ns)

    # Subscribe

    async def _subscribe(self, session: Session, inbox: Inbox) -> NoReturn:
        await session.subscribe()
        await self._watch(session, range(len(self._config.tags)), inbox)
        tend_at_ns = self._clock.monotonic_ns() + self._wanted.scan_ns
        while True:
            notification = await session.notification((tend_at_ns - self._clock.monotonic_ns()) / 1e9)
            if notification is not None:
                await self._take(session, notification, inbox)
                await self._wait_for_room(session, inbox)
            now_ns = self._clock.monotonic_ns()
            if now_ns - session.heard_ns > session.silence_max_ns:
                text = f"{self._config.endpoint}: subscription silent for {session.silence_max_ns / 1e9:.1f} s"
                raise LinkError(text, "silent")
            if now_ns >= tend_at_ns:
                await self._tend(session, inbox)
                tend_at_ns = self._clock.monotonic_ns() + self._wanted.scan_ns

    async def _wait_for_room(self, session: Session, inbox: Inbox) -> None:
        """Take no more while the queue is full; the server then keeps ``queue_size`` changes of each node."""
        started_ns = self._clock.monotonic_ns()
        await inbox.room()
        now_ns = self._clock.monotonic_ns()
        if now_ns - started_ns > session.publish_ns:
            session.heard_ns = now_ns
            self._wanted.wait_longer(now_ns + _grace_ns(session))

    async def _take(self, session: Session, notification: Notification, inbox: Inbox) -> None:
        samples = notification.samples
        if samples:
            self._counters.add("notifications", of=self._of)
            self._put(samples, inbox)
            overflows = sum(is_overflow(sample.status) for sample in samples)
            if overflows:
                self._counters.add("queue_overflows", overflows, self._of)
            await self._drop_gone(session, samples)
        if notification.lost:
            # Changes are gone, but at least the newest value of every node must not be.
            self._counters.add("notifications_lost", notification.lost, self._of)
            log.warning("notifications lost", extra={"device": self._config.id, "lost": notification.lost})
            refused = self._wanted.refused()
            await self._read(session, [tag for tag in range(len(self.tags)) if tag not in refused], inbox)

    async def _tend(self, session: Session, inbox: Inbox) -> None:
        """Ask again for refused nodes that are due, and read quiet ones, so that silence means silence (T3)."""
        now_ns = self._clock.monotonic_ns()
        due = self._wanted.due(now_ns)
        if due:
            await session.resolve()
            await self._watch(session, due, inbox)
        refused = self._wanted.refused()
        quiet = self._wanted.quiet(now_ns)
        self._put_refused({tag: refused[tag] for tag in quiet if tag in refused}, inbox)
        await self._read(session, [tag for tag in quiet if tag not in refused], inbox)
        silent = self._wanted.silent(now_ns)
        if silent and not session.has_more:
            await self._watch_anew(session, silent, inbox)

    async def _read(self, session: Session, tags: Sequence[int], inbox: Inbox) -> None:
        """Put what has not changed; what has waits for its notification (see :meth:`Wanted.suspect`)."""
        if not tags:
            return
        samples = await session.read(tags)
        until_ns = self._clock.monotonic_ns() + _grace_ns(session)
        known: list[Sample] = []
        for sample in samples:
            if (sample.value, sample.status) == self._last[sample.tag] or sample.status == BAD_NODE_ID_UNKNOWN:
                known.append(sample)
            else:
                self._wanted.suspect(sample.tag, until_ns)
        if known:
            self._put(known, inbox)
            await self._drop_gone(session, known)

    async def _watch_anew(self, session: Session, tags: Sequence[int], inbox: Inbox) -> None:
        """Values changed and no notification came: put them, and make the items again."""
        samples = await session.read(tags)
        self._put(samples, inbox)
        log.warning("changes not notified, nodes watched anew", extra={"device": self._config.id, "count": len(tags)})
        self._counters.add("nodes_watched_anew", len(tags), self._of)
        await session.unwatch(tags)
        await self._watch(session, tags, inbox)

    async def _drop_gone(self, session: Session, samples: Iterable[Sample]) -> None:
        """A node that left the server is asked for until it is back; its old item would stay silent for ever."""
        gone = [sample.tag for sample in samples if sample.status == BAD_NODE_ID_UNKNOWN]
        if gone:
            await session.unwatch(gone)
            for tag in gone:
                self._wanted.refuse(tag, BAD_NODE_ID_UNKNOWN, self._clock.monotonic_ns())
            self._name_missing(self._wanted.refused().keys())

    async def _watch(self, session: Session, tags: Sequence[int], inbox: Inbox) -> None:
        refused = dict(await session.watch(tags))
        now_ns = self._clock.monotonic_ns()
        for tag in tags:
            if tag in refused:
                self._wanted.refuse(tag, refused[tag], now_ns)
            else:
                self._wanted.accept(tag)
        self._name_missing(self._wanted.refused().keys())
        self._put_refused(refused, inbox)

    def _put_refused(self, refused: dict[int, int], inbox: Inbox) -> None:
        if refused:
            self._put([Sample(tag, None, status, None) for tag, status in refused.items()], inbox)

    def _name_missing(self, tags: Iterable[int]) -> None:
        missing = frozenset(tags)
        if missing == self._missing:
            return
        self._missing = missing
        names = [self._config.tags[tag].node for tag in sorted(missing)[:_NAMES_MAX]]
        fields = {"device": self._config.id, "count": len(missing), "nodes": names}
        log.warning("nodes missing" if missing else "all nodes there", extra=fields)
        self._counters.put("nodes_missing", len(missing), self._of)

    # Both

    def _put(self, samples: Sequence[Sample], inbox: Inbox) -> None:
        """Stamp, build and hand over without awaiting in between (spec/rules.md T5)."""
        if not samples:
            return
        batch, doubtful = self._builder.build(samples, self._clock.now_ns())
        self._watch_clock(doubtful, is_believed=batch.dt_ns is not None)
        for piece in split(batch):
            inbox.put(piece)
        self._counters.add("readings_polled", len(batch), self._of)
        self._wanted.hear([sample.tag for sample in samples], self._clock.monotonic_ns())
        for sample in samples:
            self._last[sample.tag] = (sample.value, sample.status)
        self._arrive()

    def _watch_clock(self, doubtful: int, *, is_believed: bool) -> None:
        if doubtful:
            self._counters.add("source_clock_doubtful", doubtful, self._of)
        if doubtful and not self._is_clock_doubtful:
            self._is_clock_doubtful = True
            log.warning("source clock doubtful, own time taken", extra={"device": self._config.id})
        elif self._is_clock_doubtful and is_believed and not doubtful:
            self._is_clock_doubtful = False
            log.warning("source clock good again", extra={"device": self._config.id})


def _grace_ns(session: Session) -> int:
    """How long a change may take to be notified once it can be read."""
    return 2 * session.publish_ns
