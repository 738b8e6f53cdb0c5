"""Parquet with the columns of the CSV, in columns from end to end; the package pyarrow is an extra."""

import importlib
from array import array
from collections.abc import Iterator
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
    checked,
    quality_of,
    runs_of,
)

ROWS: Final = 65_536


def parquet_runs(path: Path, tags: TagPositions, progress: Progress | None) -> Iterator[Run]:
    """The rows in file order; ReplayError when a bad one is reached."""
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        compute: Any = importlib.import_module("pyarrow.compute")
    except ImportError as error:
        raise ReplayError(path, None, "no package pyarrow", "pip install 'davy-agent[parquet]', or CSV") from error
    try:
        file = parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ReplayError(path, None, str(error), "a Parquet file") from error
    with file:
        names: list[str] = list(file.schema_arrow.names)
        if any(name not in names for name in COLUMNS[:3]):
            raise ReplayError(path, None, f"columns {', '.join(names)}", f"columns {', '.join(COLUMNS)}")
        reader = _Reader(path, tags, pyarrow, compute)
        columns = [name for name in COLUMNS if name in names]
        try:
            for group in file.iter_batches(batch_size=ROWS, columns=columns):
                yield from reader.runs(group)
                if progress is not None:
                    progress(reader.rows / max(1, file.metadata.num_rows))
        except (OSError, pyarrow.ArrowException) as error:
            raise ReplayError(path, reader.rows, str(error), "a sound Parquet file") from error


class _Reader:
    def __init__(self, path: Path, tags: TagPositions, pyarrow: Any, compute: Any) -> None:
        self._path = path
        self._tags = tags
        self._arrow = pyarrow
        self._compute = compute
        self.rows = 0
        """Read so far."""

    def runs(self, group: Any) -> Iterator[Run]:
        """The rows of one group."""
        arrow = self._arrow
        times = self._times(group.column("time"))
        names = group.column("tag").cast(arrow.string())
        values = group.column("value").cast(arrow.float64())
        has_quality = "quality" in group.schema.names
        texts = group.column("quality").cast(arrow.string()) if has_quality else None
        codes = b"" if texts is None else self._codes(texts)
        positions = None if times.null_count or names.null_count else self._positions(names)
        if codes is None or positions is None or values.null_count or not self._are_finite(values):
            yield from runs_of(self._one_by_one(times, names, values, texts))
        else:
            yield from self._together(times, positions, _column("d", values), codes)
        self.rows += len(times)

    def _together(self, times: Any, positions: "array[int]", values: "array[float]", codes: bytes) -> Iterator[Run]:
        encoded = self._compute.run_end_encode(times, run_end_type=self._arrow.int32())
        start = 0
        for t_ns, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
            quality = codes[start:end]
            yield Run(t_ns, positions[start:end], values[start:end], quality if any(quality) else None)
            start = end

    def _are_finite(self, values: Any) -> bool:
        return self._compute.all(self._compute.is_finite(values)).as_py() is not False

    def _codes(self, texts: Any) -> bytes | None:
        encoded = texts.fill_null("").dictionary_encode()
        found = [QUALITY.get(text.strip().lower()) for text in encoded.dictionary.to_pylist()]
        if None in found:
            return None
        if not any(found):
            return b""
        codes = self._arrow.array(found, self._arrow.uint8())
        return _column("B", self._compute.take(codes, encoded.indices)).tobytes()

    def _positions(self, names: Any) -> "array[int] | None":
        encoded = names.dictionary_encode()
        found = [self._tags.of(name) for name in encoded.dictionary.to_pylist()]
        if None in found:
            return None
        positions = self._arrow.array(found, self._arrow.uint32())
        return _column("I", self._compute.take(positions, encoded.indices))

    def _one_by_one(self, times: Any, names: Any, values: Any, texts: Any) -> Iterator[Row]:
        qualities: list[str | None] = [None] * len(times) if texts is None else texts.to_pylist()
        columns = (times.to_pylist(), names.to_pylist(), values.to_pylist(), qualities)
        for number, (t_ns, name, value, text) in enumerate(zip(*columns, strict=True), self.rows + 1):
            position = None if name is None else self._tags.of(name)
            if t_ns is None or position is None:
                raise ReplayError(self._path, number, "a row without time or tag", "a time and a tag in each row")
            quality = quality_of(self._path, number, text or "")
            read, code = (NAN, BAD) if value is None else checked(value, quality)
            yield t_ns, position, read, code

    def _times(self, column: Any) -> Any:
        arrow, kind = self._arrow, column.type
        if arrow.types.is_integer(kind):
            return column.cast(arrow.int64())
        if not arrow.types.is_timestamp(kind) or kind.tz is None:
            expected = "a timestamp with a time zone or integer ns UTC"
            raise ReplayError(self._path, None, f"time of type {kind}", expected)
        return column.cast(arrow.timestamp("ns", kind.tz)).cast(arrow.int64())


def _column(typecode: str, column: Any) -> "array[Any]":
    """An Arrow column without nulls as an array of the same type."""
    values: array[Any] = array(typecode)
    size, offset = values.itemsize, column.offset
    values.frombytes(memoryview(column.buffers()[1])[offset * size : (offset + len(column)) * size])
    return values
