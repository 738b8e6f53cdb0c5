"""The presets that this version ships, read once when one is asked for."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, cast

import yaml

from rules.presets.model import Parameter, Preset

_HERE: Final = "rules.presets"


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by id, sorted."""
    tables = cast("dict[str, Any]", _read("_tables.yaml"))
    found: dict[str, Preset] = {}
    for file in sorted(item.name for item in resources.files(_HERE).iterdir()):
        if file.endswith(".yaml") and not file.startswith("_"):
            for preset in _of_file(cast("dict[str, Any]", _read(file)), tables):
                if preset.id in found:
                    raise ValueError(f"{file}: preset {preset.id} is there already")
                found[preset.id] = preset
    return dict(sorted(found.items()))


def _read(name: str) -> object:
    text = (resources.files(_HERE) / name).read_text(encoding="utf-8")
    return yaml.load(text, yaml.CSafeLoader)


def _of_file(content: dict[str, Any], tables: dict[str, Any]) -> Iterator[Preset]:
    shared = content.get("parameters", {})
    for fields in content["presets"]:
        fields = dict(fields)
        wanted = fields.pop("uses", ())
        fields["parameters"] = {name: shared[name] for name in wanted} | fields.get("parameters", {})
        if isinstance(fields.get("rows"), str):
            fields["rows"] = tables[fields["rows"]]
        if fields.pop("each_row", False):
            yield from _each_row(fields)
        else:
            preset = Preset.model_validate(fields)
            yield preset.model_copy(update={"parameters": _with_choices(preset)})


def _with_choices(preset: Preset) -> Mapping[str, Parameter]:
    """The rows of the table are what the parameter that chooses one may be."""
    if preset.row is None:
        return preset.parameters
    chooser = preset.parameters[preset.row].model_copy(update={"choices": tuple(preset.rows)})
    return {**preset.parameters, preset.row: chooser}


def _each_row(fields: dict[str, Any]) -> Iterator[Preset]:
    """One preset for each row, such as ``oel.H2S``; the row's confidence and note are the preset's."""
    for name, row in fields["rows"].items():
        one = {
            **fields,
            "id": f"{fields['id']}.{name.lower()}",
            "rows": {name: row},
            "title": {key: text.format(row["title"][key]) for key, text in fields["title"].items()},
            "confidence": row.get("confidence", fields["confidence"]),
            "note": row.get("note", fields["note"]),
        }
        yield Preset.model_validate(one)
