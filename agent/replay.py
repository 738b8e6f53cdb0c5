"""Rules over recorded data or over a journal: the same engine as live, fed from files (davy replay)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.core.batch import Layout
from agent.core.events import AlarmEvent
from agent.core.ranges import Ranges
from agent.core.records import Kind, Record
from agent.core.tags import Tag
from agent.envelope import Envelope, Place
from agent.journal.records import JournalFiles
from drivers.recorded.run import Progress, ReplayError
from drivers.replay import batches
from rules.build import RuleSet, build, from_fields
from rules.engine import Engine
from rules.model import RuleBase
from rules.testing.changes import Occurrences

NO_EPOCH = "0"
"""The epoch of events without a journal (spec/rules.md A9)."""
_NO_JOURNAL = dict.fromkeys(("seq", "cause_seq", "recorded", "after", "prev", "hash"))


@dataclass(frozen=True, slots=True)
class Recording:
    """What is replayed: a CSV, a Parquet file, or the directory of a journal (or of the state it is in)."""

    path: Path
    is_sorted: bool = False
    progress: Progress | None = None
    seen: set[str] = field(default_factory=set[str])
    """The tags that it has, once a file has been replayed (of a journal: none)."""

    @property
    def journal(self) -> Path | None:
        """The journal's directory; None for a file."""
        if not self.path.is_dir():
            return None
        return self.path / "journal" if (self.path / "journal" / "segments").is_dir() else self.path


@dataclass(slots=True)
class Tally:
    """What a replay has read; "no alarm" and "nothing read" must not look alike."""

    readings: int = 0
    late: int = 0
    """Readings at or before their tag's last time: they change no alarm (spec/rules.md T2)."""
    events: int = 0

    def add(self, record: Record | None) -> None:
        """Count a record's readings."""
        if record is not None and record.batch is not None:
            count = len(record.batch.values)
            self.readings += count
            self.late += count if record.batch.historical else 0


