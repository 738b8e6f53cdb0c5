"""YAML text to plain values; the node tree is kept, so that any path can be traced back to its line."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final, cast

import yaml

from agent.config.errors import ConfigError, Path, Position, Problem, Text, show_path

FILE_BYTES_MAX: Final = 64 << 20
DEPTH_MAX: Final = 32
VALUES_MAX: Final = 2_000_000
"""Aliases can make a small file huge; what is beyond these limits is refused."""

_PLAIN: Final = "plain"
_TEXT: Final = "tag:yaml.org,2002:str"
_INT = re.compile(r"[-+]?[0-9]{1,300}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_WORDS: Final[dict[str, bool | None]] = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "null": None,
    "Null": None,
    "~": None,
    "": None,
}

Substitute = Callable[[str, Path], str]
"""Replaces ``${…}`` in a text; raises :class:`SubstitutionError`."""


class SubstitutionError(Exception):
    """A ``${…}`` cannot be resolved."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


class _Loader(yaml.CSafeLoader):
    """The C parser with YAML 1.2 core words only: ``on``, ``no`` and ``12:30`` stay text, ``1e-3`` is a number."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: Any) -> str:  # noqa: ARG002 - PyYAML calls it so
        """Leave plain scalars for :func:`plain_value`; PyYAML's own table of patterns costs three times as much."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TEXT
        return "map" if kind is yaml.MappingNode else "seq"

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Nothing is resolved by path."""

    def ascend_resolver(self) -> None:
        """Nothing is resolved by path."""


def plain_value(text: str) -> Any:
    """The value of an unquoted scalar: true/false, null, integer, number, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789-+.":
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    return float(text) if _FLOAT.fullmatch(text) else text


def as_mapping(value: Any) -> dict[str, Any] | None:
    """The value where it is a mapping of the configuration, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any] | None:
    """The value where it is a list, else None."""
    return cast("list[Any]", value) if isinstance(value, list) else None


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file whose root is a mapping."""

    file: str
    root: yaml.MappingNode
    value: dict[str, Any]
    problems: tuple[Problem, ...]
    """What is wrong inside, though the file could be parsed: duplicate keys, unresolved ``${…}`` …"""
    unresolved: frozenset[Path]
    """Where a ``${…}`` stands that could not be resolved; other errors about it would only repeat that."""

    def position(self, path: Path, *, is_key: bool = False) -> Position:
        """Where a value (or its key) stands; the nearest thing around it where there is none."""
        node: yaml.Node = self.root
        mark = node.start_mark
        for part in path:
            key, child = _child(node, part)
            if child is None:
                break
            node = child
            mark = key.start_mark if is_key and key is not None else node.start_mark
        return Position(self.file, mark.line + 1)


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        return None, node.value[part]
    return None, None


