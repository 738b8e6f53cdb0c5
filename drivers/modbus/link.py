"""The way to a device: the port, and Modbus TCP by pymodbus behind it."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Protocol

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

from drivers.modbus.pdu import (
    BrokenStreamError,
    ForeignReplyError,
    NoReplyError,
    NotConnectedError,
    ReadRequest,
    reply_data,
)

# It logs every lost reply with the last packets as hex at ERROR; what matters is a state, a metric and our own line.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_BUFFER_BYTES = 1 << 20
_FRAME_MIN, _FRAME_MAX = 2, 254
"""Unit, function and data: what the length field of a frame can say."""


class Link(Protocol):
    """One connection to one unit; one request at a time."""

    @property
    def is_connected(self) -> bool:
        """A request may be sent."""
        ...

    async def connect(self, on_lost: Callable[[], None]) -> None:
        """Connect anew; NotConnectedError with the reason when that fails.

        ``on_lost`` is called when the other side ends the connection, not after :meth:`close`.
        """
        ...

    async def exchange(self, request: ReadRequest) -> bytes:
        """The bytes of values in the reply, as many as the request implies; an ExchangeError otherwise.

        The reply's transaction, unit, function and length have been checked. After a NotConnectedError the link must
        be connected anew, after any other ExchangeError and after a cancellation it can be used on.
        """
        ...

    def close(self) -> None:
        """Disconnect at once; never raises."""
        ...


class _Request(ModbusPDU):
    """A request whose bytes are ready."""

    def __init__(self, pdu: bytes, unit_id: int) -> None:
        self.function_code = pdu[0]
        self.dev_id = unit_id
        self.transaction_id = 0
        self._body = pdu[1:]

    def encode(self) -> bytes:
        return self._body


class _Reply(ModbusPDU):
    """A reply as it came: pymodbus's own classes would make a list of registers of it, 20 times as slow."""

    def __init__(self, pdu: bytes, unit_id: int, transaction_id: int) -> None:
        self.pdu = pdu
        self.dev_id = unit_id
        self.transaction_id = transaction_id


class _Framer(FramerSocket):
    """Takes exactly the reply that was asked for. pymodbus's own accepts transaction 0 for any request."""

    def __init__(self) -> None:
        super().__init__(DecodePDU(False))
        self.is_waiting = False
        self.is_broken = False
        self.foreign = 0

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:  # noqa: N802
        used = 0
        found: _Reply | None = None
        while len(data) - used >= 8 and not self.is_broken:
            size = data[used + 4] << 8 | data[used + 5]
            if data[used + 2] or data[used + 3] or not _FRAME_MIN <= size <= _FRAME_MAX:
                self.is_broken = True
                break
            end = used + 6 + size
            if len(data) < end:
                break
            transaction_id = data[used] << 8 | data[used + 1]
            unit_id = data[used + 6]
            if self.is_waiting and found is None and transaction_id == exp_tid and unit_id == exp_devid:
                found = _Reply(data[used + 7 : end], unit_id, transaction_id)
            else:
                self.foreign += 1
            used = end
        if self.is_broken:
            return len(data), found or (_Reply(b"", exp_devid, exp_tid) if self.is_waiting else None)
        return used, found


class PymodbusTcpLink:
    """Modbus TCP through pymodbus: its client and transaction ids; framing checks, timeouts and reconnecting are ours.

    One client object per connection: pymodbus reconnects on its own schedule and without telling why it failed.
    """

    def __init__(self, host: str, port: int, unit_id: int, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._unit_id = unit_id
        self._timeout_s = timeout_s
        self._client: AsyncModbusTcpClient | None = None
        self._framer = _Framer()
        self._on_lost: Callable[[], None] = lambda: None

    @property
    def is_connected(self) -> bool:
        """See :class:`Link`."""
        return self._client is not None and self._client.connected

    async def connect(self, on_lost: Callable[[], None]) -> None:
        """See :class:`Link`."""
        self.close()
        client = AsyncModbusTcpClient(
            self._host, port=self._port, timeout=self._timeout_s, retries=0, reconnect_delay=0,
            trace_connect=lambda is_up: None if is_up else self._lost(client),
        )  # fmt: skip
        framer = _Framer()
        client.ctx.framer = framer
        # Above the limit pymodbus drops what it has and loses step with the frames; our framer keeps the buffer short.
        client.ctx.max_buffer_size = _BUFFER_BYTES
        # With no timeout of its own asyncio.wait_for costs nothing; ours is one timer that fails the future.
        client.ctx.comm_params.timeout_connect = None  # type: ignore[assignment]
        where = f"{self._host}:{self._port}"
        try:
            async with asyncio.timeout(self._timeout_s):
                # Not client.connect(): it hides why it failed.
                client.ctx.transport, _ = await client.ctx.call_create()
        except TimeoutError as error:
            raise NotConnectedError(f"{where}: no connection in {self._timeout_s:.1f} s") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that can't be one
            raise NotConnectedError(f"{where}: {_reason(error)}") from error
        self._client, self._framer, self._on_lost = client, framer, on_lost

    async def exchange(self, request: ReadRequest) -> bytes:
        """See :class:`Link`."""
        client, framer = self._client, self._framer
        if client is None or not client.connected:
            raise NotConnectedError(f"{request}: not connected")
        if framer.is_broken or client.ctx.recv_buffer:
            # Half a frame stands in the buffer, which pymodbus forgets at the next send: the rest would look like one.
            self.close()
            raise BrokenStreamError(f"{request}: half a reply was left over; connection closed")
        framer.foreign = 0
        framer.is_waiting = True
        timer = asyncio.get_running_loop().call_later(self._timeout_s, self._expire, client, request)
        try:
            reply: ModbusPDU = await client.execute(False, _Request(request.pdu, self._unit_id))
        except ModbusException as error:
            raise NotConnectedError(f"{request}: {error}") from error
        finally:
            framer.is_waiting = False
            timer.cancel()
        if not isinstance(reply, _Reply) or not reply.pdu:
            self.close()
            raise BrokenStreamError(f"{request}: what came is no Modbus TCP frame; connection closed")
        return reply_data(request, reply.pdu)

    def close(self) -> None:
        """See :class:`Link`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _expire(self, client: AsyncModbusTcpClient, request: ReadRequest) -> None:
        text = f"{request}: no reply in {self._timeout_s:.1f} s"
        foreign = self._framer.foreign
        error = ForeignReplyError(f"{text}, but {foreign} to something else") if foreign else NoReplyError(text)
        self._fail(client, error)

    def _lost(self, client: AsyncModbusTcpClient) -> None:
        """The other side ended the connection: pymodbus would let the waiting request wait for its full timeout."""
        if client is not self._client:
            return
        self._client = None
        self._fail(client, NotConnectedError("the device ended the connection"))
        self._on_lost()

    def _fail(self, client: AsyncModbusTcpClient, error: Exception) -> None:
        future: asyncio.Future[ModbusPDU] = client.ctx.response_future  # type: ignore[assignment]
        if self._framer.is_waiting and not future.done():
            future.set_exception(error)


def _reason(error: OSError | UnicodeError) -> str:
    """Why there is no connection; the loops put it in different words."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
