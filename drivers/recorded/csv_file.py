"""CSV with the header time,tag,value,quality, read in columns: what is in order costs no Python per row.

A block of lines without quotes is split at its commas; the csv module, three times as slow, reads what has some.
"""

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

from drivers.recorded.run import (
    BAD,
    COLUMNS,
    NAN,
    QUALITY,
    Progress,
    ReplayError,
    Row,
    Run,
    TagPositions,
    Times,
    quality_of,
    runs_of,
    value_of,
)

BLOCK: Final = 1 << 17
"""Characters looked at together; only as many are read again row by row where something is unusual."""
ROWS: Final = 4_096
"""As BLOCK, where the csv module reads."""


def csv_runs(path: Path, tags: TagPositions, progress: Progress | None) -> Iterator[Run]:
    """The rows in file order; ReplayError when a bad one is reached."""
    try:
        size = path.stat().st_size
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            table = _Table(path, file, tags)
            for run in table.runs():
                yield run
                if progress is not None and table.is_fresh:
                    table.is_fresh = False
                    progress(raw.tell() / max(1, size))
    except OSError as error:
        raise ReplayError(path, None, error.strerror or str(error), "a readable file") from error
    except UnicodeDecodeError as error:
        raise ReplayError(path, None, f"a byte that is not UTF-8 at {error.start}", "UTF-8 text") from error