def read_text(path: FilePath, file: str) -> str:
    """The text of a UTF-8 file, with or without BOM; ConfigError when it cannot be read or is something else."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _failed(file, 0, Text(f"larger than {FILE_BYTES_MAX >> 20} MiB", f"超过 {FILE_BYTES_MAX >> 20} MiB"))
        data = path.read_bytes()
    except OSError as error:
        raise _failed(file, 0, Text(f"cannot be read: {error.strerror}", f"无法读取：{error.strerror}")) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _failed(
            file,
            line,
            Text(
                f"not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8",
                f"不是 UTF-8 编码（字节 0x{data[error.start]:02x}）；请另存为 UTF-8",
            ),
        ) from error


def parse(text: str, file: str, substitute: Substitute) -> Document:
    """Parse one file; ConfigError where it is no YAML mapping at all."""
    root = _compose(text, file)
    builder = _Builder(file, substitute)
    value = builder.mapping(root, (), 0)
    return Document(file, root, value, tuple(builder.problems), frozenset(builder.unresolved))


def _compose(text: str, file: str) -> yaml.MappingNode:
    try:
        root = cast("yaml.Node | None", yaml.compose(text, _Loader))  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = " ".join(part for part in (error.context, error.problem) if part)
        line = 0 if mark is None else mark.line + 1
        raise _failed(file, line, _syntax(detail, text, line)) from error
    except yaml.YAMLError as error:
        offset = getattr(error, "position", 0)
        line = text.count("\n", 0, offset if isinstance(offset, int) else 0) + 1
        raise _failed(file, line, _syntax("a character that YAML does not allow", text, line)) from error
    if root is None:
        raise _failed(file, 0, Text("the file is empty", "文件为空"))
    if not isinstance(root, yaml.MappingNode):
        raise _failed(file, 1, Text("must be a mapping (key: value)", "必须是映射（键: 值）"))
    return root


def _syntax(detail: str, text: str, line: int) -> Text:
    lines = text.splitlines()
    near = "".join(lines[max(0, line - 2) : line])  # what is wrong shows only after it
    hint = ("", "")
    if 0 < line <= len(lines) and "\t" in lines[line - 1]:
        hint = ("; indent with spaces, not tabs", "；请用空格缩进，不要用制表符")
    elif "：" in near:
        hint = ("; a full-width colon ： is no colon: write ': '", "；全角冒号 ： 无效，应为半角冒号加空格")
    elif "mapping values" in detail:
        hint = (
            "; keys of one entry begin in the same column, and a text with ': ' stands in quotes",
            "；同一条目的各键须左对齐，含“: ”的文本须加引号",
        )
    return Text(f"YAML syntax: {detail}{hint[0]}", f"YAML 语法错误：{detail}{hint[1]}")


def _failed(file: str, line: int, text: Text) -> ConfigError:
    return ConfigError([Problem(Position(file, line), "", text)])


class _Builder:
    """Makes plain values of nodes and notes what is wrong on the way."""

    def __init__(self, file: str, substitute: Substitute) -> None:
        self.problems: list[Problem] = []
        self.unresolved: set[Path] = set()
        self._file = file
        self._substitute = substitute
        self._left = VALUES_MAX

    def mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._key(key, path)
            if name is None:
                continue
            if name in first:
                line = first[name].start_mark.line + 1
                self._add(
                    key,
                    (*path, name),
                    Text(f"key given twice, first in line {line}", f"键重复，首次出现在第 {line} 行"),
                )
                continue
            first[name] = key
            result[name] = self._value(value, path, name, depth + 1)
        return result

    def _key(self, key: yaml.Node, path: Path) -> str | None:
        if not isinstance(key, yaml.ScalarNode):
            self._add(key, path, Text("a key must be text", "键必须是文本"))
        elif key.value == "<<" and key.tag == _PLAIN:
            self._add(key, path, Text("merge keys (<<) are not supported", "不支持合并键（<<）"))
        else:
            return key.value
        return None

    def _value(self, node: yaml.Node, parent: Path, key: str | int, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, parent, key)
        path = (*parent, key)
        self._left -= len(node.value)
        if depth > DEPTH_MAX or self._left < 0:
            raise _failed(
                self._file, node.start_mark.line + 1, Text("nested too deeply or too large", "嵌套过深或内容过大")
            )
        if node.tag not in ("map", "seq"):
            self._add(node, path, Text("YAML tags (!…) are not supported", "不支持 YAML 标签（!…）"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        return [self._value(item, path, i, depth + 1) for i, item in enumerate(node.value)]

    def _scalar(self, node: yaml.ScalarNode, parent: Path, key: str | int) -> Any:
        text: str = node.value
        if "${" in text:
            try:
                return self._substitute(text, (*parent, key))
            except SubstitutionError as error:
                self._add(node, (*parent, key), error.text, text)
                self.unresolved.add((*parent, key))
                return text
        if node.tag == _PLAIN:
            return plain_value(text)
        if node.tag != _TEXT:
            self._add(node, (*parent, key), Text("YAML tags (!…) are not supported", "不支持 YAML 标签（!…）"))
        return text

    def _add(self, node: yaml.Node, path: Path, text: Text, found: str | None = None) -> None:
        at = Position(self._file, node.start_mark.line + 1)
        self.problems.append(Problem(at, show_path(path), text, found))
