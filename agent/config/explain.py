"""Pydantic's errors in the operator's words: what was found, what is allowed, in two languages."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agent.config.document import as_list, as_mapping
from agent.config.errors import Path, Text, closest, same, show_found
from agent.config.sentences import sentence
from agent.config.shape import keys_at, types_at

_SECRET_KEYS: Final = frozenset({"password", "token", "secret"})
_ID_PATTERN: Final = r"^[\w.\-]{1,64}$"
_RULE_ID_PATTERN: Final = r"^[\w.\-]{1,64}(:[\w.\-]{1,64})?$"


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem that does not know its file yet; ``path`` counts from the root of the configuration."""

    path: Path
    text: Text
    found: str | None = None
    allowed: Text | None = None
    suggestion: str | None = None
    is_key: bool = False
    """The key itself is wrong, not its value."""
    is_warning: bool = False


_WRONG_TYPE: Final = Text("wrong type", "类型错误")
_NOT_ALLOWED: Final = Text("not allowed here", "此处不允许该值")
_RANGE: Final = Text("out of range", "超出范围")
_LENGTH: Final = Text("wrong length", "长度错误")
_NO_VALUE: Final = Text(
    "unknown key without a value; a number is written 10.5, and a text with commas or colons stands in quotes",
    "未知且没有值的键；小数写作 10.5，含逗号或冒号的文本须加引号",
)
_NUMBER: Final = Text("a number", "数字")
_INTEGER: Final = Text("a whole number", "整数")
_BOOLEAN: Final = Text("true or false", "true 或 false")
_TEXT: Final = Text("text (in quotes if it looks like a number)", "文本（若像数字请加引号）")
_LIST: Final = Text("a list", "列表")
_MAPPING: Final = Text("a mapping (key: value)", "映射（键: 值）")

_TYPES: Final[dict[str, Text]] = {
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_parsing_size": _INTEGER,
    "int_from_float": _INTEGER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": Text("a finite number", "有限数值"),
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "string_type": _TEXT,
    "path_type": _TEXT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "date_type": same("YYYY-MM-DD"),
    "date_parsing": same("YYYY-MM-DD"),
    "date_from_datetime_parsing": same("YYYY-MM-DD"),
}

_BOUNDS: Final = {
    "greater_than": "> {gt}",
    "greater_than_equal": ">= {ge}",
    "less_than": "< {lt}",
    "less_than_equal": "<= {le}",
}

_LENGTHS: Final = {
    "too_short": Text("at least {min_length} items", "至少 {min_length} 项"),
    "too_long": Text("at most {max_length} items", "最多 {max_length} 项"),
    "string_too_short": Text("at least {min_length} characters", "至少 {min_length} 个字符"),
    "string_too_long": Text("at most {max_length} characters", "最多 {max_length} 个字符"),
}


def explain(error: ValidationError, data: Any, prefix: Path, model: type[BaseModel]) -> list[Fault]:
    """The faults of one model, one for each path: the branches of a union are one fault with all that is allowed."""
    faults: dict[Path, Fault] = {}
    for detail in error.errors(include_url=False):
        inner = _real_path(detail, data)
        fault = _fault(detail, inner, prefix, model)
        known = faults.get(inner)
        faults[inner] = fault if known is None else _joined(known, fault)
    return list(faults.values())


def _real_path(detail: ErrorDetails, data: Any) -> Path:
    """Drop from pydantic's location what names a branch of a union and no place in the data."""
    path: list[str | int] = []
    for part in detail["loc"]:
        mapping, items = as_mapping(data), as_list(data)
        if mapping is not None and isinstance(part, str) and part in mapping:
            data = mapping[part]
        elif items is not None and isinstance(part, int) and part < len(items):
            data = items[part]
        elif detail["type"] != "missing" or part != detail["loc"][-1]:
            continue
        path.append(part)
    return tuple(path)


def _fault(detail: ErrorDetails, inner: Path, prefix: Path, model: type[BaseModel]) -> Fault:
    kind, value = detail["type"], detail["input"]
    path = (*prefix, *inner)
    if kind == "missing":
        return Fault(path, Text("required key is missing", "缺少必需的键"))
    if kind == "extra_forbidden":
        if value is None:
            return Fault(path, _NO_VALUE, show_found(path[-1]), is_key=True)
        return unknown_key(path, keys_at(model, inner[:-1]))
    found = "***" if inner and inner[-1] in _SECRET_KEYS else show_found(value)
    context: dict[str, Any] = dict(detail.get("ctx", {}))
    if kind in _TYPES:
        return Fault(path, _WRONG_TYPE, found, _TYPES[kind])
    if kind in _BOUNDS:
        return Fault(path, _RANGE, found, same(_BOUNDS[kind].format(**context)))
    if kind in _LENGTHS:
        words = _LENGTHS[kind]
        return Fault(path, _LENGTH, found, Text(words.en.format(**context), words.zh.format(**context)))
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        names = re.findall(r"'([^']*)'", str(context.get("expected") or context.get("expected_tags")))
        near = closest(value, names) if isinstance(value, str) else None
        return Fault(path, _NOT_ALLOWED, found, same(", ".join(names)), near)
    if kind == "string_pattern_mismatch":
        return Fault(path, _NOT_ALLOWED, found, _pattern(str(context["pattern"])))
    message = detail["msg"].removeprefix("Value error, ")
    # A validator may bring its own Chinese, where a sentence has too many forms for the table.
    chinese = getattr(context.get("error"), "text_zh", None)
    text = sentence(message) if chinese is None else Text(message, chinese)
    return Fault(path, text, None if "found" in message or isinstance(value, dict | list) else found)


def _pattern(pattern: str) -> Text:
    if pattern in (_ID_PATTERN, _RULE_ID_PATTERN):
        return Text("1-64 letters, digits, . _ -", "1–64 个字母、汉字、数字或 . _ -")
    return Text(f"text like {pattern}", f"符合 {pattern} 的文本")


def unknown_key(path: Path, allowed: Iterable[str]) -> Fault:
    """A key that does not exist here."""
    names = list(allowed)
    near = closest(str(path[-1]), names)
    return Fault(path, Text("unknown key", "未知的键"), show_found(path[-1]), same(", ".join(names)), near, is_key=True)


def stray_booleans(model: type[BaseModel], data: dict[str, Any], prefix: Path) -> list[Fault]:
    """Where true or false stands for a number: pydantic would quietly take it for 1 or 0."""
    faults: list[Fault] = []
    for path, value in _booleans(data, ()):
        types = types_at(model, path)
        if types & {"integer", "number"} and "boolean" not in types:
            faults.append(Fault((*prefix, *path), _WRONG_TYPE, show_found(value), _NUMBER))
    return faults


def _booleans(data: Any, path: Path) -> Iterator[tuple[Path, bool]]:
    mapping = as_mapping(data)
    for key, value in mapping.items() if mapping is not None else enumerate(as_list(data) or []):
        if isinstance(value, bool):
            yield (*path, key), value
        elif isinstance(value, dict | list):
            yield from _booleans(value, (*path, key))


def _joined(first: Fault, second: Fault) -> Fault:
    if first.allowed is None or second.allowed is None or second.allowed.en in first.allowed.en:
        return first if second.allowed is None or first.allowed is not None else second
    allowed = Text(f"{first.allowed.en} or {second.allowed.en}", f"{first.allowed.zh} 或 {second.allowed.zh}")
    return replace(first, allowed=allowed, suggestion=first.suggestion or second.suggestion)
