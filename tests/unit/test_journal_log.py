"""What a journal promises: one sequence, lanes, epochs, eviction, the reserve."""

import errno
from array import array
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from agent.core.batch import Batch, Layout
from agent.core.records import GENESIS, Event, Kind, Lane
from agent.journal.chain import verify
from agent.journal.format import SEGMENT_HEADER_SIZE, crc32c
from agent.journal.fs import LockedError
from agent.journal.log import JournalError, JournalFullError
from tests.support.fake_fs import FakeFile, FakeFileSystem
from tests.support.journals import (
    DIRECTORY,
    OTHER,
    SECOND,
    START,
    alarm,
    assert_chain,
    audit,
    batch,
    essences,
    fill,
    open_journal,
    options,
    read_all,
    tick,
)

DAY = 86_400 * SECOND


def test_every_kind_comes_back_as_it_was_appended() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    appended = journal.append([batch(1), alarm(2), audit(3), tick(4)], START)
    journal.sync()
    assert [record.kind for record in appended] == [Kind.READINGS, Kind.ALARM, Kind.AUDIT, Kind.TICK]
    assert appended[1].fields == {**alarm(2).fields, "seq": 2, "epoch": journal.epoch, "recorded": START}
    assert appended[1].prev == GENESIS
    assert appended[2].prev == appended[1].hash == journal.read(Lane.ALARMS, 1, 1).records[0].hash
    assert essences(read_all(journal)) == essences(appended)
    assert read_all(journal)[2].fields == appended[2].fields
    assert journal.chain_head == appended[2].hash
    assert journal.last_chained_seq == 3


def test_only_synced_records_are_read() -> None:
    journal = open_journal(FakeFileSystem())
    journal.append([batch(1), alarm(1)], START)
    assert read_all(journal) == []
    assert journal.read(Lane.READINGS, 0, 100).seen == 0
    journal.sync()
    assert len(read_all(journal)) == 2


def test_lanes_hold_their_kinds_and_tell_how_far_they_looked() -> None:
    journal = open_journal(FakeFileSystem())
    records = fill(journal, 300)
    for lane in Lane:
        wanted = [record for record in records if record.kind in lane.kinds]
        assert essences(read_all(journal, lane)) == essences(wanted)
        assert journal.read(lane, 0, 1 << 30).seen == journal.last_seq
    middle = journal.read(None, 100, 1 << 30, upto=200)
    assert [record.seq for record in middle.records] == list(range(101, 201))
    assert middle.seen == 200


def test_a_chunk_holds_about_what_was_asked_for_and_at_least_one_record() -> None:
    journal = open_journal(FakeFileSystem())
    fill(journal, 100)
    assert len(journal.read(Lane.READINGS, 0, 1).records) == 1
    assert 5 <= len(journal.read(Lane.READINGS, 0, 1_000).records) <= 15


def test_the_sequence_and_the_chain_go_on_after_a_restart() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    first = fill(journal, 50)
    epoch = journal.epoch
    journal.close()
    journal = open_journal(fs)
    assert journal.recovery.new_epoch_reason is None
    assert journal.recovery.last_at_ns == START + 49 * SECOND
    assert journal.epoch == epoch
    second = journal.append([alarm(1)], START)
    journal.sync()
    assert second[0].seq == first[-1].seq + 1
    records = read_all(journal)
    assert essences(records) == essences(first + second)
    assert_chain(records)


def test_a_second_agent_on_the_same_directory_gets_a_clear_error() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    with pytest.raises(LockedError, match="another davy agent"):
        open_journal(fs)
    journal.close()
    open_journal(fs).close()


def test_a_draft_that_cannot_be_written_uses_no_seq() -> None:
    journal = open_journal(FakeFileSystem())
    with pytest.raises(ValueError, match="JSON"):
        journal.append([alarm(1), Event(Kind.AUDIT, {"value": float("nan")})], START)
    assert journal.next_seq == 1
    assert journal.chain_head == GENESIS
    assert journal.append([], START) == []


