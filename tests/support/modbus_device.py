"""A Modbus TCP device of ours with scripted faults, an encoder for its registers, and the inbox of a driver."""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agent.core.batch import Batch

DEADLINE_S = 10.0
FORMATS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f",
           "float64": "d"}  # fmt: skip


def registers_of(value: float | int, type_: str, order: str | None = None) -> list[int]:
    """What a device holds for a value: the big-endian bytes, put in the order that its letters name."""
    plain = struct.pack(">" + FORMATS[type_], value)
    wire = plain if order is None else bytes(plain["ABCDEFGH".index(letter)] for letter in order)
    return list(struct.unpack(f">{len(wire) // 2}H", wire))


@dataclass(frozen=True)
class Asked:
    """A read request as the device saw it."""

    transaction: int
    unit: int
    function: int
    address: int
    count: int


def frame(asked: Asked, pdu: bytes, **other: int) -> bytes:
    """A reply frame; ``transaction``, ``unit``, ``protocol`` and ``size`` may be given wrong values."""
    transaction = other.get("transaction", asked.transaction)
    size = other.get("size", len(pdu) + 1)
    return struct.pack(">HHHB", transaction, other.get("protocol", 0), size, other.get("unit", asked.unit)) + pdu


class DisconnectError(Exception):
    """Raised by a fault: the device ends the connection now."""


Fault = Callable[["ModbusDevice", Asked], list[bytes]]
"""What the device sends instead of its reply, segment by segment; an empty list is silence."""


