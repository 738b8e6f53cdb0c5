"""Verification of a journal from its files alone, read only, open or closed: CRCs, seqs and the hash chain."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.core.records import GENESIS, chain_hash
from agent.journal.encoding import chain_of
from agent.journal.format import (
    CHAINED_KINDS,
    SEGMENT_HEADER_SIZE,
    FormatError,
    RawRecord,
    seed_of,
)
from agent.journal.fs import File, FileSystem, OsFileSystem, read_whole
from agent.journal.recovery import META_NAME, Meta
from agent.journal.segment import Damage, Frame, FrameScanner, ListedFile, list_files

NOTES_MAX: Final = 100


@dataclass(slots=True)
class Report:
    """What verification found."""

    ok: bool = True
    records: int = 0
    """Records of all kinds that are intact."""
    chained: int = 0
    """Alarm and audit records whose place in the chain was checked."""
    first_bad: tuple[int, str, str] | None = None
    """Seq, file and what is wrong, of the first record in question."""
    epochs: list[str] = field(default_factory=list[str])
    gaps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Seqs (first, last) of segments present that are missing."""
    notes: list[str] = field(default_factory=list[str])
    """What cannot be proved, and what looks odd without being wrong."""

    def bad(self, seq: int, file: str, what: str) -> None:
        """Note something wrong."""
        self.ok = False
        if self.first_bad is None or seq < self.first_bad[0]:
            self.first_bad = (seq, file, what)
        self.note(f"{file}: seq {seq}: {what}")

    def note(self, text: str) -> None:
        """Note something, up to a limit."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class _Chained:
    seq: int
    epoch: str
    file: str
    prev: bytes
    hash: bytes


def verify(directory: Path, *, fs: FileSystem | None = None) -> Report:
    """Check every file of a journal. OSError where the directory cannot be read; damage is in the report."""
    fs = OsFileSystem() if fs is None else fs
    report = Report()
    try:
        Meta.unpack(read_whole(fs, directory / META_NAME))
    except (FileNotFoundError, FormatError) as error:
        report.note(f"{META_NAME} is missing or damaged ({error}): whose journal this is cannot be told")
    chained: dict[int, _Chained] = {}
    for known in _files(fs, directory / "events", ".evt", report):
        for raw in _records(fs, known, report, contiguous=False):
            _check_hash(raw, known, report, chained)
    last: tuple[str, int] | None = None
    for known in _files(fs, directory / "segments", ".seg", report):
        first_seq = known.header.first_seq
        if last is not None and last[0] == known.header.epoch and first_seq > last[1] + 1:
            report.gaps.append((last[1] + 1, first_seq - 1))
            report.bad(last[1] + 1, known.path.name, f"seqs {last[1] + 1} to {first_seq - 1} are missing")
        seq = first_seq - 1
        for raw in _records(fs, known, report, contiguous=True):
            seq = raw.seq
            report.records += 1
            _check_hash(raw, known, report, chained)
        last = (known.header.epoch, seq)
    _check_links([chained[seq] for seq in sorted(chained)], report)
    report.note("a cut at the end, or a journal exchanged as a whole, is seen only against an anchor kept elsewhere")
    return report


def _files(fs: FileSystem, directory: Path, ending: str, report: Report) -> list[ListedFile]:
    for name in fs.names(directory):
        if not name.endswith(ending) and (".torn" in name or ".bad" in name):
            report.note(f"{name}: set aside by recovery")
    listed, unreadable = list_files(fs, directory, ending)
    for name in unreadable:
        report.bad(0, name, "header damaged")
    for known in listed:
        if known.header.epoch not in report.epochs:
            report.epochs.append(known.header.epoch)
    return listed


def _records(fs: FileSystem, known: ListedFile, report: Report, *, contiguous: bool) -> Iterator[RawRecord]:
    name = known.path.name
    try:
        file = fs.open(known.path)
    except FileNotFoundError:
        report.note(f"{name}: given up during verification")
        return
    expected = known.header.first_seq
    damage: Damage | None = None
    try:
        seed = seed_of(known.header.epoch, known.header.number)
        for item in FrameScanner(file, seed, SEGMENT_HEADER_SIZE, known.end).scan():
            if isinstance(item, Damage):
                damage = item
                continue
            if damage is not None:
                report.bad(expected, name, f"bytes {damage.offset} to {damage.end} are damaged")
                damage = None
            header = item.header
            if contiguous and header.records and header.first_seq != expected:
                if header.first_seq > expected:
                    report.gaps.append((expected, header.first_seq - 1))
                report.bad(expected, name, f"frame begins with seq {header.first_seq}")
            expected = header.last_seq + 1
            if isinstance(item, Frame):
                yield from _unpack(item, name, report)
        if damage is not None:
            _check_end(file, known, damage, expected, report)
    finally:
        file.close()


def _unpack(frame: Frame, name: str, report: Report) -> list[RawRecord]:
    try:
        return frame.records()
    except FormatError as error:
        report.bad(frame.header.first_seq, name, str(error))
        return []


def _check_end(file: File, known: ListedFile, damage: Damage, expected: int, report: Report) -> None:
    """What stands behind the last frame: zeros in the newest file, nothing in the others."""
    rest = file.pread(damage.end - damage.offset, damage.offset).rstrip(b"\0")
    name = known.path.name
    if not known.is_last:
        report.bad(expected, name, f"bytes {damage.offset} to {damage.end} are damaged")
    elif rest:
        report.note(f"{name}: {len(rest)} bytes at the end are no frame: torn, or being written")


def _check_hash(raw: RawRecord, known: ListedFile, report: Report, chained: dict[int, _Chained]) -> None:
    if raw.kind not in CHAINED_KINDS:
        return
    prev, own, body = chain_of(raw)
    name = known.path.name
    if chain_hash(prev, body) != own:
        report.bad(raw.seq, name, "the record does not match its hash")
    other = chained.get(raw.seq)
    if other is not None and other.epoch == known.header.epoch and other.hash != own:
        report.bad(raw.seq, name, f"the record differs from its copy in {other.file}")
    if other is None:
        report.chained += 1
        chained[raw.seq] = _Chained(raw.seq, known.header.epoch, name, prev, own)


def _check_links(records: list[_Chained], report: Report) -> None:
    earlier: _Chained | None = None
    for record in records:
        if earlier is None:
            if record.prev != GENESIS:
                report.note(f"the chain begins at seq {record.seq}; what was before it is not here")
        elif earlier.epoch != record.epoch:
            if record.prev != GENESIS:
                report.bad(record.seq, record.file, "the first record of its epoch does not begin a chain")
        elif record.prev != earlier.hash:
            what = f"does not follow seq {earlier.seq}: a record between was removed, or one of them altered"
            report.bad(record.seq, record.file, what)
        earlier = record
