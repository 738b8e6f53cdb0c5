"""The numbers of a preset for one tag: parameters, the chosen row, exposure limits, conversion to the tag's unit."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any, Final, cast

from agent.core.tags import Tag
from rules.presets.model import Preset, Template, is_unit

MOLAR_VOLUMES: Final[Mapping[int, float]] = {0: 22.41, 20: 24.04, 25: 24.45}
"""L/mol at 101.325 kPa by temperature in degC, as the tables print them."""

_DIGITS: Final = 4
_BASES: Final[Mapping[str, Sequence[str]]] = {"mac_twa": ("mac", "twa"), "mac_stel": ("mac", "stel", "twa")}
_NAMES: Final[Mapping[str, str]] = {"mac": "MAC", "twa": "PC-TWA", "stel": "PC-STEL"}
_EXCURSION: Final = 3.0
"""Peak exposure over 15 min where there is no PC-STEL: so many times PC-TWA."""


class UnknownValueError(ValueError):
    """A rule needs a value that neither the parameters nor the row have."""

    def __init__(self, preset: str, name: str) -> None:
        super().__init__(f"preset {preset} has no value {name} for this choice of parameters")
        self.message_zh = f"预设 {preset} 在所选参数下没有 {name} 的数值"


class Values:
    """Values by name for one tag; ``tags`` are those of a group."""

    def __init__(self, preset: Preset, given: Mapping[str, Any], tag: Tag, tags: tuple[str, ...]) -> None:
        self.tag = tag
        self.tags = tags
        self._preset = preset
        self._values: dict[str, Any] = dict(self._row(given))
        for name, parameter in preset.parameters.items():
            chosen = given.get(name)
            if chosen is not None or name not in self._values:
                self._values[name] = parameter.default if chosen is None else chosen
        self._exposure_limits()
        for name, value in list(self._values.items()):
            if isinstance(value, dict) and "value" in value:  # a default made of other parameters
                self._values[name] = filled(value, self, converts=False)

    def _row(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        rows = self._preset.rows
        if self._preset.row is not None:
            return rows[str(given[self._preset.row])]
        return next(iter(rows.values())) if rows else {}

    def _exposure_limits(self) -> None:
        """``oel``: what counts as 100 %; ``short``: the 15-minute limit, or the excursion value where there is none."""
        values = self._values
        altitude = values.get("altitude") or 0
        for step in values.get("high_altitude", ()):
            if altitude > step["above"]:
                values |= {"mac": step["mac"], "confidence": "L", "twa": None, "stel": None}
        basis = _BASES.get(str(values.get("oel_basis")), ())
        name = next((name for name in basis if values.get(name) is not None), None)
        if name is not None:
            values["oel"], values["oel_name"] = values[name], _NAMES[name]
        if values.get("stel") is not None:
            values["short"] = values["stel"]
        elif values.get("twa") is not None:
            values["short"] = _EXCURSION * values["twa"]

    def get(self, name: str) -> Any:
        """A value, None where there is none."""
        return self._values.get(name)

    def number(self, name: str) -> float:
        """A value as a number; UnknownValueError where there is none."""
        value = self._values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise UnknownValueError(self._preset.id, name)
        return float(value)

    def fits(self, template: Template) -> bool:
        """Tell whether what the rule needs is there."""
        return all(self._values.get(name) is not None for name in template.needs) and all(
            self._values.get(name) is None for name in template.lacks
        )

    def converted(self, mg_m3: float) -> float:
        """A concentration in mg/m3 in the tag's unit: ppm = mg/m3 x Vm / M, rounded down to the safe side."""
        if self.tag.unit is None or not is_unit(self.tag.unit, "ppm"):
            return mg_m3
        volume = MOLAR_VOLUMES[int(self.number("vm_ref_temp"))]
        ppm = mg_m3 * volume / self.number("molar_mass")
        digit = 10.0 ** (_DIGITS - 1 - floor(log10(ppm)))
        return floor(ppm * digit + 1e-9) / digit

    def texts(self, message: object, limit: object) -> Mapping[str, str] | None:
        """The message with its names filled in; ``{limit}`` is the limit in force, with its unit."""
        if message is None:
            return None
        words = {name: _shown(value) for name, value in self._values.items()}
        title = cast("Mapping[str, str]", self._values.get("title") or {})
        words["limit"] = f"{_shown(limit)} {self.tag.unit or ''}".rstrip()
        words["tag"] = self.tag.name or self.tag.id
        texts = cast("Mapping[str, str]", message)
        return {
            language: text.format_map({**words, "title": title.get(language, "")}) for language, text in texts.items()
        }


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def filled(item: Any, values: Values, *, converts: bool) -> Any:
    """A part of a template with its ``{value: …}`` and ``{each_tag: …}`` replaced."""
    if isinstance(item, list):
        return [filled(each, values, converts=converts) for each in cast("list[Any]", item)]
    if not isinstance(item, dict):
        return item
    fields = cast("dict[str, Any]", item)
    if "each_tag" in fields:
        names = [text.format(tag=tag, **_words(values)) for text in fields["each_tag"] for tag in values.tags]
        return names + [text.format(tag=values.tag.id, **_words(values)) for text in fields.get("also", ())]
    if "value" not in fields:
        return {key: filled(each, values, converts=converts) for key, each in fields.items()}
    return _amount(fields, values, converts=converts)


def _words(values: Values) -> dict[str, str]:
    return {name: str(values.get(name) or "") for name in ("group", "item", "members_of")}


def _amount(fields: Mapping[str, Any], values: Values, *, converts: bool) -> Any:
    name = str(fields["value"])
    if name.startswith("@"):  # the column that a parameter names
        name = str(values.get(name[1:]))
    if not {"times", "minus"} & set(fields):
        plain = values.get(name)
        if plain is None:
            if fields.get("optional"):
                return None
            values.number(name)
        if not converts or not isinstance(plain, int | float):
            return plain
    amount = values.number(name) * fields.get("times", 1.0)
    if "minus" in fields:
        amount -= values.number(str(fields["minus"]))
    return values.converted(amount) if converts else amount
