"""The journal on the event loop: appends return before the sync, readers wake after it."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.core.clock import SystemClock
from agent.core.counters import Counters, labels
from agent.core.records import Kind, Lane
from agent.journal.log import Journal, JournalError, JournalFullError
from agent.journal.writer import JournalWriter
from tests.support.fake_fs import FakeFileSystem
from tests.support.journals import alarm, batch, essences, open_journal, options, tick

HOUR_NS = 3600 * 10**9


@asynccontextmanager
async def writer(
    journal: Journal, *, commit_every_ns: int = HOUR_NS, cache_bytes: int = 8 << 20
) -> AsyncIterator[JournalWriter]:
    it = JournalWriter(
        journal, commit_every_ns=commit_every_ns, clock=SystemClock(), counters=Counters(), cache_bytes=cache_bytes
    )
    async with asyncio.timeout(30):
        try:
            yield it
        finally:
            await it.close()


async def test_an_append_returns_before_its_sync_and_readers_wait_for_that() -> None:
    async with writer(open_journal(FakeFileSystem())) as it:
        (record,) = await it.append([batch(1)])
        assert record.seq == it.last_seq == 1
        assert it.synced_seq == 0
        assert (await it.read(Lane.READINGS, 0, 1000)).records == []
        waiting = asyncio.ensure_future(it.wait(0))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert await it.sync() == 1
        await waiting
        await it.wait(0)
        assert essences((await it.read(Lane.READINGS, 0, 1000)).records) == essences([record])


async def test_a_sync_comes_by_itself_within_commit_every() -> None:
    async with writer(open_journal(FakeFileSystem()), commit_every_ns=20_000_000) as it:
        for n in range(3):
            (record,) = await it.append([batch(n)])
            await it.wait(record.seq - 1)


async def test_an_urgent_append_is_synced_at_once() -> None:
    async with writer(open_journal(FakeFileSystem())) as it:
        await it.append([batch(1)])
        (record,) = await it.append([alarm(1)], urgent=True)
        await it.wait(record.seq - 1)
        assert it.synced_seq == 2


class SlowSync(FakeFileSystem):
    """Every sync of a segment waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.most_at_once = 0
        self._at_once = 0

    def call(self, what: str) -> None:
        if what.startswith("sync 0"):
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.entered.set()
            assert self.gate.wait(20)
            self._at_once -= 1
        super().call(what)


async def test_appends_go_on_while_a_sync_is_under_way_and_one_more_sync_follows() -> None:
    fs = SlowSync()
    async with writer(open_journal(fs)) as it:
        fs.gate.clear()
        fs.entered.clear()
        await it.append([alarm(1)], urgent=True)
        await asyncio.get_running_loop().run_in_executor(None, fs.entered.wait)
        assert it.sync_started_ns is not None
        for n in range(20):
            await it.append([alarm(n)], urgent=True)
        assert it.last_seq == 21
        assert it.synced_seq == 0
        fs.gate.set()
        await it.wait(20)
        assert it.synced_seq == 21
        assert fs.most_at_once == 1
        assert it._counters.count("journal_syncs") <= 3


async def test_old_records_come_from_disk_and_new_ones_from_memory_without_a_seam() -> None:
    fs = FakeFileSystem()
    async with writer(open_journal(fs), cache_bytes=20_000) as it:
        records = []
        for n in range(600):
            records += await it.append([batch(n), alarm(n)] if n % 4 == 0 else [batch(n), tick(n)])
        await it.sync()
        for lane in Lane:
            read, after = [], 0
            while (chunk := await it.read(lane, after, 3_000)).records:
                read += chunk.records
                after = chunk.seen
            assert essences(read) == essences(r for r in records if r.kind in lane.kinds)
            assert after == it.synced_seq
            last = (await it.read(lane, it.synced_seq - 20, 100_000)).records[-1]
            assert any(last is record for record in records), "a recent record was decoded again"


async def test_a_full_disk_is_told_counted_and_over_when_there_is_room() -> None:
    fs = FakeFileSystem()
    async with writer(open_journal(fs, options(segment_size=16 << 10))) as it:
        fs.foreign_bytes = fs.free()
        with pytest.raises(JournalFullError):  # noqa: PT012
            for n in range(10_000):
                await it.append([batch(n + k) for k in range(100)])
        assert it._counters.count("journal_errors", labels(kind="full")) == 1
        (record,) = await it.append([alarm(1)], urgent=True)
        await it.wait(record.seq - 1)
        fs.foreign_bytes = 0
        await it.append([alarm(2)])


async def test_a_sync_that_fails_is_told_counted_and_tried_again() -> None:
    fs = FakeFileSystem()
    async with writer(open_journal(fs), commit_every_ns=10_000_000) as it:
        await it.append([batch(1)])
        fs.fail(1, errno.EIO, times=1 << 30)
        with pytest.raises(JournalError):
            await it.sync()
        with pytest.raises(JournalError):
            await it.append([batch(2)])
        assert it.synced_seq == 0
        assert it._counters.count("journal_errors", labels(kind="sync")) >= 1
        fs.heal()
        await it.wait(0)
        (record,) = await it.append([batch(3)])
        await it.wait(record.seq - 1)


async def test_a_cancelled_append_is_finished_so_that_memory_and_disk_agree() -> None:
    fs = SlowSync()
    journal = open_journal(fs, options(segment_size=4 << 10))
    async with writer(journal) as it:
        await it.append([batch(n) for n in range(100)])
        fs.gate.clear()
        fs.entered.clear()
        task = asyncio.ensure_future(it.append([batch(n) for n in range(500)]))
        await asyncio.get_running_loop().run_in_executor(None, fs.entered.wait)  # it rolls, and syncs for that
        task.cancel()
        await asyncio.sleep(0)
        fs.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert it.last_seq == 600
        await it.sync()
        seqs = [record.seq for record in (await it.read(Lane.READINGS, 0, 1 << 30)).records]
        assert seqs == list(range(1, 601))


async def test_close_syncs_and_lets_go_of_the_directory() -> None:
    fs = FakeFileSystem()
    async with writer(open_journal(fs)) as it:
        records = await it.append([batch(1), alarm(1)])
    journal = open_journal(fs)
    assert essences(journal.read(None, 0, 10_000).records) == essences(records)
    assert [r.kind for r in records] == [Kind.READINGS, Kind.ALARM]
