"""Condition ``average``: the time-weighted mean over a window or a shift; STEL and TWA are averages (C5)."""

from collections.abc import Sequence
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from agent.config.fields import SHIFT_STARTS, Duration, Strict, TimeOfDay
from agent.core.tags import Tag
from rules.conditions._average import Average, Bounds, ShiftAverage
from rules.conditions._shift import ShiftStarts
from rules.conditions.base import Condition
from rules.model import LimitRule

MAX_HOLD_POLLS: Final = 3
MAX_HOLD_NS: Final = 60 * 1_000_000_000
"""Where no poll is known."""


class Shift(Strict):
    """When shifts start, and what the sum since then is divided by."""

    starts: Sequence[TimeOfDay] | None = Field(
        None, min_length=1, description="local times of day; default the site's shifts", examples=[["08:00", "20:00"]]
    )
    over: Duration = Field(description="the sum is divided by this", examples=["8h"])
    zone: str | None = Field(None, description="time zone of starts; default the site's, UTC without a site")

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        if zone is not None:
            ShiftStarts(["00:00"], zone)
        return zone


class Config(LimitRule):
    """Keys of an ``average`` rule: either ``window`` or ``shift``."""

    condition: Literal["average"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    window: Duration | None = Field(None, description="how far back; at least four polls")
    shift: Shift | None = Field(None, description="instead of window: the sum since the shift's start over a time")
    direction: Literal["high", "low"] = "high"
    max_hold: Duration | None = Field(
        None, description="longest time a reading holds; default three polls, 60 s where no poll is known"
    )
    partial: bool = Field(default=False, description="fill gaps after the first reading with the mean of the rest")

    @model_validator(mode="after")
    def _one_extent(self) -> Self:
        if (self.window is None) == (self.shift is None):
            raise ValueError("expected either window or shift")
        for key, duration in (("window", self.window), ("max_hold", self.max_hold)):
            if duration is not None and duration.ns == 0:
                raise ValueError(f"expected {key} above zero")
        if self.shift is not None and self.shift.over.ns == 0:
            raise ValueError("expected shift.over above zero")
        return self

    @override
    def at_site(self, zone: str, shifts: Sequence[str]) -> Self:
        """See :class:`RuleBase`."""
        shift = self.shift
        if shift is None:
            return self
        known = {"zone": shift.zone or zone, "starts": shift.starts or tuple(shifts)}
        return self.model_copy(update={"shift": shift.model_copy(update=known)})

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`; a mean is derived, so its limit stays as configured (C2)."""
        is_high = self.direction == "high"
        deadband = self.deadband_of(tag)
        bounds = Bounds(self.limit, self.limit - deadband if is_high else self.limit + deadband, is_high=is_high)
        hold_ns = MAX_HOLD_NS if tag.poll_ns is None else MAX_HOLD_POLLS * tag.poll_ns
        if self.max_hold is not None:
            hold_ns = self.max_hold.ns
        if self.shift is not None:
            starts = ShiftStarts(self.shift.starts or SHIFT_STARTS, self.shift.zone or "UTC")
            return ShiftAverage(bounds, starts, self.shift.over.ns, hold_ns, is_partial=self.partial)
        assert self.window is not None
        return Average(bounds, self.window.ns, hold_ns, is_partial=self.partial)
