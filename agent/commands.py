"""What may come in from destinations, from whom, and what is answered (spec/wire.md "Commands")."""

import json
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol, cast

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from agent.config.fields import Strict
from agent.core.clock import Clock
from agent.core.counters import Counters, labels
from agent.core.ports import Request
from agent.pipeline import Acted, Pipeline

log = logging.getLogger("davy.commands")

PAYLOAD_MAX: Final = 256 * 1024
"""Longest command, bytes; anything longer is rejected unread."""
RECEIVED_MAX: Final = 20_000
"""So many received event ids are remembered, so that only the first receipt makes a record."""
LIFETIME_MAX_NS: Final = 300_000_000_000


class _Command(Strict):
    id: Annotated[str, Field(min_length=1, max_length=128)]
    actor: Annotated[str, Field(min_length=1, max_length=128)]
    sent: int
    expires: int | None = None
    epoch: str


class Range(Strict):
    """Records of one lane, both ends included."""

    lane: Literal["alarms", "readings"]
    from_: Annotated[int, Field(alias="from", ge=1)]
    to: Annotated[int, Field(ge=1)]


class Receipt(_Command):
    """Event ids and seq ranges that have reached the platform."""

    kind: Literal["receipt"]
    events: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()


class Acknowledge(_Command):
    """A person at the platform has seen the alarm."""

    kind: Literal["acknowledge"]
    alarm: str
    event: str
    note: str | None = None


COMMANDS: Final[TypeAdapter[Receipt | Acknowledge]] = TypeAdapter(
    Annotated[Receipt | Acknowledge, Field(discriminator="kind")]
)


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
        self.epoch = ""

    async def handle(self, request: Request) -> bytes:
        """Carry a command out; the answer comes back once its record is synced."""
        kind, command_id = _peek(request.payload)
        command, reason = self._parse(request)
        if command is None:
            self._counters.add("commands_rejected", of=labels(destination=request.destination))
            fields = {"destination": request.destination, "command": kind, "id": command_id, "reason": reason}
            seq = await self._pipeline.note("command_rejected", fields)
            return _answer(command_id, kind, Acted("rejected", reason, None, None, seq))
        if (known := self._answers.get_command(command.id)) is not None:
            return known
        if isinstance(command, Receipt):
            acted = await self._receive(command, request.destination)
        else:
            acted = await self._acknowledge(command, request)
        self._counters.add("commands", of=labels(destination=request.destination, kind=command.kind))
        answer = _answer(command.id, command.kind, acted)
        if not isinstance(command, Receipt):
            self._remember(command.id, answer)
        return answer

    def _remember(self, command_id: str, answer: bytes) -> None:
        try:
            self._answers.put_command(command_id, answer, self._clock.now_ns())
        except sqlite3.Error as error:  # a full disk: the same command again would be judged anew, by its event
            self._counters.add("state_errors")
            log.warning("answer not kept", extra={"id": command_id, "error": str(error)})

    def _parse(self, request: Request) -> tuple[Receipt | Acknowledge | None, str | None]:
        if request.retained:
            return None, "retained messages are not commands"
        if len(request.payload) > PAYLOAD_MAX:
            return None, f"{len(request.payload)} bytes, at most {PAYLOAD_MAX}"
        try:
            command = COMMANDS.validate_json(request.payload)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return None, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        origin = self._origins.get(request.destination)
        if origin is None or command.kind not in origin.enabled:
            return None, f"{command.kind} is not enabled for destination {request.destination}"
        if command.epoch != self.epoch:
            return None, f"epoch {command.epoch} is not this journal's {self.epoch}"
        return command, None

    async def _receive(self, command: Receipt, destination: str) -> Acted:
        fresh = [event for event in command.events if event not in self._received]
        for event in fresh:
            self._received[event] = None
            if len(self._received) > RECEIVED_MAX:
                self._received.popitem(last=False)
        self._counters.add("receipts", len(command.events), labels(destination=destination))
        if not fresh:
            return Acted("done", None, None, None, None)
        fields = {"step": "received", "destination": destination, "events": fresh, "actor": command.actor}
        return Acted("done", None, None, None, await self._pipeline.note("call", fields))

    async def _acknowledge(self, command: Acknowledge, request: Request) -> Acted:
        fields: dict[str, Any] = {
            "alarm": command.alarm,
            "event": command.event,
            "note": command.note,
            "actor": command.actor,
            "actor_is_claimed": True,
            "destination": request.destination,
            "id": command.id,
        }
        if request.is_operator:
            return await self._pipeline.act("acknowledge", fields)
        seq = await self._pipeline.note("call", {**fields, "step": "acknowledged"})
        return Acted(
            "done", "answers the call; only a destination with operator: true changes the alarm", None, None, seq
        )


def _peek(payload: bytes) -> tuple[str | None, str | None]:
    """Kind and id of a command that may be anything, for the answer and the record."""
    try:
        parsed = orjson.loads(payload[:PAYLOAD_MAX])
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(parsed, dict):
        return None, None
    fields = cast("dict[str, Any]", parsed)
    kind, command_id = fields.get("kind"), fields.get("id")
    return (kind if isinstance(kind, str) else None, command_id if isinstance(command_id, str) else None)


def _answer(command_id: str | None, kind: str | None, acted: Acted) -> bytes:
    fields = {
        "v": 1,
        "id": command_id,
        "kind": kind,
        "outcome": acted.outcome,
        "reason": acted.reason,
        "alarm": acted.alarm,
        "state": acted.state,
        "seq": acted.seq,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
