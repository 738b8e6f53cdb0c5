"""What only the gateway knows of an event: site, place, clock state, rule set; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.core.events import COLOUR, SEVERITY, AlarmEvent
from agent.core.tags import Tag
from rules.subject import AlarmView


@dataclass(frozen=True, slots=True)
class Place:
    """Where the site is and whom to call; sent with every alarm (spec/wire.md ``place``)."""

    site_name: str | None = None
    code: str | None = None
    hazard_code: str | None = None
    lat: float | None = None
    lon: float | None = None
    duty_phone: str | None = None


@dataclass(slots=True)
class Envelope:
    """Turns what parts say into the fields of journal records."""

    site: str
    agent: str
    place: Place
    epoch: str
    tags: Mapping[str, Tag]
    rules_version: str = ""
    clock_state: str = "unsynchronised"

    def alarm(self, event: AlarmEvent) -> dict[str, Any]:
        """The fields of an alarm record (spec/wire.md ``alarms``), but for what the journal adds."""
        return {
            **event.to_fields(),
            "cause_seq": event.cause_seq or None,  # 0: a reading that no disk took
            "v": 1,
            "site": self.site,
            "agent": self.agent,
            "clock": self.clock_state,
            "rules_version": self.rules_version,
            "place": self._place(event.alarm, event.tag),
        }

    def standing(self, view: AlarmView, now_ns: int) -> dict[str, Any]:
        """An alarm as it stands now (topic ``alarms/active``); the keys are those of an alarm record."""
        fields = view.to_fields()
        alarm = fields.pop("id")
        return {
            **fields,
            "alarm": alarm,
            "colour": COLOUR[view.priority],
            "severity": SEVERITY[view.priority],
            "time": now_ns,
            "v": 1,
            "site": self.site,
            "agent": self.agent,
            "epoch": self.epoch,
            "clock": self.clock_state,
            "rules_version": self.rules_version,
            "place": self._place(alarm, view.tag),
        }

    def _place(self, alarm: str, tag_id: str | None) -> dict[str, Any]:
        tag = self.tags.get(tag_id) if tag_id is not None else None
        place = self.place
        return {
            "site_name": place.site_name,
            "code": place.code,
            "hazard_code": place.hazard_code,
            "device": tag.device if tag is not None else _device_of(alarm),
            "location": tag.location if tag is not None else None,
            "lat": place.lat,
            "lon": place.lon,
            "duty_phone": place.duty_phone,
        }

    def audit(self, kind: str, time_ns: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an audit record of ``kind``; ``actor`` is ``davy`` where nobody else acted."""
        return {
            "actor": "davy",
            "source": "sensor",
            **fields,
            "v": 1,
            "site": self.site,
            "agent": self.agent,
            "clock": self.clock_state,
            "kind": kind,
            "time": time_ns,
        }


def _device_of(alarm: str) -> str | None:
    parts = alarm.split(":")
    return parts[2] if parts[:2] == ["davy", "device"] else None