class _Table:
    def __init__(self, path: Path, file: io.TextIOWrapper, tags: TagPositions) -> None:
        self.is_fresh = False
        """More of the file has been read."""
        self._path = path
        self._file = file
        self._tags = tags
        self._times = Times(path)
        self._length = 1
        """Of the last run: the next one is probably as long."""
        self._line = 0
        """Lines before the block in hand."""
        self._names = self._header()

    def _header(self) -> tuple[str, ...]:
        text = self._file.readline()
        while text and not text.strip():
            self._line += 1
            text = self._file.readline()
        self._line += 1
        if not text:
            raise ReplayError(self._path, 1, "an empty file", f"the header {','.join(COLUMNS)}")
        names = tuple(name.strip().strip('"') for name in text.strip().split(","))
        if names not in (COLUMNS, COLUMNS[:3]):
            raise ReplayError(self._path, self._line, ",".join(names), f"the header {','.join(COLUMNS)}")
        return names

    def runs(self) -> Iterator[Run]:
        """All of them."""
        while block := self._file.read(BLOCK):
            block += self._file.readline()
            self.is_fresh = True
            if '"' in block:
                yield from self._runs_with_quotes(chain(io.StringIO(block, newline=""), self._file))
                return
            columns = self._columns(self._fields(block))
            if columns is None:
                rows = csv.reader(io.StringIO(block, newline=""), strict=True)
                yield from runs_of(self._one_by_one(rows, self._line))
            else:
                yield from self._together(*columns)
            self._line += block.count("\n")

    def _runs_with_quotes(self, lines: Iterable[str]) -> Iterator[Run]:
        """The rest of the file, beginning with a block in which somebody put a field in quotes."""
        reader = csv.reader(lines, strict=True)
        before = self._line
        while True:
            rows: list[list[str]] = []
            failed: ReplayError | None = None
            try:
                rows.extend(islice(reader, ROWS))
            except csv.Error as error:
                failed = ReplayError(self._path, before + reader.line_num, str(error), "CSV separated by commas")
            self.is_fresh = True
            try:
                fields = list(zip(*rows, strict=True)) if before + reader.line_num == self._line + len(rows) else []
            except ValueError:
                fields = []
            columns = self._columns(fields)
            if columns is None:
                yield from runs_of(self._one_by_one(rows, self._line))
            else:
                yield from self._together(*columns)
            self._line = before + reader.line_num
            if failed is not None:
                raise failed
            if not rows:
                return

    def _fields(self, block: str) -> list[Sequence[str]]:
        """The columns of a block; none where its lines are not all alike."""
        if "\r" in block:
            block = block.replace("\r\n", "\n")
        # Each field that begins a line keeps its line break: if all of these are times, no line is short or long.
        fields = ("\n" + block.removesuffix("\n")).replace("\n", ",\n").split(",")
        count = len(self._names)
        columns: list[Sequence[str]] = [fields[1 + i :: count] for i in range(count)]
        lines = block.removesuffix("\n").count("\n") + 1
        if len(fields) != 1 + lines * count or "".join(columns[0]).count("\n") != lines or "\r" in block:
            return []
        return columns

    def _columns(
        self, columns: Sequence[Sequence[str]]
    ) -> "tuple[Sequence[str], array[int], array[float], bytes | None] | None":
        """Times, positions, values and qualities; None where a row is not as most are."""
        if len(columns) != len(self._names):
            return None
        texts = columns[2]
        try:
            blanks = [place for place, text in enumerate(texts) if not text] if "" in texts else []
            values = array("d", map(float, [text or "0" for text in texts] if blanks else texts))
        except ValueError:
            return None
        # float() knows more than the format allows: 1_000, digits of other scripts, and numbers that are none.
        joined = "".join(texts)
        if not joined.isascii() or "_" in joined or not math.isfinite(sum(values)):
            return None
        codes = self._codes(columns[3]) if len(columns) > 3 else b""
        positions = self._positions(columns[1])
        if codes is None or positions is None:
            return None
        if blanks:
            marked = bytearray(codes or bytes(len(values)))
            for place in blanks:
                values[place] = NAN
                marked[place] = BAD
            codes = bytes(marked)
        return columns[0], positions, values, codes or None

    def _codes(self, texts: Sequence[str]) -> bytes | None:
        """The qualities; empty where all are good, None where one is unknown."""
        known: dict[str, int] = {}
        for text in set(texts):
            code = QUALITY.get(text.strip().lower())
            if code is None:
                return None
            known[text] = code
        return bytes(map(known.__getitem__, texts)) if any(known.values()) else b""

    def _positions(self, texts: Sequence[str]) -> "array[int] | None":
        try:
            return array("I", map(self._tags.by_text.__getitem__, texts))
        except KeyError:
            found = [self._tags.of(text) for text in dict.fromkeys(texts)]
            return None if None in found else array("I", map(self._tags.by_text.__getitem__, texts))

    def _together(
        self,
        times: Sequence[str],
        positions: "array[int]",
        values: "array[float]",
        codes: bytes | None,
    ) -> Iterator[Run]:
        start = 0
        while start < len(times):
            end = self._end_of_run(times, start)
            t_ns = self._times.ns(self._line + start + 1, times[start])
            quality = None if codes is None else codes[start:end]
            yield Run(
                t_ns,
                positions[start:end],
                values[start:end],
                quality if quality is not None and any(quality) else None,
            )
            start = end

    def _end_of_run(self, times: Sequence[str], start: int) -> int:
        text, end = times[start], start + self._length
        if times[start:end].count(text) != end - start:
            end = start + 1
        while end < len(times) and times[end] == text:
            end += 1
        self._length = end - start
        return end

    def _one_by_one(self, rows: Iterable[list[str]], line: int) -> Iterator[Row]:
        for fields in self._guarded(rows):
            line += 1 + sum(field.count("\n") for field in fields)
            if fields:
                yield self._row(line, fields)

    def _guarded(self, rows: Iterable[list[str]]) -> Iterator[list[str]]:
        try:
            yield from rows
        except csv.Error as error:
            raise ReplayError(self._path, self._line + 1, str(error), "CSV separated by commas") from error

    def _row(self, line: int, fields: list[str]) -> Row:
        names = self._names
        if len(fields) != len(names):
            raise ReplayError(self._path, line, f"{len(fields)} columns", f"{len(names)} ({','.join(names)})")
        position = self._tags.of(fields[1])
        if position is None:
            raise ReplayError(self._path, line, "an empty tag", "the id of a tag")
        quality = quality_of(self._path, line, fields[3]) if len(names) > 3 else 0
        t_ns = self._times.ns(line, fields[0])
        return t_ns, position, *value_of(self._path, line, fields[2], quality)
