"""Condition ``high_high``: like high, one step worse."""

from typing import Literal

from rules.conditions._limit import UpperLimit


class Config(UpperLimit):
    """Keys of a ``high_high`` rule."""

    condition: Literal["high_high"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
