"""The small state beside the journal survives restarts, and its loss is told."""

import sqlite3
from pathlib import Path

import pytest

from agent.core.records import Lane
from agent.journal.state import COMMANDS_KEPT_NS, StateStore


def test_cursors_are_known_at_once_and_saved_at_flush(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state.db")
    assert store.get("platform", Lane.ALARMS) is None
    store.put("platform", Lane.ALARMS, 41)
    store.put("platform", Lane.READINGS, 7)
    store.put("platform", Lane.ALARMS, 42)
    assert store.get("platform", Lane.ALARMS) == 42
    other = StateStore(tmp_path / "state.db")
    assert other.get("platform", Lane.ALARMS) is None
    other.close()
    store.flush()
    store.put("platform", Lane.READINGS, 9)
    store.close()
    store = StateStore(tmp_path / "state.db")
    assert store.cursors() == {("platform", Lane.ALARMS): 42, ("platform", Lane.READINGS): 9}
    assert store.delivered() == {"platform/alarms": 42, "platform/readings": 9}
    store.close()


def test_snapshots_items_and_answers_are_durable_on_return(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state.db")
    store.put_snapshot("rules", 10, b"old")
    store.put_snapshot("rules", 12, b"new")
    store.put_item("key", b"\x00\xff")
    store.put_command("c1", b"{}", 0)
    other = StateStore(tmp_path / "state.db")
    assert other.get_snapshot("rules") == (12, b"new")
    assert other.get_snapshot("none") is None
    assert other.get_item("key") == b"\x00\xff"
    assert other.get_item("none") is None
    assert other.get_command("c1") == b"{}"
    assert other.get_command("c2") is None


def test_answers_are_kept_for_seven_days(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state.db")
    store.put_command("c1", b"1", 0)
    store.put_command("c2", b"2", COMMANDS_KEPT_NS)
    assert store.get_command("c1") == b"1"
    store.put_command("c3", b"3", COMMANDS_KEPT_NS + 1)
    assert store.get_command("c1") is None
    assert store.get_command("c2") == b"2"


@pytest.mark.parametrize("damage", [b"this is no database at all, it is a text of some length" * 90, b"\x00" * 8192])
def test_a_damaged_file_is_moved_aside_and_started_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "state.db"
    store = StateStore(path)
    for n in range(500):
        store.put_item(f"key{n}", bytes(200))
    store.close()
    with path.open("r+b") as file:
        file.write(damage)
    store = StateStore(path)
    assert store.moved_aside is not None
    assert store.moved_aside.exists()
    assert store.get_item("key1") is None
    store.put_item("key", b"1")
    store.close()
    assert StateStore(path).moved_aside is None


def test_a_damaged_page_in_the_middle_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = StateStore(path)
    for n in range(500):
        store.put_item(f"key{n}", bytes(200))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)
    assert StateStore(path).moved_aside is not None


def test_a_cursor_that_could_not_be_saved_is_saved_next_time(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state.db")
    store.put("platform", Lane.ALARMS, 1)
    blocker = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    store._database.execute("PRAGMA busy_timeout=0")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.flush()
    blocker.execute("ROLLBACK")
    store.flush()
    store.close()
    assert StateStore(tmp_path / "state.db").get("platform", Lane.ALARMS) == 1
