"""A TCP proxy that misbehaves like a network: passes, goes silent without FIN, resets, refuses."""

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum
from typing import Final

_CHUNK: Final = 65_536
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


class Link(StrEnum):
    """How the network is."""

    PASS = "pass"
    SILENT = "silent"
    """Sockets stay open, nothing is forwarded, no FIN. When it passes again, what was held back goes on, late."""
    RESET = "reset"
    """Every connection is reset, new ones too."""
    REFUSE = "refuse"
    """As reset, and the port does not listen."""


class Proxy:
    """A proxy on 127.0.0.1 to one target; at most ``_CHUNK`` bytes per direction and connection are held back."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._link = Link.PASS
        self.bytes_up = 0
        self.bytes_down = 0

    @property
    def link(self) -> Link:
        """How the network is now."""
        return self._link

    async def start(self) -> int:
        """Listen and return the port (the same after a stop)."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def stop(self) -> None:
        """Close everything."""
        await self._close_port()
        self._abort_all()
        self._open.set()

    async def put(self, link: Link) -> None:
        """Change how the network is."""
        self._link = link
        if link in {Link.RESET, Link.REFUSE}:
            self._abort_all()
        if link is Link.REFUSE:
            await self._close_port()
        elif self._server is None:
            await self.start()
        if link is Link.SILENT:
            self._open.clear()
        else:
            self._open.set()

    async def _close_port(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None

    def _abort_all(self) -> None:
        for writer in tuple(self._writers):
            _reset(writer)
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._link is Link.RESET:
            _reset(writer)
            return
        self._writers.add(writer)
        try:
            await self._open.wait()  # a SYN into a silent network: connected here, nothing beyond
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        self._writers.add(far_writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer, is_up=True))
                tasks.create_task(self._pump(far_reader, writer, is_up=False))
        finally:
            for end in (writer, far_writer):
                self._writers.discard(end)
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        # A broken connection ends its two pumps and nothing else: that is what the proxy is for.
        with contextlib.suppress(OSError):
            while True:
                await self._open.wait()
                data = await reader.read(_CHUNK)
                await self._open.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
                if is_up:
                    self.bytes_up += len(data)
                else:
                    self.bytes_down += len(data)
        if writer.can_write_eof() and not writer.is_closing():
            with contextlib.suppress(OSError):
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # gone already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()
