"""JSON Schemas (draft 2020-12) of the messages that leave and enter over MQTT; `davy schema NAME` prints them."""

from collections.abc import Mapping
from typing import Any, Final

from agent.core.events import COLOUR, SEVERITY, State, Transition
from agent.core.quality import Quality
from agent.destinations.schemas_command import COMMAND, Schema

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_STATES: Final = [each.value for each in State]
_NS: Final[Schema] = {"type": "integer", "description": "ns UTC"}
_NS_OR_NULL: Final[Schema] = {"type": ["integer", "null"], "description": "ns UTC"}
_TEXT: Final[Schema] = {"type": "string"}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_NUMBER_OR_NULL: Final[Schema] = {"type": ["number", "null"]}
_FLAG: Final[Schema] = {"type": "boolean"}
_HASH: Final[Schema] = {
    "type": ["string", "null"],
    "pattern": "^[0-9a-f]{64}$",
    "description": "SHA-256, hex; null while the record is not journaled",
}
_SOURCE: Final[Schema] = {"enum": ["sensor", "simulator", "device"]}
_QUALITY: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 255,
    "description": ", ".join(f"{code.value} {code.name.lower()}" for code in Quality),
}
_IDENTITY: Final[dict[str, Schema]] = {"v": {"const": 1}, "site": _TEXT, "agent": _TEXT}
_RECORD: Final[dict[str, Schema]] = {
    **_IDENTITY,
    "epoch": {"type": "string", "description": "UUIDv7 of the journal's life"},
    "seq": {"type": ["integer", "null"], "minimum": 1, "description": "null: not journaled, the disk is failing"},
}
_CHAIN: Final[dict[str, Schema]] = {
    "after": {"type": "integer", "minimum": 0, "description": "seq of the record this lane sent before"},
    "prev": _HASH,
    "hash": _HASH,
}


