"""One lane of one destination: read a chunk, filter, send, move the cursor; for ever, whatever the network does."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
    wait_random_exponential,
)

from agent.core import records as rec
from agent.core.counters import labels
from agent.core.ports import Chunk, DestinationContext, RejectedError, Sender, UnavailableError
from agent.core.records import Record
from agent.destinations.filters import Filter, PassAll, Passed
from agent.destinations.flow import Flow

log = logging.getLogger("davy.destinations")

BACK_OFF_MIN_S: Final = 0.5
BACK_OFF_MAX_S: Final = 15.0
BREAKER_FAILURES: Final = 5
"""So many failures in a row open the breaker: only one attempt per 7.5 to 15 s then, with the least in flight."""
STABLE_NS: Final = 10_000_000_000
"""A connection that lasted this long was a good one; shorter ones count as failures in a row."""
PROVED_FAILURES_MAX: Final = 3
"""A short connection that proved something never lets the back-off grow beyond this many failures."""
OFFERS_MAX: Final = 1_000
"""Records that could not be journaled and wait for the link; the newest beyond that are refused and counted."""
HELD_MAX: Final = 1_000
"""Alarm records that the destination rejected and that are tried again; beyond that the lane stands still."""
HELD_RETRY_NS: Final = 60_000_000_000
IDLE_SEQS: Final = 10_000
"""The cursor stands at the last record sent, so that ``after`` is right after a restart. Only where nothing is sent for
this long (all filtered) does the readings cursor follow, so that the journal may let go."""
READINGS_LINGER_S: Final = 0.05
"""The readings lane waits this long after a wake-up, so that a message holds several batches."""


@runtime_checkable
class AttendedSender(Sender, Protocol):
    """A sender whose connection does more than send (heartbeat, commands) or can tell that it broke."""

    async def attend(self) -> None:
        """Run beside ``send`` until cancelled; UnavailableError when the connection is gone."""
        ...


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """What one lane is told once."""

    destination: str
    lane: rec.Lane
    start: Literal["now", "oldest"] = "now"
    linger_s: float = 0.0
    history_rate: int | None = None
    """Most readings per second while catching up; None: as fast as the link takes them."""
    filter: Filter = field(default_factory=PassAll)
    flow: Flow = field(default_factory=Flow)


class Lane:
    """Delivers one lane in journal order, at least once. Holds no more than one chunk.

    The cursor moves only over records that the destination itself proved. Rejected readings are quarantined; rejected
    alarm and audit records are set aside in memory, tried again every minute, and hold the cursor: never dropped.
    """

    def __init__(self, context: DestinationContext, options: LaneOptions, make_sender: Callable[[], Sender]) -> None:
        self.options = options
        self._context = context
        self._make_sender = make_sender
        self._name = f"{options.destination}/{options.lane.value}"
        self._of = labels(destination=options.destination)
        self._of_lane = labels(destination=options.destination, lane=options.lane.value)
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_pausing = False
        self.on_up: Callable[[], None] = lambda: None
        """Called when the link works again: the sibling lane need not wait for its next attempt."""
        self._offered: deque[Record] = deque()
        self._held: dict[int, Record] = {}
        self._held_due_ns = 0
        self._position = self._first_position()
        self._after = self._cursor = self._position
        self._state: Literal["connecting", "up", "down"] = "connecting"
        self._since_ns = context.clock.now_ns()
        self._error = ""
        self._failures = self._attempts_failed = 0
        self._progress = 0
        self._is_sending = self._is_draining = self._needs_proof = False
        half = (BACK_OFF_MIN_S / 2, BACK_OFF_MAX_S / 2)
        self._wait = wait_exponential(*half) + wait_random_exponential(*half)

    @property
    def position(self) -> int:
        """Everything of this lane with seq <= position was proved, filtered, quarantined or set aside."""
        return self._position

    @property
    def waiting(self) -> int:
        """How many synced seqs (of all kinds) this lane has not dealt with."""
        return max(0, self._context.reader.synced_seq - self._position) + len(self._held) + len(self._offered)

    @property
    def state(self) -> Literal["connecting", "up", "down"]:
        """Up: the last attempt to connect or send worked."""
        return self._state

    def status(self) -> dict[str, Any]:
        """What an operator wants to know; JSON types, times in ns UTC."""
        return {
            "state": self._state,
            "since": self._since_ns,
            "error": self._error or None,
            "waiting": self.waiting,
            "position": self._position,
            "cursor": self._cursor,
            "failures": self._failures,
            "breaker": "open" if self._failures >= BREAKER_FAILURES else "closed",
            "held": len(self._held),
            "offered": len(self._offered),
            "in_flight_bytes": self.options.flow.in_flight_bytes,
        }

    def offer(self, record: Record) -> None:
        """Send a record that could not be journaled (seq 0); refused and counted when too many wait already."""
        if len(self._offered) >= OFFERS_MAX:
            self._context.counters.add("offers_refused", of=self._of)
            return
        self._offered.append(record)
        self._wake.set()

    def hurry(self) -> bool:
        """Try again at once instead of after the back-off; False where the destination itself asked for a pause."""
        if self._is_pausing and self._needs_proof:
            return False
        self._hurry.set()
        return True

    async def drain(self, upto: int) -> None:
        """Return when all up to seq ``upto`` is through, or when one more attempt at a lane that is down failed."""
        self._is_draining = True
        self._wake.set()
        attempts = self._attempts_failed
        if not self.hurry():
            return
        while (self._position < upto or self._offered) and attempts == self._attempts_failed:
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Deliver until cancelled. A new sender per connection; back-off with jitter between failures."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_journal(), name=f"{self._name}: watch")
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(UnavailableError), wait=self._delay_s, sleep=self._pause
            ):
                with attempt:
                    await self._use_one_connection(group)

    def _first_position(self) -> int:
        options, cursors = self.options, self._context.cursors
        known = cursors.get(options.destination, options.lane)
        if known is None:
            known = self._context.reader.synced_seq if options.start == "now" else 0
            cursors.put(options.destination, options.lane, known)
        return known

    def _delay_s(self, state: RetryCallState) -> float:
        # Not tenacity's own count: a connection that worked for a while starts the back-off anew.
        state.attempt_number = self._failures if self._failures < BREAKER_FAILURES else 64
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, UnavailableError) else None
        return max(self._wait(state), asked_s or 0.0)

    async def _pause(self, delay_s: float) -> None:
        self._hurry.clear()
        self._is_pausing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()
        self._is_pausing = False

    async def _watch_journal(self) -> None:
        reader = self._context.reader
        seen = reader.synced_seq
        while True:
            await reader.wait(seen)
            seen = reader.synced_seq
            self._wake.set()

    async def _use_one_connection(self, group: asyncio.TaskGroup) -> None:
        """Use one sender until it fails; always ends with UnavailableError (or cancellation)."""
        started_ns, progress = self._context.clock.monotonic_ns(), self._progress
        try:
            sender = self._make_sender()
            try:
                await sender.open()
                started_ns = self._context.clock.monotonic_ns()
                await self._serve(sender, group)
            finally:
                await sender.close()
        except UnavailableError as error:
            self._note_failure(error, started_ns, has_proved=self._progress > progress)
            raise

    async def _serve(self, sender: Sender, group: asyncio.TaskGroup) -> None:
        # No TaskGroup of its own: on Python 3.11 one whose child fails can lose a cancellation from outside.
        tasks = [group.create_task(_outcome(self._deliver(sender)), name=f"{self._name}: deliver")]
        if isinstance(sender, AttendedSender):
            if not self._needs_proof:
                self._note_up()
            tasks.append(group.create_task(_outcome(sender.attend()), name=f"{self._name}: attend"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        raise done.pop().result()

    async def _deliver(self, sender: Sender) -> None:
        self._held_due_ns = 0
        while True:
            self._wake.clear()
            if await self._step(sender):
                continue
            await self._wake.wait()
            if self.options.linger_s and not self._is_draining:
                await asyncio.sleep(self.options.linger_s)

    async def _step(self, sender: Sender) -> bool:
        """Send one chunk; False when nothing is left."""
        await self._send_offered(sender)
        await self._retry_held(sender)
        flow, clock = self.options.flow, self._context.clock
        chunk = await self._context.reader.read(self.options.lane, self._position, flow.chunk_bytes)
        if not chunk.records:
            self._move(chunk)
            return False
        passed = self.options.filter.apply(chunk.records)
        started_ns = clock.monotonic_ns()
        rejected = await self._send(sender, passed.records) if passed.records else frozenset[int]()
        took_ns = clock.monotonic_ns() - started_ns
        self._count(passed, rejected)
        self._move(chunk)
        has_more = chunk.seen < self._context.reader.synced_seq
        flow.proved(took_ns, clock.monotonic_ns(), was_full=has_more)
        if has_more and self.options.history_rate:
            readings = sum(record.readings for record in passed.records)
            await asyncio.sleep(max(0.0, readings / self.options.history_rate - took_ns / 1e9))
        return True

    async def _send(self, sender: Sender, records: Sequence[Record]) -> frozenset[int]:
        """Send, and deal with what is rejected; its seqs."""
        rejected: frozenset[int] = frozenset()
        self._is_sending = True
        try:
            await sender.send(records, self._after)
        except RejectedError as error:
            rejected = frozenset(error.seqs)
            await self._set_aside(records, error)
        self._is_sending = False
        self._after = max(self._after, records[-1].seq)
        self._progress += 1
        self._note_up()
        return rejected

    async def _set_aside(self, records: Sequence[Record], error: RejectedError) -> None:
        rejected = [record for record in records if record.seq in error.seqs]
        if self.options.lane is rec.Lane.READINGS:
            log.error("readings quarantined", extra=self._extra(error) | {"seqs": list(error.seqs[:20])})
            if self._context.on_quarantine is not None:
                await self._context.on_quarantine(self.options.destination, error.seqs, str(error))
            return
        log.error("alarm records rejected: kept, tried again every minute", extra=self._extra(error))
        if len(self._held) + len(rejected) > HELD_MAX:
            raise UnavailableError(f"{self._name}: {len(self._held)} rejected records are held: {error}")
        self._held |= {record.seq: record for record in rejected}
        self._held_due_ns = self._context.clock.monotonic_ns() + HELD_RETRY_NS

    async def _retry_held(self, sender: Sender) -> None:
        if not self._held or self._context.clock.monotonic_ns() < self._held_due_ns:
            return
        records = list(self._held.values())
        still: frozenset[int] = frozenset()
        try:
            await sender.send(records, min(self._after, records[0].seq - 1))
        except RejectedError as error:
            still = frozenset(error.seqs)
        proved = len(records) - len(still)
        self._held = {seq: record for seq, record in self._held.items() if seq in still}
        self._held_due_ns = self._context.clock.monotonic_ns() + HELD_RETRY_NS
        self._context.counters.add("delivered_records", proved, self._of_lane)
        self._put_cursor(self._after)

    async def _send_offered(self, sender: Sender) -> None:
        while self._offered:
            passed = self.options.filter.apply([self._offered[0]])
            try:
                if passed.records:
                    await sender.send(passed.records, self._after)
            except RejectedError as error:
                # It will come again with its seq, once it is journaled.
                log.error("record that is not journaled was rejected", extra=self._extra(error))
            passed.commit()
            self._offered.popleft()
            self._progress += 1
            self._note_up()
            self._moved.set()

    def _count(self, passed: Passed, rejected: frozenset[int]) -> None:
        passed.commit()
        counters = self._context.counters
        counters.add("delivered_records", len(passed.records) - len(rejected), self._of_lane)
        counters.add("filtered_records", passed.filtered_records, self._of_lane)
        if self.options.lane is not rec.Lane.READINGS:
            return
        refused = sum(record.readings for record in passed.records if record.seq in rejected)
        counters.add("delivered_readings", sum(record.readings for record in passed.records) - refused, self._of)
        counters.add("filtered_readings", passed.filtered_readings, self._of)
        counters.add("quarantined_readings", refused, self._of)

    def _move(self, chunk: Chunk) -> None:
        self._position = max(self._position, chunk.seen)
        if self._after > self._cursor:
            self._put_cursor(self._after)
        elif self.options.lane is rec.Lane.READINGS and self._position - self._cursor >= IDLE_SEQS:
            self._put_cursor(self._position)
        self._moved.set()

    def _put_cursor(self, seq: int) -> None:
        if self._held:
            seq = min(seq, min(self._held) - 1)
        if seq > self._cursor:
            self._cursor = seq
            self._context.cursors.put(self.options.destination, self.options.lane, seq)

    def _note_up(self) -> None:
        self._needs_proof = False
        if self._state == "up":
            return
        log.info("destination up", extra=self._extra(None))
        self._change("up", "")
        self.on_up()

    def _note_failure(self, error: UnavailableError, started_ns: int, *, has_proved: bool) -> None:
        now_ns = self._context.clock.monotonic_ns()
        if now_ns - started_ns >= STABLE_NS:
            self._failures = 0
        elif has_proved:
            self._failures = min(self._failures, PROVED_FAILURES_MAX - 1)
        self._failures += 1
        self._attempts_failed += 1
        self._context.counters.add("send_errors", of=self._of)
        self.options.flow.failed(now_ns, was_sending=self._is_sending)
        # Who connects us and then takes nothing is not up again before something was proved.
        self._needs_proof = self._needs_proof or self._is_sending or error.retry_after_s is not None
        self._is_sending = False
        if self._state != "down":
            log.warning("destination down", extra=self._extra(error))
            self._change("down", str(error))
        self._error = str(error)
        self._moved.set()

    def _change(self, state: Literal["up", "down"], error: str) -> None:
        self._state, self._error = state, error
        self._since_ns = self._context.clock.now_ns()
        self._context.counters.put("destination_connected", float(state == "up"), self._of_lane)

    def _extra(self, error: Exception | None) -> dict[str, Any]:
        extra: dict[str, Any] = {"destination": self.options.destination, "lane": self.options.lane.value}
        return extra if error is None else extra | {"error": str(error)}


async def _outcome(work: Awaitable[None]) -> UnavailableError:
    """Run work that ends only with UnavailableError, and return that: it must not end the whole lane."""
    try:
        await work
    except UnavailableError as error:
        return error
    raise RuntimeError("a sender's work ended by itself")
