"""Line protocol, read strictly and written from its specification alone: shares nothing with the sender. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Value = float | int | str | bool

_FLOAT: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_INTEGER: Final = re.compile(r"([-+]?\d+)i")
_UNSIGNED: Final = re.compile(r"(\d+)u")
_STAMP: Final = re.compile(r"-?\d{1,19}")
_BOOLEANS: Final = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_INT64: Final = range(-(1 << 63), 1 << 63)
_RESERVED: Final = frozenset({"time", "_measurement", "_field"})


class LineError(ValueError):
    """The line is no line protocol; the text says why."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point. Its identity is measurement, tags and time: a second one replaces the first's fields."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    """Sorted by key."""
    fields: Mapping[str, Value]
    time_ns: int

    @property
    def identity(self) -> tuple[str, tuple[tuple[str, str], ...], int]:
        """What makes two points one."""
        return self.measurement, self.tags, self.time_ns

    def tag(self, key: str) -> str | None:
        """The value of a tag."""
        return dict(self.tags).get(key)


def parse_line(line: str, ns_per_unit: int = 1) -> Point:
    """One point of one line; LineError. A stamp is required, in units of ``ns_per_unit``."""
    head, rest = _cut(line, " ", is_quoted=False)
    fields_text, stamp = _cut(rest, " ", is_quoted=True)
    if not fields_text:
        raise LineError("missing fields")
    measurement, tags = _head(head)
    if not _STAMP.fullmatch(stamp):
        raise LineError(f"bad timestamp {stamp!r}" if stamp else "missing timestamp")
    time_ns = int(stamp) * ns_per_unit
    if time_ns not in _INT64:
        raise LineError(f"timestamp {stamp} is out of range")
    return Point(measurement, tags, _fields(fields_text), time_ns)


def _head(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    measurement, *pairs = _split(text, ",", is_quoted=False)
    if not measurement:
        raise LineError("missing measurement")
    tags: dict[str, str] = {}
    for pair in pairs:
        key, value = _pair(pair, is_quoted=False)
        name = _plain(key)
        if name in tags:
            raise LineError(f"duplicate tag {name}")
        if name in _RESERVED:
            raise LineError(f"reserved tag {name}")
        tags[name] = _plain(value)
    return _plain(measurement), tuple(sorted(tags.items()))


def _fields(text: str) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    for pair in _split(text, ",", is_quoted=True):
        key, value = _pair(pair, is_quoted=True)
        name = _plain(key)
        if name in fields:
            raise LineError(f"duplicate field {name}")
        fields[name] = _value(value)
    return fields


def _pair(text: str, *, is_quoted: bool) -> tuple[str, str]:
    parts = _split(text, "=", is_quoted=is_quoted)
    if len(parts) != 2 or not parts[0] or not parts[1]:
        raise LineError(f"expected key=value, found {text!r}")
    return parts[0], parts[1]


def _value(text: str) -> Value:
    if text.startswith('"'):
        return _quoted(text)
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    integer = _INTEGER.fullmatch(text) or _UNSIGNED.fullmatch(text)
    if integer is not None:
        number = int(integer[1])
        if number not in _INT64:
            raise LineError(f"integer {text} is out of range")
        return number
    if _FLOAT.fullmatch(text) is None:
        raise LineError(f"invalid number {text!r}")
    return float(text)


def _quoted(text: str) -> str:
    out: list[str] = []
    position = 1
    while position < len(text):
        letter = text[position]
        if letter == '"':
            if position != len(text) - 1:
                raise LineError(f"text after the closing quote in {text!r}")
            return "".join(out)
        if letter == "\\" and text[position + 1 : position + 2] in ('"', "\\"):
            position += 1
            letter = text[position]
        out.append(letter)
        position += 1
    raise LineError("unbalanced quotes")


def _cut(text: str, mark: str, *, is_quoted: bool) -> tuple[str, str]:
    """What stands before and behind the first bare ``mark``."""
    for position in _bare(text, mark, is_quoted=is_quoted):
        return text[:position], text[position + 1 :]
    return text, ""


def _split(text: str, mark: str, *, is_quoted: bool) -> list[str]:
    parts: list[str] = []
    start = 0
    for position in _bare(text, mark, is_quoted=is_quoted):
        parts.append(text[start:position])
        start = position + 1
    return [*parts, text[start:]]


def _bare(text: str, mark: str, *, is_quoted: bool) -> list[int]:
    """Where ``mark`` stands, neither escaped nor (in fields) inside quotes."""
    if "\\" not in text and not (is_quoted and '"' in text):
        return [match.start() for match in re.finditer(re.escape(mark), text)]
    found: list[int] = []
    is_inside = is_escaped = False
    for position, letter in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif letter == "\\":
            is_escaped = True
        elif letter == '"' and is_quoted:
            is_inside = not is_inside
        elif letter == mark and not is_inside:
            found.append(position)
    return found


def _plain(text: str) -> str:
    """A key, tag or measurement without its escapes; a lone backslash stays."""
    return re.sub(r"\\([,= ])", r"\1", text)
