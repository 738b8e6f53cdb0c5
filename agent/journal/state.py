"""Small state beside the journal: cursors, rule snapshots, command answers. Losing it costs duplicates, no data."""

import logging
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agent.core.records import Lane

log: Final = logging.getLogger("davy.state")

COMMANDS_KEPT_NS: Final = 7 * 86_400 * 10**9
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cursors (destination TEXT, lane TEXT, seq INTEGER NOT NULL, PRIMARY KEY (destination, lane));
CREATE TABLE IF NOT EXISTS snapshots (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS commands (id TEXT PRIMARY KEY, answer BLOB NOT NULL, at_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, data BLOB NOT NULL);
"""


class StateStore:
    """Implements agent.core.ports.Cursors. May be called from any thread.

    Cursors are kept in memory until :meth:`flush`; everything else is durable on return. A full or failing disk raises
    sqlite3.Error from what writes; reading goes on from what is known.
    """

    def __init__(self, path: Path) -> None:
        """Open or create; a file that is no sound database is moved aside and :attr:`moved_aside` names it."""
        self._path = path
        self._lock = threading.Lock()
        self.moved_aside: Path | None = None
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                raise
            self.moved_aside = _move_aside(path)
            log.error("state damaged, moved aside", extra={"file": str(self.moved_aside), "error": str(error)})
            self._database = _open(path)
        rows = self._database.execute("SELECT destination, lane, seq FROM cursors").fetchall()
        self._cursors: dict[tuple[str, Lane], int] = {(name, Lane(lane)): seq for name, lane, seq in rows}
        self._changed: set[tuple[str, Lane]] = set()

    def get(self, destination: str, lane: Lane) -> int | None:
        """See Cursors."""
        return self._cursors.get((destination, lane))

    def put(self, destination: str, lane: Lane, seq: int) -> None:
        """See Cursors."""
        with self._lock:
            self._cursors[destination, lane] = seq
            self._changed.add((destination, lane))

    def cursors(self) -> dict[tuple[str, Lane], int]:
        """All cursors."""
        with self._lock:
            return dict(self._cursors)

    def delivered(self) -> dict[str, int]:
        """The highest seq each cursor stands at, by ``destination/lane``: what Journal.open wants to know."""
        return {f"{destination}/{lane}": seq for (destination, lane), seq in self.cursors().items()}

    def flush(self) -> None:
        """Save the cursors that moved; sqlite3.Error leaves them for the next time."""
        with self._lock:
            if not self._changed:
                return
            moved = [(name, lane.value, self._cursors[name, lane]) for name, lane in self._changed]
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", moved)
            self._changed.clear()

    def put_snapshot(self, name: str, seq: int, data: bytes, items: Mapping[str, bytes] | None = None) -> None:
        """Replace a snapshot: the state after the record ``seq``; with the items it goes with, all or nothing."""
        with self._lock, self._database:
            self._database.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (name, seq, data))
            for key, item in (items or {}).items():
                self._database.execute("INSERT OR REPLACE INTO items VALUES (?, ?)", (key, item))

    def get_snapshot(self, name: str) -> tuple[int, bytes] | None:
        """A snapshot's seq and data."""
        row = self._row("SELECT seq, data FROM snapshots WHERE name = ?", name)
        return None if row is None else (row[0], row[1])

    def put_command(self, command_id: str, answer: bytes, at_ns: int) -> None:
        """Keep a command's answer for 7 days from ``at_ns``, so that a repetition is answered the same."""
        with self._lock, self._database:
            self._database.execute("DELETE FROM commands WHERE at_ns < ?", (at_ns - COMMANDS_KEPT_NS,))
            self._database.execute("INSERT OR REPLACE INTO commands VALUES (?, ?, ?)", (command_id, answer, at_ns))

    def get_command(self, command_id: str) -> bytes | None:
        """The answer a command got."""
        row = self._row("SELECT answer FROM commands WHERE id = ?", command_id)
        return None if row is None else row[0]

    def put_item(self, key: str, data: bytes) -> None:
        """Keep some bytes under a key."""
        self._write("INSERT OR REPLACE INTO items VALUES (?, ?)", key, data)

    def get_item(self, key: str) -> bytes | None:
        """The bytes under a key."""
        row = self._row("SELECT data FROM items WHERE key = ?", key)
        return None if row is None else row[0]

    def _write(self, statement: str, *values: str | int | bytes) -> None:
        with self._lock, self._database:
            self._database.execute(statement, values)

    def _row(self, query: str, key: str) -> tuple[Any, ...] | None:
        with self._lock:
            return self._database.execute(query, (key,)).fetchone()

    def close(self) -> None:
        """Save the cursors and close; sqlite3.Error where they could not be saved."""
        try:
            self.flush()
        finally:
            with self._lock:
                self._database.close()


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        database.execute("PRAGMA journal_mode=WAL").fetchone()
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA wal_autocheckpoint=100")
        database.execute("PRAGMA journal_size_limit=1048576")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"quick_check: {verdict}")
        database.executescript(_SCHEMA)
        for table in ("cursors", "snapshots", "commands", "items"):
            database.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Tell a damaged file (move it aside) from a locked, full or unreadable one (leave it and raise)."""
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _move_aside(path: Path) -> Path:
    count = 1
    while (target := path.with_name(f"{path.name}.{count}.bad")).exists():
        count += 1
    path.replace(target)
    for ending in ("-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.replace(target.with_name(target.name + ending))
    return target
