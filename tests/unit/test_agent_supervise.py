"""Supervision: restart with back-off, one log line per change, no orphan."""

import asyncio
import logging
from itertools import pairwise

import pytest

from agent.core.clock import VirtualTimeLoop
from agent.core.counters import Counters
from agent.supervise import HEALTHY_AFTER_S, keep_running, stage


def test_a_part_that_fails_is_started_again_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    loop = VirtualTimeLoop()
    counters, starts = Counters(), []

    async def flaky() -> None:
        starts.append(loop.time())
        if len(starts) < 5:
            raise ValueError("broken")
        await asyncio.sleep(HEALTHY_AFTER_S + 1)

    with caplog.at_level(logging.INFO):
        loop.run_until_complete(keep_running("part", flaky, loop.clock, counters))
    loop.close()
    assert counters.total("restarts") == 4
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(0.4 < gap < 60 for gap in gaps)
    assert gaps[-1] > gaps[0]
    assert [record.getMessage() for record in caplog.records] == ["part failed, it is restarted", "part recovered"]


def test_nothing_outlives_its_stage() -> None:
    loop = VirtualTimeLoop()
    ended: list[str] = []

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("job")

    async def main() -> None:
        async with stage({"job": job}, loop.clock, Counters()):
            await asyncio.sleep(1)
        assert ended == ["job"]

    loop.run_until_complete(main())
    loop.close()
