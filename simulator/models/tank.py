"""A fixed-roof storage tank: level, head-space pressure, temperature, leak and overfill.

Equations (DOMAIN.md 10; textbook balances), SI units:

    level        dL/dt = (q_in - q_out - q_leak) / A,   q_leak = 0.62 a sqrt(2 g L) (Torricelli, sharp edge)
    overfill     what would lift the level above the rim is spilled at once
    head space   P V_g = n R T; a breather valve lets gas out above +set and air in below -set,
                 q_valve = k (|P - P_atm| - set)
    temperature  rho V c_p dT/dt = UA (T_amb - T) + Q_heat + rho q_in c_p (T_in - T)

Level is exact for constant flows but for the leak (its head is taken at the start of the step); temperature and valve
are exact exponentials of the step, so no step size is unstable. Volume is conserved: what came in is what is inside,
went out, leaked or was spilled (a property test holds it to 1e-9).
"""

import math
from collections.abc import Mapping
from typing import Final

from pydantic import Field, model_validator

from agent.config.fields import Strict
from simulator.models.base import relaxation

GRAVITY: Final = 9.80665
GAS_CONSTANT: Final = 8.314462618
DISCHARGE: Final = 0.62
ATMOSPHERE_PA: Final = 101_325.0


class Parameters(Strict):
    """Dimensions, fluid and initial state; the defaults are a 1,000 m3 styrene tank."""

    diameter: float = Field(11.5, gt=0, description="inner diameter, m")
    height: float = Field(12.0, gt=0, description="rim above the bottom, m")
    level: float = Field(5.0, ge=0, description="initial level, m")
    temperature: float = Field(293.15, gt=0, description="initial temperature of liquid and head space, K")
    density: float = Field(906.0, gt=0, description="density of the liquid, kg/m3")
    heat_capacity: float = Field(1730.0, gt=0, description="specific heat of the liquid, J/(kg K)")
    conductance: float = Field(763.0, ge=0, description="UA of wall and roof, W/K")
    vent_set: float = Field(1_960.0, ge=0, description="breather valve opens at this over- or under-pressure, Pa")
    vent_capacity: float = Field(1e-3, ge=0, description="flow of the breather valve per Pa beyond its set, m3/(s Pa)")
    dead_volume: float = Field(5.0, gt=0, description="head space that stays at the rim (roof cone), m3")

    @model_validator(mode="after")
    def _level_fits(self) -> "Parameters":
        if self.level > self.height:
            raise ValueError(f"level {self.level} m is above the rim at {self.height} m")
        return self


class Model:
    """One tank. Inputs: inflow, outflow (m3/s), inflow_temperature, ambient (K), heating (W), leak_area (m2)."""

    def __init__(self, parameters: Parameters) -> None:
        self._p = parameters
        self._area = math.pi * parameters.diameter**2 / 4
        self._level = parameters.level
        self._temperature = parameters.temperature
        self._spilled = 0.0
        self._leaked = 0.0
        self._pumped_in = 0.0
        self._pumped_out = 0.0
        self._moles = ATMOSPHERE_PA * self._gas_volume() / (GAS_CONSTANT * parameters.temperature)

    @property
    def inputs(self) -> Mapping[str, float]:
        """See :class:`simulator.models.base.Model`."""
        return {
            "inflow": 0.0,
            "outflow": 0.0,
            "inflow_temperature": self._p.temperature,
            "ambient": self._p.temperature,
            "heating": 0.0,
            "leak_area": 0.0,
        }

    def update(self, dt_s: float, inputs: Mapping[str, float]) -> Mapping[str, float]:
        """Outputs: level m, pressure Pa (gauge), temperature K; volume, leaked, spilled, pumped_in, pumped_out m3."""
        if dt_s > 0:
            self._warm(dt_s, inputs)  # before the flow is added: the inflow heats what is there
            self._flow(dt_s, inputs)
            self._breathe(dt_s)
        return {
            "level": self._level,
            "volume": self._level * self._area,
            "pressure": self._pressure() - ATMOSPHERE_PA,
            "temperature": self._temperature,
            "leaked": self._leaked,
            "spilled": self._spilled,
            "pumped_in": self._pumped_in,
            "pumped_out": self._pumped_out,
        }

    def _flow(self, dt_s: float, inputs: Mapping[str, float]) -> None:
        volume = self._level * self._area + inputs["inflow"] * dt_s
        self._pumped_in += inputs["inflow"] * dt_s
        leak = DISCHARGE * inputs["leak_area"] * math.sqrt(2 * GRAVITY * self._level) * dt_s
        out = min(inputs["outflow"] * dt_s, volume)  # a pump on an empty tank draws nothing
        leak = min(leak, volume - out)
        volume -= out + leak
        spill = max(0.0, volume - self._p.height * self._area)
        self._pumped_out += out
        self._leaked += leak
        self._spilled += spill
        self._level = (volume - spill) / self._area

    def _warm(self, dt_s: float, inputs: Mapping[str, float]) -> None:
        p = self._p
        volume = max(self._level * self._area, 1e-3)
        flow_w_per_k = p.density * p.heat_capacity * inputs["inflow"]
        total_w_per_k = p.conductance + flow_w_per_k
        heat_capacity_j_per_k = p.density * p.heat_capacity * volume
        source_w = p.conductance * inputs["ambient"] + inputs["heating"] + flow_w_per_k * inputs["inflow_temperature"]
        turns = dt_s * total_w_per_k / heat_capacity_j_per_k
        imbalance_w = source_w - total_w_per_k * self._temperature
        self._temperature += imbalance_w * dt_s / heat_capacity_j_per_k * relaxation(turns)

    def _breathe(self, dt_s: float) -> None:
        over_pa = self._pressure() - ATMOSPHERE_PA
        excess_pa = abs(over_pa) - self._p.vent_set
        if excess_pa <= 0:
            return
        # A valve flow of k * excess empties the excess with the time constant V_g / (k P_atm).
        left_pa = excess_pa * math.exp(-dt_s * self._p.vent_capacity * ATMOSPHERE_PA / self._gas_volume())
        pressure = ATMOSPHERE_PA + math.copysign(self._p.vent_set + left_pa, over_pa)
        self._moles = pressure * self._gas_volume() / (GAS_CONSTANT * self._temperature)

    def _gas_volume(self) -> float:
        return (self._p.height - self._level) * self._area + self._p.dead_volume

    def _pressure(self) -> float:
        return self._moles * GAS_CONSTANT * self._temperature / self._gas_volume()
