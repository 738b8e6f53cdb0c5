"""SITE.yaml: the plant, its instruments, the devices that show them, and what may happen there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from agent.config.fields import Duration, Id, Strict
from simulator.instruments import DEVICE_FAULTS, INSTRUMENT_FAULTS, NETWORK_FAULTS, Fault, InstrumentConfig
from simulator.models import base
from simulator.registers import RegisterConfig, RegisterMap
from simulator.scenario import NETWORK, Scenario

SITES: Final = Path(__file__).parent / "sites"
"""The ready-made sites: one directory each."""


class SiteError(Exception):
    """The site cannot be used; the text names file, place and reason, one a line."""


class PlantConfig(Strict):
    """One model of the plant."""

    id: Id
    model: str = Field(description="a module of simulator.models", examples=["tank", "gas"])
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, float] = Field(default_factory=dict, description="inputs that do not start at their default, SI")

    @model_validator(mode="after")
    def _known(self) -> "PlantConfig":
        known = set(self.build().inputs)
        for name in self.inputs:
            if name not in known:
                raise ValueError(f"model {self.model} has no input {name!r}; it has {', '.join(sorted(known))}")
        return self

    def build(self) -> base.Model:
        """A fresh model in its initial state."""
        return base.make(self.model, base.parameters_of(self.model).model_validate(self.parameters))


class ModbusDevice(Strict):
    """A Modbus TCP server."""

    id: Id
    server: Literal["modbus"]
    port: int = Field(0, ge=0, le=65_535, description="0: any free port")
    registers: tuple[RegisterConfig, ...]

    @model_validator(mode="after")
    def _no_overlap(self) -> "ModbusDevice":
        RegisterMap(self.registers)
        return self

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instruments it shows."""
        return tuple(register.instrument for register in self.registers)


class OpcuaDevice(Strict):
    """An OPC UA server with one variable per instrument (``ns=2;s=INSTRUMENT``)."""

    id: Id
    server: Literal["opcua"]
    port: int = Field(0, ge=0, le=65_535, description="0: any free port")
    update: Duration = Field(default=Duration("250ms"), description="how often values are written, real time")
    nodes: tuple[Id, ...]

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instruments it shows."""
        return self.nodes


Device = Annotated[ModbusDevice | OpcuaDevice, Field(discriminator="server")]


class Site(Strict):
    """A whole site, checked: every name that is used exists."""

    id: Id
    name: dict[str, str] = Field(default_factory=dict)
    seed: int = 1
    step: Duration = Field(default=Duration("200ms"), description="plant time between two states of the models")
    plant: tuple[PlantConfig, ...]
    instruments: tuple[InstrumentConfig, ...]
    devices: tuple[Device, ...]
    scenarios: dict[Id, Scenario] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> "Site":
        problems = [*self._duplicates(), *self._unknown_names()]
        if self.step.ns == 0:
            problems.append("step: 0 would never get anywhere")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _duplicates(self) -> Iterator[str]:
        for kind, ids in (
            ("plant", [model.id for model in self.plant]),
            ("instruments", [instrument.id for instrument in self.instruments]),
            ("devices", [device.id for device in self.devices]),
            ("devices' instruments", [name for device in self.devices for name in device.instruments]),
        ):
            for name in sorted({name for name in ids if ids.count(name) > 1}):
                yield f"{kind}: {name} is there twice"

    def _unknown_names(self) -> Iterator[str]:
        inputs = {f"{model.id}.{name}" for model in self.plant for name in model.build().inputs}
        signals = inputs | {f"{plant.id}.{name}" for plant in self.plant for name in _outputs(plant.build())}
        instruments = {instrument.id for instrument in self.instruments}
        for instrument in self.instruments:
            if instrument.measures not in signals:
                yield f"instruments {instrument.id}: the plant has no {instrument.measures}"
        for device in self.devices:
            for name in device.instruments:
                if name not in instruments:
                    yield f"devices {device.id}: there is no instrument {name}"
        for name, scenario in self.scenarios.items():
            for position, step in enumerate(scenario.steps):
                if step.set is not None and step.set not in inputs:
                    yield f"scenarios {name} step {position}: the plant has no input {step.set}"
                if step.fault is not None and step.fault not in self._faults_of(step.target or ""):
                    yield f"scenarios {name} step {position}: {step.target} cannot have the fault {step.fault}"

    def _faults_of(self, target: str) -> frozenset[Fault]:
        if target == NETWORK:
            return NETWORK_FAULTS
        if any(device.id == target for device in self.devices):
            return DEVICE_FAULTS
        if any(instrument.id == target for instrument in self.instruments):
            return INSTRUMENT_FAULTS
        return frozenset()


def _outputs(model: base.Model) -> tuple[str, ...]:
    return tuple(model.update(0.0, model.inputs))


def find_site(name_or_path: str) -> Path:
    """The site file of a name (``tank_farm``), a directory or a file; SiteError where there is none."""
    for path in (SITES / name_or_path, Path(name_or_path)):
        if (path / "site.yaml").is_file():
            return path / "site.yaml"
        if path.is_file():
            return path
    raise SiteError(f"{name_or_path}: no such site; ready-made ones are {', '.join(sites())}")


def sites() -> tuple[str, ...]:
    """The names of the ready-made sites."""
    return tuple(sorted(path.parent.name for path in SITES.glob("*/site.yaml")))


def load_site(path: Path) -> Site:
    """Read and check a site file; SiteError names what is wrong and where."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SiteError(f"{path}: {error}") from error
    try:
        return Site.model_validate(content)
    except ValidationError as error:
        lines = [f"{path}: {_place(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise SiteError("\n".join(lines)) from error


def _place(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "site"
