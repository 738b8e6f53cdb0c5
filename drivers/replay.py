"""Recorded data as batches: CSV and Parquet with the columns time, tag, value, quality (spec/config.md)."""

import csv
import importlib
import math
import re
from array import array
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agent.core.batch import READINGS_MAX, Batch, Layout
from agent.core.quality import Quality

DEVICE: Final = "replay"
COLUMNS: Final = ("time", "tag", "value", "quality")
_QUALITY: Final = {"": 0, "good": 0, "uncertain": Quality.UNCERTAIN.value, "bad": Quality.BAD.value}
_BAD: Final = Quality.BAD.value
_NAN_CODE: Final = Quality.NOT_A_NUMBER.value
_NAN: Final = float("nan")
_INTEGER: Final = re.compile(r"[+-]?\d+")
_RFC_3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PARQUET_ROWS: Final = 65_536

Row = tuple[int, str, float, int]
"""Time (ns UTC), tag, value, quality."""


class ReplayError(Exception):
    """The recorded data cannot be read; the text names file, line, what was found and what was expected."""

    def __init__(self, file: Path, line: int | None, found: str, expected: str) -> None:
        place = str(file) if line is None else f"{file}:{line}"
        super().__init__(f"{place}: found {found}, expected {expected}")
        self.file = file
        self.line = line
        self.found = found
        self.expected = expected


def batches(path: Path, *, is_sorted: bool) -> Iterator[Batch]:
    """The rows in file order, or by time where they are to be sorted first (``is_sorted``, which holds them all).

    ``at`` of a row is the greatest time so far, its ``t`` its own time; a row at or before its tag's last time is
    historical. Raises ReplayError, for a bad row when it is reached.
    """
    rows = _parquet_rows(path) if path.suffix.lower() in {".parquet", ".pq"} else _csv_rows(path)
    if is_sorted:
        rows = iter(sorted(rows, key=lambda row: row[0]))
    return _batched(rows)


class _Builder:
    """Gathers rows of one ``at`` and one mark. The layout grows with the tags met, so most batches share one."""

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}
        self._layout = Layout(DEVICE, ())
        self._last_ns: list[int | None] = []
        self._at_ns = -(1 << 62)
        self._is_historical: bool = False
        self._whole = array("I")
        self._clear()

    def _clear(self) -> None:
        self._values = array("d")
        self._index = array("I")
        self._dt_ns = array("q")
        self._quality = bytearray()

    def add(self, row: Row) -> Batch | None:
        """Take a row; returns the batch before it where the row begins another."""
        t_ns, tag, value, quality = row
        position = self._positions.get(tag)
        if position is None:
            position = self._positions[tag] = len(self._positions)
            self._last_ns.append(None)
        last_ns = self._last_ns[position]
        is_historical = last_ns is not None and t_ns <= last_ns
        if not is_historical:
            self._last_ns[position] = t_ns
        at_ns = max(self._at_ns, t_ns)
        done = None
        if at_ns != self._at_ns or is_historical != self._is_historical or len(self._values) == READINGS_MAX:
            done = self.flush()
            self._at_ns, self._is_historical = at_ns, is_historical
        self._values.append(value)
        self._index.append(position)
        self._dt_ns.append(t_ns - at_ns)
        self._quality.append(quality)
        return done

    def flush(self) -> Batch | None:
        """The batch gathered so far; None where there is none."""
        count = len(self._values)
        if count == 0:
            return None
        if len(self._layout.tags) != len(self._positions):
            self._layout = Layout(DEVICE, tuple(self._positions))
            self._whole = array("I", range(len(self._positions)))
        is_full = self._index == self._whole
        batch = Batch(
            self._layout,
            self._at_ns,
            self._values,
            bytes(self._quality) if any(self._quality) else None,
            None if is_full else self._index,
            self._dt_ns if any(self._dt_ns) else None,
            historical=self._is_historical,
        )
        self._clear()
        return batch


def _batched(rows: Iterable[Row]) -> Iterator[Batch]:
    builder = _Builder()
    for row in rows:
        done = builder.add(row)
        if done is not None:
            yield done
    last = builder.flush()
    if last is not None:
        yield last


# ---- CSV


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            yield from _parsed(path, reader)
    except OSError as error:
        raise ReplayError(path, None, error.strerror or str(error), "a readable file") from error
    except UnicodeDecodeError as error:
        raise ReplayError(path, None, f"a byte that is not UTF-8 at {error.start}", "UTF-8 text") from error


