"""What every device, tag and destination has in the configuration; each kind adds its own keys in its own package."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from agent.config.fields import Duration, Id, Strict
from agent.core.batch import Source
from agent.core.events import Priority
from agent.core.tags import Tag, smallest_change

TagKind = Literal[
    "level",
    "pressure",
    "temperature",
    "gas",
    "flow",
    "concentration",
    "position",
    "state",
    "electric",
    "weight",
    "other",
]


class TagBase(Strict):
    """One tag; a driver's own tag model adds where its value stands (register, node)."""

    id: Id
    name: str | None = Field(None, description="name shown to operators", examples=["1号罐液位"])
    unit: str | None = Field(None, description="engineering unit", examples=["m", "degC", "MPa", "mg/m3"])
    range: tuple[float, float] | None = Field(
        None, description="measuring range in engineering units", examples=[[0, 12]]
    )
    kind: TagKind | None = Field(None, description="what is measured; gas changes how rules treat it")
    location: str | None = Field(None, description="where the sensor is mounted")
    over_range_latch: bool = Field(
        default=False, description="gas: once over range, high and high_high stay true until a person resets them"
    )
    fault_after: Duration | None = Field(
        None, description="bad or missing for this long raises its fault alarm; default three polls, at least 10s"
    )
    report_change: float | str | None = Field(
        None, description='smallest change that is forwarded: a number, or a share of the range such as "0.1%"'
    )

    @field_validator("range")
    @classmethod
    def _rising(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"expected low < high, found {limits[0]}..{limits[1]}")
        return limits

    @field_validator("fault_after")
    @classmethod
    def _takes_time(cls, duration: Duration | None) -> Duration | None:
        if duration is not None and duration.ns == 0:
            raise ValueError("expected a time above zero")
        return duration

    @model_validator(mode="after")
    def _change_is_a_number(self) -> Self:
        smallest_change(self.report_change, self.range)
        return self


class DeviceBase(Strict):
    """One device; a driver's ``Config`` adds its link and its tags."""

    id: Id
    driver: str
    poll: Duration = Field(default=Duration("1s"), description="distance of two polls")
    timeout: Duration = Field(default=Duration("1s"), description="longest wait for one answer")
    source: Source = Field(default=Source.SENSOR, description="simulator marks all its readings; a change is audited")
    tags_from: str | None = Field(None, description="CSV file with one row per tag, beside this file")

    def tag(self, config: Any) -> Tag:
        """A tag of this device (one of its ``tags``) as rules and records know it; a driver adds the scaling."""
        return Tag(
            id=config.id,
            device=self.id,
            name=config.name,
            unit=config.unit,
            kind=config.kind,
            range=config.range,
            poll_ns=self.poll.ns,
            source=self.source,
            location=config.location,
            over_range_latch=config.over_range_latch,
            fault_after_ns=None if config.fault_after is None else config.fault_after.ns,
            report_change=smallest_change(config.report_change, config.range),
        )


class DestinationBase(Strict):
    """One destination; its kind's ``Config`` adds address and format."""

    id: Id
    kind: str
    send: tuple[Literal["readings", "alarms"], ...] = Field(("readings", "alarms"), description="which lanes it gets")
    min_priority: Priority = Field(Priority.DIAGNOSTIC, description="least priority of alarms that are sent")
    regulator: bool = Field(default=False, description="a regulator: audit records always go, no other filter applies")
    start: Literal["now", "oldest"] = Field("now", description="where a destination new to the journal begins")
