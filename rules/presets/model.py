"""What a preset file says (spec/config.md ``use:``; DOMAIN.md has the numbers)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from agent.config.fields import Strict

Confidence = Literal["C", "L"]
"""C certain, L likely. What is unsure (U) is not shipped at all."""

Texts = Mapping[str, str]
"""A sentence in zh-CN and en."""

_SPELLINGS: Final[Mapping[str, frozenset[str]]] = {
    "%LEL": frozenset({"%LEL", "%lel", "LEL%", "% LEL"}),
    "LEL.m": frozenset({"LEL.m", "LEL·m", "LELm", "LEL*m"}),
    "%VOL": frozenset({"%VOL", "%vol", "%Vol", "vol%", "VOL%", "%V/V", "%O2"}),
    "%CH4": frozenset({"%CH4", "%VOL", "%vol", "%Vol", "vol%", "VOL%"}),
    "mg/m3": frozenset({"mg/m3", "mg/m³", "mg/Nm3"}),
    "ppm": frozenset({"ppm", "PPM", "umol/mol", "µmol/mol"}),
    "degC": frozenset({"degC", "°C", "℃", "C"}),
}


def is_unit(unit: str, canonical: str) -> bool:
    """Tell whether a tag's unit is another spelling of a preset's."""
    return unit in _SPELLINGS.get(canonical, frozenset({canonical}))


class Parameter(Strict):
    """A value that the use of a preset may or must give."""

    about: Texts
    unit: str | None = None
    choices: tuple[str | float, ...] | None = None
    default: Any = None
    required: bool = False
    kind: Literal["number", "text", "duration", "list"] = "number"


class Template(Strict):
    """One rule of a preset. ``keys`` are the rule's; ``{value: NAME}`` in them stands for a parameter or a column."""

    name: str
    units: tuple[str, ...] = Field((), description="the tag's unit must be one of these; none: any unit")
    needs: tuple[str, ...] = Field((), description="left out unless all of these have a value")
    lacks: tuple[str, ...] = Field((), description="left out if one of these has a value")
    unit: Literal["mg/m3"] | None = Field(None, description="the unit of the limit, converted to the tag's")
    confidence: Confidence | None = None
    source: str | None = None
    keys: Mapping[str, Any]


class Preset(Strict):
    """Rules for one kind of tag (or, ``is_group``, for several tags together)."""

    id: str
    title: Texts
    source: str
    confidence: Confidence
    note: Texts
    sample: bool = Field(default=False, description="an example: the numbers are the plant's own")
    kind: str | None = Field(None, description="kind: of the tags it fits")
    is_group: bool = False
    parameters: Mapping[str, Parameter] = Field(default_factory=dict[str, Parameter])
    rows: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict[str, Mapping[str, Any]])
    row: str | None = Field(None, description="the parameter that chooses a row")
    rising: tuple[str, ...] = Field((), description="parameters or columns that must rise in this order")
    falling: tuple[str, ...] = ()
    expected_warnings: tuple[str, ...] = Field((), description="keys whose warnings are the standard's own wish")
    catalytic: bool = Field(default=False, description="sets over_range_latch on tags read by catalytic sensors")
    rules: tuple[Template, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for text in (self.title, self.note, *(each.about for each in self.parameters.values())):
            if set(text) != {"zh-CN", "en"}:
                raise ValueError(f"preset {self.id}: a text needs zh-CN and en")
        if len({template.name for template in self.rules}) != len(self.rules):
            raise ValueError(f"preset {self.id}: two rules have one name")
        return self


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a rule comes from, for the master alarm database and the console."""

    preset: str
    name: str
    source: str
    confidence: str
    note: Texts
    sample: bool
    accepted_by: str | None
    accepted_on: str | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a use of a preset; ``path`` counts from the ``use:`` entry."""

    path: tuple[str | int, ...]
    message: str
    message_zh: str
    found: object = None
    allowed: str | None = None
    is_warning: bool = False
