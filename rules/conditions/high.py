"""Condition ``high``: value >= limit; false below limit - deadband."""

from typing import Literal

from rules.conditions._limit import UpperLimit


class Config(UpperLimit):
    """Keys of a ``high`` rule."""

    condition: Literal["high"]  # pyright: ignore[reportIncompatibleVariableOverride] -- a frozen model
