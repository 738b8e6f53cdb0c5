"""The one path: poll → journal → rules → journal → wake the readers; all that the engine sees passes here, in order."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from agent.core.batch import Batch
from agent.core.clock import Clock
from agent.core.counters import Counters, labels
from agent.core.events import AlarmEvent, Transition
from agent.core.records import Draft, Event, Kind, Record, Tick
from agent.envelope import Envelope
from agent.inbox import BoundedInbox
from agent.journal.log import JournalError
from agent.journal.writer import JournalWriter
from agent.undurable import Undurable
from rules.build import RuleSet
from rules.engine import Engine

log = logging.getLogger("davy.pipeline")

LINGER_S: Final = 0.01
"""Batches that arrive within this time share a frame; far below what an alarm may take (100 ms)."""
IDLE_S: Final = 1.0
"""Longest sleep: the clock is looked at this often (spec/rules.md T8)."""
DISK_MESSAGE: Final = {
    "zh-CN": "磁盘不接收数据：读数正在丢失，报警仍在发送",
    "en": "the disk takes no readings; alarms go on",
}


@dataclass(slots=True)
class Acted:
    """What became of an action: its outcome, and the seq of its audit record (None where it could not be journaled)."""

    outcome: str
    reason: str | None
    alarm: str | None
    state: str | None
    seq: int | None
    until: int | None = None
    """When what was hidden ends by itself, ns UTC: what was asked for, or the limit that it was cut to."""


@dataclass(slots=True)
class Progress:
    """What the watchdog looks at, monotonic ns."""

    turn_ns: int = 0
    is_busy: bool = False


_T = TypeVar("_T")


class Pipeline:
    """Owns the order of things: one task takes batches and actions, journals them, runs the rules, journals the events.

    A disk that fails stops neither polling nor rules: readings are counted as refused, and events go to the
    destinations with ``seq`` null and into the journal as soon as it takes them (DESIGN "Journal").
    """

    def __init__(
        self, journal: JournalWriter, engine: Engine, envelope: Envelope, clock: Clock, counters: Counters
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._envelope = envelope
        self._clock = clock
        self._counters = counters
        self._arrived = asyncio.Event()
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self._is_open = False
        self._is_stopping = False
        self.inbox = BoundedInbox(counters, self._arrived)
        self.undurable = Undurable(envelope.epoch, clock, counters)
        self.progress = Progress(turn_ns=clock.monotonic_ns())
        self.disk_error: str | None = None

    @property
    def engine(self) -> Engine:
        """The engine, for readers."""
        return self._engine

    async def run(self) -> None:
        """Work until :meth:`stop` was called and everything taken in is journaled and evaluated."""
        while not (self._is_stopping and not self.inbox and not self._jobs):
            await self._wait()
            self.progress.is_busy = True
            await self._turn()
            self.progress.is_busy = False
            self.progress.turn_ns = self._clock.monotonic_ns()

    def open(self) -> None:
        """The start is on record: from now on silence counts, and ticks are written (spec/rules.md T9)."""
        self._is_open = True
        self._arrived.set()

    def stop(self) -> None:
        """Let :meth:`run` end once nothing waits; call it when the drivers have stopped."""
        self._is_stopping = True
        self._arrived.set()

    async def act(self, kind: str, fields: Mapping[str, Any], *, refusal: str | None = None) -> Acted:
        """Judge an action (acknowledge, reset …), journal it with its outcome, apply it; it is synced on return.

        ``refusal``: whoever asked may not do it, for this reason; it is journaled as rejected.
        """
        return await self._in_turn(lambda: self._act(kind, fields, refusal))

    async def note(self, kind: str, fields: Mapping[str, Any]) -> int | None:
        """Journal an audit record and let the engine see it; synced on return. Its seq, None where the disk failed."""
        return await self._in_turn(lambda: self._note(kind, fields))

    async def note_all(self, kind: str, notes: Sequence[Mapping[str, Any]]) -> None:
        """Journal several audit records of one kind together; synced on return, unless the disk fails."""
        if notes:
            await self._in_turn(lambda: self._note_all(kind, notes))

    async def reconfigure(self, rules: RuleSet, fields: Mapping[str, Any]) -> None:
        """Journal the configuration record, then let the engine take the new rule set (spec/rules.md G1)."""
        await self._in_turn(lambda: self._reconfigure(rules, fields))

    async def raise_again(self, events: Sequence[AlarmEvent]) -> None:
        """Journal events that a replay derived and that the journal lacks."""
        await self._in_turn(lambda: self._raise(events))

    async def settle(self) -> None:
        """Return when everything that was in the inbox is journaled and evaluated."""
        await self._in_turn(lambda: self._raise([]))

    async def snapshot(self) -> tuple[int, bytes] | None:
        """The engine's state and the seq up to which it holds, all it derived being synced; None: the disk fails."""
        return await self._in_turn(self._take_snapshot)

    async def _in_turn(self, work: Callable[[], Awaitable[_T]]) -> _T:
        done: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

        async def job() -> None:
            try:
                result = await work()
            except ValueError as error:
                # What was asked for can't be written down (NaN, half a character): the asker's fault, nobody else's.
                if not done.done():
                    done.set_exception(error)
                return
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)
                raise
            if not done.done():  # else the caller has gone; what was done stays done
                done.set_result(result)

        self._jobs.append(job)
        self._arrived.set()
        return await done

    async def _wait(self) -> None:
        timeout_s = IDLE_S
        due_ns = self._engine.next_due_ns
        if due_ns is not None:
            timeout_s = min(timeout_s, max(0.0, (due_ns - self._clock.now_ns()) / 1e9))
        if not self._arrived.is_set() and timeout_s > 0:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                return
        if not self._jobs and not self._is_stopping:
            await asyncio.sleep(LINGER_S)

    async def _turn(self) -> None:
        self._arrived.clear()
        await self._drain()
        while self._jobs:
            await self._jobs.popleft()()
            await self._drain()
        await self._tick(self._clock.now_ns())
        self.undurable.look(self._journal.synced_seq)

    async def _drain(self) -> None:
        """Journal and evaluate all that waits: nothing overtakes a reading (T5); a step of UTC comes behind (T8)."""
        if self.undurable:
            await self._journal_late()
        while True:
            # No await between the two: what waits was stamped before the step, what comes later is stamped after it.
            batches, step_ns = self.inbox.take(), self._clock.take_step()
            if batches:
                marked = [self._engine.mark(batch) for batch in batches]  # Q8: recorded and forwarded as 105
                await self._apply(await self._append(marked, urgent=False))
            if step_ns:
                log.warning("UTC was stepped", extra={"step_s": step_ns / 1e9})
                await self._note("clock", {"step": step_ns})
            if not batches and not step_ns:
                return

    async def _tick(self, now_ns: int) -> None:
        """Put on record that time has passed, where a timer is due."""
        due_ns = self._engine.next_due_ns
        if self._is_open and due_ns is not None and due_ns <= now_ns:
            await self._apply(await self._append([Tick(now_ns)], urgent=False))

    async def _apply(self, records: Sequence[Record]) -> None:
        await self._raise(list(evaluate(self._engine, records)))

    async def _raise(self, events: Sequence[AlarmEvent]) -> None:
        if not events:
            return
        drafts = [Event(Kind.ALARM, self._envelope.alarm(event)) for event in events]
        for event in events:
            self._counters.add("alarm_events", of=labels(transition=event.transition.value))
            if event.transition is Transition.ACTIVATED:
                self._counters.add("alarms_raised")
        await self._append(drafts, urgent=True)

    async def _act(self, kind: str, fields: Mapping[str, Any], refusal: str | None) -> Acted:
        now_ns = self._clock.now_ns()
        await self._tick(now_ns)
        judged = self._engine.judge({"alarm": "", **fields, "kind": kind, "time": now_ns})
        outcome, reason = ("rejected", refusal) if refusal is not None else (judged.outcome, judged.reason)
        noted = {"reason": reason, **fields, "outcome": outcome}  # who hides something has a reason of their own
        until: int | None = getattr(judged, "until", None)
        if outcome == "rejected":
            noted["refused"], until = reason, None
        elif until is not None:
            noted["until"] = until
        seq = await self._note(kind, noted, now_ns)
        return Acted(outcome, reason, judged.alarm or None, judged.state, seq, until)

    async def _note(self, kind: str, fields: Mapping[str, Any], now_ns: int | None = None) -> int | None:
        time_ns = self._clock.now_ns() if now_ns is None else now_ns
        records = await self._append([Event(Kind.AUDIT, self._envelope.audit(kind, time_ns, fields))], urgent=True)
        await self._apply(records)
        return records[0].seq if records[0].seq and await self._is_synced() else None

    async def _note_all(self, kind: str, notes: Sequence[Mapping[str, Any]]) -> None:
        time_ns = self._clock.now_ns()
        drafts = [Event(Kind.AUDIT, self._envelope.audit(kind, time_ns, fields)) for fields in notes]
        await self._apply(await self._append(drafts, urgent=True))
        await self._is_synced()

    async def _reconfigure(self, rules: RuleSet, fields: Mapping[str, Any]) -> None:
        seq = await self._note("configuration", fields)
        self._envelope.rules_version = rules.version
        await self._raise(self._engine.reconfigure(rules, seq))

    async def _take_snapshot(self) -> tuple[int, bytes] | None:
        # While events wait for the disk, a snapshot would stand for more than the journal holds.
        is_whole = await self._is_synced() and not self.undurable
        return (self._journal.synced_seq, self._engine.snapshot()) if is_whole else None

    async def _is_synced(self) -> bool:
        try:
            await self._journal.sync()
        except JournalError:
            return False  # the journal has logged it, tries again, and goes on
        return True

    async def _append(self, drafts: Sequence[Draft], *, urgent: bool) -> Sequence[Record]:
        """Append; what the disk refuses comes back with seq 0, and the rules go on without it."""
        if self.undurable and isinstance(drafts[0], Event) and not await self._journal_late():
            return [self._without_disk(draft) for draft in drafts]  # behind those that wait, or their order is lost
        try:
            records = await self._journal.append(drafts, urgent=urgent)
        except JournalError as error:
            self._set_disk_error(str(error))
            return [self._without_disk(draft) for draft in drafts]
        except ValueError as error:
            if not isinstance(drafts[0], Batch):
                raise
            return await self._append_apart(drafts, error)
        if isinstance(drafts[0], Batch):
            self._set_disk_error(None)  # only readings prove it: alarms may have found room in the reserve
        self.undurable.written(records)
        return records

    async def _append_apart(self, drafts: Sequence[Draft], error: ValueError) -> list[Record]:
        """A batch can't be encoded: find it, so that its neighbours do not notice."""
        if len(drafts) > 1:
            return [record for draft in drafts for record in await self._append([draft], urgent=False)]
        log.error("batch can't be journaled", extra={"error": str(error)})
        return [self._without_disk(drafts[0], "unwritable")]

    def _set_disk_error(self, error: str | None) -> None:
        if (error is None) != (self.disk_error is None):
            if error is None:
                log.warning("journal takes readings again", extra={"waiting": len(self.undurable)})
            else:
                log.error("journal refuses readings, alarms go on", extra={"error": error})
            self._counters.put("journal_failing", float(error is not None))
            condition = {
                "alarm": "davy:disk",
                "is_true": error is not None,
                "priority": "high",
                "message": DISK_MESSAGE,
            }
            self._jobs.append(lambda: self._tell_condition(condition))
        self.disk_error = error

    async def _tell_condition(self, condition: Mapping[str, Any]) -> None:
        await self._note("condition", condition)

    def _without_disk(self, draft: Draft, reason: str = "disk") -> Record:
        if isinstance(draft, Batch):
            self._counters.add("readings_refused", len(draft.values), labels(reason=reason))
            return Record(0, Kind.READINGS, batch=draft)
        if isinstance(draft, Tick):
            return Record(0, Kind.TICK, at_ns=draft.at_ns)
        return self.undurable.keep(draft)

    async def _journal_late(self) -> bool:
        """Journal the events that wait for it; False while the disk still refuses."""
        try:
            await self._journal.append(self.undurable.refused(), urgent=True)
        except JournalError:
            return False  # disk_error stands since the first refusal; the next turn tries again
        self.undurable.journaled()
        return True


def evaluate(engine: Engine, records: Sequence[Record]) -> Iterator[AlarmEvent]:
    """Feed records to an engine the way live and recovery both must (spec/rules.md T7).

    After the last record of each poll, and before each action, the engine is told that no earlier reading will
    follow; a poll of more than 1,000 readings is several records with one ``at``.
    """
    last = len(records) - 1
    for position, record in enumerate(records):
        if record.kind is Kind.AUDIT and "outcome" in record.fields:
            yield from engine.advance(record.fields["time"], record.seq or None)
        yield from engine.apply(record)
        at_ns = _at_ns(record)
        if at_ns is not None and (position == last or _at_ns(records[position + 1]) != at_ns):
            yield from engine.advance(at_ns, record.seq or None)


def _at_ns(record: Record) -> int | None:
    if record.batch is not None:
        return None if record.batch.historical else record.batch.at_ns
    if record.kind is Kind.TICK:
        return record.at_ns
    return None