def _parsed(path: Path, reader: Any) -> Iterator[Row]:
    lines = _lines(path, reader)
    header = next(lines, None)
    if header is None:
        raise ReplayError(path, 1, "an empty file", f"the header {','.join(COLUMNS)}")
    names = [name.strip() for name in header]
    if tuple(names) not in (COLUMNS, COLUMNS[:3]):
        raise ReplayError(path, reader.line_num, ",".join(names), f"the header {','.join(COLUMNS)}")
    has_quality = len(names) == len(COLUMNS)
    times = _Times(path)
    for fields in lines:
        if not fields:
            continue
        line = reader.line_num
        if len(fields) != len(names):
            raise ReplayError(path, line, f"{len(fields)} columns", f"{len(names)} ({','.join(names)})")
        tag = fields[1].strip()
        if not tag:
            raise ReplayError(path, line, "an empty tag", "the id of a tag")
        quality = _quality(path, line, fields[3]) if has_quality else 0
        yield times.ns(line, fields[0]), tag, *_value(path, line, fields[2], quality)


def _lines(path: Path, reader: Any) -> Iterator[list[str]]:
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ReplayError(path, reader.line_num, str(error), "CSV separated by commas") from error
        yield fields


class _Times:
    """Times as text to ns UTC; rows of one poll share their text, so the last one is remembered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._ns = 0

    def ns(self, line: int, text: str) -> int:
        """ns UTC of an RFC 3339 time with offset or of an integer."""
        if text != self._text:
            self._ns = self._parse(line, text.strip())
            self._text = text
        return self._ns

    def _parse(self, line: int, text: str) -> int:
        if _INTEGER.fullmatch(text):
            return int(text)
        match = _RFC_3339.fullmatch(text)
        expected = "RFC 3339 with offset (2026-11-21T08:00:00.5+08:00) or integer ns UTC"
        if match is None:
            raise ReplayError(self._path, line, f"time {text!r}", expected)
        date, clock, fraction, offset = match.groups()
        try:
            whole = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if offset in 'Zz' else offset}")
        except ValueError as error:
            raise ReplayError(self._path, line, f"time {text!r} ({error})", expected) from error
        since = whole - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def _quality(path: Path, line: int, text: str) -> int:
    quality = _QUALITY.get(text.strip().lower())
    if quality is None:
        raise ReplayError(path, line, f"quality {text!r}", "good, uncertain or bad")
    return quality


def _value(path: Path, line: int, text: str, quality: int) -> tuple[float, int]:
    """Value and quality: an empty value is bad, a NaN or infinity 103 unless it is bad anyway (Q2)."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _checked(float(text), quality)
    if not text:
        return _NAN, _BAD
    if text.lower().lstrip("+-") in {"nan", "inf", "infinity"}:
        return _checked(_NAN, quality)
    raise ReplayError(path, line, f"value {text!r}", "a number or nothing")


def _checked(value: float, quality: int) -> tuple[float, int]:
    if math.isfinite(value):
        return value, quality
    return _NAN, quality if quality >= _BAD else _NAN_CODE


# ---- Parquet


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ReplayError(path, None, "no package pyarrow", "pip install pyarrow, or CSV") from error
    try:
        file = parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ReplayError(path, None, str(error), "a Parquet file") from error
    names: list[str] = list(file.schema_arrow.names)
    missing = [name for name in COLUMNS[:3] if name not in names]
    if missing:
        raise ReplayError(path, None, f"columns {', '.join(names)}", f"columns {', '.join(COLUMNS)}")
    columns = [name for name in COLUMNS if name in names]
    number = 0
    for group in file.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
        times = _parquet_times(path, pyarrow, group.column("time"))
        tags: list[str | None] = group.column("tag").cast(pyarrow.string()).to_pylist()
        values: list[float | None] = group.column("value").cast(pyarrow.float64()).to_pylist()
        texts: list[str | None] = [None] * len(tags)
        if "quality" in columns:
            texts = group.column("quality").cast(pyarrow.string()).to_pylist()
        for time_ns, tag, value, text in zip(times, tags, values, texts, strict=True):
            number += 1
            if time_ns is None or not tag:
                raise ReplayError(path, number, "a row without time or tag", "a time and a tag in each row")
            quality = _quality(path, number, text or "")
            number_read, code = (_NAN, _BAD) if value is None else _checked(value, quality)
            yield time_ns, tag, number_read, code


def _parquet_times(path: Path, pyarrow: Any, column: Any) -> list[int | None]:
    kind = column.type
    if pyarrow.types.is_timestamp(kind):
        if kind.tz is None:
            raise ReplayError(path, None, f"time of type {kind}", "a timestamp with a time zone or integer ns UTC")
        return column.cast(pyarrow.timestamp("ns", kind.tz)).cast(pyarrow.int64()).to_pylist()
    if pyarrow.types.is_integer(kind):
        return column.cast(pyarrow.int64()).to_pylist()
    raise ReplayError(path, None, f"time of type {kind}", "a timestamp with a time zone or integer ns UTC")
