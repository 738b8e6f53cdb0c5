"""What a receiving platform answers: receipts at once, acknowledgements by a person a little later. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from agent.core.ids import new_id

EXPIRES_NS: Final = 300_000_000_000
_ATTEMPTS_MAX: Final = 20


@dataclass
class _Open:
    event: Mapping[str, Any]
    due_ns: int
    attempts: int = 0


class Operator:
    """Decides which commands to send. ``new_command_id`` gives a fresh id for a time (ns UTC)."""

    def __init__(
        self,
        acknowledge_after_ns: int,
        repeat_after_ns: int,
        new_command_id: Callable[[int], str] = new_id,
    ) -> None:
        self._acknowledge_after_ns = acknowledge_after_ns
        self._repeat_after_ns = repeat_after_ns
        self._new_id = new_command_id
        self._open: dict[str, _Open] = {}
        self._asked: dict[str, str] = {}
        self.answers: list[Mapping[str, Any]] = []

    @property
    def open(self) -> int:
        """Alarms that are still to be acknowledged."""
        return len(self._open)

    def receipt(self, event: Mapping[str, Any], now_ns: int) -> bytes:
        """The receipt for an alarm event."""
        return self._command("receipt", event["epoch"], now_ns, actor="platform", events=[event["id"]])

    def watch(self, event: Mapping[str, Any], now_ns: int) -> None:
        """An alarm event came: remember to acknowledge it, or that it is done."""
        occurrence = event["event"]
        if event["transition"] == "activated" and event["annunciated"]:
            for other in [key for key, item in self._open.items() if item.event["alarm"] == event["alarm"]]:
                del self._open[other]  # a later occurrence: the older id would be rejected as superseded
            self._open[occurrence] = _Open(event, now_ns + self._acknowledge_after_ns)
        elif event["transition"] in {"acknowledged", "ended"}:
            self._open.pop(occurrence, None)

    def due(self, now_ns: int) -> list[bytes]:
        """The acknowledgements to send now; repeated until they are answered or hopeless."""
        found: list[bytes] = []
        for occurrence, item in list(self._open.items()):
            if now_ns < item.due_ns:
                continue
            if item.attempts >= _ATTEMPTS_MAX:
                del self._open[occurrence]
                continue
            item.attempts += 1
            item.due_ns = now_ns + self._repeat_after_ns
            command = self._command(
                "acknowledge",
                item.event["epoch"],
                now_ns,
                actor="operator 0417",
                alarm=item.event["alarm"],
                event=occurrence,
                note=None,
            )
            self._asked[json.loads(command)["id"]] = occurrence
            found.append(command)
        return found

    def answered(self, payload: bytes) -> Mapping[str, Any] | None:
        """An answer came: one to an acknowledgement ends its repetition. None where it is no answer."""
        try:
            answer = json.loads(payload)
        except ValueError:
            return None
        if not isinstance(answer, dict) or "outcome" not in answer:
            return None
        fields = cast("dict[str, Any]", answer)
        self.answers.append(fields)
        occurrence = self._asked.get(str(fields.get("id")))
        if occurrence is not None:
            self._open.pop(occurrence, None)
        return fields

    def _command(self, kind: str, epoch: str, now_ns: int, **fields: Any) -> bytes:
        command = {
            "id": self._new_id(now_ns),
            "kind": kind,
            "sent": now_ns,
            "expires": now_ns + EXPIRES_NS,
            "epoch": epoch,
            **fields,
        }
        return json.dumps(command, ensure_ascii=False, separators=(",", ":")).encode()
