"""Actions asked for on site, over the local socket: who asks, may they, and the audit record with their name."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from agent.commands.model import CommandError, body_fields, parse_body
from agent.commands.people import Login, LoginError, Person, Reception
from agent.commands.remote import Commands, acted_fields
from agent.commands.roles import NEEDED, Deed, needed_role, refusal
from agent.commands.touched import deed_of
from agent.config.fields import Strict
from agent.core.clock import Clock
from agent.core.counters import Counters, labels
from agent.pipeline import Acted, Pipeline

ACTIONS: Final = tuple(kind for kind in NEEDED if kind != "reload")
NEEDS_SECOND: Final = "needs_second_person: the login of the person and of a second one, each with their own password"
SAME_PERSON: Final = "needs_second_person: the second person is the first one"
_PRESENT: Final = "present"
"""Stands for the occurrence of an alarm that has none yet."""
_LOGINS: Final = ("login", "second")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for something, and what speaks against it."""

    person: Person
    second: Person | None
    refusal: str | None

    def to_fields(self) -> dict[str, Any]:
        """For the audit record."""
        fields: dict[str, Any] = {"actor": self.person.name, "role": self.person.role.value, "via": "cli"}
        if self.second is not None:
            fields["second"] = self.second.name
        return fields


class Desk:
    """Carries out what people on site ask for."""

    def __init__(
        self, pipeline: Pipeline, reception: Reception, commands: Commands, clock: Clock, counters: Counters
    ) -> None:
        self._pipeline = pipeline
        self._reception = reception
        self._commands = commands
        self._clock = clock
        self._counters = counters
        self.reload: Callable[[Asked, str | None], Awaitable[dict[str, Any]]] | None = None
        """Carries a reload out; given by the application."""

    async def act(self, kind: str, request: Mapping[str, Any], uid: int) -> dict[str, Any]:
        """Carry an action out; its outcome as JSON types. CommandError where the request is malformed."""
        body = parse_body(kind, self._with_event(kind, request))
        asked = await self._ask(request, uid, deed_of(kind, body, self._pipeline.engine, self._clock.now_ns()))
        if isinstance(asked, Acted):
            return acted_fields(asked)
        self._counters.add("actions", of=labels(kind=kind))
        fields = {**body_fields(body), **asked.to_fields()}
        if fields.get("event") == _PRESENT:
            fields["event"] = None
        acted = await self._pipeline.act(kind, fields, refusal=asked.refusal)
        return acted_fields(acted)

    async def ask_reload(self, request: Mapping[str, Any], uid: int) -> dict[str, Any]:
        """Take a new configuration over, ``force`` (a reason) applying what weakens alarms now."""
        force = request.get("force")
        if force is not None and not (isinstance(force, str) and force.strip()):
            raise CommandError("force: expected a reason")
        assert self.reload is not None
        asked = await self._ask(request, uid, Deed("reload", is_forced=force is not None))
        if isinstance(asked, Acted):
            return acted_fields(asked)
        if asked.refusal is not None:
            fields = {"command": "reload", "reason": asked.refusal, "force": force, **asked.to_fields()}
            seq = await self._commands.turned_away("command_rejected", fields)
            return acted_fields(Acted("rejected", asked.refusal, None, None, seq))
        return await self.reload(asked, force)

    async def needs(self, request: Mapping[str, Any], uid: int) -> dict[str, Any]:
        """What an action would need, so that the command line asks for passwords only where they are wanted."""
        kind = str(request["kind"])
        if kind == "reload":
            deed = Deed(kind, is_forced=request.get("force") is not None)
        else:
            body = self._body(kind, request)
            deed = deed_of(kind, body, self._pipeline.engine, self._clock.now_ns())
        peer = await self._reception.peer(uid)
        return {
            "role": needed_role(deed).value,
            "login": deed.needs_second or not peer.role.covers(needed_role(deed)),
            "second": deed.needs_second,
        }

    def _body(self, kind: str, request: Mapping[str, Any]) -> Strict:
        return parse_body(kind, self._with_event(kind, {k: v for k, v in request.items() if k != "kind"}))

    def _with_event(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The body; where an occurrence is not named, the present one is meant."""
        if kind not in NEEDED:
            raise CommandError(f"no action {kind}")
        fields = {key: value for key, value in request.items() if key not in ("do", *_LOGINS) and value is not None}
        if kind in ("acknowledge", "reset", "confirm") and "event" not in fields:
            alarm = fields.get("alarm")
            event = next((view.event for view in self._pipeline.engine.alarms() if view.id == alarm), None)
            fields["event"] = event or _PRESENT
        return fields

    async def _ask(self, request: Mapping[str, Any], uid: int, deed: Deed) -> Asked | Acted:
        """Who asks and whether they may; an outcome at once where a login failed."""
        try:
            logins = {name: Login.model_validate(request[name]) for name in _LOGINS if request.get(name)}
        except ValidationError as error:
            raise CommandError("login: expected user and password") from error
        person = await self._reception.peer(uid)
        second: Person | None = None
        try:
            if "login" in logins:
                person = await self._reception.login(logins["login"])
            if "second" in logins:
                second = await self._reception.login(logins["second"])
        except LoginError as error:
            return await self._turn_away(deed.kind, str(error), person)
        return Asked(person, second, refusal(person.role, deed) or _second_refusal(deed, person, second))

    async def _turn_away(self, kind: str, reason: str, person: Person) -> Acted:
        fields = {"command": kind, "reason": reason, "actor": person.name, "via": "cli"}
        seq = await self._commands.turned_away("login_failed", fields)
        return Acted("rejected", f"login: {reason}", None, None, seq)


def _second_refusal(deed: Deed, person: Person, second: Person | None) -> str | None:
    """Two logins, since one person may own several accounts of the operating system, root among them."""
    if not deed.needs_second:
        return None
    if second is None or not person.has_login:
        return NEEDS_SECOND
    if second.name == person.name:
        return SAME_PERSON
    return refusal(second.role, Deed("acknowledge"))
