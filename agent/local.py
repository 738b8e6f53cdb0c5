"""The Unix socket for the command line: one JSON request a connection, JSON lines back."""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from agent.commands.desk import ACTIONS, Desk
from agent.commands.model import CommandError
from agent.core.ports import JournalReader
from agent.core.records import Kind, Lane, Record
from agent.pipeline import Pipeline

log = logging.getLogger("davy.local")

REQUEST_MAX: Final = 64 * 1024
TAIL_BYTES: Final = 256 * 1024
SOCKET_MODE: Final = 0o660


class RequestError(Exception):
    """The request can't be carried out; the text is for the person who asked."""


class LocalServer:
    """Answers ``status``, ``alarms``, ``tail``, ``reload``, ``needs`` and every action of :mod:`agent.commands.desk`.

    The actor is the socket peer's user, or who logs in with the request; never a field of it.
    """

    def __init__(
        self,
        path: Path,
        pipeline: Pipeline,
        reader: JournalReader,
        status: Callable[[], dict[str, Any]],
        desk: Desk,
    ) -> None:
        self._path = path
        self._pipeline = pipeline
        self._reader = reader
        self._status = status
        self._desk = desk
        self._requests: Mapping[str, Callable[[dict[str, Any], int], Awaitable[Any]]] = {
            "status": self._get_status,
            "alarms": self._get_alarms,
            "needs": self._get_needs,
            "reload": self._desk.ask_reload,
            **dict.fromkeys(ACTIONS, self._act),
        }

    async def run(self) -> None:
        """Serve until cancelled."""
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, self._path, limit=REQUEST_MAX)
        self._path.chmod(SOCKET_MODE)
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(await reader.readline(), writer)
        except (ConnectionError, ValueError, asyncio.LimitOverrunError) as error:
            log.info("local request failed", extra={"error": str(error)})
        finally:
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(line)
            kind = request["do"]
            if kind == "tail":
                await self._tail(request, writer)
                return
            if kind not in self._requests:
                raise RequestError(f"no request {kind!r}; there are {', '.join(self._requests)}, tail")
            answer = {"ok": True, "result": await self._requests[kind](request, _peer(writer))}
        except (RequestError, CommandError, ValueError, KeyError, TypeError) as error:
            answer = {"ok": False, "error": str(error)}
        writer.write(_line(answer))
        await writer.drain()

    async def _get_status(self, _request: dict[str, Any], _uid: int) -> dict[str, Any]:
        return self._status()

    async def _get_alarms(self, request: dict[str, Any], _uid: int) -> list[dict[str, Any]]:
        engine = self._pipeline.engine
        views = engine.alarms() if request.get("all") else engine.standing()
        return [{**view.to_fields(), "alarm": view.id} for view in views]

    async def _get_needs(self, request: dict[str, Any], uid: int) -> dict[str, Any]:
        return await self._desk.needs(request, uid)

    async def _act(self, request: dict[str, Any], uid: int) -> dict[str, Any]:
        return await self._desk.act(request["do"], request, uid)

    async def _tail(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        lanes = [Lane.ALARMS, Lane.READINGS] if request.get("readings") else [Lane.ALARMS]
        after = request.get("after")
        start = self._reader.synced_seq if after is None else int(after)
        async for record in follow(self._reader, lanes, start):
            writer.write(_line(tail_fields(record)))
            await writer.drain()


async def follow(reader: JournalReader, lanes: list[Lane], after: int) -> AsyncIterator[Record]:
    """Records of the lanes as they are synced, each lane in order; for ever."""
    seen = dict.fromkeys(lanes, after)
    while True:
        records: list[Record] = []
        for lane in lanes:
            chunk = await reader.read(lane, seen[lane], TAIL_BYTES)
            seen[lane] = max(chunk.seen, seen[lane])
            records.extend(chunk.records)
        for record in sorted(records, key=lambda record: record.seq):
            yield record
        if not records:
            await reader.wait(min(seen.values()))


def tail_fields(record: Record) -> dict[str, Any]:
    """A record as ``davy tail --json`` prints it."""
    if record.kind is not Kind.READINGS or record.batch is None:
        return {**record.fields, "prev": record.prev.hex(), "hash": record.hash.hex()}
    batch = record.batch
    return {
        "v": 1,
        "seq": record.seq,
        "kind": "readings",
        "device": batch.layout.device,
        "source": batch.layout.source.value,
        "time": batch.at_ns,
        "tags": list(batch.tag_ids()),
        "values": [value if value - value == 0 else None for value in batch.values],
        "q": list(batch.quality) if batch.quality is not None else None,
        "historical": batch.historical,
    }


def _peer(writer: asyncio.StreamWriter) -> int:
    channel: socket.socket = writer.get_extra_info("socket")
    _pid, uid, _gid = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode(errors="replace") + b"\n"