def replay(
    recording: Recording, rules: Sequence[RuleBase] | None, tags: Sequence[Tag], tally: Tally | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the alarm events of the recording, in order, with the keys of the alarm payload.

    ``rules`` None: those of the journal, as they changed. What only a journal gives an event (seq, cause_seq,
    recorded, chain) is null; time stops at the last row. ReplayError.
    """
    source = _source(recording)
    engine = source.engine(rules, tags)
    tally = tally or Tally()
    for record, events in source.feed([engine]):
        tally.add(record)
        tally.events += len(events[0])
        if record is not None:
            source.follow(record)
        for event in events[0]:
            fields = {**source.envelope(engine).alarm(event), **_NO_JOURNAL, "epoch": source.epoch}
            yield fields if source.is_journal else {**fields, "clock": None}


def compare(
    recording: Recording,
    before: tuple[Sequence[RuleBase], Sequence[Tag]] | None,
    after: tuple[Sequence[RuleBase], Sequence[Tag]],
) -> tuple[Occurrences, Occurrences]:
    """The occurrences under two rule sets, in one pass; ``before`` None: the journal's own. ReplayError."""
    source = _source(recording)
    engines = [source.engine(*(before or (None, ()))), source.engine(*after)]
    results = (Occurrences(), Occurrences())
    for _, events in source.feed(engines):
        for result, own in zip(results, events, strict=True):
            result.add(own)
    return results


def _source(recording: Recording) -> "_Source":
    return _Source(recording) if recording.journal is None else _JournalSource(recording, recording.journal)


class _Source:
    """A CSV or Parquet file."""

    epoch = NO_EPOCH
    is_journal = False

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._envelope = Envelope("", "", Place(), NO_EPOCH, {})
        self._envelope_of: RuleSet | None = None
        self._ranges: dict[str, tuple[float, float]] = {}

    def engine(self, rules: Sequence[RuleBase] | None, tags: Sequence[Tag]) -> Engine:
        """An engine at the beginning of time."""
        if rules is None:
            raise ReplayError(self.recording.path, None, "no rules", "--rules FILE; only a journal has its own")
        self._ranges |= {tag.id: tag.range for tag in tags if tag.range is not None}
        return Engine(build(rules, {tag.id: tag for tag in tags}, live=False), epoch=NO_EPOCH)

    def envelope(self, engine: Engine) -> Envelope:
        """What goes around each event."""
        if engine.rules is not self._envelope_of:
            self._envelope_of = engine.rules
            self._envelope.tags = engine.rules.tags
            self._envelope.rules_version = engine.rules.version
        return self._envelope

    def follow(self, record: Record) -> None:
        """A record goes by."""

    def records(self) -> Iterable[Record]:
        """What is fed to the engines."""
        recording = self.recording
        ranges = Ranges(self._ranges)
        layout: Layout | None = None
        for batch in batches(recording.path, is_sorted=recording.is_sorted, progress=recording.progress):
            if batch.layout is not layout:
                layout = batch.layout
                recording.seen.update(layout.tags)
            yield Record(0, Kind.READINGS, batch=ranges.mark(batch))

    def takes(self, place: int, record: Record) -> bool:
        """Whether the engine made at this place gets the record."""
        del place, record
        return True

    def feed(self, engines: Sequence[Engine]) -> Iterator[tuple[Record | None, list[list[AlarmEvent]]]]:
        """Each record (None: time alone) with what it makes every engine say."""
        open_ns: int | None = None
        for record in self.records():
            at_ns = _at_ns(record)
            # Live, each poll ends with advance (T7); in a file only the last row does: it makes no difference (T5).
            if self.is_journal and open_ns is not None and at_ns != open_ns:
                yield None, [engine.advance(open_ns, None) for engine in engines]
                open_ns = None
            if record.kind is Kind.AUDIT and "outcome" in record.fields:
                yield None, [engine.advance(record.fields["time"], None) for engine in engines]
            yield (
                record,
                [engine.apply(record) if self.takes(place, record) else [] for place, engine in enumerate(engines)],
            )
            open_ns = open_ns if at_ns is None else at_ns
        if open_ns is not None:
            yield None, [engine.advance(open_ns, None) for engine in engines]


class _JournalSource(_Source):
    """A journal: the limits are as live (C2), and people's actions, starts and clock steps are in it."""

    is_journal = True

    def __init__(self, recording: Recording, directory: Path) -> None:
        super().__init__(recording)
        try:
            self._files = JournalFiles(directory)
        except OSError as error:
            expected = "a journal (a directory with segments/), a CSV or a Parquet file"
            raise ReplayError(recording.path, None, error.strerror or str(error), expected) from error
        if self._files.epoch is None:
            raise ReplayError(recording.path, None, "no segment", "the directory of a journal")
        self.epoch = self._files.epoch
        self._configuration = self._first_configuration()
        self._is_own: list[bool] = []

    def _first_configuration(self) -> Mapping[str, Any]:
        for record in self._files.events():
            if record.kind is Kind.AUDIT and record.fields.get("kind") == "configuration" and "rules" in record.fields:
                return record.fields
        return {"rules": [], "tags": []}

    def engine(self, rules: Sequence[RuleBase] | None, tags: Sequence[Tag]) -> Engine:
        """An engine with the journal's rules, or with others on the journal's tags."""
        known = {tag.id: tag for tag in map(Tag.from_fields, self._configuration["tags"])}
        self._is_own.append(rules is None)
        if rules is None:
            settings = self._configuration.get("rules_settings")
            own = from_fields(self._configuration["rules"], known, True, settings)
            return Engine(own, epoch=self.epoch)
        return Engine(build(rules, {tag.id: tag for tag in tags} | known, live=True), epoch=self.epoch)

    def follow(self, record: Record) -> None:
        """Site, agent, place and clock are as the journal says at that time."""
        if record.kind is not Kind.AUDIT:
            return
        fields = record.fields
        place = _place(fields["settings"]) if "settings" in fields else self._envelope.place
        self._envelope = replace(
            self._envelope,
            site=fields.get("site", ""),
            agent=fields.get("agent", ""),
            clock_state=fields.get("clock", ""),
            epoch=self.epoch,
            place=place,
        )

    def takes(self, place: int, record: Record) -> bool:
        """Where other rules are tried, those of the journal do not come back."""
        return self._is_own[place] or record.kind is not Kind.AUDIT or record.fields.get("kind") != "configuration"

    def records(self) -> Iterable[Record]:
        """See _Source."""
        records = self._files.records(self.recording.progress)
        return (record for record in records if record.kind is not Kind.ALARM)


def _place(settings: Mapping[str, Any]) -> Place:
    site: Mapping[str, Any] = settings.get("site") or {}
    location: Sequence[float | None] = site.get("location") or (None, None)
    lon, lat = location
    return Place(site.get("name"), site.get("code"), site.get("hazard_code"), lat, lon, site.get("duty_phone"))


def _at_ns(record: Record) -> int | None:
    if record.batch is not None:
        return None if record.batch.historical else record.batch.at_ns
    return record.at_ns if record.kind is Kind.TICK else None
