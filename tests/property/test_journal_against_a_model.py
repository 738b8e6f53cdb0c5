"""Whatever happens to the disk and the process: what was synced is read back as it was, and nothing is invented."""

import errno
from contextlib import suppress
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from agent.core.records import Draft, Record
from agent.journal.chain import verify
from agent.journal.log import Journal, JournalError
from tests.support.fake_fs import FakeFileSystem
from tests.support.journals import (
    DIRECTORY,
    START,
    alarm,
    assert_chain,
    audit,
    batch,
    essences,
    open_journal,
    read_all,
    tick,
)

MAKERS = {"r": batch, "a": alarm, "u": audit, "t": tick}
CODES = (errno.EIO, errno.ENOSPC, errno.EROFS)

appends = st.tuples(st.just("append"), st.text("rrrraut", min_size=1, max_size=40))
faults = st.tuples(
    st.just("fault"), st.integers(1, 12), st.sampled_from(CODES), st.sampled_from((1, 1, 2, 5, 20)), st.booleans()
)
steps = st.one_of(
    appends,
    appends,
    appends,
    st.tuples(st.just("sync")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("kill")),
    st.tuples(st.just("power_cut"), st.integers(0, 1 << 30)),
    faults,
)


@dataclass
class World:
    """The journal beside a plain list of what it said it took."""

    fs: FakeFileSystem = field(default_factory=FakeFileSystem)
    accepted: list[Record] = field(default_factory=list)
    synced_seq: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self.journal: Journal = open_journal(self.fs)

    def append(self, kinds: str) -> None:
        drafts: list[Draft] = []
        for kind in kinds:
            self.count += 1
            drafts.append(MAKERS[kind](self.count))
        before = (self.journal.next_seq, self.journal.chain_head, self.journal.last_chained_seq)
        try:
            records = self.journal.append(drafts, START + self.count)
        except JournalError:
            assert (self.journal.next_seq, self.journal.chain_head, self.journal.last_chained_seq) == before
        else:
            assert [record.seq for record in records] == list(range(before[0], before[0] + len(drafts)))
            self.accepted += records
        self.synced_seq = self.journal.synced_seq

    def sync(self) -> None:
        with suppress(JournalError):
            assert self.journal.sync() == self.journal.last_seq
        self.synced_seq = self.journal.synced_seq

    def fault(self, nth: int, code: int, times: int, is_short: bool) -> None:
        self.fs.fail(nth, code, times=times, is_short=is_short)

    def reopen(self) -> None:
        self.fs.heal()
        try:
            self.journal.close()
        finally:
            self._open(everything=True)

    def kill(self) -> None:
        self.fs.heal()
        self.fs.kill()
        self._open(everything=False)

    def power_cut(self, seed: int) -> None:
        self.fs.heal()
        self.fs.power_cut(seed)
        self._open(everything=False)

    def _open(self, *, everything: bool) -> None:
        self.journal = open_journal(self.fs)
        assert self.journal.recovery.new_epoch_reason is None
        assert self.journal.recovery.gaps == []
        last = self.accepted[-1].seq if self.accepted else 0
        assert self.synced_seq <= self.journal.last_seq <= last
        if everything:
            assert self.journal.last_seq == last
        self.accepted = [record for record in self.accepted if record.seq <= self.journal.last_seq]
        self.synced_seq = self.journal.synced_seq
        self.check()

    def check(self) -> None:
        read = read_all(self.journal)
        wanted = [record for record in self.accepted if record.seq <= self.synced_seq]
        assert essences(read) == essences(wanted)
        assert_chain(read)
        assert self.journal.take_damage() == []
        report = verify(DIRECTORY, fs=self.fs)  # type: ignore[arg-type]
        assert report.ok, report


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=30))
def test_what_was_synced_survives_faults_kills_and_power_cuts(story: list[tuple[object, ...]]) -> None:
    world = World()
    for name, *arguments in story:
        getattr(world, str(name))(*arguments)
    world.fs.heal()
    world.sync()
    world.check()
    world.reopen()
