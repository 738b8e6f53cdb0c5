"""Deviation of one tag from another: evaluated when the step with a reading of either ends (spec/rules.md C, T6)."""

from typing import Any

from typing_extensions import override

from agent.core.quality import Quality
from rules.conditions._deviation import Distance
from rules.joint import Joint

_BAND = Quality.NE43_BAND.value


class TagDeviation(Joint):
    """``value`` is the distance of the tag from its reference; the inputs are the tag and the reference, in this order.

    A bad reading of either is a bad reading of the rule (Q5); before the first reading of either it is unknown.
    """

    __slots__ = ("_distance",)
    side = 1

    def __init__(self, distance: Distance) -> None:
        super().__init__()
        self._distance = distance

    @override
    def look(self, at_ns: int) -> bool | None:
        """See :class:`Joint`."""
        self.is_on_bad = any(each.is_bad for each in self.inputs)
        value, reference = self.inputs[0].usable, self.inputs[-1].usable
        if value is None or reference is None:
            return None
        self.value = abs(value - reference)
        is_in_band = any(each.quality == _BAND for each in self.inputs)
        return self._distance.judge(self.value, _BAND if is_in_band else 0)

    @override
    def assume_true(self) -> None:
        """See :class:`Condition`."""
        self._distance.memory = True

    @override
    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """See :class:`Condition`."""
        return [self.value, self._distance.memory, self.is_on_bad]

    @override
    def from_row(self, row: list[Any]) -> None:
        """See :class:`Condition`."""
        self.value, self._distance.memory, self.is_on_bad = row
