"""A Modbus TCP device whose every answer proves itself: all registers follow from a counter of polls."""

import asyncio
import struct
from dataclasses import dataclass, field

REGISTERS = 100
WAVE_ADDRESS = 10
WAVE_POLLS = 8
"""The wave register is 0 for so many polls, then 100 for as many, and so on."""


def register(poll: int, address: int) -> int:
    """What the register held in that poll."""
    if address == 0:
        return poll >> 16
    if address == 1:
        return poll & 0xFFFF
    if address == WAVE_ADDRESS:
        return 100 * (poll // WAVE_POLLS % 2)
    return (poll * 31 + address * 7) & 0xFFFF


def is_right(values: list[float]) -> bool:
    """Tell whether the values of one batch (register 0, 1, 2 … as uint16) were sent together in one poll."""
    poll = (int(values[0]) << 16) + int(values[1])
    return all(int(value) == register(poll, address) for address, value in enumerate(values))


@dataclass
class CountingDevice:
    """Answers FC 3 for registers 0..99; ``polls`` counts the answers."""

    port: int = 0
    polls: int = 0
    silent: bool = False
    _server: asyncio.Server | None = field(default=None, repr=False)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set, repr=False)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                header = await reader.readexactly(12)
                transaction, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", header)
                if self.silent:
                    continue
                poll = self.polls
                self.polls += 1
                values = [register(poll, start + i) for i in range(count)]
                body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *values)
                writer.write(struct.pack(">HHH", transaction, 0, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the loop that ends cancels its connections
        finally:
            self._writers.discard(writer)
            writer.close()
