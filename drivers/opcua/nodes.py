"""Node references as an engineer writes them: ``ns=2;s=R201.Temperature`` or ``nsu=urn:plant:dcs;s=R201.Pressure``."""

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_PATTERN: Final = re.compile(
    r"(?:ns=(?P<index>\d{1,5});|nsu=(?P<uri>[^;]+);)?(?P<kind>[sigb])=(?P<value>.+)", re.DOTALL
)
_EXAMPLES: Final = '"ns=2;s=Tank.Level" or "nsu=urn:plant:dcs;s=Tank.Level"'
_UINT16_MAX: Final = 0xFFFF
_UINT32_MAX: Final = 0xFFFF_FFFF
_STRING_MAX: Final = 4096
"""The longest string identifier that OPC UA allows (Part 3, 8.2.4)."""


@dataclass(frozen=True, slots=True)
class NodeRef:
    """One node. ``namespace`` is an index, or a URI that is looked up at each connect, because servers renumber."""

    namespace: int | str
    identifier: str
    """``s=…``, ``i=…``, ``g=…`` or ``b=…``."""

    def resolve(self, namespaces: Sequence[str]) -> str | None:
        """The node id with a namespace index; None where the server does not know the URI."""
        if isinstance(self.namespace, int):
            return f"ns={self.namespace};{self.identifier}"
        if self.namespace not in namespaces:
            return None
        return f"ns={namespaces.index(self.namespace)};{self.identifier}"


def parse(text: str) -> NodeRef:
    """Read a node reference; ValueError says what would be right."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a node such as {_EXAMPLES}, found {text!r}")
    kind, value = match["kind"], match["value"]
    if not _is_identifier(kind, value):
        raise ValueError(f"{kind}={value!r} is no OPC UA identifier; expected a node such as {_EXAMPLES}")
    namespace: int | str = int(match["index"] or 0)
    if match["uri"] is not None:
        # Part 6, 5.3.1.11: these two characters are escaped in a URI.
        namespace = match["uri"].replace("%3B", ";").replace("%25", "%")
    elif int(match["index"] or 0) > _UINT16_MAX:
        raise ValueError(f"namespace index {match['index']} is beyond {_UINT16_MAX}")
    return NodeRef(namespace, f"{kind}={value}")


def _is_identifier(kind: str, value: str) -> bool:
    if kind == "s":
        return len(value) <= _STRING_MAX and value.isprintable()
    if kind == "i":
        return value.isascii() and value.isdigit() and int(value) <= _UINT32_MAX
    try:
        if kind == "g":
            uuid.UUID(value)
        else:
            base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return False
    return True
