"""What a model allows at a path, read from its JSON Schema: the keys, and what a CSV cell may be."""

from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any

from pydantic import BaseModel

from agent.config.errors import Path

Node = dict[str, Any]


class Cell(Enum):
    """How the text of a CSV cell becomes a value."""

    TEXT = "text"
    VALUE = "value"
    """A number, true or false, written as in YAML."""
    PAIR = "pair"
    """``0..12``."""
    NUMBER_OR_TEXT = "number or text"
    """A Modbus address: five or six digits are text (the traditional 40001), fewer are a number."""


@cache
def schema_of(model: type[BaseModel]) -> Node:
    """The JSON Schema of a model, made once."""
    return model.model_json_schema()


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that a mapping at ``path`` inside the model may have; empty where there is no such mapping."""
    return list(dict.fromkeys(key for node in _at(schema_of(model), path) for key in node.get("properties", {})))


def cells(model: type[BaseModel]) -> dict[str, Cell]:
    """The columns that a CSV of this device's tags may have."""
    schema = schema_of(model)
    columns: dict[str, Cell] = {}
    for tag in _at(schema, ("tags", 0)):
        for key, node in tag.get("properties", {}).items():
            columns[key] = _cell({kind for item in _alternatives(schema, node) for kind in _types(item)})
    return columns


def types_at(model: type[BaseModel], path: Path) -> set[str]:
    """The JSON types that a value at ``path`` may have; empty where nothing is said about it."""
    return {kind for node in _at(schema_of(model), path) for kind in _types(node)}


def _cell(types: set[str]) -> Cell:
    if "array" in types:
        return Cell.PAIR
    if types & {"integer", "number", "boolean"}:
        return Cell.NUMBER_OR_TEXT if {"integer", "string"} <= types else Cell.VALUE
    return Cell.TEXT


def _types(node: Node) -> list[str]:
    types: str | list[str] = node.get("type", [])
    return [types] if isinstance(types, str) else types


def _at(schema: Node, path: Path) -> list[Node]:
    nodes = list(_alternatives(schema, schema))
    for part in path:
        nodes = [deeper for node in nodes for child in _children(node, part) for deeper in _alternatives(schema, child)]
    return nodes


def _children(node: Node, part: str | int) -> Iterator[Node]:
    if isinstance(part, int):
        prefix: list[Node] = node.get("prefixItems", [])
        child = prefix[part] if part < len(prefix) else node.get("items")
    else:
        child = node.get("properties", {}).get(part) or node.get("additionalProperties")
    if isinstance(child, dict):
        yield child


def _alternatives(schema: Node, node: Node) -> Iterator[Node]:
    """The node with its references followed and its unions laid open."""
    if "$ref" in node:
        yield from _alternatives(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    for union in ("anyOf", "oneOf", "allOf"):
        for item in node.get(union, []):
            yield from _alternatives(schema, item)
    if "$ref" not in node:
        yield node
