"""Journal records as line protocol (pure): one point per reading, alarm event or audit record, stamps in ns."""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

from agent.core.batch import Batch
from agent.core.quality import FIRST_BAD
from agent.core.records import Kind, Record

LAYOUTS_MAX: Final = 256
"""Prefixes are kept for so many layouts; beyond that they are made anew."""
AUDIT_SPREAD_NS: Final = 1_000

_TAG_ESCAPES: Final = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": r"\ ", "\r": r"\ ", "\\": "/"})
_TEXT_ESCAPES: Final = str.maketrans({'"': r"\"", "\\": "\\\\", "\n": " ", "\r": " "})
_ALARM_TAGS: Final = ("agent", "alarm", "kind", "priority", "site", "tag", "transition")
_ALARM_TEXTS: Final = ("id", "event", "state", "previous", "unit", "actor", "note", "cause", "by", "source", "clock")
_ALARM_NUMBERS: Final = ("value", "limit", "extreme", "deadband", "reading")
_ALARM_INTEGERS: Final = ("quality", "occurrence", "severity", "seq", "since")


def tag_text(text: str) -> str:
    """A tag value. Servers read a backslash in different ways and ids have none: it becomes a slash."""
    return text.translate(_TAG_ESCAPES) or "-"


def field_text(text: str) -> str:
    """A string field with its quotes."""
    return '"' + text.translate(_TEXT_ESCAPES) + '"'


class Lines:
    """Writes the records of one agent. Two readings of one tag never share series and stamp.

    The series of a reading is agent, device, site, source and tag, with ``exercise=true`` and ``historical=true`` where
    that applies. Fields: ``value`` (float; left out where there is none or the reading is bad), ``quality`` (integer),
    ``text`` (what float64 cannot hold).
    """

    def __init__(self, site: str, agent: str, measurement: str) -> None:
        self._site_name, self._site = site, tag_text(site)
        self._agent_name, self._agent = agent, tag_text(agent)
        self._measurement = measurement
        self._prefixes: dict[tuple[bytes, bool, bool], list[str]] = {}

    def record(self, record: Record) -> list[str]:
        """The lines of one record, without line ends: one per reading, or one."""
        if record.batch is not None:
            return self._readings(record.batch)
        line = self._alarm(record) if record.kind is Kind.ALARM else self._audit(record)
        return [line]

    def _readings(self, batch: Batch) -> list[str]:
        prefixes = self._prefixes_of(batch)
        if batch.index is not None:
            prefixes = [prefixes[i] for i in batch.index]
        # A sum is finite only if every value is: one look finds out whether the quick way is open.
        is_plain = batch.quality is None and batch.dt_ns is None and not batch.exact and isfinite(sum(batch.values))
        if is_plain and batch.index is None:
            tail = f",quality=0i {batch.at_ns}"
            return [f"{prefix} value={value!r}{tail}" for prefix, value in zip(prefixes, batch.values, strict=True)]
        return self._one_by_one(batch, prefixes)

    def _one_by_one(self, batch: Batch, prefixes: Sequence[str]) -> list[str]:
        quality = batch.quality or bytes(len(batch))
        seen: set[tuple[str, int]] = set()
        lines: list[str] = []
        for i, prefix in enumerate(prefixes):
            t_ns = batch.t_ns(i)
            while (prefix, t_ns) in seen:
                # Two changes of one item in one notification, both stamped with its time: the later one is 1 ns later.
                t_ns += 1
            seen.add((prefix, t_ns))
            value, code = batch.values[i], quality[i]
            fields = f"quality={code}i"
            if code < FIRST_BAD and isfinite(value):
                fields = f"value={value!r},{fields}"
            if i in batch.exact:
                fields += f",text={field_text(batch.exact[i])}"
            lines.append(f"{prefix} {fields} {t_ns}")
        return lines

    def _prefixes_of(self, batch: Batch) -> list[str]:
        key = batch.layout.id, batch.historical, batch.exercise
        known = self._prefixes.get(key)
        if known is None:
            if len(self._prefixes) >= LAYOUTS_MAX:
                self._prefixes.clear()
            known = self._prefixes[key] = self._make_prefixes(batch)
        return known

    def _make_prefixes(self, batch: Batch) -> list[str]:
        # Tags in the order of their names: servers that sort them have nothing to do.
        head = f"{self._measurement},agent={self._agent},device={tag_text(batch.layout.device)}"
        if batch.exercise:
            head += ",exercise=true"
        if batch.historical:
            head += ",historical=true"
        head += f",site={self._site},source={batch.layout.source.value},tag="
        return [head + tag_text(tag) for tag in batch.layout.tags]

    def _alarm(self, record: Record) -> str:
        fields = dict(record.fields)
        names = {**fields, "site": self._site_name, "agent": self._agent_name}
        tags = [f",{key}={tag_text(str(names[key]))}" for key in _ALARM_TAGS if names.get(key) not in (None, "")]
        written = [f"{key}={field_text(str(fields[key]))}" for key in _ALARM_TEXTS if fields.get(key) is not None]
        written += [f"{key}={float(fields[key])!r}" for key in _ALARM_NUMBERS if fields.get(key) is not None]
        if record.seq:
            fields["seq"] = record.seq
        written += [f"{key}={int(fields[key])}i" for key in _ALARM_INTEGERS if fields.get(key) is not None]
        written += [f"{key}={_boolean(fields[key])}" for key in ("annunciated", "exercise") if key in fields]
        written += [f"message_{key}={field_text(text)}" for key, text in _messages(fields)]
        return f"{self._measurement}_alarm{''.join(tags)} {','.join(written)} {fields['time']}"

    def _audit(self, record: Record) -> str:
        kind = tag_text(str(record.fields.get("kind", "-")))
        head = f"{self._measurement}_audit,agent={self._agent},kind={kind},site={self._site}"
        time = int(record.fields.get("time") or record.fields.get("recorded") or 0)
        body = field_text(json.dumps(record.fields, ensure_ascii=False, sort_keys=True))
        number = f"seq={record.seq}i," if record.seq else ""
        # Records of one kind may share a time (one start, many differences): the seq keeps their stamps apart.
        return f"{head} {number}record={body},time={time}i {time + record.seq % AUDIT_SPREAD_NS}"


def _messages(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    message: Mapping[str, str] = fields.get("message") or {}
    return [(language.replace("-", "_"), text) for language, text in sorted(message.items())]


def _boolean(value: object) -> str:
    return "true" if value else "false"
