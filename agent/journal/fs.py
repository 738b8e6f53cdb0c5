"""The file system as the journal needs it: a port small enough to be faked, and the real one."""

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

READ_CHUNK: Final = 1 << 20


class LockedError(OSError):
    """Another process holds the directory: do not start a second agent on it."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system has, bytes."""

    total: int
    free: int


class File(Protocol):
    """An open file. Every method may raise OSError; ``pwrite`` may also write less than asked."""

    def pread(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset``; fewer only at the end of the file."""
        ...

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write at ``offset``; how many bytes were taken."""
        ...

    def sync(self) -> None:
        """Make the data durable. After an OSError what was not yet durable counts as lost."""
        ...

    def allocate(self, size: int) -> None:
        """Grow the file to ``size`` bytes that read as zeros and whose space is guaranteed."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file, or grow it with a hole."""
        ...

    def size(self) -> int:
        """Length, bytes."""
        ...

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        ...


class FileSystem(Protocol):
    """Directories and files. A rename or unlink is durable only after ``sync_directory``."""

    def open(self, path: Path, *, create: bool = False, writable: bool = False) -> File:
        """Open a file; FileNotFoundError where it is missing and ``create`` is not set."""
        ...

    def names(self, directory: Path) -> list[str]:
        """Names of the files in a directory, sorted; empty where the directory is missing."""
        ...

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents; nothing happens where it exists."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Replace ``target`` by ``source``."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        ...

    def sync_directory(self, directory: Path) -> None:
        """Make creations, renames and removals in a directory durable."""
        ...

    def space(self, directory: Path) -> Space:
        """Total and free bytes of the file system that holds ``directory``."""
        ...

    def lock(self, path: Path) -> Callable[[], None]:
        """Take an exclusive lock until the returned function is called or the process ends; LockedError."""
        ...


class OsFile:
    """A file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pread(self, size: int, offset: int) -> bytes:
        """See :class:`File`."""
        return os.pread(self._descriptor, size, offset)

    def pwrite(self, data: bytes, offset: int) -> int:
        """See :class:`File`."""
        return os.pwrite(self._descriptor, data, offset)

    def sync(self) -> None:
        """See :class:`File`."""
        os.fdatasync(self._descriptor)

    def allocate(self, size: int) -> None:
        """See :class:`File`."""
        os.posix_fallocate(self._descriptor, 0, size)

    def truncate(self, size: int) -> None:
        """See :class:`File`."""
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        """See :class:`File`."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """See :class:`File`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class OsFileSystem:
    """The machine's file system (Linux)."""

    def open(self, path: Path, *, create: bool = False, writable: bool = False) -> OsFile:
        """See :class:`FileSystem`."""
        flags = os.O_CLOEXEC | (os.O_RDWR if writable or create else os.O_RDONLY) | (os.O_CREAT if create else 0)
        return OsFile(os.open(path, flags, 0o640))

    def names(self, directory: Path) -> list[str]:
        """See :class:`FileSystem`."""
        try:
            return sorted(entry.name for entry in os.scandir(directory) if entry.is_file())
        except FileNotFoundError:
            return []

    def make_directory(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        path.mkdir(mode=0o750, parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        """See :class:`FileSystem`."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        path.unlink()

    def sync_directory(self, directory: Path) -> None:
        """See :class:`FileSystem`."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def space(self, directory: Path) -> Space:
        """See :class:`FileSystem`."""
        figures = os.statvfs(directory)
        return Space(figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize)

    def lock(self, path: Path) -> Callable[[], None]:
        """See :class:`FileSystem`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise LockedError(errno.EBUSY, "another davy agent uses this directory", str(path)) from error
        return lambda: os.close(descriptor)


def write_all(file: File, data: bytes, offset: int) -> None:
    """Write everything or raise OSError; a short write is tried on."""
    written = file.pwrite(data, offset)
    while written < len(data):
        more = file.pwrite(data[written:], offset + written)
        if more <= 0:
            raise OSError(errno.EIO, "write makes no progress")
        written += more


def read_whole(fs: FileSystem, path: Path) -> bytes:
    """The content of a file."""
    file = fs.open(path)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()


def write_atomic(fs: FileSystem, path: Path, data: bytes) -> None:
    """Replace a file so that after a crash either the old or the new content stands there, durably."""
    draft = path.with_name(path.name + ".new")
    try:
        file = fs.open(draft, create=True)
        try:
            file.truncate(0)
            write_all(file, data, 0)
            file.sync()
        finally:
            file.close()
        fs.rename(draft, path)
    except OSError:
        with suppress(OSError):
            fs.unlink(draft)
        raise
    fs.sync_directory(path.parent)


def set_aside(fs: FileSystem, path: Path, ending: str) -> Path:
    """Rename what cannot be read, never over another file; the new path."""
    taken = set(fs.names(path.parent))
    target = path.with_name(f"{path.name}.{ending}")
    count = 1
    while target.name in taken:
        count += 1
        target = path.with_name(f"{path.name}.{ending}{count}")
    fs.rename(path, target)
    fs.sync_directory(path.parent)
    return target
