"""An agent in this process: real journal, pipeline, engine, commands and desk in a directory; readings by hand."""

import asyncio
import json
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.commands.desk import Desk
from agent.commands.people import Reception
from agent.commands.remote import Commands, Origin
from agent.core.batch import Batch, Layout
from agent.core.clock import VirtualClock
from agent.core.counters import Counters
from agent.core.ports import Request
from agent.core.records import Kind, Lane
from agent.core.tags import Tag
from agent.envelope import Envelope, Place
from agent.journal.log import Journal, JournalOptions
from agent.journal.state import StateStore
from agent.journal.writer import JournalWriter
from agent.pipeline import Pipeline
from agent.users import Users
from rules.build import build
from rules.engine import Engine
from rules.registry import parse

LAYOUT = Layout("plc", ("T1", "G1"))
TAGS = {"T1": Tag("T1", "plc", kind="level"), "G1": Tag("G1", "plc", kind="gas")}
RULES = [
    {"id": "T1-h", "tag": "T1", "condition": "high", "limit": 10, "priority": "medium", "area": "unit-1"},
    {"id": "T1-hh", "tag": "T1", "condition": "high", "limit": 12, "priority": "high", "latch": True},
    {"id": "G1-hh", "tag": "G1", "condition": "high", "limit": 50, "priority": "critical", "shelvable": True,
     "area": "unit-2"},
]  # fmt: skip
ROOT_UID = 0
STRANGER_UID = 54_321


class Workplace:
    """The parts, and what a test does with them."""

    def __init__(self, directory: Path, origins: dict[str, Origin]) -> None:
        self.clock = VirtualClock()
        self.counters = Counters()
        self.users = Users(directory)
        self.state = StateStore(directory / "state.db")
        options = JournalOptions(directory / "journal", max_size=None, keep_ns=10**18, keep_alarms_ns=10**18)
        self.journal = Journal.open(options, now_ns=self.clock.now_ns(), machine_id="m", delivered={})
        self.writer = JournalWriter(self.journal, commit_every_ns=10_000_000, clock=self.clock, counters=self.counters)
        rules = build([parse(fields) for fields in RULES], TAGS, live=True)
        envelope = Envelope("s1", "gw1", Place(), self.journal.epoch, TAGS, rules.version)
        engine = Engine(rules, epoch=self.journal.epoch)
        self.pipeline = Pipeline(self.writer, engine, envelope, self.clock, self.counters)
        self.commands = Commands(self.pipeline, origins, self.state, self.clock, self.counters)
        self.commands.epoch = self.journal.epoch
        reception = Reception(self.users, self.clock)
        self.desk = Desk(self.pipeline, reception, self.commands, self.clock, self.counters)

    async def read(self, t1: float, g1: float = 0.0) -> None:
        """A second passes, and the device is read."""
        self.clock.advance(1_000_000_000)
        self.pipeline.inbox.put(Batch(LAYOUT, self.clock.now_ns(), array("d", [t1, g1])))
        await self.pipeline.settle()

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The fields of alarm and audit records; of one kind of audit record, or transition."""
        found: list[dict[str, Any]] = []
        after = 0
        while chunk := self.journal.read(Lane.ALARMS, after, 1 << 20).records:
            after = chunk[-1].seq
            found += [dict(record.fields) for record in chunk if record.kind in (Kind.ALARM, Kind.AUDIT)]
        return [each for each in found if kind in (None, each.get("transition", each["kind"]))]

    def event(self, alarm: str) -> str | None:
        """Id of the present occurrence."""
        return next(view.event for view in self.pipeline.engine.alarms() if view.id == alarm)

    def command(self, kind: str, **fields: Any) -> dict[str, Any]:
        """A command as a platform would send it now."""
        now_ns = self.clock.now_ns()
        envelope = {"id": f"c{len(self.records())}-{kind}", "kind": kind, "actor": "li", "sent": now_ns}
        return {**envelope, "expires": now_ns + 60_000_000_000, "epoch": self.journal.epoch, **fields}

    async def send(self, message: dict[str, Any] | bytes, *, retained: bool = False, operator: bool = True) -> Any:
        """Hand a message over as the destination ``platform`` would; the answer."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        return json.loads(await self.commands.handle(Request(payload, "platform", operator, retained)))

    async def ask(self, kind: str, uid: int = ROOT_UID, **fields: Any) -> dict[str, Any]:
        """Ask at the desk, as the command line would."""
        return await self.desk.act(kind, {"do": kind, **fields}, uid)


@asynccontextmanager
async def place(directory: Path, **origin: Any) -> AsyncIterator[Workplace]:
    enabled = frozenset(origin.pop("enabled", ("receipt", "acknowledge", "comment")))
    site = Workplace(directory, {"platform": Origin(enabled, origin.pop("is_operator", True), **origin)})
    async with asyncio.TaskGroup() as group:
        group.create_task(site.pipeline.run())
        yield site
        site.pipeline.stop()
    await site.writer.close()
    site.state.close()
