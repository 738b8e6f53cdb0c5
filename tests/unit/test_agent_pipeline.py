"""The pipeline: what is journaled before what, and what happens when the disk refuses."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.core.batch import Batch, Layout
from agent.core.clock import VirtualClock
from agent.core.counters import Counters
from agent.core.records import Draft, Event, Kind, Record, Tick, canonical_json
from agent.core.tags import Tag
from agent.envelope import Envelope, Place
from agent.inbox import READINGS_MAX, REFUSE_ABOVE, BoundedInbox
from agent.journal.errors import JournalFullError
from agent.pipeline import Pipeline, evaluate
from rules.build import build
from rules.engine import Engine
from rules.registry import parse

LAYOUT = Layout("d1", ("T1",))
START_NS = 1_795_248_000_000_000_000
SECOND_NS = 1_000_000_000


class FakeJournal:
    """Appends to a list; refuses readings, or everything, when told to."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.refuses: frozenset[Kind] = frozenset()
        self.synced_seq = 0

    async def append(self, drafts: Sequence[Draft], *, urgent: bool = False) -> list[Record]:
        await asyncio.sleep(0)
        records = [self._record(draft, len(self.records) + 1 + i) for i, draft in enumerate(drafts)]
        if any(record.kind in self.refuses for record in records):
            raise JournalFullError(28, "no space")
        self.records += records
        return records

    async def sync(self) -> int:
        self.synced_seq = len(self.records)
        return self.synced_seq

    def _record(self, draft: Draft, seq: int) -> Record:
        if isinstance(draft, Batch):
            return Record(seq, Kind.READINGS, batch=draft)
        if isinstance(draft, Tick):
            return Record(seq, Kind.TICK, at_ns=draft.at_ns)
        assert isinstance(draft, Event)
        fields = {**draft.fields, "seq": seq}
        return Record(seq, draft.kind, fields=fields, body=canonical_json(fields))

    def kinds(self) -> list[str]:
        return [str(r.fields.get("transition") or r.fields["kind"]) if r.fields else r.kind.name for r in self.records]


def engine(*rules: dict[str, Any]) -> Engine:
    tags = {"T1": Tag("T1", device="d1")}
    return Engine(build([parse(rule) for rule in rules], tags, live=True), epoch="e")


HIGH = {"id": "T1-h", "tag": "T1", "condition": "high", "limit": 90, "priority": "high"}
DELAYED = {**HIGH, "id": "T1-late", "on_delay": "5s"}


@asynccontextmanager
async def running(journal: FakeJournal, clock: VirtualClock, *rules: dict[str, Any]) -> AsyncIterator[Pipeline]:
    envelope = Envelope("site", "gw", Place(), "e", {"T1": Tag("T1", device="d1")})
    pipeline = Pipeline(journal, engine(*rules), envelope, clock, Counters())  # type: ignore[arg-type]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(pipeline.run())
        pipeline.open()
        yield pipeline
        pipeline.stop()
        await task


def batch(at_ns: int, value: float) -> Batch:
    return Batch(LAYOUT, at_ns, array("d", [value]))


async def test_a_reading_is_journaled_before_the_alarm_it_raises() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, HIGH) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
    assert journal.kinds() == ["READINGS", "activated"]
    assert journal.records[1].fields["cause_seq"] == 1


async def test_an_action_is_journaled_with_its_outcome_before_what_it_changes() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, HIGH) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        event = journal.records[1].fields["id"]
        acted = await pipeline.act("acknowledge", {"alarm": "T1-h", "event": event, "actor": "wang"})
        assert (acted.outcome, acted.seq, acted.state) == ("done", 3, "acknowledged")
        again = await pipeline.act("acknowledge", {"alarm": "T1-h", "event": "other", "actor": "wang"})
        assert (again.outcome, again.reason) == ("rejected", "superseded")
    assert journal.kinds() == ["READINGS", "activated", "acknowledge", "acknowledged", "acknowledge"]
    assert journal.synced_seq == 5


async def test_time_that_passes_in_silence_is_a_tick_only_when_a_timer_is_due() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, DELAYED) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        assert journal.kinds() == ["READINGS"]
        clock.advance(5 * SECOND_NS)
        await pipeline.settle()
    assert journal.kinds() == ["READINGS", "TICK", "activated"]


