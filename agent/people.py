"""The part of the agent that people and platforms talk to: commands, local socket, users, reload; wired here."""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from agent.commands.desk import Asked, Desk
from agent.commands.people import Reception
from agent.commands.remote import Commands, Origin
from agent.commands.signature import CommandKey
from agent.config.base import DestinationBase
from agent.core.clock import Clock
from agent.core.counters import Counters
from agent.figures import LiveFigures
from agent.journal.state import StateStore
from agent.journal.writer import JournalWriter
from agent.local import LocalServer
from agent.pipeline import Pipeline
from agent.recovery import CONFIGURATION
from agent.reload import Reload
from agent.supervise import Job
from agent.users import Users, UsersError, changes

log = logging.getLogger("davy.people")

USERS: Final = "users"
LOOK_EVERY_S: Final = 2.0
"""A change of the users is journaled this soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What people's requests work on."""

    pipeline: Pipeline
    state: StateStore
    writer: JournalWriter
    clock: Clock
    counters: Counters
    directory: Path
    status: Callable[[], dict[str, Any]]
    keep_configuration: Callable[[bytes], Awaitable[None]]
    destinations: Sequence[DestinationBase]
    epoch: str
    configuration: Path
    zone: str


class People:
    """Owns who may ask for what."""

    def __init__(self, around: Surroundings) -> None:
        self._pipeline = around.pipeline
        self._state = around.state
        self._users = Users(around.directory)
        self.commands = Commands(
            around.pipeline, _origins(around.destinations), around.state, around.clock, around.counters
        )
        self.commands.epoch = around.epoch
        self.commands.reader = around.writer
        self.reload = Reload(
            around.configuration,
            around.pipeline,
            lambda: around.state.get_item(CONFIGURATION),
            around.keep_configuration,
        )
        self._figures = LiveFigures(around.pipeline, around.writer, around.clock, around.counters, around.zone)
        reception = Reception(self._users, around.clock)
        desk = Desk(around.pipeline, reception, self.commands, around.clock, around.counters)
        desk.reload = self._reload
        socket_path = Path(os.environ.get("RUNTIME_DIRECTORY", around.directory)) / "davy.sock"
        self._local = LocalServer(socket_path, around.pipeline, around.writer, around.status, desk)

    def jobs(self) -> dict[str, Job]:
        """What runs as long as the agent."""
        return {
            "local": self._local.run,
            "commands": self.commands.run,
            "reload": self.reload.run,
            "users": self._watch_users,
            "figures": self._figures.run,
        }

    async def _reload(self, asked: Asked, force: str | None) -> dict[str, Any]:
        return await self.reload.reload(asked.to_fields(), force)

    async def _watch_users(self) -> None:
        """Whoever may log in is part of what is audited, whichever way the file was changed."""
        seen = -1
        while True:
            stamp = self._users.stamp()
            if stamp != seen:
                seen = stamp
                await self._tell_users()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _tell_users(self) -> None:
        try:
            now = self._users.digest()
        except UsersError as error:
            log.error("users cannot be read: nobody can log in", extra={"error": str(error)})
            await self._pipeline.note("users", {"error": str(error)})
            return
        stored = self._state.get_item(USERS)
        before: Mapping[str, str] = {} if stored is None else json.loads(stored)
        found = changes(before, now)
        if found:
            log.warning("users changed", extra=asdict(found))
            await self._pipeline.note("users", {**asdict(found), "actor": "users.json"})
            await asyncio.to_thread(self._state.put_item, USERS, json.dumps(now).encode())


def _origins(destinations: Sequence[DestinationBase]) -> dict[str, Origin]:
    origins: dict[str, Origin] = {}
    for there in destinations:
        key: str | None = getattr(there, "command_key", None)
        origins[there.id] = Origin(
            frozenset(getattr(there, "commands", ())),
            getattr(there, "operator", False),
            CommandKey(key) if key is not None else None,
        )
    return origins
