"""Several YAML files as one configuration, in which every path still knows its file and line."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from agent.config.document import Document, as_list, parse, read_text
from agent.config.errors import ConfigError, Path, Position, Problem, Text, show_path
from agent.config.secrets import Secrets
from agent.config.tags_csv import Table


def yaml_files(path: FilePath) -> list[FilePath]:
    """The file itself, or the ``*.yaml`` files of a directory by name; ConfigError where there is none."""
    if not path.is_dir():
        return [path]
    try:
        files = sorted(file for file in path.glob("*.yaml") if not file.name.startswith(".") and file.is_file())
    except OSError as error:
        text = Text(f"cannot be read: {error.strerror}", f"无法读取：{error.strerror}")
        raise ConfigError([Problem(Position(str(path)), "", text)]) from error
    if not files:
        raise ConfigError([Problem(Position(str(path)), "", Text("no *.yaml file here", "目录中没有 *.yaml 文件"))])
    return files


class Sources:
    """The merged data of the files read so far, and where each value came from."""

    def __init__(self, secrets: Secrets, lists: Sequence[str]) -> None:
        self.data: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.is_complete = True
        """False where a file could not be read or parsed: then nothing can be said about what is missing."""
        self._secrets = secrets
        self._lists = frozenset(lists)
        self._parts: dict[str, list[tuple[int, Document]]] = {}
        self._tables: dict[int, tuple[int, Table]] = {}
        self._unresolved: set[Path] = set()
        self._main: str | None = None

    def add_file(self, path: FilePath) -> None:
        """Parse one file and append its lists; a mapping that another file already has is a problem."""
        self._main = self._main or str(path)
        try:
            document = parse(read_text(path, str(path)), str(path), self._secrets.substitute)
        except ConfigError as error:
            self.problems += error.problems
            self.is_complete = False
            return
        self.problems += document.problems
        for key, value in document.value.items():
            self._merge(document, key, value)

    def add_table(self, device: int, table: Table) -> None:
        """Append the rows of a CSV to the tags of a device."""
        tags: list[Any] = self.data["devices"][device].setdefault("tags", [])
        self._tables[device] = len(tags), table
        tags += table.rows

    def position(self, path: Path, *, is_key: bool = False) -> Position:
        """Where the value (or the key) at a path stands; the first file where the path is nowhere."""
        if len(path) > 3 and path[0] == "devices" and path[2] == "tags":
            device, row = path[1], path[3]
            if isinstance(device, int) and isinstance(row, int) and device in self._tables:
                offset, table = self._tables[device]
                if row >= offset:
                    return table.position(row - offset, str(path[4]) if len(path) > 4 else None)
        for offset, document in reversed(self._parts.get(str(path[0]), []) if path else []):
            if len(path) < 2 or not isinstance(path[1], int):
                return document.position(path, is_key=is_key)
            if path[1] >= offset:
                return document.position((path[0], path[1] - offset, *path[2:]), is_key=is_key)
        return Position(self._main or "")

    def is_unresolved(self, path: Path) -> bool:
        """Tell whether a ``${…}`` there could not be resolved, which has been reported already."""
        return path in self._unresolved

    def _merge(self, document: Document, key: str, value: Any) -> None:
        known, more = as_list(self.data.get(key)), as_list(value)
        offset = 0 if known is None else len(known)
        if key not in self.data:
            self.data[key] = value
        elif key in self._lists and known is not None and more is not None:
            known.extend(more)
        else:
            first = self.position((key,), is_key=True)
            text = Text(f"key given twice, first in {first}", f"键重复，首次出现在 {first}")
            self.problems.append(Problem(document.position((key,), is_key=True), show_path((key,)), text))
            return
        self._parts.setdefault(key, []).append((offset, document))
        self._secrets.take_over(key, offset)
        self._unresolved |= {shifted(path, offset) for path in document.unresolved if path[0] == key}
        if offset:
            # The paths inside one file count from its own list; in the whole they count on.
            self._shift_problems(document, key, offset)

    def _shift_problems(self, document: Document, key: str, offset: int) -> None:
        for i, problem in enumerate(self.problems):
            head, bracket, rest = problem.path.partition("[")
            number, end, tail = rest.partition("]")
            if problem.at.file == document.file and head == key and bracket and end and number.isdigit():
                self.problems[i] = replace(problem, path=f"{head}[{int(number) + offset}]{tail}")


def shifted(path: Path, offset: int) -> Path:
    """A path inside one file's list as it is in the whole."""
    match path:
        case (top, int(position), *rest):
            return (top, position + offset, *rest)
        case _:
            return path


def environment() -> dict[str, str]:
    """The environment of the process."""
    return dict(os.environ)
