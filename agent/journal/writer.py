"""The journal for the event loop: appends in one thread, syncs in another, hands recent records out from memory."""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from agent.core.clock import Clock
from agent.core.counters import Counters, labels
from agent.core.ports import Chunk
from agent.core.records import Draft, Lane, Record
from agent.journal.errors import JournalError, JournalFullError
from agent.journal.log import Journal
from agent.journal.reading import Damaged, weight_of
from agent.journal.retention import Eviction

log: Final = logging.getLogger("davy.journal")

CACHE_BYTES: Final = 8 << 20
LARGE_BYTES: Final = 256 << 10


class _Recent:
    """The newest records of each lane as objects, so that who is up to date decodes nothing."""

    def __init__(self, max_bytes: int, seq: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._from = seq
        """Every record with a greater seq is here."""
        self._records: dict[Lane, list[Record]] = {lane: [] for lane in Lane}
        self._seqs: dict[Lane, list[int]] = {lane: [] for lane in Lane}

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            if len(record.body) > LARGE_BYTES:
                self._forget(record.seq)
                continue
            for lane in Lane:
                if record.kind in lane.kinds:
                    self._records[lane].append(record)
                    self._seqs[lane].append(record.seq)
                    self._bytes += weight_of(record)
        if self._bytes > self._max_bytes:
            self._trim()

    def _forget(self, upto: int) -> None:
        """Read up to here from disk: a configuration record of megabytes would otherwise stay as objects for hours."""
        self._from = upto
        self._bytes = 0
        for lane in Lane:
            self._records[lane].clear()
            self._seqs[lane].clear()

    def _trim(self) -> None:
        """Forget the older half, in all lanes up to the same seq."""
        seqs = sorted(seq for lane in Lane for seq in self._seqs[lane])
        self._from = seqs[len(seqs) // 2]
        for lane in Lane:
            cut = bisect_right(self._seqs[lane], self._from)
            del self._seqs[lane][:cut], self._records[lane][:cut]
        self._bytes = sum(weight_of(record) for lane in Lane for record in self._records[lane])

    def read(self, lane: Lane, after: int, max_bytes: int, upto: int) -> Chunk | None:
        if after < self._from:
            return None
        seqs = self._seqs[lane]
        start = bisect_right(seqs, after)
        end = bisect_right(seqs, upto)
        size = 0
        for place in range(start, end):
            size += weight_of(self._records[lane][place])
            if size >= max_bytes:
                return Chunk(self._records[lane][start : place + 1], seqs[place])
        return Chunk(self._records[lane][start:end], max(after, upto))


class JournalWriter:
    """Implements agent.core.ports.JournalReader. Belongs to one event loop, on which every method is called."""

    def __init__(
        self,
        journal: Journal,
        *,
        commit_every_ns: int,
        clock: Clock,
        counters: Counters,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._journal = journal
        self._commit_every_s = commit_every_ns / 1e9
        self._clock = clock
        self._counters = counters
        self._recent = _Recent(cache_bytes, journal.last_seq)
        self._append_pool = ThreadPoolExecutor(1, "journal-append")
        self._sync_pool = ThreadPoolExecutor(1, "journal-sync")
        self._read_pool = ThreadPoolExecutor(1, "journal-read")
        self._append_lock = asyncio.Lock()
        self._syncing: asyncio.Future[int] | None = None
        self._is_sync_wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._is_sync_failing = False
        self._synced_seq = journal.synced_seq
        self._sync_seconds = 0.0
        self.sync_started_ns: int | None = None
        """Monotonic time at which the sync under way began; None while there is none (for the watchdog)."""
        self.last_progress_ns = clock.monotonic_ns()
        """Monotonic time of the last append or sync that succeeded."""

    @property
    def epoch(self) -> str:
        """Id of this journal's life."""
        return self._journal.epoch

    @property
    def last_seq(self) -> int:
        """The seq of the last record, synced or not."""
        return self._journal.last_seq

    @property
    def synced_seq(self) -> int:
        """See JournalReader."""
        return self._synced_seq

    async def append(self, drafts: Sequence[Draft], *, urgent: bool = False) -> list[Record]:
        """Write records and return them with their seqs, not yet synced.

        ``urgent`` begins a sync at once; else one begins within commit_every. All or none: JournalFullError,
        JournalError. An append that is cancelled is finished, so memory and disk agree.
        """
        if not drafts:
            return []
        async with self._append_lock:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._append_pool, self._journal.append, drafts, self._clock.now_ns())
            try:
                records = await _uninterrupted(future, self._appended)
            except JournalError as error:
                kind = "full" if isinstance(error, JournalFullError) else "append"
                self._counters.add("journal_errors", of=labels(kind=kind))
                raise
        if urgent:
            self._start_sync()
        elif self._timer is None and self._syncing is None:
            self._timer = loop.call_later(self._commit_every_s, self._on_timer)
        return records

    def _appended(self, records: list[Record]) -> None:
        self._recent.add(records)
        self.last_progress_ns = self._clock.monotonic_ns()
        self._counters.add("journal_records", len(records))
        self._counters.add("journal_readings", sum([record.readings for record in records]))

    def _on_timer(self) -> None:
        self._timer = None
        self._start_sync()

    def _start_sync(self) -> None:
        """Begin a sync, or one more after the one under way."""
        if self._syncing is not None:
            self._is_sync_wanted = True
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_sync_wanted = False
        self.sync_started_ns = self._clock.monotonic_ns()
        loop = asyncio.get_running_loop()
        self._syncing = loop.run_in_executor(self._sync_pool, self._journal.sync)
        self._syncing.add_done_callback(self._on_synced)

    def _on_synced(self, future: "asyncio.Future[int]") -> None:
        started_ns = self.sync_started_ns
        self._syncing = None
        self.sync_started_ns = None
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, JournalError):
            self._sync_failed(error)
            return
        if error is not None:
            raise error  # a bug: the loop's exception handler tells
        now_ns = self._clock.monotonic_ns()
        self.last_progress_ns = now_ns
        self._sync_seconds += 0.0 if started_ns is None else (now_ns - started_ns) / 1e9
        self._counters.add("journal_syncs")
        self._counters.put("journal_sync_seconds", self._sync_seconds)
        self._counters.put("journal_bytes", self._journal.size)
        if self._is_sync_failing:
            self._is_sync_failing = False
            log.warning("journal syncs again")
        self._synced_seq = future.result()
        self._wake()
        if self._is_sync_wanted:
            self._start_sync()
        elif self._journal.last_seq > self._synced_seq and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._commit_every_s, self._on_timer)

    def _sync_failed(self, error: JournalError) -> None:
        self._counters.add("journal_errors", of=labels(kind="sync"))
        if not self._is_sync_failing:
            self._is_sync_failing = True
            log.error("journal cannot sync", extra={"error": str(error)})
        self._is_sync_wanted = False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(self._commit_every_s, 0.1), self._on_timer)

    def _wake(self) -> None:
        still: list[tuple[int, asyncio.Future[None]]] = []
        for after, future in self._waiting:
            if self._synced_seq <= after:
                still.append((after, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = [(after, future) for after, future in still if not future.done()]

    async def sync(self) -> int:
        """Sync what was appended before the call; the synced seq. JournalError where that fails (it is tried again)."""
        target = self._journal.last_seq
        while self._synced_seq < target:
            if self._syncing is None:
                self._start_sync()
            under_way = self._syncing
            if under_way is not None:
                # Not the future itself: awaiting one that is done would go on before its callback has run, for ever.
                await asyncio.wait([under_way])
                under_way.result()
        return self._synced_seq

    async def wait(self, after: int) -> None:
        """See JournalReader."""
        if self._synced_seq > after:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((after, future))
        try:
            await future
        finally:
            future.cancel()

    async def read(self, lane: Lane, after: int, max_bytes: int) -> Chunk:
        """See JournalReader. Recent records come from memory, others from disk in a thread."""
        recent = self._recent.read(lane, after, max_bytes, self._synced_seq)
        if recent is not None:
            return recent
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_pool, self._journal.read, lane, after, max_bytes, self._synced_seq)

    def set_delivered(self, seq: int) -> None:
        """Tell up to which seq every destination has proved its readings."""
        self._journal.set_delivered(seq)

    def take_evictions(self) -> list[Eviction]:
        """What was given up since the last call; becomes ``evicted`` audit records."""
        return self._journal.take_evictions()

    def take_damage(self) -> list[Damaged]:
        """What readers found damaged since the last call; becomes ``gap`` audit records."""
        return self._journal.take_damage()

    def stats(self) -> dict[str, Any]:
        """Figures for operators; JSON types."""
        return self._journal.stats()

    async def close(self) -> None:
        """Sync and close. JournalError where the last sync failed; the directory is let go of in any case."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        async with self._append_lock:
            under_way = self._syncing
            if under_way is not None:
                await asyncio.wait([under_way])
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._append_pool, self._journal.close)
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                for pool in (self._append_pool, self._sync_pool, self._read_pool):
                    pool.shutdown(wait=False)
        self._synced_seq = self._journal.synced_seq
        self._wake()


async def _uninterrupted(future: "asyncio.Future[list[Record]]", then: Callable[[list[Record]], None]) -> list[Record]:
    """Await a thread's work to its end even when cancelled, and pass the result on before that is told."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    records = future.result()
    then(records)
    if cancelled is not None:
        raise cancelled
    return records
