"""Each part of the configuration against its own model: the kinds decide which one."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from agent.config import kinds
from agent.config.base import DestinationBase, DeviceBase
from agent.config.document import as_list, as_mapping
from agent.config.errors import Path, Text, closest, same, show_found
from agent.config.explain import Fault, explain, stray_booleans
from agent.config.presets import UseEntry

Model = TypeVar("Model", bound=BaseModel)
_MAPPING = Text("a mapping (key: value)", "映射（键: 值）")
_LIST = Text("a list", "列表")


class Parts:
    """Validates piece by piece and goes on after a fault, so that all are named at once."""

    def __init__(self, context: dict[str, Any]) -> None:
        self.faults: list[Fault] = []
        self._context = context

    def section(self, model: type[Model], data: Any, path: Path) -> Model | None:
        """One mapping; None where it is wrong."""
        if not isinstance(data, dict):
            self.faults.append(Fault(path, Text("wrong type", "类型错误"), show_found(data), _MAPPING))
            return None
        faults = {fault.path: fault for fault in stray_booleans(model, cast("dict[str, Any]", data), path)}
        try:
            valid = model.model_validate(data, context=self._context)
        except ValidationError as error:
            valid = None
            faults |= {fault.path: fault for fault in explain(error, data, path, model)}
        self.faults += faults.values()
        return valid

    def items(self, key: str, data: Any, read: Callable[[dict[str, Any], Path], Model | None]) -> list[Model | None]:
        """A list of mappings, each read by ``read``; None in the place of those that are wrong."""
        if data is None:
            return []
        entries = as_list(data)
        if entries is None:
            self.faults.append(Fault((key,), Text("wrong type", "类型错误"), show_found(data), _LIST))
            return []
        return [self._item(item, (key, i), read) for i, item in enumerate(entries)]

    def device(self, data: dict[str, Any], path: Path) -> DeviceBase | None:
        """One device against its driver's model."""
        kind = self._kind(data, path, "driver", kinds.driver_kinds())
        return None if kind is None else self.section(kinds.driver_config(kind), data, path)

    def destination(self, data: dict[str, Any], path: Path) -> DestinationBase | None:
        """One destination against its kind's model."""
        kind = self._kind(data, path, "kind", kinds.destination_kinds())
        return None if kind is None else self.section(kinds.destination_config(kind), data, path)

    def rule(self, data: dict[str, Any], path: Path) -> BaseModel | None:
        """One rule against its condition's model, or the use of a preset."""
        if "use" in data:
            return self.section(UseEntry, data, path)
        if isinstance(data.get("id"), str) and ":" in data["id"]:
            text = Text("a name with a colon belongs to the rules of presets", "带冒号的名称仅用于预设规则")
            self.faults.append(Fault((*path, "id"), text, show_found(data["id"])))
            return None
        models = kinds.rule_kinds()
        kind = self._kind(data, path, "condition", list(models))
        return None if kind is None else self.section(models[kind], data, path)

    def _item(self, item: Any, path: Path, read: Callable[[dict[str, Any], Path], Model | None]) -> Model | None:
        fields = as_mapping(item)
        if fields is not None:
            return read(fields, path)
        self.faults.append(Fault(path, Text("wrong type", "类型错误"), show_found(item), _MAPPING))
        return None

    def _kind(self, data: dict[str, Any], path: Path, key: str, names: Sequence[str]) -> str | None:
        kind = data.get(key)
        if kind in names:
            return kind
        allowed = same(", ".join(names))
        if key not in data:
            self.faults.append(Fault((*path, key), Text("required key is missing", "缺少必需的键"), None, allowed))
        else:
            near = closest(kind, names) if isinstance(kind, str) else None
            text = Text("this version has no such kind", "本版本没有这种类型")
            self.faults.append(Fault((*path, key), text, show_found(kind), allowed, near))
        return None
