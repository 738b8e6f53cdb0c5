"""Condition ``low``: value <= limit; false above limit + deadband."""

from typing import Literal

from rules.conditions._limit import LowerLimit


class Config(LowerLimit):
    """Keys of a ``low`` rule."""

    condition: Literal["low"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
