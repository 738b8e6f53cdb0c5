"""What every rule has in the configuration (spec/rules.md K); each kind adds its own keys in its own file."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from agent.config.fields import Duration, Id, RuleId, Strict
from agent.core.events import Priority
from agent.core.tags import Tag
from rules.conditions.base import Condition
from rules.settings import Settings

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; a text or a yes/no is none."""

_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")

SOFT_KEYS: Final = frozenset(
    {
        *("limit", "deadband", "on_delay", "off_delay", "priority", "message", "delay_reason", "basis", "area"),
        *("equipment", "unit", "rationale", "shelvable", "suppressible", "enabled"),
        *("exclusive", "suppress_when", "re_alarm", "first_out"),
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

    needs_tag: ClassVar[bool] = True
    """It is about one tag; False: about several tags or about other rules, ``tag`` says at most what events name."""
    sees_states: ClassVar[bool] = False
    """It looks at the alarm states of other rules, so it comes after the timers of its time (T6)."""

    id: RuleId
    condition: str
    priority: Priority = Field(description="critical, high, medium, low or diagnostic")
    tag: Id | None = Field(None, description="the tag whose readings are looked at", validate_default=True)
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
    exclusive: bool = Field(
        default=False, description="a more severe limit rule of the same tag and side suppresses this one while active"
    )
    suppress_when: RuleId | None = Field(None, description="a rule that suppresses this one while its alarm is active")
    re_alarm: Duration | None = Field(
        None, description="an acknowledged alarm still active sounds again after this; 0s: never; critical: 30min"
    )
    first_out: Id | None = Field(None, description="a group in which the first alarm to activate is marked")

    @field_validator("tag")
    @classmethod
    def _is_about_a_tag(cls, tag: str | None) -> str | None:
        if tag is None and cls.needs_tag:
            raise PydanticCustomError("missing", "Field required")
        return tag

    @abstractmethod
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """The condition of this rule; ``is_live``: limits move to the tag's grid (C2)."""

    def make_from(self, tags: Mapping[str, Tag], *, is_live: bool) -> Condition:
        """The condition of this rule, from all tags there are; what is about one tag needs :meth:`make` only."""
        return self.make(self.about(tags), is_live=is_live)

    @property
    def is_joint(self) -> bool:
        """It looks at more than one tag or at other rules, so it is looked at when the step ends (T6)."""
        return not self.needs_tag

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tags whose readings it looks at itself, each once."""
        return () if self.tag is None else (self.tag,)

    @property
    def inputs_key(self) -> str:
        """The key that names them, for messages."""
        return "tag"

    @property
    def looks_at(self) -> tuple[str, ...]:
        """The rules whose conditions or states it looks at, in its own order."""
        return ()

    def about(self, tags: Mapping[str, Tag]) -> Tag:
        """What its events and messages name: its tag, without properties where none is known (recorded data)."""
        name = self.tag if self.tag is not None else self.id
        return tags.get(name) or Tag(name)

    @property
    def is_shelvable(self) -> bool:
        """A person may shelve its alarm (A4)."""
        return self.priority is not Priority.CRITICAL if self.shelvable is None else self.shelvable

    @property
    def is_suppressible(self) -> bool:
        """A flag or a planned stop may suppress its alarm (A4)."""
        return self.priority is not Priority.CRITICAL if self.suppressible is None else self.suppressible

    def re_alarm_ns(self, settings: Settings) -> int | None:
        """When an acknowledged alarm that is still active sounds again (A7); None: never."""
        if self.re_alarm is not None:
            return self.re_alarm.ns or None
        return settings.re_alarm_critical_ns if self.priority is Priority.CRITICAL else None

    def at_site(self, zone: str, shifts: Sequence[str]) -> Self:
        """The rule with the site's time zone and starts of shifts where it needs them and names none."""
        del zone, shifts
        return self

    def text_unit(self, tag: Tag) -> str | None:
        """The unit of the compared value in messages."""
        return tag.unit or self.unit

    def limit_unit(self, tag: Tag) -> str | None:
        """The unit of the limit in messages, where it is another than the value's."""
        return self.text_unit(tag)

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
