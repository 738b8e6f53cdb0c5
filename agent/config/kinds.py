"""Which kinds of driver, destination and rule exist: in the tree by module name, outside it by entry point."""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from agent.config.base import DestinationBase, DeviceBase

_TREE: Final = {"davy.drivers": "drivers", "davy.destinations": "agent.destinations"}
"""Entry point group and the package in the tree whose subpackages with a ``config`` module are its kinds.

An entry point names a package of the same shape: ``config.py`` with ``Config``, beside it ``driver.py`` or
``destination.py`` with ``make``.
"""


@cache
def _packages(group: str) -> Mapping[str, str]:
    """Kind to package, sorted; a kind in the tree is never replaced from outside."""
    found = {point.name: point.value for point in importlib.metadata.entry_points(group=group)}
    root = _TREE[group]
    for module in pkgutil.iter_modules(importlib.import_module(root).__path__):
        package = f"{root}.{module.name}"
        if module.ispkg and importlib.util.find_spec(f"{package}.config") is not None:
            found[module.name] = package
    return dict(sorted(found.items()))


def driver_kinds() -> list[str]:
    """The names that ``driver:`` may have."""
    return list(_packages("davy.drivers"))


def destination_kinds() -> list[str]:
    """The names that ``kind:`` of a destination may have."""
    return list(_packages("davy.destinations"))


def driver_config(kind: str) -> type[DeviceBase]:
    """The configuration model of a driver; KeyError where there is no such kind."""
    return importlib.import_module(_packages("davy.drivers")[kind] + ".config").Config


def destination_config(kind: str) -> type[DestinationBase]:
    """The configuration model of a destination; KeyError where there is no such kind."""
    return importlib.import_module(_packages("davy.destinations")[kind] + ".config").Config


def driver_factory(kind: str) -> Callable[..., Any]:
    """``make(config, context)`` of a driver; loads its heavy libraries."""
    return importlib.import_module(_packages("davy.drivers")[kind] + ".driver").make


def destination_factory(kind: str) -> Callable[..., Any]:
    """``make(config, context)`` of a destination; loads its heavy libraries."""
    return importlib.import_module(_packages("davy.destinations")[kind] + ".destination").make


def rule_kinds() -> Mapping[str, type[BaseModel]]:
    """Condition to model, out-of-tree ones included."""
    registry = importlib.import_module("rules.registry")
    return registry.kinds()
