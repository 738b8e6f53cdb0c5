"""Layouts on disk: one small file each, named by what it holds, so that no damage to one reaches another."""

import errno
import logging
import threading
from pathlib import Path
from typing import Final

from agent.core.batch import Layout
from agent.journal.fs import FileSystem, read_whole, set_aside, write_atomic

log: Final = logging.getLogger("davy.journal")


class LayoutStore:
    """Knows every layout that a record of the journal names; may be asked from any thread."""

    def __init__(self, fs: FileSystem, directory: Path) -> None:
        self._fs = fs
        self._directory = directory
        self._known: dict[bytes, Layout] = {}
        self._substitutes: dict[tuple[bytes, int], Layout] = {}
        self._lock = threading.Lock()
        fs.make_directory(directory)
        self.moved_aside = self._load()

    def _load(self) -> list[str]:
        moved: list[str] = []
        for name in self._fs.names(self._directory):
            if not name.endswith(".json"):
                continue
            path = self._directory / name
            try:
                layout = Layout.from_json(read_whole(self._fs, path))
                if f"{layout.id.hex()}.json" != name:
                    raise ValueError("content does not match the name")
            except (ValueError, KeyError, TypeError) as error:
                moved.append(set_aside(self._fs, path, "bad").name)
                log.warning("layout damaged, moved aside", extra={"file": name, "error": str(error)})
            else:
                self._known[layout.id] = layout
        return moved

    def register(self, layout: Layout) -> None:
        """Make the layout durable before a batch uses it; nothing happens where it is known. OSError."""
        if layout.id in self._known:
            return
        with self._lock:
            write_atomic(self._fs, self._directory / f"{layout.id.hex()}.json", layout.to_json())
            self._known[layout.id] = layout

    def get(self, layout_id: bytes, tags: int) -> Layout:
        """The layout; where its file was lost, one that names the tags by their place, so that no value is lost."""
        known = self._known.get(layout_id)
        if known is not None:
            return known
        key = (layout_id, tags)
        if key not in self._substitutes:
            name = f"unknown-{layout_id.hex()}"
            self._substitutes[key] = Layout(name, tuple(f"{name}.{place}" for place in range(tags)))
            log.error("layout unknown", extra={"layout": layout_id.hex(), "errno": errno.ENOENT})
        return self._substitutes[key]

    def device_of(self, layout_id: bytes) -> str:
        """The device whose batches have this layout."""
        return self.get(layout_id, 0).device
