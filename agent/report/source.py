"""Alarm and audit records of a journal from its files alone, read only, while an agent may be running."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from agent.core.records import Kind
from agent.journal import events_log
from agent.journal.encoding import chain_of
from agent.journal.format import EVENTS, SEGMENT_HEADER_SIZE, FormatError, seed_of
from agent.journal.fs import FileSystem, OsFileSystem
from agent.journal.segment import ENDING, Frame, FrameScanner, ListedFile, list_files

Fields = dict[str, Any]


def events(journal: Path, *, fs: FileSystem | None = None) -> Iterator[tuple[Kind, Fields]]:
    """Every alarm and audit record that is still here, in order, each once; what is damaged is passed over.

    OSError where the directory cannot be read.
    """
    fs = OsFileSystem() if fs is None else fs
    upto = 0
    for directory, ending in ((journal / "events", events_log.ENDING), (journal / "segments", ENDING)):
        listed, _ = list_files(fs, directory, ending)
        for known in listed:
            for seq, kind, fields in _records(fs, known):
                if seq > upto:
                    upto = seq
                    yield kind, fields


def _records(fs: FileSystem, known: ListedFile) -> Iterator[tuple[int, Kind, Fields]]:
    try:
        file = fs.open(known.path)
    except FileNotFoundError:
        return  # sealed and copied to the event log, or given up, since we listed it
    try:
        seed = seed_of(known.header.epoch, known.header.number)
        for item in FrameScanner(file, seed, SEGMENT_HEADER_SIZE, known.end).scan(EVENTS):
            if isinstance(item, Frame):
                yield from _of_frame(item)
    finally:
        file.close()


def _of_frame(frame: Frame) -> Iterator[tuple[int, Kind, Fields]]:
    try:
        raws = frame.records()
    except FormatError:
        return  # davy journal verify tells; a report goes on
    for raw in raws:
        if raw.kind in (Kind.ALARM, Kind.AUDIT):
            yield raw.seq, raw.kind, orjson.loads(chain_of(raw)[2])