def test_a_record_larger_than_a_segment_stands_alone() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    import random

    text = "".join(random.Random(1).choices("0123456789abcdef", k=300_000))
    journal.append([alarm(1), Event(Kind.AUDIT, {"kind": "configuration", "text": text}), alarm(2)], START)
    journal.sync()
    journal.close()
    journal = open_journal(fs)
    assert read_all(journal)[1].fields["text"] == text
    assert journal.last_seq == 3


def test_readings_of_a_lost_layout_keep_their_values_until_it_is_registered_again() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    lost = Layout("tankfarm", ("T101.level", "T101.temp", "T101.mA"))
    journal.append([batch(1), Batch(OTHER, START, array("d", [2.5]))], START)
    journal.close()
    path = DIRECTORY / "layouts" / f"{lost.id.hex()}.json"
    fs.content(path)[3] ^= 1
    journal = open_journal(fs)
    assert journal.recovery.moved_aside == [f"{path.name}.bad"]
    found, other = read_all(journal)
    assert found.batch is not None
    assert found.batch.values[1] == 1 / 7.0
    assert found.batch.layout.device == f"unknown-{lost.id.hex()}"
    assert other.batch is not None
    assert other.batch.layout == OTHER
    journal.register_layout(lost)
    found = read_all(journal)[0]
    assert found.batch is not None
    assert found.batch.layout == lost


def test_a_journal_of_a_newer_version_is_left_alone() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    fill(journal, 5)
    journal.close()
    path = DIRECTORY / "segments" / "0000000001.seg"
    content = fs.content(path)
    head = bytearray(content[: SEGMENT_HEADER_SIZE - 4])
    head[8] = 2
    content[:SEGMENT_HEADER_SIZE] = head + crc32c(bytes(head)).to_bytes(4, "little")
    before = {path: bytes(fs.content(path)) for path in fs.paths()}
    with pytest.raises(JournalError, match="format 2"):
        open_journal(fs)
    assert {path: bytes(fs.content(path)) for path in fs.paths()} == before


def test_quiet_segments_are_sealed_once_and_not_looked_at_again() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs, options(segment_size=4 << 10))
    journal.append([alarm(0)], START)
    for n in range(600):
        journal.append([batch(n)], START)
    journal.sync()
    journal.close()
    journal = open_journal(fs, options(segment_size=4 << 10))
    sealed = [segment.is_sealed for segment in journal._files.segments]
    assert len(sealed) > 5
    assert all(sealed[:-1])
    assert [record.seq for record in read_all(journal, Lane.ALARMS)] == [1]


# ── epochs ────────────────────────────────────────────────────────────────────


def test_a_new_journal_begins_behind_what_is_known_as_delivered() -> None:
    journal = open_journal(FakeFileSystem(), delivered={"platform/readings": 5000})
    assert journal.recovery.new_epoch_reason == "created"
    assert journal.next_seq == 5001


def test_another_machine_or_path_begins_an_epoch_and_the_sequence_goes_on() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    first = fill(journal, 30)
    journal.close()
    epoch = journal.epoch
    journal = open_journal(fs, machine="m2")
    assert journal.recovery.new_epoch_reason == "machine"
    assert journal.recovery.previous_epoch == epoch != journal.epoch
    assert journal.recovery.gaps == []
    second = journal.append([alarm(1)], START)
    journal.sync()
    assert second[0].prev == GENESIS
    assert second[0].seq == first[-1].seq + 1
    assert essences(read_all(journal)) == essences(first + second)
    journal.close()
    assert verify(DIRECTORY, fs=fs).ok
    assert len(verify(DIRECTORY, fs=fs).epochs) == 2
    journal = open_journal(fs, machine="m2")
    assert journal.recovery.new_epoch_reason is None
    assert journal.chain_head == second[0].hash


def test_a_journal_that_ends_before_a_delivered_seq_begins_an_epoch_behind_it() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    last = fill(journal, 10)[-1].seq
    journal.close()
    journal = open_journal(fs, delivered={"platform/alarms": last + 20})
    assert journal.recovery.new_epoch_reason == "behind_delivered"
    assert journal.recovery.gaps == [(last + 1, last + 20)]
    assert journal.next_seq == last + 21


