"""A Modbus TCP server: many unit ids, FC 1 to 4, pipelined requests, and faults on demand."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from simulator.instruments import Fault
from simulator.registers import IllegalAddressError, RegisterMap, Reply, UnknownUnitError

CONNECTIONS_MAX: Final = 200
"""More are closed at once, as a device with a full connection table does."""
FRAME_MAX: Final = 260
_TABLES: Final = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_HEADER: Final = struct.Struct(">HHHB")
_REQUEST: Final = struct.Struct(">BHH")
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE, _SERVER_FAILURE, _NO_SUCH_UNIT = 1, 2, 3, 4, 0x0B


class Device(Protocol):
    """What stands behind the server; asked for every request, so values are those of the moment."""

    def read(self, unit_id: int, table: str, first: int, count: int) -> Reply:
        """Answer a read; IllegalAddressError, UnknownUnitError."""
        ...

    def fault(self) -> tuple[Fault, float] | None:
        """The fault of the communication, if there is one, and its size."""
        ...


class MapDevice:
    """A device that shows instruments through a register map and notes every reply that it gave."""

    def __init__(
        self,
        registers: RegisterMap,
        value_of: Callable[[str], float],
        fault_of: Callable[[], tuple[Fault, float] | None],
        on_served: Callable[[Reply], None],
    ) -> None:
        self._registers = registers
        self._value_of = value_of
        self._fault_of = fault_of
        self._on_served = on_served

    def read(self, unit_id: int, table: str, first: int, count: int) -> Reply:
        """See :class:`Device`."""
        reply = self._registers.read(unit_id, table, first, count, self._value_of)
        self._on_served(reply)
        return reply

    def fault(self) -> tuple[Fault, float] | None:
        """See :class:`Device`."""
        return self._fault_of()


def answer(device: Device, unit_id: int, pdu: bytes) -> bytes | None:
    """The reply PDU to a request PDU; None where the device says nothing."""
    function = pdu[0]
    fault = device.fault()
    if fault is not None:
        kind, size = fault
        return None if kind is Fault.SILENT else _exception(function, int(size) or _SERVER_FAILURE)
    table = _TABLES.get(function)
    if table is None:
        return _exception(function, _ILLEGAL_FUNCTION)
    is_bits = function <= 2
    if len(pdu) != _REQUEST.size:
        return _exception(function, _ILLEGAL_VALUE)
    _, first, count = _REQUEST.unpack(pdu)
    if not 1 <= count <= (2_000 if is_bits else 125) or first + count > 65_536:
        return _exception(function, _ILLEGAL_VALUE)
    try:
        reply = device.read(unit_id, table, first, count)
    except IllegalAddressError:
        return _exception(function, _ILLEGAL_ADDRESS)
    except UnknownUnitError:
        return _exception(function, _NO_SUCH_UNIT)
    data = _pack_bits(reply.words) if is_bits else struct.pack(f">{count}H", *reply.words)
    return bytes((function, len(data))) + data


def _exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def _pack_bits(bits: Sequence[int]) -> bytes:
    number = sum(bit << position for position, bit in enumerate(bits))
    return number.to_bytes((len(bits) + 7) // 8, "little")


class ModbusServer:
    """The server of one device on one port."""

    def __init__(self, device: Device, host: str = "127.0.0.1", port: int = 0) -> None:
        self._device = device
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    async def start(self) -> int:
        """Listen and return the port; OSError where that fails."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._device, self._connections), self._host, self._port
        )
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        for transport in tuple(self._connections):
            transport.abort()
        await self._server.wait_closed()
        self._server = None


class _Connection(asyncio.Protocol):
    def __init__(self, device: Device, connections: set[asyncio.Transport]) -> None:
        self._device = device
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if len(self._connections) >= CONNECTIONS_MAX:
            transport.abort()
            return
        self._transport = transport
        self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        if self._transport is not None:
            self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._buffer += data
        replies = bytearray()
        while len(self._buffer) >= _HEADER.size:
            transaction, protocol, length, unit_id = _HEADER.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= FRAME_MAX - 6:
                self._transport.abort()  # not Modbus: there is no way to find the next frame
                return
            if len(self._buffer) < 6 + length:
                break
            pdu = bytes(self._buffer[_HEADER.size : 6 + length])
            del self._buffer[: 6 + length]
            reply = answer(self._device, unit_id, pdu)
            if reply is not None:
                replies += _HEADER.pack(transaction, 0, len(reply) + 1, unit_id) + reply
        if replies:
            self._transport.write(bytes(replies))
