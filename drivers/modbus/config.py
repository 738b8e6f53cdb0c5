"""The configuration of a Modbus device (spec/config.md)."""

from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from agent.config.base import DeviceBase, TagBase
from agent.config.fields import Strict
from agent.core.tags import Scaling, Tag
from drivers.modbus.codec import ORDERS, Order, Point, Type
from drivers.modbus.pdu import Table

_TRADITIONAL: Final = {"0": Table.COIL, "1": Table.DISCRETE, "3": Table.INPUT, "4": Table.HOLDING}
_ADDRESS_MAX: Final = 65_535
_KINDS: Final = ("tcp",)

Address = Annotated[
    int,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": _ADDRESS_MAX},
                {"type": "string", "pattern": r"^\d{1,6}$"},
            ],
            "examples": [0, "40001"],
        }
    ),
]


class TcpLink(Strict):
    """Modbus TCP."""

    kind: Literal["tcp"] = Field(description="this version has tcp")
    host: str = Field(min_length=1, description="host name or IP address", examples=["10.0.0.5"])
    port: int = Field(502, ge=1, le=65_535, description="TCP port")


class TagConfig(TagBase):
    """One value in a Modbus device."""

    table: Table = Field(description="table: coil, discrete, input or holding")
    address: Address = Field(description='zero-based protocol address; the string "40001" is holding register 0')
    type: Type = Field(description="type of the value; coil and discrete hold bool")
    order: Order | None = Field(
        None, description="bytes as the device sends them for a big-endian ABCD value; default: as they stand"
    )
    scale: float = Field(1.0, description="value = raw * scale + offset", allow_inf_nan=False)
    offset: float = Field(0.0, description="value = raw * scale + offset", allow_inf_nan=False)
    bit: int | None = Field(None, ge=0, le=15, description="which bit of the register, 0 the lowest (type bit)")
    length: int | None = Field(None, ge=1, le=250, description="bytes of a string, two per register (type string)")
    signal: Literal["4-20mA"] | None = Field(
        None, description="raw * scale + offset is a current in mA; NE 43 applies and span is needed"
    )
    span: tuple[float, float] | None = Field(
        None, description="engineering values at 4 and 20 mA (signal 4-20mA)", examples=[[0, 1.6]]
    )

    @model_validator(mode="before")
    @classmethod
    def _notation(cls, fields: Any) -> Any:
        """Turn ``"40001"`` into a protocol address; it must agree with ``table``."""
        if isinstance(fields, dict) and isinstance(fields.get("address"), str):  # type: ignore[union-attr]
            return {**fields, "address": _protocol_address(fields["address"], fields.get("table"))}  # type: ignore[arg-type]
        return fields  # type: ignore[return-value]

    @field_validator("scale")
    @classmethod
    def _not_zero(cls, scale: float) -> float:
        if scale == 0:
            raise ValueError("expected a scale other than 0: every value would be the offset")
        return scale

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for problem in (*self._type_problems(), *self._number_problems()):
            raise ValueError(problem)
        if not 0 <= self.address <= self.address + self.point().width - 1 <= _ADDRESS_MAX:
            raise ValueError(f"address {self.address}: expected 0..{_ADDRESS_MAX} for the whole value")
        return self

    def _type_problems(self) -> list[str]:
        found: list[str] = []
        if self.table.is_bits and self.type != "bool":
            found.append(f"table {self.table.value} holds bits: expected type bool, found {self.type}")
        if (self.type == "bit") != (self.bit is not None):
            found.append("type bit needs the key bit (0..15), and only it")
        if (self.type == "string") != (self.length is not None):
            found.append("type string needs the key length (bytes), and only it")
        if self.order is not None:
            width = 2 if self.type == "string" else 2 * self.point().width
            allowed = () if self.table.is_bits else ORDERS[width]
            if self.order not in allowed:
                found.append(f"order {self.order} does not fit {self.type}: expected {', '.join(allowed) or 'none'}")
        return found

    def _number_problems(self) -> list[str]:
        found: list[str] = []
        is_number = self.type not in ("bool", "bit", "string")
        if not is_number and (self.scale != 1.0 or self.offset != 0.0 or self.signal is not None):
            found.append(f"type {self.type} takes no scale, offset or signal")
        if (self.signal is None) != (self.span is None):
            found.append("signal and span belong together: expected both or none")
        if self.span is not None and self.span[0] == self.span[1]:
            found.append(f"expected two different values in span, found {self.span[0]}..{self.span[1]}")
        if self.type == "string" and self.range is not None:
            found.append("type string takes no range")
        return found

    @property
    def scaling(self) -> Scaling:
        """From the raw value to engineering units."""
        return Scaling(self.scale, self.offset, self.span, self.type == "float32", self.type == "float64")

    def point(self) -> Point:
        """What the codec needs."""
        return Point(
            self.table, self.address, self.type, self.order, self.bit or 0, self.length or 0, self.scaling, self.range
        )


class Config(DeviceBase):
    """One Modbus device: a unit behind a link."""

    driver: Literal["modbus"]  # pyright: ignore[reportIncompatibleVariableOverride] # frozen: it only narrows
    link: TcpLink
    unit_id: int = Field(1, ge=0, le=255, description="Modbus address of the unit behind the link")
    tags: tuple[TagConfig, ...] = Field((), description="what is read")

    @field_validator("link", mode="before")
    @classmethod
    def _known_kind(cls, link: Any) -> Any:
        """One clear error for a kind that this version doesn't have, not one for each of its keys."""
        kind: Any = link.get("kind") if isinstance(link, dict) else None  # type: ignore[union-attr]
        if isinstance(kind, str) and kind not in _KINDS:
            raise ValueError(f"link kind {kind!r}: this version has {', '.join(_KINDS)}")
        return link  # type: ignore[return-value]

    @model_validator(mode="after")
    def _has_distinct_tags(self) -> Self:
        if not self.tags and self.tags_from is None:
            raise ValueError("expected at least one tag in tags or tags_from")
        seen: set[str] = set()
        for tag in self.tags:
            if tag.id in seen:
                raise ValueError(f"tag {tag.id!r} stands twice in device {self.id!r}")
            seen.add(tag.id)
        return self

    def tag(self, config: TagConfig) -> Tag:
        """A tag of this device as rules and records know it."""
        return replace(super().tag(config), scaling=None if config.type == "string" else config.scaling)


def _protocol_address(text: str, table: object) -> int:
    """The zero-based address of ``"40001"``, ``"400001"`` or, from a CSV cell, ``"12"``."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 6):
        raise ValueError(f'address {text!r}: expected a number, or five or six digits such as "40001"')
    if len(digits) < 5:
        return int(digits)
    meant = _TRADITIONAL.get(digits[0])
    if meant is None or int(digits[1:]) == 0:
        raise ValueError(f"address {text!r}: expected 0xxxx (coil), 1xxxx (discrete), 3xxxx (input) or 4xxxx (holding)")
    if meant.value != table:
        raise ValueError(f"address {text!r} means table {meant.value}, found table {table}")
    return int(digits[1:]) - 1
