"""What the engine must know of the site beside its rules; part of the rule set, so a replay uses what was in force."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of hiding (A4), blindness (Q7) and faults (Q6); durations in ns."""

    shelved_ns: int = 12 * HOUR_NS
    shelved_urgent_ns: int = HOUR_NS
    """For high, and for a critical alarm that may be shelved at all."""
    suppressed_ns: int = 8 * HOUR_NS
    """By a flag; then ``suppression_overrun``."""
    out_of_service_ns: int = 7 * DAY_NS
    maintenance_ns: int = 8 * HOUR_NS
    maintenance_default_ns: int = 30 * MINUTE_NS
    planned_stop_ns: int = 30 * DAY_NS
    exercise_ns: int = 4 * HOUR_NS
    max_hidden: float = 0.1
    """Share of the critical and high alarms, or of the gas tags; more than that hidden at once is an alarm."""
    hidden_floor: int = 3
    blind_after_ns: int = 10 * MINUTE_NS
    fault_polls: int = 3
    fault_floor_ns: int = 10 * SECOND_NS
    re_alarm_critical_ns: int = 30 * MINUTE_NS

    def to_fields(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON types."""
        return {key: value for key, value in asdict(self).items() if value != getattr(DEFAULT, key)}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any] | None) -> Self:
        """The inverse of :meth:`to_fields`; None and {} are the defaults."""
        return cls(**dict(fields or {}))


DEFAULT: Final = Settings()
