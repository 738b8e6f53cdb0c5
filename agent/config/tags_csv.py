"""``tags_from``: the tag table of a device as engineers keep it, in a CSV file out of a spreadsheet."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from agent.config.document import FILE_BYTES_MAX, plain_value
from agent.config.errors import ConfigError, Position, Problem, Text, closest, same, show_found
from agent.config.shape import Cell

_DELIMITERS: Final = (",", ";", "\t")
_TRADITIONAL = re.compile(r"\d{5,6}")


@dataclass(slots=True)
class Table:
    """The rows of one CSV file, ready for the device's tag model."""

    file: str
    columns: list[str] = field(default_factory=list[str])
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    lines: list[int] = field(default_factory=list[int])
    problems: list[Problem] = field(default_factory=list[Problem])

    def position(self, row: int, key: str | None) -> Position:
        """Where a cell stands: line and column from 1."""
        column = self.columns.index(key) + 1 if key in self.columns else 0
        return Position(self.file, self.lines[row], column)


def read(path: FilePath, file: str, cells: Mapping[str, Cell]) -> Table:
    """Read a table whose columns are ``cells``; ConfigError where the file is no table at all.

    Rows that are wrong are left out and named in ``problems``. An empty cell is a key left out.
    """
    text = _text(path, file)
    header = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    table = Table(file)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        table.columns = [name.strip() for name in next(reader, list[str]())]
        _check_header(table, cells)
        for row in reader:
            _take(table, row, reader.line_num, cells)
    except csv.Error as error:
        raise ConfigError(
            [Problem(Position(file, reader.line_num), "", Text(f"CSV: {error}", f"CSV 格式错误：{error}"))]
        ) from error
    return table


def _text(path: FilePath, file: str) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _failed(file, Text(f"larger than {FILE_BYTES_MAX >> 20} MiB", f"超过 {FILE_BYTES_MAX >> 20} MiB"))
        data = path.read_bytes()
    except OSError as error:
        raise _failed(file, Text(f"cannot be read: {error.strerror}", f"无法读取：{error.strerror}")) from error
    if b"\0" in data:
        raise _failed(file, Text("not a CSV text (UTF-16 or binary)", "不是 CSV 文本（UTF-16 或二进制）"))
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _failed(file, Text("neither UTF-8 nor GB 18030", "既不是 UTF-8 也不是 GB 18030 编码"))


def _failed(file: str, text: Text) -> ConfigError:
    return ConfigError([Problem(Position(file), "", text)])


def _check_header(table: Table, cells: Mapping[str, Cell]) -> None:
    if not any(table.columns):
        raise _failed(table.file, Text("the file has no header line", "文件没有表头"))
    for position, name in enumerate(table.columns):
        at = Position(table.file, 1, position + 1)
        if name not in cells:
            text = Text("unknown column", "未知的列")
            allowed = same(", ".join(cells))
            table.problems.append(Problem(at, "", text, show_found(name), allowed, closest(name, cells)))
        elif name in table.columns[:position]:
            table.problems.append(Problem(at, "", Text("column given twice", "列重复"), show_found(name)))


def _take(table: Table, row: list[str], line: int, cells: Mapping[str, Cell]) -> None:
    if not any(cell.strip() for cell in row):
        return
    if len(row) > len(table.columns):
        at = Position(table.file, line, len(table.columns) + 1)
        table.problems.append(
            Problem(at, "", Text("more cells than columns", "单元格多于列数"), show_found(row[len(table.columns)]))
        )
    table.rows.append(dict(_values(table, row, line, cells)))
    table.lines.append(line)


def _values(table: Table, row: list[str], line: int, cells: Mapping[str, Cell]) -> Iterator[tuple[str, Any]]:
    # Rows may be shorter than the header: spreadsheets drop empty cells at the end.
    for position, (name, cell) in enumerate(zip(table.columns, row, strict=False)):
        text = cell.strip()
        kind = cells.get(name)
        if not text or kind is None:
            continue
        if kind is not Cell.PAIR:
            yield name, _value(text, kind)
            continue
        low, dots, high = text.partition("..")
        if dots:
            yield name, [plain_value(low.strip()), plain_value(high.strip())]
        else:
            at = Position(table.file, line, position + 1)
            table.problems.append(
                Problem(at, name, Text("expected a pair", "应为一对数值"), show_found(text), same("0..12"))
            )


def _value(text: str, kind: Cell) -> Any:
    if kind is Cell.TEXT or (kind is Cell.NUMBER_OR_TEXT and _TRADITIONAL.fullmatch(text)):
        return text
    return plain_value(text)
