"""Every record of a journal from its files alone, read only, open or closed: what ``davy replay`` reads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from agent.core.batch import Layout
from agent.core.records import Record
from agent.journal.encoding import decode
from agent.journal.format import EVENTS, SEGMENT_HEADER_SIZE, FormatError, RawRecord, seed_of
from agent.journal.fs import File, FileSystem, OsFileSystem, read_whole
from agent.journal.segment import ENDING, Damage, Frame, FrameScanner, ListedFile, list_files

EVENT_LOG_ENDING: Final = ".evt"


class JournalFiles:
    """The files of a journal directory. ``unreadable`` counts what was passed over because it is damaged."""

    def __init__(self, directory: Path, *, fs: FileSystem | None = None) -> None:
        self.directory = directory
        self.unreadable = 0
        self._fs = OsFileSystem() if fs is None else fs
        self._segments, bad = list_files(self._fs, directory / "segments", ENDING)
        self._events, bad_events = list_files(self._fs, directory / "events", EVENT_LOG_ENDING)
        self.unreadable += len(bad) + len(bad_events)
        self._layouts: dict[bytes, Layout] = {}
        self._load_layouts()

    @property
    def epoch(self) -> str | None:
        """The newest epoch; None for an empty journal."""
        return self._segments[-1].header.epoch if self._segments else None

    def _load_layouts(self) -> None:
        for name in self._fs.names(self.directory / "layouts"):
            if not name.endswith(".json"):
                continue
            try:
                layout = Layout.from_json(read_whole(self._fs, self.directory / "layouts" / name))
            except (ValueError, KeyError, TypeError):
                self.unreadable += 1
            else:
                self._layouts[layout.id] = layout

    def records(self, progress: Callable[[float], None] | None = None) -> Iterator[Record]:
        """All records in seq order: of evicted segments what the event log has of them."""
        first_seq = self._segments[0].header.first_seq if self._segments else None
        for known in self._events:
            for raw in self._raws(known, 0):
                if first_seq is None or raw.seq < first_seq:
                    yield from self._decoded(raw)
        seq = 0
        for number, known in enumerate(self._segments):
            for raw in self._raws(known, 0):
                if raw.seq > seq:
                    seq = raw.seq
                    yield from self._decoded(raw)
            if progress is not None:
                progress((number + 1) / len(self._segments))

    def events(self) -> Iterator[Record]:
        """Alarm and audit records alone (with others of their frames), without reading the readings between them."""
        for known in [*self._events, *self._segments]:
            for raw in self._raws(known, EVENTS):
                yield from self._decoded(raw)

    def _decoded(self, raw: RawRecord) -> Iterator[Record]:
        try:
            yield decode(raw, self._layout)
        except FormatError:
            self.unreadable += 1

    def _layout(self, layout_id: bytes, tags: int) -> Layout:
        known = self._layouts.get(layout_id)
        if known is None:
            name = f"unknown-{layout_id.hex()}"
            known = self._layouts[layout_id] = Layout(name, tuple(f"{name}.{place}" for place in range(tags)))
        return known

    def _raws(self, known: ListedFile, flags: int) -> Iterator[RawRecord]:
        try:
            file = self._fs.open(known.path)
        except FileNotFoundError:
            return  # given up while we looked
        try:
            yield from self._frames(file, known, flags)
        finally:
            file.close()

    def _frames(self, file: File, known: ListedFile, flags: int) -> Iterator[RawRecord]:
        seed = seed_of(known.header.epoch, known.header.number)
        for item in FrameScanner(file, seed, SEGMENT_HEADER_SIZE, known.end).scan(flags):
            if isinstance(item, Frame):
                try:
                    yield from item.records()
                except FormatError:
                    self.unreadable += 1
            elif isinstance(item, Damage) and not known.is_last:
                self.unreadable += 1
