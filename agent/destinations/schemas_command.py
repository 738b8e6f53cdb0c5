"""JSON Schema of commands: the envelope, a body for each kind, and how a command is signed."""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 128}
_NS: Final[Schema] = {"type": "integer", "minimum": 0, "description": "ns UTC"}
_REASON: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 1_000}
_NOTE: Final[Schema] = {"type": ["string", "null"], "maxLength": 4_000}
_TEXT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 4_000}
_OCCURRENCE: Final[dict[str, Schema]] = {
    "alarm": _NAME,
    "event": {**_NAME, "description": "id of the occurrence's activated event"},
}
_HIDE: Final[dict[str, Schema]] = {
    "alarm": _NAME,
    "until": {**_NS, "description": "ns UTC; a longer time than allowed is cut, and the answer says so"},
    "reason": _REASON,
}
_RANGE: Final[Schema] = {
    "type": "object",
    "properties": {
        "lane": {"enum": ["alarms", "readings"]},
        "from": {"type": "integer", "minimum": 1},
        "to": {"type": "integer", "minimum": 1},
    },
    "required": ["lane", "from", "to"],
    "additionalProperties": False,
}

_Body = tuple[dict[str, Schema], dict[str, Schema]]
"""Required and optional fields."""

BODIES: Final[Mapping[str, _Body]] = {
    "receipt": (
        {},
        {"events": {"type": "array", "items": {"type": "string"}}, "ranges": {"type": "array", "items": _RANGE}},
    ),
    "acknowledge": (_OCCURRENCE, {"note": _NOTE}),
    "reset": (_OCCURRENCE, {"note": _NOTE}),
    "confirm": ({**_OCCURRENCE, "finding": _TEXT, "measure": _TEXT}, {"note": _NOTE}),
    "silence": ({}, {"alarm": _NAME, "note": _NOTE}),
    "comment": ({"alarm": _NAME, "note": _TEXT}, {"event": _NAME}),
    "shelve": (_HIDE, {}),
    "unshelve": ({"alarm": _NAME}, {"reason": _REASON}),
    "remove_from_service": (_HIDE, {}),
    "return_to_service": ({"alarm": _NAME}, {"reason": _REASON}),
    "maintenance": ({"tag": _NAME, "reason": _REASON}, {"until": _NS}),
    "end_maintenance": ({"tag": _NAME}, {"reason": _REASON}),
    "done": ({"tag": _NAME, "result": _REASON}, {"rule": _NAME}),
    "planned_stop": ({"area": _NAME, "from": _NS, "until": _NS, "reason": _REASON}, {}),
    "exercise": ({"until": _NS, "reason": _REASON}, {}),
    "end_exercise": ({}, {"reason": _REASON}),
}

_ENVELOPE: Final[dict[str, Schema]] = {
    "id": {**_NAME, "description": "new for each command; the same id again gets the first answer, for 7 days"},
    "actor": {**_NAME, "description": "who asks, as the sender says; recorded as claimed"},
    "sent": _NS,
    "epoch": {"type": "string", "description": "of the gateway's journal, as in its status message"},
}
_EXPIRES: Final[Schema] = {**_NS, "description": "at most 5 min after sent; needless for receipt and acknowledge"}
_SIGNATURE: Final[Schema] = {
    "type": "string",
    "contentEncoding": "base64",
    "description": "Ed25519 (RFC 8032) over the bytes 'davy-command-v1\\n' followed by the command without this key as "
    "canonical JSON: keys sorted by code point at every level, no spaces, UTF-8 with nothing escaped but what JSON "
    "must escape, whole numbers in full",
}
_NEEDS_NO_EXPIRY: Final = frozenset({"receipt", "acknowledge"})


def _one(kind: str, body: _Body) -> Schema:
    required, optional = body
    must: dict[str, Schema] = {**_ENVELOPE, "kind": {"const": kind}, **required}
    may: dict[str, Schema] = {"signature": _SIGNATURE, **optional}
    (may if kind in _NEEDS_NO_EXPIRY else must)["expires"] = _EXPIRES
    return {
        "title": kind,
        "type": "object",
        "properties": {**must, **may},
        "required": list(must),
        "additionalProperties": False,
    }


COMMAND: Final[Schema] = {
    "$schema": _DRAFT,
    "title": "command",
    "description": "no key twice, no fractions, no unknown key; only what the destination's `commands` lists",
    "oneOf": [_one(kind, body) for kind, body in BODIES.items()],
}