@dataclass
class ModbusDevice:
    """Holds registers (default: register n holds n) and answers FC 1-4, one request after the other or pipelined.

    ``script`` faults are used up one a request, ``always`` stays. ``holes`` answer with exception 2.
    """

    unit: int = 1
    registers: dict[int, int] = field(default_factory=dict)
    bits: set[int] = field(default_factory=set)
    holes: set[int] = field(default_factory=set)
    most_registers: int = 125
    script: "deque[Fault]" = field(default_factory=deque)
    always: Fault | None = None
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.held: list[bytes] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection, and wait until their tasks are gone."""
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()
        await self.until(lambda: not self._writers)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that changes with a request or a connection."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(is_so)

    def pdu(self, asked: Asked) -> bytes:
        """The right reply."""
        wanted = range(asked.address, asked.address + asked.count)
        if self.holes.intersection(wanted) or (asked.function in (3, 4) and asked.count > self.most_registers):
            return bytes([asked.function | 0x80, 2])
        if asked.function in (1, 2):
            number = sum((address in self.bits) << i for i, address in enumerate(wanted))
            data = number.to_bytes((asked.count + 7) // 8, "little")
        else:
            data = b"".join(struct.pack(">H", self.registers.get(address, address)) for address in wanted)
        return bytes([asked.function, len(data)]) + data

    def reply(self, asked: Asked) -> list[bytes]:
        return [frame(asked, self.pdu(asked))] if asked.unit == self.unit else []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            await self._tell()
            while True:
                await self._answer(Asked(*_HEADER.unpack(await reader.readexactly(_HEADER.size))), writer)
        except (OSError, asyncio.IncompleteReadError, DisconnectError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            await self._tell()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        fault = self.script.popleft() if self.script else self.always
        self.asked.append(asked)
        segments = self.reply(asked) if fault is None else fault(self, asked)
        for segment in segments:
            writer.write(segment)
            await writer.drain()
            if len(segments) > 1:
                await asyncio.sleep(0.001)  # or the kernel joins the segments again
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


_HEADER = struct.Struct(">H4xBBHH")


@asynccontextmanager
async def running(device: ModbusDevice):
    await device.start()
    try:
        yield device
    finally:
        await device.stop()


# --- faults -----------------------------------------------------------------------------------------------------------


def disconnect(_: ModbusDevice, asked: Asked) -> list[bytes]:
    raise DisconnectError


def silence(_: ModbusDevice, asked: Asked) -> list[bytes]:
    return []


def late(device: ModbusDevice, asked: Asked) -> list[bytes]:
    """Hold the reply back; :func:`with_late` sends it in front of the next one."""
    device.held += device.reply(asked)
    return []


def with_late(device: ModbusDevice, asked: Asked) -> list[bytes]:
    held, device.held = device.held, []
    return [b"".join([*held, *device.reply(asked)])]


def late_in_halves(device: ModbusDevice, asked: Asked) -> list[bytes]:
    """Half of the reply now, the rest in front of the next one."""
    (whole,) = device.reply(asked)
    half = len(whole) // 2
    device.held.append(whole[half:])
    return [whole[:half]]


def wrong_transaction(device: ModbusDevice, asked: Asked) -> list[bytes]:
    return [frame(asked, _other(device, asked), transaction=asked.transaction ^ 0x55)]


def transaction_zero(device: ModbusDevice, asked: Asked) -> list[bytes]:
    return [frame(asked, _other(device, asked), transaction=0)]


def wrong_unit(device: ModbusDevice, asked: Asked) -> list[bytes]:
    return [frame(asked, _other(device, asked), unit=asked.unit + 1)]


def wrong_function(device: ModbusDevice, asked: Asked) -> list[bytes]:
    pdu = _other(device, asked)
    return [frame(asked, bytes([pdu[0] ^ 7]) + pdu[1:])]


def wrong_protocol(device: ModbusDevice, asked: Asked) -> list[bytes]:
    return [frame(asked, _other(device, asked), protocol=0x1234)]


def short(device: ModbusDevice, asked: Asked) -> list[bytes]:
    """One register less than asked for, well framed."""
    pdu = _other(device, asked)
    return [frame(asked, bytes([pdu[0], pdu[1] - 2]) + pdu[2:-2])]


def lying_count(device: ModbusDevice, asked: Asked) -> list[bytes]:
    """The right length with a byte count that says otherwise."""
    pdu = _other(device, asked)
    return [frame(asked, bytes([pdu[0], pdu[1] - 2]) + pdu[2:])]


def too_long(device: ModbusDevice, asked: Asked) -> list[bytes]:
    pdu = _other(device, asked)
    return [frame(asked, bytes([pdu[0], pdu[1] + 2]) + pdu[2:] + b"\x12\x34")]


def empty_frame(_: ModbusDevice, asked: Asked) -> list[bytes]:
    return [frame(asked, b"", size=1)]


def split_segments(device: ModbusDevice, asked: Asked) -> list[bytes]:
    (whole,) = device.reply(asked)
    return [whole[:5], whole[5:9], whole[9:]]


def doubled(device: ModbusDevice, asked: Asked) -> list[bytes]:
    """A foreign reply, the right one and the right one again in one segment."""
    (whole,) = device.reply(asked)
    return [b"".join([*wrong_transaction(device, asked), whole, whole])]


def exception(code: int) -> Fault:
    return lambda _, asked: [frame(asked, bytes([asked.function | 0x80, code]))]


def _other(device: ModbusDevice, asked: Asked) -> bytes:
    """A well formed PDU with values that are wrong, so that a test notices when they are believed."""
    pdu = device.pdu(asked)
    return pdu[:2] + bytes(byte ^ 0xA5 for byte in pdu[2:])


# --- the other side ---------------------------------------------------------------------------------------------------


class CollectingInbox:
    """Keeps every batch; ``close_gate`` makes the driver wait for room."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self.batches: list[Batch] = []
        self._deadline_s = deadline_s
        self._changed = asyncio.Event()
        self._gate = asyncio.Event()
        self._gate.set()

    async def room(self) -> None:
        await self._gate.wait()

    def close_gate(self) -> None:
        self._gate.clear()

    def open_gate(self) -> None:
        self._gate.set()

    def put(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._changed.set()

    async def until(self, is_so: Callable[[Batch], bool]) -> Batch:
        """The next batch (from now on) for which ``is_so`` holds."""
        seen = len(self.batches)
        async with asyncio.timeout(self._deadline_s):
            while True:
                for batch in self.batches[seen:]:
                    if is_so(batch):
                        return batch
                seen = len(self.batches)
                self._changed.clear()
                await self._changed.wait()


def readings(batch: Batch) -> dict[str, tuple[float, int]]:
    """Value and quality by tag."""
    quality = batch.quality or bytes(len(batch))
    return {tag: (batch.values[i], quality[i]) for i, tag in enumerate(batch.tag_ids())}
