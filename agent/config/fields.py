"""Field types of the configuration: strict models, durations and sizes with units, ids, secrets."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import core_schema

_DURATION_NS: Final = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_SIZE_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

Id = Annotated[str, StringConstraints(pattern=r"^[\w.\-]{1,64}$")]
"""1-64 letters of any script, digits, ``. _ -``."""

RuleId = Annotated[str, StringConstraints(pattern=r"^[\w.\-]{1,64}(:[\w.\-]{1,64})?$")]
"""An id, or ``{tag}:{preset}.{name}`` for the rule of a preset."""


def _beside(text: str, info: ValidationInfo) -> str:
    """A relative path counts from the directory of the configuration, not from where the agent was started."""
    context = cast("dict[str, Any] | None", info.context)
    return text if not context else str(Path(context["directory"]) / text)


TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
"""A local time of day, such as ``08:00``."""

SHIFT_STARTS: Final = ("08:00", "20:00")
"""When shifts start where nobody says."""

PathText = Annotated[str, StringConstraints(min_length=1), AfterValidator(_beside)]
"""The path of a file; a relative one is beside the configuration file."""


class Strict(BaseModel):
    """Base of every configuration model: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=False, allow_inf_nan=False)


class _Quantity(str):
    """A text with a unit, as the engineer wrote it; parsed once."""

    __slots__ = ("amount",)
    amount: int
    units: ClassVar[dict[str, int]] = {}
    example: ClassVar[str] = ""

    def __new__(cls, text: str) -> Self:
        match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([A-Za-z]+)", text.strip())
        if match is None or match[2] not in cls.units:
            raise ValueError(f"expected a number with a unit ({', '.join(cls.units)}), such as {cls.example}")
        # Exact: as a float 4.35 s would not be a whole number of nanoseconds.
        amount = Decimal(match[1]) * cls.units[match[2]]
        if amount != int(amount):
            raise ValueError(f"{text!r} is not a whole number of {next(iter(cls.units))}")
        self = super().__new__(cls, text.strip())
        self.amount = int(amount)
        return self

    @classmethod
    def _parse(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValueError(f"expected a text with a unit, such as {cls.example}; a bare number has no unit")
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        units = "|".join(cls.units)
        return {"type": "string", "pattern": rf"^\d+(\.\d+)?\s*({units})$", "examples": [cls.example]}


class Duration(_Quantity):
    """A duration such as ``500ms 1s 5min 8h 30d``."""

    units = _DURATION_NS
    example = "5s"

    @property
    def ns(self) -> int:
        """Nanoseconds."""
        return self.amount

    @property
    def s(self) -> float:
        """Seconds."""
        return self.amount / 1e9


class Size(_Quantity):
    """A size such as ``64KiB 2GiB``."""

    units = _SIZE_BYTES
    example = "64KiB"

    @property
    def bytes(self) -> int:
        """Bytes."""
        return self.amount


class Rate(_Quantity):
    """Readings per second, such as ``20000/s``."""

    units: ClassVar[dict[str, int]] = {"/s": 1}
    example = "20000/s"

    def __new__(cls, text: str) -> Self:
        """Parse; ValueError says what would be right."""
        match = re.fullmatch(r"([0-9]{1,15})\s*/\s*s", text.strip())
        if match is None:
            raise ValueError(f"expected readings per second, such as {cls.example}")
        self = str.__new__(cls, text.strip())
        self.amount = int(match[1])
        return self


class Secret(str):
    """A secret after ``${env|file|credential:…}`` was resolved; never shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: "***"),
        )
