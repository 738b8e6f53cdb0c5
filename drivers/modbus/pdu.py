"""Modbus read requests and the strict check of their replies; pure."""

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from agent.core.quality import Quality

REGISTERS_MAX: Final = 125
BITS_MAX: Final = 2_000
"""Most registers or bits in one read request (Modbus Application Protocol 6.1-6.4)."""

_REQUEST: Final = struct.Struct(">BHH")
_ERROR_BIT: Final = 0x80


class Table(StrEnum):
    """The four tables of a Modbus device."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"

    @property
    def function(self) -> int:
        """The function code that reads it."""
        return _FUNCTIONS[self]

    @property
    def is_bits(self) -> bool:
        """A table of single bits, not of registers."""
        return self in (Table.COIL, Table.DISCRETE)

    @property
    def request_max(self) -> int:
        """Most items of it in one request."""
        return BITS_MAX if self.is_bits else REGISTERS_MAX


_FUNCTIONS: Final = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}


class ExchangeError(Exception):
    """A request brought no values. ``label`` names the kind in metrics, ``quality`` is what its readings get."""

    label: str = "error"
    quality: ClassVar[Quality] = Quality.COMM_FAIL


class NotConnectedError(ExchangeError):
    """There is no connection (any more): connect anew before the next request."""

    label = "disconnected"


class BrokenStreamError(NotConnectedError):
    """What arrived can't be cut into frames: the link has closed the connection."""

    label = "broken_stream"


class NoReplyError(ExchangeError):
    """No reply in time; the connection may still be used, for a late reply is told by its transaction id."""

    label = "timeout"


class ForeignReplyError(NoReplyError):
    """No reply in time but replies to something else: another transaction or another unit."""

    label = "foreign"


class MalformedReplyError(ExchangeError):
    """A reply to this request with the wrong function, byte count or length."""

    label = "malformed"
    quality = Quality.DEVICE


class DeviceExceptionError(ExchangeError):
    """The device answered with an exception code."""

    quality = Quality.DEVICE

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        self.label = f"exception_{code}"

    @property
    def is_address(self) -> bool:
        """Illegal data address or value: something in the request does not exist, or it is too long."""
        return self.code in (2, 3)


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Read ``count`` items of a table from ``address`` on (zero-based)."""

    table: Table
    address: int
    count: int

    @property
    def pdu(self) -> bytes:
        """Function code and body as they go on the wire."""
        return _REQUEST.pack(_FUNCTIONS[self.table], self.address, self.count)

    @property
    def data_bytes(self) -> int:
        """How many bytes of values the reply must hold."""
        return (self.count + 7) // 8 if self.table.is_bits else self.count * 2

    def __str__(self) -> str:
        return f"FC{self.table.function} @{self.address} x{self.count}"


def reply_data(request: ReadRequest, pdu: bytes) -> bytes:
    """The values in a reply PDU; MalformedReplyError or DeviceExceptionError when it holds none to this request."""
    function = _FUNCTIONS[request.table]
    expected = request.data_bytes
    if len(pdu) == expected + 2 and pdu[0] == function and pdu[1] == expected:
        return pdu[2:]
    if len(pdu) == 2 and pdu[0] == function | _ERROR_BIT:
        raise DeviceExceptionError(f"{request}: exception {pdu[1]}", pdu[1])
    if pdu[0] != function:
        raise MalformedReplyError(f"{request}: reply with function {pdu[0]}")
    raise MalformedReplyError(f"{request}: {max(0, len(pdu) - 2)} bytes of values instead of {expected}")
