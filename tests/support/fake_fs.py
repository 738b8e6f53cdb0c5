"""A file system in memory for journal tests: fails at a chosen call, runs full, loses what was not synced."""

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.journal.fs import LockedError, Space

SECTOR = 512


@dataclass
class Node:
    """A file: what readers see, what is durable, and the changes between the two."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (size, None) for a truncation."""

    def write(self, offset: int, data: bytes) -> None:
        _apply(self.content, offset, data)
        self.changes.append((offset, data))

    def truncate(self, size: int) -> None:
        _apply(self.content, size, None)
        self.changes.append((size, None))

    def sync(self) -> None:
        self.durable = bytes(self.content)
        self.changes.clear()

    def lose(self) -> None:
        """A failed fsync: the pages are dropped, in the worst case at once."""
        self.content = bytearray(self.durable)
        self.changes.clear()

    def cut(self, rng: random.Random) -> None:
        """A power cut: of what was not synced, any part of any write may be there."""
        content = bytearray(self.durable)
        for offset, data in self.changes:
            luck = rng.random()
            if luck < 0.4:
                _apply(content, offset, data)
            elif luck < 0.8 and data:
                for start in range(0, len(data), SECTOR):
                    if rng.random() < 0.5:
                        _apply(content, offset + start, data[start : start + SECTOR])
        self.content = content
        self.sync()


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        if offset <= len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class FakeFile:
    def __init__(self, fs: "FakeFileSystem", node: Node, name: str) -> None:
        self._fs = fs
        self._node = node
        self._name = name

    def pread(self, size: int, offset: int) -> bytes:
        return bytes(self._node.content[offset : offset + size])

    def pwrite(self, data: bytes, offset: int) -> int:
        try:
            self._fs.call(f"pwrite {self._name}")
        except OSError:
            if self._fs.is_short:
                self._node.write(offset, data[: len(data) // 2])
            raise
        room = self._fs.free() + max(0, len(self._node.content) - offset)
        if room < len(data):
            if room <= 0:
                raise OSError(errno.ENOSPC, "full")
            data = data[:room]
        self._node.write(offset, data)
        return len(data)

    def sync(self) -> None:
        try:
            self._fs.call(f"sync {self._name}")
        except OSError:
            self._node.lose()
            raise
        self._node.sync()

    def allocate(self, size: int) -> None:
        self._fs.call(f"allocate {self._name}")
        growth = size - len(self._node.content)
        if growth > self._fs.free():
            raise OSError(errno.ENOSPC, "full")
        if growth > 0:
            self._node.truncate(size)

    def truncate(self, size: int) -> None:
        self._fs.call(f"truncate {self._name}")
        self._node.truncate(size)

    def size(self) -> int:
        return len(self._node.content)

    def close(self) -> None:
        pass


class FakeFileSystem:
    """See agent.journal.fs.FileSystem. ``fail(n)`` makes the n-th changing call from now on raise."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        self.capacity = capacity
        self.calls = 0
        self.log: list[str] = []
        self.is_short = False
        self._fail_from: int | None = None
        self._fail_until = 0
        self._errno = errno.EIO
        self._nodes: dict[Path, Node] = {}
        self._durable: dict[Path, Node] = {}
        self._pending: list[tuple[str, Path, Path | None, Node | None]] = []
        self._locks: set[Path] = set()
        self.foreign_bytes = 0

    # what tests do

    def fail(self, nth: int, code: int = errno.EIO, *, times: int = 1, is_short: bool = False) -> None:
        """Let the ``nth`` changing call from now on (1: the next one), and those after it, ``times`` in all, raise."""
        self._fail_from = self.calls + nth
        self._fail_until = self._fail_from + times
        self._errno = code
        self.is_short = is_short

    def heal(self) -> None:
        self._fail_from = None
        self.is_short = False

    def kill(self) -> None:
        """The process is gone; the machine lives."""
        self._locks.clear()

    def power_cut(self, seed: int) -> None:
        """The machine is gone: what was not synced is there, or not, or in part."""
        rng = random.Random(seed)
        for kind, path, target, node in self._pending[: rng.randint(0, len(self._pending))]:
            _apply_entry(self._durable, kind, path, target, node)
        self._nodes = dict(self._durable)
        self._pending.clear()
        for node in self._nodes.values():
            node.cut(rng)
        self._locks.clear()

    def content(self, path: Path) -> bytearray:
        """The bytes of a file, to be damaged by a test (and durable at once)."""
        node = self._nodes[path]
        node.sync()
        return node.content

    def remove(self, path: Path) -> None:
        del self._nodes[path]
        self._durable.pop(path, None)

    def paths(self) -> list[Path]:
        return sorted(self._nodes)

    # the port

    def call(self, what: str) -> None:
        self.calls += 1
        self.log.append(what)
        if self._fail_from is not None and self._fail_from <= self.calls < self._fail_until:
            raise OSError(self._errno, f"injected at {what}")

    def free(self) -> int:
        return self.capacity - self.foreign_bytes - sum(len(node.content) for node in self._nodes.values())

    def open(self, path: Path, *, create: bool = False, writable: bool = False) -> FakeFile:
        node = self._nodes.get(path)
        if node is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "missing", str(path))
            self.call(f"create {path.name}")
            node = Node()
            self._change("link", path, None, node)
        return FakeFile(self, node, path.name)

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in self._nodes if path.parent == directory)

    def make_directory(self, path: Path) -> None:
        pass

    def rename(self, source: Path, target: Path) -> None:
        self.call(f"rename {source.name}")
        self._change("rename", source, target, self._nodes[source])

    def unlink(self, path: Path) -> None:
        self.call(f"unlink {path.name}")
        if path not in self._nodes:
            raise FileNotFoundError(errno.ENOENT, "missing", str(path))
        self._change("unlink", path, None, None)

    def sync_directory(self, directory: Path) -> None:
        self.call(f"sync_directory {directory.name}")
        waiting: list[tuple[str, Path, Path | None, Node | None]] = []
        for kind, path, target, node in self._pending:
            if path.parent == directory:
                _apply_entry(self._durable, kind, path, target, node)
            else:
                waiting.append((kind, path, target, node))
        self._pending = waiting

    def space(self, directory: Path) -> Space:
        return Space(self.capacity, self.free())

    def lock(self, path: Path) -> Callable[[], None]:
        if path in self._locks:
            raise LockedError(errno.EBUSY, "another davy agent uses this directory", str(path))
        self._locks.add(path)
        return lambda: self._locks.discard(path)

    def _change(self, kind: str, path: Path, target: Path | None, node: Node | None) -> None:
        _apply_entry(self._nodes, kind, path, target, node)
        self._pending.append((kind, path, target, node))


def _apply_entry(entries: dict[Path, Node], kind: str, path: Path, target: Path | None, node: Node | None) -> None:
    if kind == "link" and node is not None:
        entries[path] = node
    elif kind == "rename" and target is not None and node is not None:
        entries.pop(path, None)
        entries[target] = node
    elif kind == "unlink":
        entries.pop(path, None)
