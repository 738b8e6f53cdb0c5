"""Register maps: which instrument stands where, as which type, and what words and value it sends for a reading."""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from pydantic import Field, model_validator

from agent.config.fields import Id, Strict

_FORMATS: Final = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
_ORDERS: Final = {
    2: ("AB", "BA"),
    4: ("ABCD", "CDAB", "BADC", "DCBA"),
    8: ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"),
}
MA_LOW: Final = 4.0
MA_SPAN: Final = 16.0

Table = Literal["holding", "input", "coil", "discrete"]


class RegisterConfig(Strict):
    """One instrument in a Modbus map; the keys mean what they mean in davy.yaml."""

    instrument: Id
    unit_id: int = Field(1, ge=0, le=255)
    table: Table
    address: int = Field(ge=0, le=65_535)
    type: Literal["bool", "bit", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
    order: str | None = Field(None, description="bytes as sent for a big-endian ABCD value; default big-endian")
    scale: float = 1.0
    offset: float = 0.0
    bit: int = Field(0, ge=0, le=15)
    signal: Literal["4-20mA"] | None = None
    span: tuple[float, float] | None = Field(None, description="engineering values at 4 and 20 mA")

    @model_validator(mode="after")
    def _fits(self) -> "RegisterConfig":
        if self.scale == 0:
            raise ValueError("scale is 0")
        if (self.type == "bool") != (self.table in {"coil", "discrete"}):
            raise ValueError(f"type {self.type} does not go with table {self.table}")
        if (self.signal is None) != (self.span is None):
            raise ValueError("signal and span belong together")
        if self.type in _FORMATS and self.byte_order not in _ORDERS[struct.calcsize(_FORMATS[self.type])]:
            raise ValueError(f"order {self.order} does not go with {self.type}")
        return self

    @cached_property
    def words(self) -> int:
        """How many registers (or bits of a coil table) it takes."""
        return struct.calcsize(_FORMATS[self.type]) // 2 if self.type in _FORMATS else 1

    @property
    def byte_order(self) -> str:
        """The order in force."""
        return self.order or "ABCDEFGH"[: 2 * self.words]


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes onto the wire for one instrument."""

    words: tuple[int, ...]
    value: float
    """The engineering value that these words mean; NaN where they mean none."""


def encode(register: RegisterConfig, value: float) -> Sent:
    """The words for a value; what the type cannot hold is sent as the nearest it can, NaN as 0 mA or the type's own."""
    if register.type in {"bool", "bit"}:
        is_on = value >= 0.5  # NaN: off
        return Sent((int(is_on) << (register.bit if register.type == "bit" else 0),), float(is_on))
    current = value
    if register.span is not None:
        low, high = register.span
        current = 0.0 if math.isnan(value) else MA_LOW + (value - low) / (high - low) * MA_SPAN
    raw, packed = _pack(register.type, (current - register.offset) / register.scale)
    sent = bytes(packed[ord(letter) - ord("A")] for letter in register.byte_order)
    shown = raw * register.scale + register.offset
    if register.span is not None:
        low, high = register.span
        shown = low + (shown - MA_LOW) / MA_SPAN * (high - low)
    return Sent(struct.unpack(f">{register.words}H", sent), shown)


def _pack(kind: str, raw: float) -> tuple[float, bytes]:
    form = _FORMATS[kind]
    if kind.startswith("float"):
        limit = 3.4028234663852886e38 if kind == "float32" else math.inf
        packed = struct.pack(form, raw if math.isnan(raw) else min(max(raw, -limit), limit))
        return struct.unpack(form, packed)[0], packed
    bits = 8 * struct.calcsize(form)
    lowest, highest = (0, (1 << bits) - 1) if kind.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)
    # Integers have no NaN: the lowest value (signed) or the highest is what most transmitters send for "no value".
    missing = highest if kind.startswith("u") else lowest
    whole = missing if math.isnan(raw) else min(max(round(raw), lowest), highest)
    return float(whole), struct.pack(form, whole)


class IllegalAddressError(Exception):
    """The request touches an address that the map does not have: Modbus exception 2."""


class UnknownUnitError(Exception):
    """Nobody answers at this unit id."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one read request, and the values of the instruments that it holds whole."""

    words: Sequence[int]
    """Registers, or 0 and 1 for coils and discrete inputs."""
    values: Mapping[str, float]


class RegisterMap:
    """The map of one server. Overlapping registers are refused with ValueError; bits may share a register."""

    def __init__(self, registers: Sequence[RegisterConfig]) -> None:
        self._at: dict[tuple[int, str, int], list[RegisterConfig]] = {}
        self._units = frozenset(register.unit_id for register in registers)
        for register in registers:
            for offset in range(register.words):
                here = self._at.setdefault((register.unit_id, register.table, register.address + offset), [])
                if here and not _share(register, here):
                    raise ValueError(
                        f"{register.instrument} and {here[0].instrument} overlap at unit {register.unit_id}, "
                        f"{register.table} {register.address + offset}"
                    )
                here.append(register)

    def read(self, unit_id: int, table: str, first: int, count: int, value_of: Callable[[str], float]) -> Reply:
        """Answer a read from the instruments' present values; UnknownUnitError, IllegalAddressError."""
        if unit_id not in self._units:
            raise UnknownUnitError(f"no unit {unit_id}")
        words = [0] * count
        values: dict[str, float] = {}
        for address in range(first, first + count):
            registers = self._at.get((unit_id, table, address))
            if registers is None:
                raise IllegalAddressError(f"{table} {address}")
            for register in registers:
                if address == max(first, register.address):
                    self._put(words, register, first, values, value_of)
        return Reply(words, values)

    def _put(
        self,
        words: list[int],
        register: RegisterConfig,
        first: int,
        values: dict[str, float],
        value_of: Callable[[str], float],
    ) -> None:
        sent = encode(register, value_of(register.instrument))
        for offset, word in enumerate(sent.words):
            position = register.address + offset - first
            if 0 <= position < len(words):
                words[position] |= word
        if register.address >= first and register.address + register.words <= first + len(words):
            values[register.instrument] = sent.value


def _share(register: RegisterConfig, here: Sequence[RegisterConfig]) -> bool:
    return register.type == "bit" and all(other.type == "bit" and other.bit != register.bit for other in here)
