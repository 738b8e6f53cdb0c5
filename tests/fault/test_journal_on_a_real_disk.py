"""The journal on the machine's own file system: a small disk run full, kill -9, rotten and truncated files."""

import json
import os
import random
import select
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.records import Kind, Lane, Record
from agent.journal.chain import verify
from agent.journal.fs import LockedError
from agent.journal.inspect import inspect
from agent.journal.log import Journal, JournalOptions
from tests.support.journals import START, alarm, assert_chain, audit, batch, essence, essences, fill, read_all

ROOT = Path(__file__).parents[2]
CHILD = [sys.executable, "-m", "tests.support.journal_child"]


def open_real(directory: Path, *, segment_size: int = 64 << 10) -> Journal:
    options = JournalOptions(directory / "journal", max_size=64 << 20, segment_size=segment_size)
    return Journal.open(options, now_ns=START, machine_id="m", delivered={})


@pytest.mark.process
def test_on_a_full_tmpfs_readings_are_refused_alarms_go_on_and_it_recovers_by_itself(tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size=4m none {tmp_path} && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *CHILD, "fill", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["refused"] > 100
    assert result["alarms"] > 50
    assert result["alarms_same"]
    assert result["last_is_there"]
    assert result["gaps"] == []
    assert result["verified"]


@pytest.mark.process
def test_kill_9_at_random_moments_loses_nothing_that_has_a_seq(tmp_path: Path) -> None:
    rng = random.Random(7)
    last: dict[str, object] = {"appended": 0}
    for _ in range(6):
        with subprocess.Popen([*CHILD, "write", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            recovered = json.loads(child.stdout.readline())
            assert recovered["gaps"] == []
            assert recovered["recovered"] >= int(str(last["appended"]))
            output = b""
            wanted = rng.randint(2_000, 60_000)
            while len(output) < wanted:
                assert select.select([child.stdout], [], [], 20)[0], "the child writes nothing"
                output += os.read(child.stdout.fileno(), 4096)
            child.kill()
            output += child.stdout.read()
        lines = [json.loads(line) for line in output.split(b"\n")[:-1]]
        last = [line for line in lines if "appended" in line][-1]
    journal = open_real(tmp_path, segment_size=128 << 10)
    records = read_all(journal, max_bytes=1 << 20)
    assert [record.seq for record in records] == list(range(1, journal.last_seq + 1))
    assert_chain(records)
    seq = int(str(last["appended"]))
    assert records[seq - 1].hash.hex() == last["hash"]
    assert verify(tmp_path / "journal").ok


def test_a_flipped_byte_and_a_cut_in_real_files_cost_only_what_they_hit(tmp_path: Path) -> None:
    journal = open_real(tmp_path)
    records = fill(journal, 3_000, sync_every=100)
    journal.close()
    segments = sorted((tmp_path / "journal" / "segments").glob("*.seg"))
    assert len(segments) >= 3
    with segments[0].open("r+b") as file:
        file.seek(20_000)
        byte = file.read(1)[0]
        file.seek(20_000)
        file.write(bytes([byte ^ 0x10]))
    os.truncate(segments[-1], segments[-1].stat().st_size // 64)
    journal = open_real(tmp_path)
    read = read_all(journal)
    known = {record.seq: record for record in records}
    assert essences(read) == essences(known[record.seq] for record in read)
    assert len(read) > len(records) * 0.6
    alarms = [r for r in records if r.kind is Kind.ALARM and r.seq < journal.last_seq]
    assert [r for r in read if r.kind is Kind.ALARM][: len(alarms) - 5] != []
    (damage,) = journal.take_damage()
    assert damage.file == segments[0].name
    more = journal.append([batch(1), alarm(2)], START)
    journal.sync()
    assert read_all(journal, after=more[0].seq - 1)[-1].hash == more[-1].hash


def test_a_second_process_is_kept_out_of_the_directory(tmp_path: Path) -> None:
    journal = open_real(tmp_path)
    with pytest.raises(LockedError, match="another davy agent"):
        open_real(tmp_path)
    journal.close()
    open_real(tmp_path).close()


def test_inspect_tells_the_figures_of_an_open_and_of_a_closed_journal(tmp_path: Path) -> None:
    journal = open_real(tmp_path)
    records = fill(journal, 500)
    stop = journal.append([audit(1)], START)[0]
    journal.sync()
    for _ in range(2):
        figures = inspect(tmp_path / "journal")
        assert figures["first_seq"] == 1
        assert figures["last_seq"] == stop.seq
        assert figures["readings"] == sum(record.readings for record in records)
        assert figures["records"]["readings"] == 500
        assert figures["epoch"] == journal.epoch
        assert figures["last_stop"] is None
        assert verify(tmp_path / "journal").ok
        journal.close()


def test_a_new_journal_writes_nothing_but_what_it_needs(tmp_path: Path) -> None:
    journal = open_real(tmp_path)
    used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert used <= 2 * (64 << 10) + 1024
    journal.close()


def test_appending_syncing_and_reading_threads_agree_while_segments_come_and_go(tmp_path: Path) -> None:
    options = JournalOptions(tmp_path / "journal", max_size=64 << 10, segment_size=4 << 10)
    journal = Journal.open(options, now_ns=START, machine_id="m", delivered={})
    done, synced = threading.Event(), threading.Event()
    appended: dict[int, tuple[object, ...]] = {}
    seen: dict[Lane | None, list[Record]] = {None: [], Lane.ALARMS: [], Lane.READINGS: []}

    def append() -> None:
        for n in range(250):
            records = journal.append([batch(n * 5 + k) for k in range(5)] + [alarm(n)], START + n)
            appended.update({record.seq: essence(record) for record in records})
        done.set()

    def sync() -> None:
        while not done.is_set():
            journal.sync()
        journal.sync()
        synced.set()

    def read(lane: Lane | None) -> None:
        after = 0
        while not synced.is_set() or after < journal.synced_seq:
            chunk = journal.read(lane, after, 4_000)
            assert chunk.seen >= after
            seen[lane] += chunk.records
            after = chunk.seen

    with ThreadPoolExecutor(5) as pool:
        tasks = [pool.submit(append), pool.submit(sync), *(pool.submit(read, lane) for lane in seen)]
        for task in tasks:
            task.add_done_callback(lambda finished: (done.set(), synced.set()) if finished.exception() else None)
    for task in tasks:
        task.result()
    assert journal.last_seq == journal.synced_seq == 1_500
    for lane, records in seen.items():
        seqs = [record.seq for record in records]
        assert seqs == sorted(set(seqs)), lane
        assert all(essence(record) == appended[record.seq] for record in records), lane
    assert len(seen[Lane.ALARMS]) == 250
    assert journal.take_damage() == []
    assert journal.take_evictions() != []
    journal.close()
    assert verify(tmp_path / "journal").ok
