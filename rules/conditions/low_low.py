"""Condition ``low_low``: like low, one step worse."""

from typing import Literal

from rules.conditions._limit import LowerLimit


class Config(LowerLimit):
    """Keys of a ``low_low`` rule."""

    condition: Literal["low_low"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