def test_lost_meta_and_lost_segments_begin_an_epoch() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    last = fill(journal, 10)[-1].seq
    journal.close()
    fs.content(DIRECTORY / "META")[:4] = b"junk"
    journal = open_journal(fs)
    assert journal.recovery.new_epoch_reason == "meta_lost"
    assert journal.recovery.moved_aside == ["META.bad"]
    assert journal.next_seq == last + 1
    assert len(read_all(journal)) == last
    journal.close()
    for path in fs.paths():
        if path.suffix == ".seg":
            fs.remove(path)
    assert open_journal(fs).recovery.new_epoch_reason == "segments_missing"


# ── room ──────────────────────────────────────────────────────────────────────


def test_readings_are_given_up_oldest_first_and_their_events_are_kept() -> None:
    fs = FakeFileSystem()
    opts = options(max_size=400 << 10, segment_size=16 << 10, keep_ns=30 * DAY)
    journal = open_journal(fs, opts)
    journal.set_delivered(2_000)
    records = [record for n in range(40) for record in fill(journal, 100)]
    assert journal.stats()["bytes"] <= 400 << 10
    evictions = journal.take_evictions()
    assert journal.take_evictions() == []
    assert evictions[0].first_seq == 1
    for earlier, later in pairwise(evictions):
        assert later.first_seq == earlier.last_seq + 1
    assert journal.oldest_seq == evictions[-1].last_seq + 1
    given_up = [record for record in records if record.seq < journal.oldest_seq]
    assert sum(e.readings["tankfarm"] for e in evictions) == sum(record.readings for record in given_up)
    assert evictions[0].delivered
    assert not evictions[-1].delivered
    assert evictions[0].short_of_keep_ns > 29 * DAY
    alarms = [record for record in records if record.kind is Kind.ALARM]
    assert essences(read_all(journal, Lane.ALARMS)) == essences(alarms)
    kept = [record for record in records if record.seq >= journal.oldest_seq or record.kind is not Kind.READINGS]
    assert essences(read_all(journal)) == essences(kept)
    journal.close()
    report = verify(DIRECTORY, fs=fs)
    assert report.ok, report
    assert report.chained == len(alarms)
    journal = open_journal(fs, opts)
    assert essences(read_all(journal)) == essences(kept)
    assert journal.recovery.gaps == []


