"""Condition ``deviation``: the value is too far from a number, from another tag or from its own mean (C)."""

from typing import Literal

from pydantic import Field, field_validator
from typing_extensions import override

from agent.config.fields import Duration, Id, Strict
from agent.core.tags import Tag
from rules.conditions._deviation import Distance, FromMean, FromNumber
from rules.conditions._tag_deviation import TagDeviation
from rules.conditions.base import Condition
from rules.model import LimitRule, Number


class MeanReference(Strict):
    """The mean of the tag's own usable samples in [t - window, t)."""

    mean: Duration = Field(description="the window; at least four polls")

    @field_validator("mean")
    @classmethod
    def _above_zero(cls, window: Duration) -> Duration:
        if window.ns == 0:
            raise ValueError("expected a window above zero")
        return window


class Config(LimitRule):
    """Keys of a ``deviation`` rule."""

    condition: Literal["deviation"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
    reference: Number | MeanReference | Id = Field(
        description="a number, another tag, or the tag's own mean", examples=[50.0, "T102.level", {"mean": "10min"}]
    )
    min_samples: int = Field(10, ge=1, description="for a mean")

    @property
    def reference_tag(self) -> str | None:
        """The other tag, where there is one."""
        return self.reference if isinstance(self.reference, str) else None

    @property
    @override
    def is_joint(self) -> bool:
        """See :class:`RuleBase`."""
        return self.reference_tag is not None

    @property
    @override
    def inputs(self) -> tuple[str, ...]:
        """See :class:`RuleBase`."""
        tag = self.tag or ""
        return (tag,) if self.reference_tag in (None, tag) else (tag, self.reference_tag)

    @property
    @override
    def inputs_key(self) -> str:
        """See :class:`RuleBase`."""
        return "reference"

    @property
    def window(self) -> Duration | None:
        """The mean's window."""
        return self.reference.mean if isinstance(self.reference, MeanReference) else None

    @override
    def make(self, tag: Tag, *, is_live: bool) -> Condition:
        """See :class:`RuleBase`; a deviation is derived, so its limit stays as configured (C2)."""
        distance = Distance(self.limit, self.limit - self.deadband_of(tag))
        if isinstance(self.reference, MeanReference):
            return FromMean(distance, self.reference.mean.ns, self.min_samples)
        if isinstance(self.reference, str):
            return TagDeviation(distance)
        return FromNumber(distance, self.reference)