def _message(title: str, required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """A message; fields may be added to it, so unknown ones are allowed."""
    properties = {**required, **(optional or {})}
    return {"$schema": _DRAFT, "title": title, "type": "object", "properties": properties, "required": list(required)}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


_BLOCK: Final[Schema] = {
    "type": "object",
    "description": "one journal record: one batch",
    "properties": {
        "seq": {"type": "integer", "minimum": 1},
        "t": {**_NS, "description": "when the batch was taken in, ns UTC"},
        "v": {
            "type": ["array", "null"],
            "items": _NUMBER_OR_NULL,
            "maxItems": 1_000,
            "description": "values, null where there is none; null alone: the whole batch is bad, q says why",
        },
        "i": _list({"type": "integer", "minimum": 0}, description="indexes into tags; left out: all, in order"),
        "q": {"anyOf": [_list(_QUALITY), _QUALITY], "description": "quality codes; left out: all good"},
        "dt": _list({"type": "integer"}, description="event time minus t per reading, ns; left out: zero"),
        "x": {
            "type": "object",
            "propertyNames": {"pattern": "^[0-9]+$"},
            "additionalProperties": _TEXT,
            "description": "what float64 or JSON cannot hold, as text, by position in v",
        },
    },
    "required": ["seq", "t", "v"],
    "additionalProperties": False,
}

READINGS: Final = _message(
    "readings",
    {
        **_IDENTITY,
        "epoch": _TEXT,
        "after": _CHAIN["after"],
        "historical": _FLAG,
        "source": _SOURCE,
        "tags": _list(_TEXT, uniqueItems=True),
        "blocks": _list(_BLOCK, minItems=1),
    },
    {"exercise": _FLAG, "skipped": _list({"type": "integer"}, minItems=2, maxItems=2)},
)

_ALARM: Final[dict[str, Schema]] = {
    **_IDENTITY,
    "alarm": _TEXT,
    "rule": _TEXT_OR_NULL,
    "kind": _TEXT,
    "tag": _TEXT_OR_NULL,
    "state": {"enum": _STATES},
    "time": _NS,
    "value": _NUMBER_OR_NULL,
    "limit": _NUMBER_OR_NULL,
    "unit": _TEXT_OR_NULL,
    "quality": {"anyOf": [_QUALITY, {"type": "null"}]},
    "priority": {"enum": [each.value for each in SEVERITY]},
    "colour": {"enum": list(COLOUR.values())},
    "severity": {"enum": list(SEVERITY.values())},
    "message": {"type": "object", "additionalProperties": _TEXT, "description": "by language: zh-CN, en"},
    "occurrence": {"type": "integer", "minimum": 0},
    "event": {**_TEXT_OR_NULL, "description": "id of the occurrence's activated event"},
    "since": _NS_OR_NULL,
    "extreme": _NUMBER_OR_NULL,
}

_ALARM_EVENT: Final[dict[str, Schema]] = {
    **_RECORD,
    **_ALARM,
    "id": _TEXT,
    "transition": {"enum": [each.value for each in Transition]},
    "previous": {"enum": _STATES},
    "deadband": _NUMBER_OR_NULL,
    "basis": _TEXT_OR_NULL,
    "actor": _TEXT_OR_NULL,
    "note": _TEXT_OR_NULL,
    "cause": _TEXT_OR_NULL,
    "cause_seq": {"type": ["integer", "null"]},
    "by": _TEXT_OR_NULL,
    "annunciated": _FLAG,
    "recorded": _NS,
    "clock": _TEXT,
    "source": _SOURCE,
    "exercise": _FLAG,
    "rules_version": _TEXT,
    "tag_name": _TEXT_OR_NULL,
    "place": {
        "type": "object",
        "properties": {
            **dict.fromkeys(("site_name", "code", "hazard_code", "device", "location", "duty_phone"), _TEXT_OR_NULL),
            **dict.fromkeys(("lat", "lon"), _NUMBER_OR_NULL),
        },
    },
    **_CHAIN,
}

ALARM: Final = _message(
    "alarm",
    _ALARM_EVENT,
    {
        "reading": _NUMBER_OR_NULL,
        "reason": _TEXT_OR_NULL,
        "until": _NS_OR_NULL,
        "coverage": {"type": "number", "minimum": 0, "maximum": 1},
        "first": _FLAG,
        "area": _TEXT,
        "equipment": _TEXT,
        "from": _NS,
        "to": _NS,
        "finding": _TEXT,
        "measure": _TEXT,
    },
)

ACTIVE: Final = _message(
    "active",
    {"alarm": _TEXT, "state": {"enum": _STATES}, "priority": {"enum": [each.value for each in SEVERITY]}},
    {name: schema for name, schema in _ALARM.items() if name not in ("alarm", "state", "priority")},
)

AUDIT: Final = _message(
    "audit",
    {**_RECORD, "kind": _TEXT, "time": _NS, "recorded": _NS, "actor": _TEXT_OR_NULL, "source": _SOURCE, **_CHAIN},
)

STATUS: Final = _message(
    "status",
    {**_IDENTITY, "state": {"enum": ["online", "offline"]}, "time": _NS},
    {
        "next_by": {**_NS_OR_NULL, "description": "the next status comes before this, ns UTC"},
        "health": _TEXT,
        "lanes": {
            "type": "object",
            "properties": {
                "alarms": {
                    "type": "object",
                    "properties": {"seq": {"type": ["integer", "null"]}, "hash": _HASH},
                    "required": ["seq", "hash"],
                }
            },
            "required": ["alarms"],
        },
        "counts": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        "rules_version": _TEXT,
        "clock": _TEXT,
    },
)

TAGS: Final = _message(
    "tags",
    {**_IDENTITY, "tags": _list({"type": "object", "properties": {"id": _TEXT}, "required": ["id"]})},
)

ANSWER: Final = _message(
    "answer",
    {
        "v": {"const": 1},
        "id": _TEXT_OR_NULL,
        "kind": _TEXT_OR_NULL,
        "outcome": {"enum": ["accepted", "done", "rejected"]},
    },
    {
        "reason": _TEXT_OR_NULL,
        "alarm": _TEXT_OR_NULL,
        "state": _TEXT_OR_NULL,
        "seq": {"type": ["integer", "null"]},
        "until": {**_NS, "description": "when it ends by itself: as asked for, or the limit that it was cut to"},
    },
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "readings": READINGS,
    "alarm": ALARM,
    "active": ACTIVE,
    "audit": AUDIT,
    "status": STATUS,
    "tags": TAGS,
    "command": COMMAND,
    "answer": ANSWER,
}
"""By name; what stands on which topic is in spec/wire.md."""
