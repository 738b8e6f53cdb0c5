"""Child processes of the journal's fault tests: ``fill`` a full disk, or ``write`` until killed. Prints JSON lines."""

import errno
import json
import sys
from array import array
from pathlib import Path

from agent.core.batch import Batch, Layout
from agent.core.records import Event, Kind, Lane
from agent.journal.chain import verify
from agent.journal.log import Journal, JournalFullError, JournalOptions

SECOND = 1_000_000_000
START = 1_795_248_000 * SECOND
LAYOUT = Layout("tankfarm", tuple(f"T{n}" for n in range(100)))


def batch(n: int) -> Batch:
    return Batch(LAYOUT, START + n * SECOND, array("d", [(n * 7919 + k * 104729) % 65_521 / 7 for k in range(100)]))


def alarm(n: int) -> Event:
    return Event(Kind.ALARM, {"id": f"e{n}", "n": n})


def count(journal: Journal, lane: Lane) -> list[int]:
    seqs: list[int] = []
    after = 0
    while (chunk := journal.read(lane, after, 1 << 20)).records:
        seqs += [record.seq for record in chunk.records]
        after = chunk.seen
    return seqs


def fill(directory: Path) -> None:
    """On a small file system of its own: someone else fills it, readings are refused, alarms go on, room comes back."""
    options = JournalOptions(directory / "journal", segment_size=64 << 10)
    journal = Journal.open(options, now_ns=START, machine_id="m", delivered={})
    now = START
    alarms = [journal.append([batch(0), alarm(0)], now)[1].seq]
    journal.sync()
    hog = (directory / "hog").open("wb", buffering=0)
    try:
        while True:
            hog.write(bytes(4096))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    refused = 0
    for n in range(1, 400):
        now += SECOND
        try:
            journal.append([batch(n)], now)
        except JournalFullError:
            refused += 1
            if n % 4 == 0:
                alarms += [record.seq for record in journal.append([alarm(n)], now)]
        journal.sync()
    hog.truncate(0)
    now += 2 * SECOND
    (last,) = journal.append([batch(1)], now)
    alarms += [record.seq for record in journal.append([alarm(1)], now)]
    journal.sync()
    same = count(journal, Lane.ALARMS) == alarms
    journal.close()
    again = Journal.open(options, now_ns=now, machine_id="m", delivered={})
    result = {
        "refused": refused,
        "alarms": len(alarms),
        "alarms_same": same and count(again, Lane.ALARMS) == alarms,
        "last_is_there": count(again, Lane.READINGS)[-1] == last.seq,
        "gaps": again.recovery.gaps,
        "verified": verify(directory / "journal").ok,
    }
    sys.stdout.write(json.dumps(result) + "\n")


def write(directory: Path) -> None:
    """Append and tell each seq after its append and each sync, until killed."""
    options = JournalOptions(directory / "journal", max_size=64 << 20, segment_size=128 << 10)
    journal = Journal.open(options, now_ns=START, machine_id="m", delivered={})
    recovered = {"recovered": journal.last_seq, "gaps": journal.recovery.gaps, "epoch": journal.epoch}
    sys.stdout.write(json.dumps(recovered) + "\n")
    n = journal.last_seq
    while True:
        n += 1
        records = journal.append([batch(n), batch(n + 1), alarm(n)], START + n * SECOND)
        sys.stdout.write(json.dumps({"appended": records[-1].seq, "hash": records[-1].hash.hex()}) + "\n")
        if n % 7 == 0:
            sys.stdout.write(json.dumps({"synced": journal.sync()}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    {"fill": fill, "write": write}[sys.argv[1]](Path(sys.argv[2]))
