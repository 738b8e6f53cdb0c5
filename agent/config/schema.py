"""The JSON Schema of the configuration with every kind that this version has, for ``davy schema config``."""

from typing import Annotated, Any, Union

from pydantic import BaseModel, Field, create_model

from agent.config import kinds
from agent.config.models import Config
from agent.config.presets import UseEntry


def config_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12): every key with type, unit, default, example and description."""
    lists: dict[str, Any] = {
        "devices": (_list_of([kinds.driver_config(kind) for kind in kinds.driver_kinds()], "driver"), ()),
        "rules": (_rules(list(kinds.rule_kinds().values())), ()),
        "destinations": (_list_of([kinds.destination_config(k) for k in kinds.destination_kinds()], "kind"), ()),
    }
    model = create_model("Davy", __base__=Config, __doc__="davy.yaml, or a directory of such files.", **lists)
    schema = model.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def _rules(models: list[type[BaseModel]]) -> Any:
    one: Any = Union[tuple(models)]  # noqa: UP007 - the members are only known now
    return tuple[Annotated[one, Field(discriminator="condition")] | UseEntry, ...]


def _list_of(models: list[type[BaseModel]], discriminator: str) -> Any:
    one: Any = Union[tuple(models)]  # noqa: UP007 - the members are only known now
    return tuple[Annotated[one, Field(discriminator=discriminator)] if len(models) > 1 else one, ...]
