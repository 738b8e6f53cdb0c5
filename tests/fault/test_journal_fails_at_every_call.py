"""One scripted life of a journal, repeated with a fault at every single call to the file system."""

import errno

import pytest

from agent.core.records import Kind, Record
from agent.journal.chain import verify
from agent.journal.log import Journal, JournalError
from tests.support.fake_fs import FakeFileSystem
from tests.support.journals import (
    DIRECTORY,
    SECOND,
    START,
    alarm,
    assert_chain,
    batch,
    essences,
    open_journal,
    options,
    read_all,
    tick,
)

APPENDS = 30


def live(fs: FakeFileSystem, journal: Journal) -> list[Record]:
    """Appends with a sync after every third; what failed is left out. Rolls several times."""
    accepted: list[Record] = []
    for n in range(APPENDS):
        try:
            accepted += journal.append([*(batch(n * 20 + k) for k in range(20)), alarm(n), tick(n)], START + n * SECOND)
            if n % 3 == 0:
                journal.sync()
        except JournalError:
            continue
    return accepted


def calls_of_a_life() -> int:
    fs = FakeFileSystem()
    journal = open_journal(fs, options(segment_size=4 << 10))
    before = fs.calls
    live(fs, journal)
    return fs.calls - before


CALLS = calls_of_a_life()


@pytest.mark.parametrize("times", [1, 3], ids=["once", "thrice"])
@pytest.mark.parametrize(
    ("code", "is_short"), [(errno.EIO, False), (errno.EIO, True), (errno.ENOSPC, True), (errno.EROFS, False)]
)
def test_a_fault_at_any_call_loses_nothing_that_was_taken(code: int, is_short: bool, times: int) -> None:
    assert CALLS > 80
    for nth in range(1, CALLS + 1, 1 if times == 1 and code == errno.EIO else 3):
        fs = FakeFileSystem()
        journal = open_journal(fs, options(segment_size=4 << 10))
        fs.fail(nth, code, times=times, is_short=is_short)
        accepted = live(fs, journal)
        fs.heal()
        what = f"fault at call {nth}"
        assert journal.sync() == journal.last_seq, what
        assert [record.seq for record in accepted] == list(range(1, len(accepted) + 1)), what
        # A full disk gives up the oldest readings first; nothing else may be missing.
        kept = [r for r in accepted if r.seq >= journal.oldest_seq or r.kind is not Kind.READINGS]
        assert len(kept) == len(accepted) or code == errno.ENOSPC, what
        assert essences(read_all(journal, max_bytes=10_000)) == essences(kept), what
        journal.close()
        again = open_journal(fs, options(segment_size=4 << 10))
        assert again.recovery.gaps == [], what
        records = read_all(again, max_bytes=10_000)
        assert essences(records) == essences(kept), what
        assert_chain(records)
        assert verify(DIRECTORY, fs=fs).ok, what  # type: ignore[arg-type]


def test_a_power_cut_at_any_call_keeps_what_was_synced() -> None:
    for nth in range(1, CALLS + 1, 2):
        fs = FakeFileSystem()
        journal = open_journal(fs, options(segment_size=4 << 10))
        fs.fail(nth, errno.EIO, times=1 << 30)
        accepted = live(fs, journal)
        synced = journal.synced_seq
        fs.heal()
        fs.power_cut(nth)
        again = open_journal(fs, options(segment_size=4 << 10))
        records = read_all(again, max_bytes=10_000)
        assert len(records) >= synced, f"cut at call {nth}"
        assert essences(records) == essences(accepted[: len(records)]), f"cut at call {nth}"
        assert again.recovery.gaps == []
        assert verify(DIRECTORY, fs=fs).ok, f"cut at call {nth}"  # type: ignore[arg-type]
