"""What every rule has in the configuration (spec/rules.md K); each kind adds its own keys in its own file."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, field_validator

from agent.config.fields import Duration, Id, Strict
from agent.core.events import Priority
from agent.core.tags import Tag
from rules.conditions.base import Condition

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; a text or a yes/no is none."""

_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")

SOFT_KEYS: Final = frozenset(
    {
        *("limit", "deadband", "on_delay", "off_delay", "priority", "message", "delay_reason", "basis", "area"),
        *("equipment", "unit", "rationale", "shelvable", "suppressible", "enabled"),
    }
)
"""A change of these leaves the condition's memory alone (G2)."""


class OnBad(StrEnum):
    """What a bad reading means (Q5)."""

    HOLD = "hold"
    ALARM = "alarm"
    CLEAR = "clear"


class Rationale(Strict):
    """Why the alarm exists; the row of the master alarm database."""

    cause: str | None = None
    consequence: str | None = None
    action: str | None = None
    time_to_respond: Duration | None = None


class RuleBase(Strict):
    """One rule; a kind's ``Config`` adds its keys and makes its condition."""

    id: Id
    condition: str
    priority: Priority = Field(description="critical, high, medium, low or diagnostic")
    tag: Id = Field(description="the tag whose readings are looked at")
    on_delay: Duration = Field(
        default=Duration("0s"), description="the condition must hold this long to raise the alarm"
    )
    off_delay: Duration = Field(default=Duration("0s"), description="it must be gone this long to return it")
    on_bad: OnBad = Field(default=OnBad.HOLD, description="a bad reading: hold the state, alarm, or clear")
    latch: bool = Field(default=False, description="after its return the alarm stays until a person resets it")
    enabled: bool = True
    message: Mapping[str, str] | None = Field(
        None, description="text by language; what is left out is made from kind, tag name, value and limit"
    )
    delay_reason: str | None = Field(None, description="why a gas alarm of high priority may wait")
    basis: str | None = Field(None, description="standard and clause, or design document", examples=["SH/T 3007 5.4"])
    area: str | None = None
    equipment: str | None = None
    unit: str | None = Field(None, description="engineering unit of the limit; must be the tag's")
    rationale: Rationale | None = None
    shelvable: bool | None = Field(None, description="default: no for critical, else yes")
    suppressible: bool | None = Field(None, description="default: no for critical, else yes")
    exclusive: bool = Field(default=False, description="not in this version: only false")
    suppress_when: str | None = Field(None, description="not in this version")
    re_alarm: str | None = Field(None, description="not in this version")
    first_out: str | None = Field(None, description="not in this version")

    @field_validator("exclusive", "suppress_when", "re_alarm", "first_out", mode="before")
    @classmethod
    def _comes_later(cls, value: Any) -> Any:
        if value not in (None, False):
            raise ValueError("this version of Davy does not have this key; leave it out")
        return value

    @abstractmethod
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """The condition of this rule; ``is_live``: limits move to the tag's grid (C2)."""

    def text_unit(self, tag: Tag) -> str | None:
        """The unit of the compared value in messages."""
        return tag.unit or self.unit

    @property
    def limit_value(self) -> float | None:
        """The configured limit, as events print it; None where the kind has none."""
        return None

    def deadband_of(self, tag: Tag) -> float | None:
        """The deadband in engineering units; None where the kind has none, ValueError for a share of no range."""
        del tag
        return None


class LimitRule(RuleBase):
    """A rule that compares a quantity with a limit."""

    limit: Number
    deadband: Number | str = Field(
        default=0.0, description='return margin: a number >= 0, or a share of the range such as "1%"'
    )

    @field_validator("deadband")
    @classmethod
    def _margin(cls, value: float | str) -> float | str:
        if isinstance(value, str):
            if not _PERCENT.fullmatch(value.strip()):
                raise ValueError('expected a number >= 0 or a share of the range such as "1%"')
            return value.strip()
        if value < 0:
            raise ValueError(f"expected a number >= 0, found {value}")
        return value

    @property
    def limit_value(self) -> float | None:
        """See :class:`RuleBase`."""
        return self.limit

    def deadband_of(self, tag: Tag) -> float:
        """See :class:`RuleBase`."""
        if not isinstance(self.deadband, str):
            return self.deadband
        if tag.range is None:
            raise ValueError(f"rule {self.id}: deadband {self.deadband} needs a range on tag {tag.id}")
        match = _PERCENT.fullmatch(self.deadband)
        assert match is not None
        return float(match[1]) / 100.0 * (tag.range[1] - tag.range[0])
