"""Instruments between plant and wire: lag, noise, quantisation, saturation, switches, and their labelled faults.

y = quantise(clip(lag(x) + bias + noise)),   lag time constant T90 / ln 10   (DOMAIN.md 10)
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field, field_validator, model_validator

from agent.config.fields import Duration, Id, Strict
from simulator.chance import normal, stream

UNITS: Final[Mapping[str, tuple[float, float]]] = {
    "": (1.0, 0.0),
    "m": (1.0, 0.0),
    "m3": (1.0, 0.0),
    "m3/h": (3600.0, 0.0),
    "degC": (1.0, -273.15),
    "K": (1.0, 0.0),
    "Pa": (1.0, 0.0),
    "kPa": (1e-3, 0.0),
    "MPa": (1e-6, 0.0),
    "%": (100.0, 0.0),
    "%LEL": (100.0, 0.0),
    "mg/m3": (1e6, 0.0),
}
"""Engineering unit: factor and offset from SI."""


class Fault(StrEnum):
    """What may be wrong with an instrument, a device or the network."""

    STUCK = "stuck"
    """The value stays what it was (instrument)."""
    BIAS = "bias"
    """The value is off by ``size`` engineering units (instrument)."""
    OPEN = "open"
    """The wire is cut: no value, 0 mA (instrument)."""
    SILENT = "silent"
    """No answer: an instrument has no value, a device does not reply, the network carries and closes nothing."""
    EXCEPTION = "exception"
    """Every request is answered with a Modbus exception (device); ``size`` is its code, default 4."""
    RESET = "reset"
    """Connections are reset and not accepted (network)."""
    REFUSE = "refuse"
    """New connections are refused (network)."""


INSTRUMENT_FAULTS: Final = frozenset({Fault.STUCK, Fault.BIAS, Fault.OPEN, Fault.SILENT})
DEVICE_FAULTS: Final = frozenset({Fault.SILENT, Fault.EXCEPTION})
NETWORK_FAULTS: Final = frozenset({Fault.SILENT, Fault.RESET, Fault.REFUSE})


class Switch(Strict):
    """A limit switch: 1 at and above ``closes``, 0 below ``opens``. (YAML reads ``on`` and ``off`` as booleans.)"""

    closes: float
    opens: float

    @model_validator(mode="after")
    def _opens_below(self) -> "Switch":
        if self.opens > self.closes:
            raise ValueError(f"a switch that opens at {self.opens} above {self.closes} would flutter")
        return self


class InstrumentConfig(Strict):
    """One instrument of a site."""

    id: Id
    measures: str = Field(description="plant output or input, MODEL.NAME", examples=["T101.level"])
    unit: str = Field("", description="engineering unit")
    name: str | None = Field(None, description="name shown to operators")
    range: tuple[float, float] | None = Field(None, description="measuring range; the value saturates at its ends")
    t90: Duration = Field(default=Duration("0s"), description="time to 90 % of a step")
    noise: float = Field(0.0, ge=0, description="standard deviation, engineering units")
    resolution: float = Field(0.0, ge=0, description="smallest step of the value, engineering units")
    switch: Switch | None = None

    @field_validator("unit")
    @classmethod
    def _known(cls, unit: str) -> str:
        if unit not in UNITS:
            raise ValueError(f"unknown unit {unit!r}; there are {', '.join(name for name in UNITS if name)}")
        return unit


class Instrument:
    """One instrument in use; ``update`` at every step of the plant, ``value`` as often as anybody reads it."""

    def __init__(self, config: InstrumentConfig, seed: int) -> None:
        self.config = config
        self._stream = stream(seed, config.id)
        self._tau_s = config.t90.s / math.log(10.0)
        self._lagged: float | None = None
        self._number = 0
        self._faults: dict[Fault, float] = {}
        self._held: float | None = None
        self._closed = False

    def update(self, dt_s: float, plant: float) -> None:
        """Follow the plant for one step; ``plant`` in SI."""
        factor, offset = UNITS[self.config.unit]
        true = plant * factor + offset
        if self._lagged is None or self._tau_s == 0:
            self._lagged = true
        else:
            self._lagged = true + (self._lagged - true) * math.exp(-dt_s / self._tau_s)
        self._number += 1
        switch = self.config.switch
        if switch is not None:
            self._closed = self._lagged >= switch.closes or (self._closed and self._lagged >= switch.opens)

    def begin(self, fault: Fault, size: float) -> None:
        """A fault begins; beginning it again changes its size."""
        if fault is Fault.STUCK and fault not in self._faults:
            self._held = self.value()
        self._faults[fault] = size

    def end(self, fault: Fault) -> None:
        """A fault ends; ending one that is not there changes nothing."""
        self._faults.pop(fault, None)

    def value(self) -> float:
        """What the instrument shows now, engineering units; NaN where it shows nothing."""
        if Fault.OPEN in self._faults or Fault.SILENT in self._faults or self._lagged is None:
            return math.nan
        if Fault.STUCK in self._faults and self._held is not None:
            return self._held
        if self.config.switch is not None:
            return float(self._closed)
        value = self._lagged + self._faults.get(Fault.BIAS, 0.0)
        if self.config.noise:
            value += self.config.noise * normal(self._stream, self._number)
        if self.config.range is not None:
            value = min(max(value, self.config.range[0]), self.config.range[1])
        if self.config.resolution:
            # round() of the quotient, then of the digits: 0.1 steps print as 24.6, not 24.600000000000001.
            value = round(round(value / self.config.resolution) * self.config.resolution, 9)
        return value