async def test_a_disk_that_refuses_readings_stops_no_alarm() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    journal.refuses = frozenset({Kind.READINGS})
    async with running(journal, clock, HIGH) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        assert pipeline.disk_error is not None
        journal.refuses = frozenset()
        pipeline.inbox.put(batch(START_NS + SECOND_NS, 95.0))
        await pipeline.settle()
        assert pipeline.disk_error is None
    assert journal.kinds()[0] == "activated"
    assert journal.records[0].fields["cause_seq"] is None


async def test_an_event_that_no_disk_takes_is_sent_without_a_seq_and_journaled_later_with_its_id() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    journal.refuses = frozenset(Kind)
    async with running(journal, clock, HIGH) as pipeline:
        sent: list[Record] = []
        pipeline.undurable.offers.append(sent.append)
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        assert [record.fields["seq"] for record in sent if record.fields.get("alarm") == "T1-h"] == [None]
        journal.refuses = frozenset()
        pipeline.inbox.put(batch(START_NS + SECOND_NS, 95.0))
        await pipeline.settle()
        assert len(pipeline.undurable) == 0
    late = [record.fields["id"] for record in journal.records if record.fields.get("alarm") == "T1-h"]
    assert late == [sent[0].fields["id"]]


async def test_an_alarm_whose_sync_hangs_is_sent_without_a_seq() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, HIGH) as pipeline:
        sent: list[Record] = []
        pipeline.undurable.offers.append(sent.append)
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        assert sent == []
        clock.advance(3 * SECOND_NS)
        await pipeline.settle()
        await pipeline.settle()
    assert [(record.fields["seq"], record.fields["id"]) for record in sent] == [(None, journal.records[1].fields["id"])]


async def test_readings_taken_before_a_step_of_utc_are_applied_before_it() -> None:
    """T8: a step back by an hour neither fires a timer nor silences one for an hour."""
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, DELAYED) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        clock.step(-3600 * SECOND_NS)
        await pipeline.settle()
        for _ in range(5):
            clock.advance(SECOND_NS)
            pipeline.inbox.put(batch(clock.now_ns(), 95.0))
            await pipeline.settle()
    assert journal.kinds()[:3] == ["READINGS", "clock", "READINGS"]
    assert journal.kinds()[-1] == "activated"


async def test_a_reading_that_waits_is_applied_before_a_later_tick() -> None:
    """T5: the reading that ends the condition came before the delay ran out, though nobody had looked at it yet."""
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, DELAYED) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        clock.advance(5 * SECOND_NS)
        pipeline.inbox.put(batch(START_NS + 4 * SECOND_NS, 20.0))
        await pipeline.settle()
    assert journal.kinds() == ["READINGS", "READINGS"]


async def test_an_action_after_silence_leaves_a_tick_so_that_a_replay_tells_the_same() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, DELAYED) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        clock.advance(6 * SECOND_NS)
        acted = await pipeline.act("acknowledge", {"alarm": "T1-late", "event": None, "actor": "wang"})
        assert acted.outcome == "done"
    assert journal.kinds() == ["READINGS", "TICK", "activated", "acknowledge", "acknowledged"]
    again = engine(DELAYED)
    derived = [event.id for event in evaluate(again, journal.records)]
    assert derived == [record.fields["id"] for record in journal.records if record.kind is Kind.ALARM]


async def test_no_tick_is_written_before_the_start_is_on_record() -> None:
    """T9: what fell due while the agent was down waits for a reading that proves it."""
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    one = engine(DELAYED)
    list(evaluate(one, [Record(1, Kind.READINGS, batch=batch(START_NS, 95.0))]))
    clock.advance(60 * SECOND_NS)
    pipeline = Pipeline(journal, one, Envelope("s", "g", Place(), "e", {}), clock, Counters())  # type: ignore[arg-type]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(pipeline.run())
        await pipeline.settle()
        await pipeline.note("start", {"previous_end": START_NS})
        pipeline.open()
        await pipeline.settle()
        assert journal.kinds() == ["start"]
        pipeline.inbox.put(batch(clock.now_ns(), 95.0))
        await pipeline.settle()
        pipeline.stop()
    assert journal.kinds() == ["start", "READINGS", "activated"]


