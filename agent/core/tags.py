"""Tags as the running agent knows them, and the grid of values that a tag can take."""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from agent.core.batch import Source

MA_LOW: Final = 4.0
MA_SPAN: Final = 16.0
"""A 4-20 mA signal shows its span over these 16 mA above 4 mA (NE 43)."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """From a raw register value to engineering units: ``raw * scale + offset``, then, for a 4-20 mA signal, the span.

    Codec and rules both use this class, so a limit that is moved to the nearest representable value (spec/rules.md C2)
    compares equal with what the device sends.
    """

    scale: float = 1.0
    offset: float = 0.0
    span: tuple[float, float] | None = None
    """Engineering values at 4 and 20 mA; None where the raw value is no current."""
    is_float32: bool = False
    """The raw value is an IEEE 754 binary32 (else an integer, or a float64 where ``is_float64``)."""
    is_float64: bool = False

    def current(self, raw: float) -> float:
        """The scaled raw value; mA where there is a span."""
        return raw * self.scale + self.offset

    def value(self, raw: float) -> float:
        """The engineering value of a raw register value."""
        scaled = raw * self.scale + self.offset
        if self.span is None:
            return scaled
        low, high = self.span
        return low + (scaled - MA_LOW) / MA_SPAN * (high - low)

    def nearest(self, value: float) -> float:
        """The value nearest to ``value`` that :meth:`value` can return."""
        if self.is_float64 or not math.isfinite(value):
            return value
        scaled = value
        if self.span is not None:
            low, high = self.span
            scaled = MA_LOW + (value - low) / (high - low) * MA_SPAN
        raw = (scaled - self.offset) / self.scale
        if not self.is_float32:
            return self.value(float(round(raw)))
        if abs(raw) > 3.4028234663852886e38:
            return value
        return self.value(struct.unpack("<f", struct.pack("<f", raw))[0])


@dataclass(frozen=True, slots=True)
class Tag:
    """A named value of a device, with what rules, records and receivers must know of it."""

    id: str
    device: str | None = None
    name: str | None = None
    unit: str | None = None
    kind: str | None = None
    """What is measured: level, pressure, temperature, gas, flow …; ``gas`` changes rule semantics (Q4, C4, C9)."""
    range: tuple[float, float] | None = None
    poll_ns: int | None = None
    """Nominal distance of readings; None where it is not known (recorded data)."""
    scaling: Scaling | None = None
    """None: any float64 may come."""
    source: Source = Source.SENSOR
    location: str | None = None
    over_range_latch: bool = False
    """Gas: once over range, high and high_high stay true until a person resets them (Q4)."""
    fault_after_ns: int | None = None
    """Bad or missing for so long, it is in fault (Q6); None: three polls, at least 10 s."""
    report_change: float | None = None
    """Readings that differ less from the last one sent are not forwarded (engineering units); None: all are."""

    def to_fields(self) -> dict[str, Any]:
        """The tag for the configuration record (JSON types only)."""
        fields: dict[str, Any] = {"id": self.id, "source": self.source.value}
        for key in ("device", "name", "unit", "kind", "poll_ns", "location", "fault_after_ns", "report_change"):
            if getattr(self, key) is not None:
                fields[key] = getattr(self, key)
        if self.over_range_latch:
            fields["over_range_latch"] = True
        if self.range is not None:
            fields["range"] = list(self.range)
        if self.scaling is not None:
            fields["scaling"] = {
                "scale": self.scaling.scale,
                "offset": self.scaling.offset,
                "span": None if self.scaling.span is None else list(self.scaling.span),
                "is_float32": self.scaling.is_float32,
                "is_float64": self.scaling.is_float64,
            }
        return fields

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_fields`."""
        scaling = fields.get("scaling")
        limits = fields.get("range")
        return cls(
            id=fields["id"],
            device=fields.get("device"),
            name=fields.get("name"),
            unit=fields.get("unit"),
            kind=fields.get("kind"),
            range=None if limits is None else (float(limits[0]), float(limits[1])),
            poll_ns=fields.get("poll_ns"),
            scaling=None if scaling is None else _scaling(scaling),
            source=Source(fields.get("source", Source.SENSOR)),
            location=fields.get("location"),
            over_range_latch=bool(fields.get("over_range_latch")),
            fault_after_ns=fields.get("fault_after_ns"),
            report_change=fields.get("report_change"),
        )


def smallest_change(text: float | str | None, limits: tuple[float, float] | None) -> float | None:
    """``report_change`` as configured (a number, or a share of the range such as ``0.1%``) in engineering units.

    ValueError where it is neither, not above zero, or a share of a range that is not given.
    """
    if text is None:
        return None
    if not isinstance(text, str) or not text.endswith("%"):
        change = float(text)
    elif limits is None:
        raise ValueError(f"report_change {text} is a share of the range, but the tag has no range")
    else:
        change = float(text[:-1]) / 100 * (limits[1] - limits[0])
    if not (change > 0 and math.isfinite(change)):
        raise ValueError(f"expected report_change above zero, found {text}")
    return change


def _scaling(fields: Mapping[str, Any]) -> Scaling:
    span = fields["span"]
    return Scaling(
        fields["scale"],
        fields["offset"],
        None if span is None else (span[0], span[1]),
        is_float32=fields["is_float32"],
        is_float64=fields["is_float64"],
    )
