"""Bytes that rot, are cut, or never reached the disk: what is proved to have been synced is a gap, the rest is torn."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from agent.core.records import Kind, Lane, Record
from agent.journal.chain import verify
from agent.journal.format import SEGMENT_HEADER_SIZE, seed_of
from agent.journal.log import Journal
from agent.journal.segment import Frame, FrameScanner
from tests.support.fake_fs import FakeFileSystem
from tests.support.journals import (
    DIRECTORY,
    START,
    alarm,
    assert_chain,
    batch,
    essences,
    fill,
    open_journal,
    options,
    read_all,
)

FIRST = DIRECTORY / "segments" / "0000000001.seg"


def written(count: int = 40) -> tuple[FakeFileSystem, list[Record], Journal]:
    """A journal of one segment with a frame for each append, stopped as if killed."""
    fs = FakeFileSystem()
    journal = open_journal(fs)
    records = fill(journal, count)
    fs.kill()
    return fs, records, journal


def frames(fs: FakeFileSystem, journal: Journal) -> list[Frame]:
    content = fs.content(FIRST)
    scanner = FrameScanner(fs.open(FIRST), seed_of(journal.epoch, 1), SEGMENT_HEADER_SIZE, len(content))
    return [item for item in scanner.scan() if isinstance(item, Frame)]


def test_a_damaged_synced_frame_is_a_gap_and_its_neighbours_are_read() -> None:
    fs, records, journal = written()
    frame = frames(fs, journal)[10]
    fs.content(FIRST)[frame.offset + 70] ^= 0x40
    journal = open_journal(fs)
    gap = (frame.header.first_seq, frame.header.last_seq)
    assert journal.recovery.gaps == [gap]
    assert journal.last_seq == records[-1].seq
    assert essences(read_all(journal)) == essences(r for r in records if not gap[0] <= r.seq <= gap[1])
    assert journal.take_damage() == [], "recovery reported it already"
    report = verify(DIRECTORY, fs=fs)
    assert not report.ok
    assert report.first_bad is not None
    assert report.first_bad[:2] == (gap[0], FIRST.name)
    assert report.gaps == [gap]


def test_a_damaged_last_frame_that_a_cursor_proves_is_a_gap_and_its_seqs_are_never_used_again() -> None:
    fs, records, journal = written()
    frame = frames(fs, journal)[-1]
    fs.content(FIRST)[frame.offset + 5] ^= 1
    journal = open_journal(fs, delivered={"platform/alarms": records[-1].seq})
    assert journal.recovery.gaps == [(frame.header.first_seq, frame.header.last_seq)]
    assert journal.next_seq == records[-1].seq + 1
    assert journal.recovery.new_epoch_reason == "behind_delivered"


def test_a_damaged_last_frame_that_nothing_proves_is_torn_and_kept() -> None:
    fs, records, journal = written()
    frame = frames(fs, journal)[-1]
    fs.content(FIRST)[frame.offset + 5] ^= 1
    journal = open_journal(fs)
    assert journal.recovery.gaps == []
    assert journal.recovery.torn_bytes > 0
    (torn,) = journal.recovery.moved_aside
    assert torn.endswith(".torn")
    assert len(fs.content(FIRST.with_name(torn))) == journal.recovery.torn_bytes
    assert journal.next_seq == frame.header.first_seq
    again = journal.append([alarm(99)], START)
    journal.sync()
    kept = [record for record in records if record.seq < frame.header.first_seq]
    assert essences(read_all(journal)) == essences(kept + again)
    assert_chain(read_all(journal))


def test_after_a_clean_stop_even_the_last_record_is_proved() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    records = fill(journal, 5)
    journal.close()
    last = [frame for frame in frames(fs, journal) if frame.header.records][-1]
    fs.content(FIRST)[last.offset + 30] ^= 1
    journal = open_journal(fs)
    assert journal.recovery.gaps == [(last.header.first_seq, last.header.last_seq)]
    assert journal.next_seq == records[-1].seq + 1


def test_part_of_an_append_is_nothing_of_it() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs, options(segment_size=256 << 10))
    first = journal.append([alarm(1)], START)
    journal.sync()
    # Two frames in one append, of which the second never reached the disk.
    journal.append([batch(n) for n in range(2_000)], START)
    parts = frames(fs, journal)
    assert len(parts) >= 3
    content = fs.content(FIRST)
    content[parts[-1].offset :] = bytes(len(content) - parts[-1].offset)
    fs.kill()
    journal = open_journal(fs)
    assert journal.last_seq == first[-1].seq
    assert essences(read_all(journal)) == essences(first)


@pytest.mark.parametrize("size", [0, 1, 100, SEGMENT_HEADER_SIZE, SEGMENT_HEADER_SIZE + 100, 2_000])
def test_a_truncated_last_segment_keeps_what_is_before_the_cut(size: int) -> None:
    fs, records, _ = written()
    del fs.content(FIRST)[size:]
    journal = open_journal(fs)
    assert essences(read_all(journal)) == essences(records[: journal.last_seq])
    more = journal.append([batch(1), alarm(1)], START)
    journal.sync()
    assert read_all(journal)[-1].hash == more[-1].hash


def test_a_lost_segment_header_loses_no_record() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    records = fill(journal, 1_500)
    assert journal.stats()["segments"] >= 3
    journal.close()
    paths = [path for path in fs.paths() if path.suffix == ".seg"]
    for path in (paths[1], paths[-1]):
        fs.content(path)[:100] = bytes(100)
        journal = open_journal(fs)
        assert journal.recovery.gaps == []
        assert essences(read_all(journal)) == essences(records)
        assert journal.last_seq == records[-1].seq
        assert journal.chain_head == [r for r in records if r.kind is Kind.ALARM][-1].hash
        journal.close()


def test_a_lost_segment_in_the_middle_is_a_gap_but_its_alarms_are_in_the_event_log() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    records = fill(journal, 1_500)
    journal.close()
    paths = [path for path in fs.paths() if path.suffix == ".seg"]
    fs.remove(paths[1])
    journal = open_journal(fs)
    ((first, last),) = journal.recovery.gaps
    kept = [r for r in records if not first <= r.seq <= last]
    assert essences(read_all(journal)) == essences(kept)
    assert essences(read_all(journal, Lane.ALARMS)) == essences(r for r in records if r.kind is Kind.ALARM)


def test_damage_in_an_older_segment_is_found_by_its_reader_and_told_once() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    records = fill(journal, 1_500)
    fs.content(FIRST)[5_000:5_004] = b"rot!"
    for _ in range(2):
        read = read_all(journal)
        assert 0 < len(records) - len(read) < 40
        known = {record.seq: record for record in records}
        assert essences(read) == essences(known[record.seq] for record in read)
    (damage,) = journal.take_damage()
    missing = {record.seq for record in records} - {record.seq for record in read}
    assert missing == set(range(damage.first_seq, damage.last_seq + 1))
    assert damage.file == FIRST.name
    assert journal.take_damage() == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_damaged_the_journal_opens_and_invents_nothing(data: st.DataObject) -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    records = fill(journal, 400)
    journal.close()
    paths = [path for path in fs.paths() if path.name != "reserve" and fs.content(path)]
    for path in data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=3)):
        content = fs.content(path)
        start = data.draw(st.integers(0, 9_999)) * len(content) // 10_000
        if data.draw(st.booleans()):
            del content[start:]
            if not content:
                continue
        else:
            size = data.draw(st.integers(1, 600))
            content[start : start + size] = data.draw(st.binary(min_size=size, max_size=size))[: len(content) - start]
    journal = open_journal(fs)
    lost_layout = any(".json" in name for name in journal.recovery.moved_aside)
    known = {record.seq: record for record in records}
    for record in read_all(journal):
        if record.kind is not Kind.READINGS or not lost_layout:
            assert essences([record]) == essences([known[record.seq]])
    before = journal.next_seq
    more = journal.append([batch(1), alarm(1)], START)
    journal.sync()
    assert [record.seq for record in more] == [before, before + 1]
    assert read_all(journal, after=before - 1)[-1].hash == more[-1].hash
    verify(DIRECTORY, fs=fs)


def test_verify_names_the_first_altered_record() -> None:
    fs = FakeFileSystem()
    journal = open_journal(fs)
    records = fill(journal, 1_500)
    journal.close()
    clean = verify(DIRECTORY, fs=fs)
    assert clean.ok
    assert clean.records == len(records)
    assert clean.chained == len([r for r in records if r.kind is Kind.ALARM])
    events = next(path for path in fs.paths() if path.suffix == ".evt")
    fs.content(events)[400] ^= 1
    report = verify(DIRECTORY, fs=fs)
    assert not report.ok
    assert report.first_bad is not None
    assert report.first_bad[1] == events.name