def qualities(journal: FakeJournal) -> list[int]:
    batches = [record.batch for record in journal.records if record.batch is not None]
    return [0 if each.quality is None else each.quality[0] for each in batches]


async def test_q8_readings_of_a_tag_in_maintenance_are_journaled_raw_as_105_until_its_end() -> None:
    """Q8: from the next batch on; the first reading after the end is good again and is evaluated at once."""
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, HIGH) as pipeline:
        pipeline.inbox.put(batch(START_NS, 20.0))
        await pipeline.act("maintenance", {"tag": "T1", "reason": "bump test", "actor": "wang"})
        clock.advance(SECOND_NS)
        pipeline.inbox.put(batch(clock.now_ns(), 95.0))
        await pipeline.settle()
        assert "activated" not in [r.fields["transition"] for r in journal.records if r.fields.get("alarm") == "T1-h"]
        await pipeline.act("end_maintenance", {"tag": "T1", "actor": "wang"})
        clock.advance(SECOND_NS)
        pipeline.inbox.put(batch(clock.now_ns(), 95.0))
        await pipeline.settle()
    assert qualities(journal) == [0, 105, 0]
    assert [record.batch.values[0] for record in journal.records if record.batch is not None] == [20.0, 95.0, 95.0]
    assert [r.fields["transition"] for r in journal.records if r.fields.get("alarm") == "T1-h"] == ["activated"]


async def test_q8_maintenance_that_runs_out_while_nothing_comes_marks_no_reading_after_it() -> None:
    """Q8 and T5: a reading at the very end is still 105, one after it is not, though no timer was fired between."""
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, HIGH) as pipeline:
        end_ns = START_NS + 60 * SECOND_NS
        await pipeline.act("maintenance", {"tag": "T1", "until": end_ns, "reason": "test", "actor": "wang"})
        pipeline.inbox.put(batch(end_ns, 95.0))
        pipeline.inbox.put(batch(end_ns + 1, 95.0))
        await pipeline.settle()
    assert qualities(journal) == [105, 0]
    assert [r.fields["transition"] for r in journal.records if r.fields.get("alarm") == "T1-h"] == ["activated"]


async def test_a_note_that_cannot_be_written_fails_for_its_asker_only() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, HIGH) as pipeline:
        with pytest.raises(ValueError, match="surrogates"):
            await pipeline.note("comment", {"note": "\udce4\udce3"})
        assert await pipeline.note("comment", {"note": "好"}) == 1


async def test_a_step_of_utc_is_a_record_and_fires_nothing() -> None:
    journal, clock = FakeJournal(), VirtualClock(START_NS)
    async with running(journal, clock, DELAYED) as pipeline:
        pipeline.inbox.put(batch(START_NS, 95.0))
        await pipeline.settle()
        clock.step(3600 * SECOND_NS)
        await pipeline.settle()
        assert journal.kinds() == ["READINGS", "clock"]
        clock.advance(5 * SECOND_NS)
        await pipeline.settle()
    assert journal.kinds() == ["READINGS", "clock", "TICK", "activated"]


def test_a_poll_of_several_records_is_over_after_its_last() -> None:
    """T7: the timer due at the poll's own time fires only once all of its readings were seen."""
    one = engine(DELAYED)
    list(evaluate(one, [Record(1, Kind.READINGS, batch=batch(START_NS, 95.0))]))
    at_ns = START_NS + 5 * SECOND_NS
    other = Batch(Layout("d1", ("T2",)), at_ns, array("d", [1.0]))
    records = [Record(2, Kind.READINGS, batch=other), Record(3, Kind.READINGS, batch=batch(at_ns, 20.0))]
    assert list(evaluate(one, records)) == []


async def test_the_inbox_asks_polls_to_wait_and_refuses_only_what_cannot_wait() -> None:
    counters, arrived = Counters(), asyncio.Event()
    inbox = BoundedInbox(counters, arrived)
    big = Batch(LAYOUT, START_NS, array("d", [0.0]) * READINGS_MAX)
    inbox.put(big)
    waiting = asyncio.ensure_future(inbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.put(big)
    inbox.put(batch(START_NS, 1.0))
    assert inbox.readings == REFUSE_ABOVE
    assert counters.total("readings_refused") == 1
    assert len(inbox.take()) == 2
    await asyncio.wait_for(waiting, 1)
