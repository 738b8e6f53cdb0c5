"""The commands of spec/wire.md as models: an envelope that all have, and a body for each kind."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar, cast

from pydantic import Field, StringConstraints, ValidationError

from agent.config.fields import Strict

Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
"""Why something is hidden, for how it will be read years later; never empty."""
Note = Annotated[str, StringConstraints(max_length=4_000)]
TimeNs = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]

_Model = TypeVar("_Model", bound=Strict)

LATER: Final = frozenset({"duty_check", "resend", "rebirth"})
"""Kinds of spec/wire.md that this version does not have."""


class CommandError(ValueError):
    """The bytes are no command of this version; the text is the reason that the asker is answered."""


class Envelope(Strict):
    """What every command carries beside its body."""

    id: Name
    kind: str
    actor: Name
    """Who asks, as the sender claims."""
    sent: TimeNs
    expires: TimeNs | None = None
    epoch: str
    signature: Annotated[str, StringConstraints(max_length=128)] | None = None
    """Base64 of the Ed25519 signature over :func:`agent.commands.signature.signed_bytes`."""


class Range(Strict):
    """Records of one lane, both ends included."""

    lane: Literal["alarms", "readings"]
    from_: Annotated[int, Field(alias="from", ge=1)]
    to: Annotated[int, Field(ge=1)]


class Receipt(Strict):
    """Event ids and seq ranges that have reached the platform."""

    events: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()


class Occurrence(Strict):
    """Acknowledge, reset: of one occurrence, named by its ``activated`` event (spec/rules.md A5)."""

    alarm: Name
    event: Name
    note: Note | None = None


class Acknowledge(Occurrence):
    """A person has seen the alarm."""


class Reset(Occurrence):
    """A latched alarm may go back to normal."""


class Confirm(Occurrence):
    """处置完毕: what was found and what was done closes the occurrence."""

    finding: Annotated[str, StringConstraints(min_length=1, max_length=4_000)]
    measure: Annotated[str, StringConstraints(min_length=1, max_length=4_000)]


class Silence(Strict):
    """Stop the horn, for one alarm or for all that sound, and nothing else."""

    alarm: Name | None = None
    note: Note | None = None


class Comment(Strict):
    """A remark to an alarm, kept with it."""

    alarm: Name
    note: Annotated[str, StringConstraints(min_length=1, max_length=4_000)]
    event: Name | None = None


class Hide(Strict):
    """Shelve, remove_from_service: until when, and why."""

    alarm: Name
    until: TimeNs
    reason: Reason


class Unhide(Strict):
    """Unshelve, return_to_service."""

    alarm: Name
    reason: Reason | None = None


class Maintenance(Strict):
    """A tag is worked on: its readings are no evidence until the end. Without ``until``: 30 minutes (A4)."""

    tag: Name
    until: TimeNs | None = None
    reason: Reason


class EndMaintenance(Strict):
    """The work on a tag is over."""

    tag: Name
    reason: Reason | None = None


class Done(Strict):
    """A bump test, calibration or proof test was carried out: ``rule`` is the ``overdue`` rule, if one is meant."""

    tag: Name
    rule: Name | None = None
    result: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class PlannedStop(Strict):
    """An area stands still from then to then (A8)."""

    area: Name
    from_: Annotated[TimeNs, Field(alias="from")]
    until: TimeNs
    reason: Reason


class Exercise(Strict):
    """Alarms are marked as exercise until then, at most 4 h (G3)."""

    until: TimeNs
    reason: Reason


class EndExercise(Strict):
    """The exercise is over."""

    reason: Reason | None = None


BODIES: Final[Mapping[str, type[Strict]]] = {
    "receipt": Receipt,
    "acknowledge": Acknowledge,
    "reset": Reset,
    "confirm": Confirm,
    "silence": Silence,
    "comment": Comment,
    "shelve": Hide,
    "unshelve": Unhide,
    "remove_from_service": Hide,
    "return_to_service": Unhide,
    "maintenance": Maintenance,
    "end_maintenance": EndMaintenance,
    "done": Done,
    "planned_stop": PlannedStop,
    "exercise": Exercise,
    "end_exercise": EndExercise,
}
"""Every kind that this version has, and what its body must hold."""

_ENVELOPE: Final = frozenset(Envelope.model_fields)


@dataclass(frozen=True, slots=True)
class Command:
    """One command, checked by form; whether it may be carried out is not decided yet."""

    envelope: Envelope
    body: Strict
    message: Mapping[str, Any]
    """The whole message as it came; what a signature is made over."""

    @property
    def kind(self) -> str:
        """See :data:`BODIES`."""
        return self.envelope.kind

    def fields(self) -> dict[str, Any]:
        """The body with the keys of spec/wire.md, for the audit record."""
        return body_fields(self.body)


def parse(payload: bytes) -> Command:
    """A command from its message; CommandError with the reason for anything else, unknown fields included."""
    message = load(payload)
    envelope = _validated(Envelope, {key: value for key, value in message.items() if key in _ENVELOPE})
    return Command(
        envelope, parse_body(envelope.kind, {k: v for k, v in message.items() if k not in _ENVELOPE}), message
    )


def parse_body(kind: str, fields: Mapping[str, Any]) -> Strict:
    """The body of a command or of a local request; CommandError names what is wrong."""
    if kind in LATER:
        raise CommandError(f"kind: {kind} is not in this version of davy")
    if kind not in BODIES:
        raise CommandError(f"kind: {kind} is none of {', '.join(BODIES)}")
    return _validated(BODIES[kind], fields)


def body_fields(body: Strict) -> dict[str, Any]:
    """A body as JSON types, keys as on the wire, nothing that was left out."""
    return body.model_dump(mode="json", by_alias=True, exclude_none=True)


def load(payload: bytes) -> dict[str, Any]:
    """The JSON object, strictly: no key twice and no fractions, so that everybody reads and signs the same thing."""
    try:
        message: object = json.loads(
            payload, object_pairs_hook=_once, parse_float=_no_fraction, parse_constant=_no_fraction
        )
    except CommandError:
        raise
    except (ValueError, RecursionError) as error:
        raise CommandError(f"no JSON: {error}") from error
    if not isinstance(message, dict):
        raise CommandError("no JSON object")
    return cast("dict[str, Any]", message)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise CommandError(f"{twice}: key twice")
    return fields


def _no_fraction(text: str) -> NoReturn:
    raise CommandError(f"{text}: a command holds whole numbers only")


def _validated(model: type[_Model], fields: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CommandError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error
