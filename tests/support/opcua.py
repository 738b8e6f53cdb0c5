"""For tests of the OPC UA driver: an inbox that can be waited on, and a driver that runs for the length of a block."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from agent.core.batch import Batch
from agent.core.clock import SystemClock
from agent.core.counters import Counters
from agent.core.ports import DriverContext
from drivers.opcua.config import Config
from drivers.opcua.driver import OpcuaDriver, make
from simulator.servers.opcua import OpcuaNode, OpcuaServer

REFRESH_NS = 600_000_000
FAST = {
    "publish": "50ms",
    "keep_alive": "300ms",
    "timeout": "1s",
    "retry": "100ms",
    "retry_max": "200ms",
    "poll": "100ms",
}
NODES = [
    OpcuaNode("level", 1.0, "m", (0, 12)),
    OpcuaNode("temp", 20.0),
    OpcuaNode("press", 3.0),
    OpcuaNode("float", 0.5, type="Float"),
    OpcuaNode("switch", False, type="Boolean"),
    OpcuaNode("count", 7, type="UInt64"),
    OpcuaNode("small", 7, type="Int16"),
    OpcuaNode("text", "idle", type="String"),
]
TWO = {"L": "ns=2;s=level", "T": "nsu=urn:davy:simulator;s=temp"}


class Reading(NamedTuple):
    tag: str
    value: float
    quality: int
    at_ns: int
    t_ns: int
    source_ns: int | None
    exact: str | None


def readings(batch: Batch) -> list[Reading]:
    def source_ns(i: int) -> int | None:
        return None if batch.source_dt_ns is None else batch.at_ns + batch.source_dt_ns[i]

    return [
        Reading(
            tag,
            batch.values[i],
            0 if batch.quality is None else batch.quality[i],
            batch.at_ns,
            batch.t_ns(i),
            source_ns(i),
            batch.exact.get(i),
        )
        for i, tag in enumerate(batch.tag_ids())
    ]


class Box:
    """An inbox that keeps everything."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._seen = 0
        self._news = asyncio.Event()

    async def room(self) -> None:
        pass

    def put(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._news.set()

    def all(self, tag: str | None = None) -> list[Reading]:
        return [r for batch in self.batches for r in readings(batch) if tag is None or r.tag == tag]

    def skip(self) -> None:
        """Look only at what comes from now on."""
        self._seen = len(self.batches)

    async def until(self, is_it: Callable[[Reading], bool], within_s: float = 15.0) -> Reading:
        """The next reading for which ``is_it`` holds; TimeoutError with what came instead."""
        start = self._seen
        try:
            async with asyncio.timeout(within_s):
                while True:
                    while self._seen < len(self.batches):
                        batch = self.batches[self._seen]
                        self._seen += 1
                        for reading in readings(batch):
                            if is_it(reading):
                                return reading
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            found = [r for batch in self.batches[start:] for r in readings(batch)]
            raise AssertionError(f"not found in {within_s} s; came: {found[-20:]}") from None


class Running(NamedTuple):
    driver: OpcuaDriver
    box: Box
    counters: Counters


def config(port: int, nodes: dict[str, str], **keys: Any) -> Config:
    """A configuration with short waits; ``nodes``: node by tag id."""
    fields = {
        "id": "dcs",
        "driver": "opcua",
        "endpoint": f"opc.tcp://127.0.0.1:{port}",
        **FAST,
        "tags": [{"id": tag, "node": node} for tag, node in nodes.items()],
        **keys,
    }
    return Config.model_validate(fields)


async def reset(server: OpcuaServer) -> None:
    """Initial values, and nothing left of the test before."""
    service = server.server.iserver.subscription_service
    await service.delete_subscriptions(list(service.subscriptions))
    await server.write({node.id: node.initial for node in NODES})


async def connected(run: Running) -> None:
    """Return when readings arrive."""
    await run.box.until(lambda r: r.tag == "T" and r.quality == 0)


@asynccontextmanager
async def running(
    config: Config, refresh_ns: int = REFRESH_NS, max_skew_ns: int = 5_000_000_000
) -> AsyncIterator[Running]:
    """A driver that runs inside the block; an exception that leaves ``run`` fails the test."""
    counters, box = Counters(), Box()
    driver = make(config, DriverContext(SystemClock(), counters, max_skew_ns=max_skew_ns, refresh_ns=refresh_ns))
    task = asyncio.create_task(driver.run(box))
    try:
        yield Running(driver, box, counters)
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
