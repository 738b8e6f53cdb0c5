"""A counterexample kept: the event loop spun for ever in sync() (found by the demo, 2026-11-22)."""

import asyncio

from agent.core.clock import SystemClock
from agent.core.counters import Counters
from agent.journal.writer import JournalWriter
from tests.support.fake_fs import FakeFileSystem
from tests.support.journals import batch, open_journal


async def test_a_sync_asked_for_between_the_end_of_another_and_its_callback_comes_back() -> None:
    it = JournalWriter(
        open_journal(FakeFileSystem()), commit_every_ns=3600 * 10**9, clock=SystemClock(), counters=Counters()
    )
    async with asyncio.timeout(10):
        await it.append([batch(1)])
        it._start_sync()
        under_way = it._syncing
        assert under_way is not None
        while not under_way.done():
            await asyncio.sleep(0)
        assert await it.sync() == 1
        await it.close()
