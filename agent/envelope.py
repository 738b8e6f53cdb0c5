"""What only the gateway knows of an event: site, place, clock state, rule set; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.core.events import AlarmEvent
from agent.core.tags import Tag


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
    tags: Mapping[str, Tag]
    rules_version: str = ""
    clock_state: str = "unsynchronised"

    def alarm(self, event: AlarmEvent) -> dict[str, Any]:
        """The fields of an alarm record (spec/wire.md ``alarms``), but for what the journal adds."""
        tag = self.tags.get(event.tag) if event.tag is not None else None
        place = self.place
        return {
            **event.to_fields(),
            "v": 1,
            "site": self.site,
            "agent": self.agent,
            "clock": self.clock_state,
            "rules_version": self.rules_version,
            "place": {
                "site_name": place.site_name,
                "code": place.code,
                "hazard_code": place.hazard_code,
                "device": tag.device if tag is not None else _device_of(event.alarm),
                "location": tag.location if tag is not None else None,
                "lat": place.lat,
                "lon": place.lon,
                "duty_phone": place.duty_phone,
            },
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
