"""Figures of a journal from its files alone, read only, open or closed: what ``davy journal stats`` shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from agent.core.records import Kind
from agent.journal.encoding import chain_of, layout_id_of
from agent.journal.format import SEGMENT_HEADER_SIZE, RawRecord, seed_of
from agent.journal.fs import FileSystem, OsFileSystem
from agent.journal.segment import ENDING, Frame, FrameScanner, ListedFile, list_files


def inspect(directory: Path, *, fs: FileSystem | None = None) -> dict[str, Any]:
    """JSON types: epoch, seqs, sizes, records by kind, readings, and the fields of the last start and stop record.

    Reads every record that is still here. OSError where the directory cannot be read.
    """
    fs = OsFileSystem() if fs is None else fs
    segments, _ = list_files(fs, directory / "segments", ENDING)
    figures: dict[str, Any] = {
        "epoch": None,
        "first_seq": None,
        "last_seq": None,
        "segments": len(segments),
        "bytes": sum(_size(fs, directory / "segments" / name) for name in fs.names(directory / "segments")),
        "event_log_bytes": sum(_size(fs, directory / "events" / name) for name in fs.names(directory / "events")),
        "records": {kind.name.lower(): 0 for kind in Kind},
        "readings": 0,
        "last_start": None,
        "last_stop": None,
    }
    figures["bytes"] += figures["event_log_bytes"]
    for known in segments:
        figures["epoch"] = known.header.epoch
        for raw in _records(fs, known):
            _count(figures, raw)
    return figures


def _count(figures: dict[str, Any], raw: RawRecord) -> None:
    if figures["first_seq"] is None:
        figures["first_seq"] = raw.seq
    figures["last_seq"] = raw.seq
    figures["records"][raw.kind.name.lower()] += 1
    if raw.kind is Kind.READINGS:
        figures["readings"] += layout_id_of(raw)[1]
    elif raw.kind is Kind.AUDIT:
        fields = orjson.loads(chain_of(raw)[2])
        if fields.get("kind") in ("start", "stop"):
            figures[f"last_{fields['kind']}"] = fields


def _size(fs: FileSystem, path: Path) -> int:
    try:
        file = fs.open(path)
    except FileNotFoundError:
        return 0
    try:
        return file.size()
    finally:
        file.close()


def _records(fs: FileSystem, known: ListedFile) -> Iterator[RawRecord]:
    try:
        file = fs.open(known.path)
    except FileNotFoundError:
        return
    try:
        seed = seed_of(known.header.epoch, known.header.number)
        for item in FrameScanner(file, seed, SEGMENT_HEADER_SIZE, known.end).scan():
            if isinstance(item, Frame):
                yield from item.records()
    finally:
        file.close()