class Interrupted(FakeFileSystem):
    """Something happens just before a segment is opened for reading."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], object] = lambda: None

    def open(self, path: Path, *, create: bool = False, writable: bool = False) -> FakeFile:
        if path.suffix == ".seg" and not create and not writable:
            then, self.then = self.then, lambda: None
            then()
        return super().open(path, create=create, writable=writable)


def test_alarms_of_a_segment_that_is_given_up_under_the_reader_come_from_the_event_log() -> None:
    fs = Interrupted()
    journal = open_journal(fs, options(max_size=64 << 10, segment_size=4 << 10))
    records = journal.append([batch(1), alarm(1), batch(2), alarm(2)], START)
    journal.sync()
    fs.then = lambda: [journal.append([batch(n)], START) for n in range(800)]
    chunk = journal.read(Lane.ALARMS, 0, 10_000)
    assert journal.oldest_seq > 4
    assert essences(chunk.records) == essences([records[1], records[3]])
    assert chunk.seen == 4


def test_the_reading_counts_of_an_eviction_survive_a_restart() -> None:
    fs = FakeFileSystem()
    opts = options(max_size=400 << 10)
    journal = open_journal(fs, opts)
    records = [record for n in range(12) for record in fill(journal, 100)]
    assert journal.take_evictions() == []
    journal.close()
    journal = open_journal(fs, opts)
    while not (evictions := journal.take_evictions()):
        records += fill(journal, 100)
    wanted = sum(record.readings for record in records if record.seq <= evictions[0].last_seq)
    assert evictions[0].readings == {"tankfarm": wanted}


def fill_up(fs: FakeFileSystem) -> None:
    """Someone else takes what is left of the disk."""
    fs.foreign_bytes += fs.free()


def test_on_a_full_disk_readings_are_refused_first_then_everything_and_all_is_taken_again_when_there_is_room() -> None:
    fs = FakeFileSystem(capacity=1 << 20)
    journal = open_journal(fs, options(segment_size=16 << 10))
    accepted = journal.append([batch(0), alarm(0)], START)
    journal.sync()
    fill_up(fs)
    now = START
    with pytest.raises(JournalFullError):  # noqa: PT012
        for n in range(1, 10_000):
            now += SECOND
            accepted += journal.append([batch(n * 100 + k) for k in range(50)], now)
    before = journal.last_seq
    with pytest.raises(JournalFullError) as caught:  # noqa: PT012
        for n in range(10_000):
            accepted += journal.append([alarm(n), tick(n)], now)
            with pytest.raises(JournalFullError):
                journal.append([batch(k) for k in range(500)], now)
    assert caught.value.errno == errno.ENOSPC
    assert journal.last_seq > before + 50, "the reserve took no alarms"
    journal.sync()
    assert essences(r for r in read_all(journal) if r.kind is not Kind.READINGS) == essences(
        r for r in accepted if r.kind is not Kind.READINGS
    )
    fs.foreign_bytes = 0
    now += 2 * SECOND
    accepted += journal.append([batch(1), alarm(1)], now)
    journal.sync()
    journal.close()
    assert verify(DIRECTORY, fs=fs).ok
    journal = open_journal(fs, options(segment_size=16 << 10))
    assert journal.last_seq == accepted[-1].seq
    assert journal.stats()["has_reserve"]


def test_the_agent_starts_on_a_full_disk() -> None:
    fs = FakeFileSystem(capacity=1 << 20)
    journal = open_journal(fs)
    fill(journal, 50)
    journal.close()
    for path in fs.paths():
        if path.name == "reserve":
            fs.remove(path)
    fill_up(fs)
    journal = open_journal(fs)
    assert len(read_all(journal)) > 50
    with pytest.raises(JournalFullError):
        journal.append([batch(n) for n in range(3)], START)
    fs.foreign_bytes = 0
    assert journal.append([batch(1)], START + 2 * SECOND)


def test_a_read_only_disk_refuses_everything_and_keeps_the_sequence() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    first = fill(journal, 5)
    fs.fail(1, errno.EROFS, times=1 << 30)
    for _ in range(3):
        with pytest.raises(JournalError):
            journal.append([alarm(1)], START)
        assert journal.next_seq == first[-1].seq + 1
    fs.heal()
    again = journal.append([alarm(1)], START)
    assert again[0].seq == first[-1].seq + 1
    journal.sync()
    assert essences(read_all(journal)) == essences(first + again)


def test_a_failed_fsync_is_never_believed_the_second_time() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    first = journal.append([batch(1), alarm(1)], START)
    journal.sync()
    second = journal.append([batch(2), alarm(2)], START)
    segments = journal.stats()["segments"]
    fs.fail(1)
    assert journal.sync() == second[-1].seq, "written again, to a new segment"
    assert journal.stats()["segments"] == segments + 1
    fs.power_cut(1)
    journal = open_journal(fs)
    assert essences(read_all(journal)) == essences(first + second)
    assert journal.recovery.gaps == []


def test_event_log_files_go_only_after_keep_alarms_and_only_for_room() -> None:
    fs = FakeFileSystem()
    opts = replace(options(max_size=256 << 10, segment_size=16 << 10), keep_alarms_ns=10 * DAY)
    journal = open_journal(fs, opts)
    with pytest.raises(JournalFullError):  # noqa: PT012
        for n in range(100_000):
            journal.append([alarm(n * 50 + k) for k in range(50)], START + n * SECOND)
            journal.sync()
    assert journal.read(Lane.ALARMS, 0, 1).records[0].seq == 1
    records = [r for _ in range(3) for r in journal.append([alarm(k) for k in range(50)], START + 20 * DAY)]
    journal.sync()
    assert journal.read(Lane.ALARMS, 0, 1).records[0].seq > 1
    journal.close()
    report = verify(DIRECTORY, fs=fs)
    assert report.ok, report
    assert read_all(open_journal(fs, opts), Lane.ALARMS)[-1].seq == records[-1].seq
