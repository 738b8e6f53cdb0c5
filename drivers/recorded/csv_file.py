"""CSV with the header time,tag,value,quality, read in columns: what is in order costs no Python per row."""

import csv
import io
import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

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

ROWS: Final = 16_384
"""Rows looked at together; only as many are read again one by one where something is unusual."""


def csv_runs(path: Path, tags: TagPositions, progress: Progress | None) -> Iterator[Run]:
    """The rows in file order; ReplayError when a bad one is reached."""
    try:
        size = path.stat().st_size
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            table = _Table(path, csv.reader(file, strict=True), tags)
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
    def __init__(self, path: Path, reader: Any, tags: TagPositions) -> None:
        self.is_fresh = False
        """More of the file has been read."""
        self._path = path
        self._reader = reader
        self._tags = tags
        self._times = Times(path)
        self._length = 1
        """Of the last run: the next one is probably as long."""
        self._names = self._header()

    def _header(self) -> tuple[str, ...]:
        rows, failed = self._chunk(1)
        if failed is not None:
            raise failed
        if not rows:
            raise ReplayError(self._path, 1, "an empty file", f"the header {','.join(COLUMNS)}")
        names = tuple(name.strip() for name in rows[0])
        if names not in (COLUMNS, COLUMNS[:3]):
            raise ReplayError(self._path, self._reader.line_num, ",".join(names), f"the header {','.join(COLUMNS)}")
        return names

    def runs(self) -> Iterator[Run]:
        """All of them."""
        failed: ReplayError | None = None
        while failed is None:
            before = self._reader.line_num
            rows, failed = self._chunk(ROWS)
            if not rows and failed is None:
                return
            self.is_fresh = True
            columns = self._columns(rows)
            if columns is None:
                yield from runs_of(self._one_by_one(rows, before))
            else:
                yield from self._together(before, *columns)
        raise failed

    def _chunk(self, count: int) -> tuple[list[list[str]], ReplayError | None]:
        rows: list[list[str]] = []
        try:
            rows.extend(islice(self._reader, count))
        except csv.Error as error:
            return rows, ReplayError(self._path, self._reader.line_num, str(error), "CSV separated by commas")
        return rows, None

    def _columns(self, rows: list[list[str]]) -> "tuple[Sequence[str], array[int], array[float], bytes | None] | None":
        """Times, positions, values and qualities; None where a row is not as most are."""
        try:
            columns = list(zip(*rows, strict=True))
            if len(columns) != len(self._names):
                return None
            texts = columns[2]
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
        before: int,
        times: Sequence[str],
        positions: "array[int]",
        values: "array[float]",
        codes: bytes | None,
    ) -> Iterator[Run]:
        start = 0
        while start < len(times):
            end = self._end_of_run(times, start)
            # Where fields hold line breaks the line is a little too small; no chunk with them is read together.
            t_ns = self._times.ns(before + start + 1, times[start])
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

    def _one_by_one(self, rows: list[list[str]], before: int) -> Iterator[Row]:
        line = before
        for fields in rows:
            line += 1 + sum(field.count("\n") for field in fields)
            if fields:
                yield self._row(line, fields)

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
