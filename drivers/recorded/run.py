"""Runs: rows of one time that stand together in a file; what one row may say, and what is wrong with it."""

import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.core.quality import Quality

COLUMNS: Final = ("time", "tag", "value", "quality")
BAD: Final = Quality.BAD.value
NAN: Final = float("nan")
QUALITY: Final = {"": 0, "good": 0, "uncertain": Quality.UNCERTAIN.value, "bad": BAD}
_NAN_CODE: Final = Quality.NOT_A_NUMBER.value
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}")
_RFC_3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_EXPECTED: Final = "RFC 3339 with offset (2026-11-21T08:00:00.5+08:00) or integer ns UTC"
_LATEST_NS: Final = 1 << 62
_MINUTES_MAX: Final = 10_000

Progress = Callable[[float], None]
"""Told now and then which share of the data has been read, 0 to 1."""
Row = tuple[int, int, float, int]
"""Time (ns UTC), position of the tag, value, quality."""


class ReplayError(Exception):
    """The recorded data cannot be read; the text names file, line, what was found and what was expected."""

    def __init__(self, file: Path, line: int | None, found: str, expected: str) -> None:
        place = str(file) if line is None else f"{file}:{line}"
        super().__init__(f"{place}: found {found}, expected {expected}")
        self.file = file
        self.line = line
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one time, in file order. The arrays belong to whoever takes the run."""

    t_ns: int
    positions: "array[int]"
    """Of the tags, typecode 'I'."""
    values: "array[float]"
    quality: bytes | None
    """None: all good."""


class TagPositions:
    """Each tag's position, in the order in which the file names them."""

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}
        self.by_text: dict[str, int] = {}
        """As written in the file, blanks around it included."""

    def of(self, text: str) -> int | None:
        """The position of a tag, new or known; None for an empty name."""
        position = self.by_text.get(text)
        if position is None:
            name = text.strip()
            if not name:
                return None
            position = self.by_text[text] = self.by_name.setdefault(name, len(self.by_name))
        return position


def runs_of(rows: Iterable[Row]) -> Iterator[Run]:
    """Rows one by one, put together where they have one time; an error comes after the rows before it."""
    t_ns: int | None = None
    positions, values, quality = array("I"), array("d"), bytearray()
    failed: ReplayError | None = None
    try:
        for row in rows:
            if row[0] != t_ns and t_ns is not None:
                yield Run(t_ns, positions, values, bytes(quality) if any(quality) else None)
                positions, values, quality = array("I"), array("d"), bytearray()
            t_ns = row[0]
            positions.append(row[1])
            values.append(row[2])
            quality.append(row[3])
    except ReplayError as error:
        failed = error
    if t_ns is not None:
        yield Run(t_ns, positions, values, bytes(quality) if any(quality) else None)
    if failed is not None:
        raise failed


class Times:
    """Times as text to ns UTC; rows of one poll share their text, and those of one minute most of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._ns = 0
        self._minutes: dict[tuple[str, str, str], int] = {}

    def ns(self, line: int, text: str) -> int:
        """ns UTC of an RFC 3339 time with offset or of an integer."""
        if text != self._text:
            self._ns = self._parse(line, text.strip())
            self._text = text
        return self._ns

    def _parse(self, line: int, text: str) -> int:
        if _INTEGER.fullmatch(text) and abs(int(text)) < _LATEST_NS:
            return int(text)
        match = _RFC_3339.fullmatch(text)
        if match is None:
            raise ReplayError(self._path, line, f"time {text!r}", _TIME_EXPECTED)
        date, clock, second, fraction, offset = match.groups()
        minute_ns = self._minutes.get((date, clock, offset))
        if minute_ns is None:
            minute_ns = self._minute(line, text, (date, clock, offset))
        if second > "59":
            raise ReplayError(self._path, line, f"time {text!r} (second must be in 0..59)", _TIME_EXPECTED)
        return minute_ns + int(second) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))

    def _minute(self, line: int, text: str, parts: tuple[str, str, str]) -> int:
        date, clock, offset = parts
        try:
            whole = datetime.fromisoformat(f"{date}T{clock}:00{'+00:00' if offset in 'Zz' else offset}")
        except ValueError as error:
            raise ReplayError(self._path, line, f"time {text!r} ({error})", _TIME_EXPECTED) from error
        since = whole - _EPOCH
        if len(self._minutes) >= _MINUTES_MAX:
            self._minutes.clear()
        self._minutes[parts] = minute_ns = (since.days * 86_400 + since.seconds) * 1_000_000_000
        return minute_ns


def quality_of(path: Path, line: int, text: str) -> int:
    """The code of a quality as written; ReplayError."""
    quality = QUALITY.get(text.strip().lower())
    if quality is None:
        raise ReplayError(path, line, f"quality {text!r}", "good, uncertain or bad")
    return quality


def value_of(path: Path, line: int, text: str, quality: int) -> tuple[float, int]:
    """Value and quality: an empty value is bad, a NaN or infinity 103 unless it is bad anyway (Q2)."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return checked(float(text), quality)
    if not text:
        return NAN, BAD
    if text.lower().lstrip("+-") in {"nan", "inf", "infinity"}:
        return checked(NAN, quality)
    raise ReplayError(path, line, f"value {text!r}", "a number or nothing")


def checked(value: float, quality: int) -> tuple[float, int]:
    """A number that is none becomes a bad reading."""
    if math.isfinite(value):
        return value, quality
    return NAN, quality if quality >= BAD else _NAN_CODE
