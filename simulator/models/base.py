"""What every plant model is: one method that lets time pass, and the names it takes and gives."""

import math
from collections.abc import Mapping
from importlib import import_module, util
from pkgutil import iter_modules
from typing import Any, Protocol, cast

import simulator.models
from agent.config.fields import Strict


class Model(Protocol):
    """One piece of plant. SI units throughout; no clock, no chance: the same calls give the same outputs."""

    @property
    def inputs(self) -> Mapping[str, float]:
        """Every input with its value at the start."""
        ...

    def update(self, dt_s: float, inputs: Mapping[str, float]) -> Mapping[str, float]:
        """Let ``dt_s`` seconds pass under constant ``inputs`` and return every output; 0 s gives the present ones."""
        ...


class Factory(Protocol):
    """A model module's ``Model``: made from its checked ``Parameters``."""

    def __call__(self, parameters: Any) -> Model:
        """Build the model in its initial state."""
        ...


def kinds() -> tuple[str, ...]:
    """The models this version has: one module each, found by name."""
    names = (module.name for module in iter_modules(simulator.models.__path__))
    return tuple(sorted(name for name in names if name != "base"))


def parameters_of(kind: str) -> type[Strict]:
    """The parameter model of a kind; ValueError names the kinds there are."""
    return cast("type[Strict]", _module(kind).Parameters)


def make(kind: str, parameters: Strict) -> Model:
    """A fresh model in its initial state; ValueError for an unknown kind."""
    return cast("Factory", _module(kind).Model)(parameters)


def relaxation(turns: float) -> float:
    """``(1 - exp(-x)) / x``: the mean over a step of something that decays; well-behaved down to 0."""
    return -math.expm1(-turns) / turns if turns > 1e-12 else 1.0


def _module(kind: str) -> Any:
    name = f"simulator.models.{kind}"
    if kind not in kinds() or util.find_spec(name) is None:
        raise ValueError(f"unknown model {kind!r}; there are {', '.join(kinds())}")
    return import_module(name)
