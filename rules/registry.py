"""Which kinds of rules there are: one module of rules.conditions each, others by the entry point davy.conditions."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

from rules import conditions
from rules.model import RuleBase

ENTRY_POINTS: Final = "davy.conditions"
_SHARED: Final = frozenset({"base"})


@cache
def kinds() -> dict[str, type[RuleBase]]:
    """Each kind's configuration model, by the word that ``condition`` takes."""
    found: dict[str, type[RuleBase]] = {}
    for module in pkgutil.iter_modules(conditions.__path__):
        if module.name not in _SHARED and not module.name.startswith("_"):
            kind = module.name.replace("suspicion_", "suspicion.")
            found[kind] = importlib.import_module(f"{conditions.__name__}.{module.name}").Config
    for point in entry_points(group=ENTRY_POINTS):
        if point.name not in found:
            found[point.name] = point.load().Config
    return dict(sorted(found.items()))


def parse(fields: Mapping[str, Any]) -> RuleBase:
    """One rule from its keys; ValueError (pydantic's too) says what is wrong."""
    kind = fields.get("condition")
    model = kinds().get(str(kind))
    if model is None:
        raise ValueError(f"this version has no condition {kind!r}; it has {', '.join(kinds())}")
    return model.model_validate(dict(fields))
