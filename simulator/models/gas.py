"""A gas release into a ventilated room, perfectly mixed (box model).

Equation (DOMAIN.md 10; textbook), SI units:

    V dC/dt = g - Q C,   steady state g / Q, time constant V / Q

Solved exactly for constant inputs, so any step is exact. Mass is conserved: what was released is in the room or was
carried out by the ventilation.
"""

import math
from collections.abc import Mapping
from typing import Final

from pydantic import Field

from agent.config.fields import Strict
from simulator.models.base import relaxation

GAS_CONSTANT: Final = 8.314462618
ATMOSPHERE_PA: Final = 101_325.0


class Parameters(Strict):
    """Room and substance; the defaults are methane in a room of 1,000 m3."""

    volume: float = Field(1_000.0, gt=0, description="free volume of the room, m3")
    molar_mass: float = Field(0.01604, gt=0, description="of the gas, kg/mol")
    lower_limit: float = Field(0.05, gt=0, le=1, description="lower explosive limit, volume fraction")
    temperature: float = Field(293.15, gt=0, description="of the room, K")
    ventilation: float = Field(1.667, ge=0, description="air flow at the start, m3/s (1.667 is 6 changes an hour)")


class Model:
    """One room. Inputs: release (kg/s), ventilation (m3/s)."""

    def __init__(self, parameters: Parameters) -> None:
        self._p = parameters
        self._molar_volume = GAS_CONSTANT * parameters.temperature / ATMOSPHERE_PA
        self._concentration = 0.0
        self._released = 0.0

    @property
    def inputs(self) -> Mapping[str, float]:
        """See :class:`simulator.models.base.Model`."""
        return {"release": 0.0, "ventilation": self._p.ventilation}

    def update(self, dt_s: float, inputs: Mapping[str, float]) -> Mapping[str, float]:
        """Outputs: concentration kg/m3, fraction (volume), lel (share of the lower limit), released, carried_out kg."""
        release, flow, volume = inputs["release"], inputs["ventilation"], self._p.volume
        self._released += release * dt_s
        turns = dt_s * flow / volume
        added = release * dt_s / volume * relaxation(turns)
        self._concentration = self._concentration * math.exp(-turns) + added
        fraction = self._concentration * self._molar_volume / self._p.molar_mass
        return {
            "concentration": self._concentration,
            "fraction": fraction,
            "lel": fraction / self._p.lower_limit,
            "released": self._released,
            "carried_out": self._released - self._concentration * volume,
        }
