"""Commands that come from destinations: checked, journaled with who asked, carried out, answered."""

import asyncio
import json
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import orjson

from agent.commands.model import Acknowledge, Command, CommandError, Receipt, parse
from agent.commands.rejections import ALARM, MESSAGE, Rejections
from agent.commands.signature import CommandKey
from agent.commands.touched import deed_of
from agent.core.clock import Clock
from agent.core.counters import Counters, labels
from agent.core.events import Priority
from agent.core.ports import JournalReader, Request
from agent.core.records import Kind, Lane
from agent.pipeline import Acted, Pipeline

log = logging.getLogger("davy.commands")

PAYLOAD_MAX: Final = 256 * 1024
"""Longest command, bytes; anything longer is rejected unread."""
RECEIVED_MAX: Final = 20_000
"""So many received event ids are remembered, so that only the first receipt makes a record."""
LIFETIME_MAX_NS: Final = 300_000_000_000
AHEAD_MAX_NS: Final = 60_000_000_000
"""A sender's clock may be this far ahead of ours; more, and a command could be kept back and used later."""
EVENT_BOUND: Final = frozenset({"receipt", "acknowledge"})
"""Bound to an event instead of to a time."""
LOOK_EVERY_S: Final = 1.0
RECALL_SEQS: Final = 20_000
RECALL_BYTES: Final = 16 * 1024 * 1024
"""How far back the journal is searched at a start; a crash leaves what is missing at its very end."""


