"""Keeps parts running: restart with back-off, log once on failure and once on recovery; stages that stop in order."""

import asyncio
import logging
import os
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from agent.core.clock import Clock
from agent.core.counters import Counters, labels

log = logging.getLogger("davy.supervise")

BACK_OFF_FIRST_S: Final = 1.0
BACK_OFF_MAX_S: Final = 60.0
HEALTHY_AFTER_S: Final = 30.0
"""A part that ran this long has recovered: it is logged once and its back-off starts anew."""

Job = Callable[[], Coroutine[Any, Any, None]]


async def keep_running(name: str, job: Job, clock: Clock, counters: Counters) -> None:
    """Run ``job`` until it returns or is cancelled; after an exception restart it with back-off and jitter.

    One of the two homes of ``except Exception``: whatever a part did not foresee ends here, is logged and counted, and
    touches no other part.
    """
    delay_s = BACK_OFF_FIRST_S
    failures = 0
    while True:
        started_ns = clock.monotonic_ns()
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(job())
                if failures:
                    group.create_task(_log_recovery(name, running))
        except Exception as failure:
            error = _first(failure)
            if (clock.monotonic_ns() - started_ns) / 1e9 >= HEALTHY_AFTER_S:
                failures, delay_s = 0, BACK_OFF_FIRST_S
            failures += 1
            counters.add("restarts", of=labels(part=name))
            if failures == 1:
                # The world's failures (a port in use, no permission) say all in one line; a bug needs its traceback.
                trace = None if isinstance(error, OSError) else error
                log.error("part failed, it is restarted", extra={"part": name, "error": str(error)}, exc_info=trace)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, BACK_OFF_MAX_S)
        else:
            return


async def _log_recovery(name: str, running: "asyncio.Task[None]") -> None:
    done, _ = await asyncio.wait({running}, timeout=HEALTHY_AFTER_S)
    if not done:
        log.warning("part recovered", extra={"part": name})


def _first(failure: Exception) -> BaseException:
    error: BaseException = failure
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


@asynccontextmanager
async def stage(jobs: Mapping[str, Job], clock: Clock, counters: Counters) -> AsyncGenerator[None, None]:
    """Run parts beside the block; none outlives it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keep_running(name, job, clock, counters), name=name) for name, job in jobs.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def give_up_stopping() -> None:
    """The stop hangs: say where, and end as a kill would, which loses nothing."""
    for task in asyncio.all_tasks():
        where = [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in task.get_stack()]
        log.critical("the stop hangs", extra={"task": task.get_name(), "at": where})
    os._exit(70)
