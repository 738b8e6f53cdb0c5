"""The bytes of an engine's snapshot: JSON with rows, so that ten thousand rules take milliseconds (G1)."""

import json
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1


class SnapshotError(Exception):
    """The bytes are no snapshot of this rule set: start without one, states come from the last events."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a snapshot holds."""

    rules_version: str
    now_ns: int
    evaluated: int
    watches: dict[str, list[Any]]
    faults: list[list[Any]]


def encode(image: Image) -> bytes:
    """The image as JSON."""
    fields = [VERSION, image.rules_version, image.now_ns, image.evaluated, image.watches, image.faults]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), check_circular=False).encode()


def decode(data: bytes, rules_version: str) -> Image:
    """The inverse of :func:`encode`; SnapshotError for other bytes and for another rule set's snapshot."""
    try:
        fields: Any = json.loads(data)
    except ValueError as error:
        raise SnapshotError(f"snapshot of {len(data)} bytes is no JSON: {error}") from error
    try:
        version, rules, now_ns, evaluated, watches, faults = fields
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"expected six fields: {error}") from error
    if version != VERSION:
        raise SnapshotError(f"snapshot of version {version}, expected {VERSION}")
    image = Image(rules, now_ns, evaluated, watches, faults)
    if image.rules_version != rules_version:
        raise SnapshotError(f"snapshot of rule set {image.rules_version}, expected {rules_version}")
    return image