class Answers(Protocol):
    """Where answers are kept for 7 days, so that a command sent twice is carried out once."""

    def put_command(self, command_id: str, answer: bytes, at_ns: int) -> None:
        """Keep an answer."""
        ...

    def get_command(self, command_id: str) -> bytes | None:
        """The answer given before; None for a new id."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """What a destination may do."""

    enabled: frozenset[str]
    is_operator: bool
    key: CommandKey | None = None


class Commands:
    """Carries out what destinations ask for. Bad input is answered with its reason and counted, and changes nothing."""

    def __init__(
        self, pipeline: Pipeline, origins: Mapping[str, Origin], answers: Answers, clock: Clock, counters: Counters
    ) -> None:
        self._pipeline = pipeline
        self._origins = origins
        self._answers = answers
        self._clock = clock
        self._counters = counters
        self._received: OrderedDict[str, None] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self.rejections = Rejections()
        self.epoch = ""
        self.reader: JournalReader | None = None
        """Where what a crash kept from being remembered is looked up, once, before the first command."""

    async def run(self) -> None:
        """Watch until cancelled whether the rejections of the last minute have become few again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.tell_rejections()

    async def handle(self, request: Request) -> bytes:
        """Carry a command out; the answer comes back once its record is synced."""
        try:
            command = self._check(request)
        except CommandError as error:
            return await self._reject(request, str(error))
        async with self._one_at_a_time:
            await self._recall()
            if (known := self._answers.get_command(command.envelope.id)) is not None:
                return known
            try:
                self._check_time(command)
            except CommandError as error:
                return await self._reject(request, str(error))
            acted = await self._carry_out(command, request)
            self._counters.add("commands", of=labels(destination=request.destination, kind=command.kind))
            answer = _answer(command.envelope.id, command.kind, acted)
            if not isinstance(command.body, Receipt):
                self._remember(command.envelope.id, answer)
            return answer

    async def turned_away(self, kind: str, fields: Mapping[str, Any]) -> int | None:
        """Count a rejection and journal it (unless they flood); the seq of its record. Local logins count too."""
        seq = None
        if self.rejections.add(self._clock.monotonic_ns()):
            seq = await self._pipeline.note(kind, fields)
        await self.tell_rejections()
        return seq

    async def tell_rejections(self) -> None:
        """Raise or return ``davy:commands``, and tell in one record how many rejections got none of their own."""
        verdict = self.rejections.look(self._clock.monotonic_ns())
        if verdict.unrecorded:
            await self._pipeline.note("rejections", {"count": verdict.unrecorded})
        if verdict.is_true is None:
            return
        fields = {
            "alarm": ALARM,
            "is_true": verdict.is_true,
            "priority": Priority.HIGH.value,
            "message": MESSAGE,
        }
        await self._pipeline.note("condition", fields)

    def _check(self, request: Request) -> Command:
        """Everything that needs no memory; CommandError with the reason for the asker."""
        if request.retained:
            raise CommandError("retained messages are not commands")
        if len(request.payload) > PAYLOAD_MAX:
            raise CommandError(f"{len(request.payload)} bytes, at most {PAYLOAD_MAX}")
        command = parse(request.payload)
        origin = self._origins.get(request.destination)
        if origin is None or command.kind not in origin.enabled:
            raise CommandError(f"{command.kind} is not enabled for destination {request.destination}")
        _check_signature(command, origin.key)
        if command.envelope.epoch != self.epoch:
            raise CommandError(f"epoch {command.envelope.epoch} is not this journal's {self.epoch}")
        return command

    def _check_time(self, command: Command) -> None:
        if command.kind in EVENT_BOUND:
            return
        sent, expires, now_ns = command.envelope.sent, command.envelope.expires, self._clock.now_ns()
        if expires is None:
            raise CommandError(f"expires: required for {command.kind}")
        if expires > sent + LIFETIME_MAX_NS:
            raise CommandError("expires: at most 5 min after sent")
        if sent > now_ns + AHEAD_MAX_NS:
            raise CommandError(f"sent: {(sent - now_ns) / 1e9:.0f} s ahead of this gateway's clock, at most 60")
        if expires < now_ns:
            raise CommandError(f"expired {(now_ns - expires) / 1e9:.0f} s ago")

    async def _reject(self, request: Request, reason: str) -> bytes:
        kind, command_id = _peek(request.payload)
        self._counters.add("commands_rejected", of=labels(destination=request.destination))
        fields = {"destination": request.destination, "command": kind, "id": command_id, "reason": reason}
        seq = await self.turned_away("command_rejected", fields)
        return _answer(command_id, kind, Acted("rejected", reason, None, None, seq))

    async def _recall(self) -> None:
        """A crash may have come between a command's record and its remembered answer: the journal knows it."""
        reader, self.reader = self.reader, None
        if reader is None:
            return
        chunk = await reader.read(Lane.ALARMS, max(0, reader.synced_seq - RECALL_SEQS), RECALL_BYTES)
        for record in chunk.records:
            fields = record.fields
            if record.kind is not Kind.AUDIT or not {"id", "destination", "outcome"} <= fields.keys():
                continue
            if self._answers.get_command(fields["id"]) is None:
                alarm, refused = fields.get("alarm"), fields.get("refused")
                acted = Acted(fields["outcome"], refused, alarm, None, record.seq, fields.get("until"))
                self._remember(fields["id"], _answer(fields["id"], fields["kind"], acted))

    async def _carry_out(self, command: Command, request: Request) -> Acted:
        if isinstance(command.body, Receipt):
            return await self._receive(command.body, command.envelope.actor, request.destination)
        key = self._origins[request.destination].key
        fields = {
            **command.fields(),
            "actor": command.envelope.actor,
            "actor_is_claimed": True,
            "destination": request.destination,
            "key": key.fingerprint if key is not None else None,
            "id": command.envelope.id,
        }
        if isinstance(command.body, Acknowledge) and not request.is_operator:
            reason = "answers the call; only a destination with operator: true changes the alarm"
            seq = await self._pipeline.note("call", {**fields, "step": "acknowledged"})
            return Acted("done", reason, command.body.alarm, None, seq)
        return await self._pipeline.act(command.kind, fields, refusal=self._refusal(command))

    def _refusal(self, command: Command) -> str | None:
        """Nobody can log in over a channel, so what needs a second person's login is done on site."""
        deed = deed_of(command.kind, command.body, self._pipeline.engine, self._clock.now_ns())
        return "needs_second_person: hiding a critical alarm is done on site" if deed.needs_second else None

    async def _receive(self, receipt: Receipt, actor: str, destination: str) -> Acted:
        fresh = [event for event in receipt.events if event not in self._received]
        for event in fresh:
            self._received[event] = None
            if len(self._received) > RECEIVED_MAX:
                self._received.popitem(last=False)
        self._counters.add("receipts", len(receipt.events), labels(destination=destination))
        if not fresh:
            return Acted("done", None, None, None, None)
        fields = {"step": "received", "destination": destination, "events": fresh, "actor": actor}
        return Acted("done", None, None, None, await self._pipeline.note("call", fields))

    def _remember(self, command_id: str, answer: bytes) -> None:
        try:
            self._answers.put_command(command_id, answer, self._clock.now_ns())
        except sqlite3.Error as error:  # a full disk: the same command again would be judged anew, until it expires
            self._counters.add("state_errors")
            log.warning("answer not kept", extra={"id": command_id, "error": str(error)})


def _check_signature(command: Command, key: CommandKey | None) -> None:
    signature = command.envelope.signature
    if key is None:
        return  # what may be enabled without a key was decided when the configuration was loaded
    if signature is None:
        raise CommandError("signature: required by this destination's command_key")
    if not key.proves(command.message, signature):
        raise CommandError("signature: not made over this command with the key of command_key")


def _peek(payload: bytes) -> tuple[str | None, str | None]:
    """Kind and id of a command that may be anything, for the answer and the record."""
    try:
        parsed = orjson.loads(payload[:PAYLOAD_MAX])
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(parsed, dict):
        return None, None
    fields = cast("dict[str, Any]", parsed)
    return _short(fields.get("kind")), _short(fields.get("id"))


def _short(value: object) -> str | None:
    return value[:128] if isinstance(value, str) else None


def _answer(command_id: str | None, kind: str | None, acted: Acted) -> bytes:
    fields = {"v": 1, "id": command_id, "kind": kind, **acted_fields(acted)}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def acted_fields(acted: Acted) -> dict[str, Any]:
    """The outcome of an action as JSON types; ``until`` only where something ends by itself."""
    fields: dict[str, Any] = {
        "outcome": acted.outcome,
        "reason": acted.reason,
        "alarm": acted.alarm,
        "state": acted.state,
        "seq": acted.seq,
    }
    if acted.until is not None:
        fields["until"] = acted.until
    return fields
