"""Which registers are read by which request; pure.

Adjacent and overlapping points share a request up to the protocol's limit; a value is never split over two. Gaps are
not read: a register that nobody asked for may not exist.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from drivers.modbus.codec import BlockDecoder, Point
from drivers.modbus.pdu import ReadRequest


@dataclass(frozen=True, slots=True)
class Block:
    """One request and the points it reads: those at the positions ``start`` up to, not including, ``end``."""

    start: int
    end: int
    request: ReadRequest
    decoder: BlockDecoder


def wire_order(point: Point) -> tuple[int, int, int]:
    """Sort key: the order in which points stand in a device."""
    return point.table.function, point.address, point.width


def block(points: Sequence[Point], start: int, end: int) -> Block:
    """The block that reads ``points[start:end]``."""
    part = points[start:end]
    first = part[0]
    count = max(p.end for p in part) - first.address
    return Block(start, end, ReadRequest(first.table, first.address, count), BlockDecoder(part, first.address))


def plan(points: Sequence[Point], wanted: Collection[int], cuts: Collection[int] = ()) -> list[Block]:
    """Blocks that read each wanted position of ``points`` exactly once.

    ``points`` are in wire order. ``cuts`` are positions at which a block must start, because a longer one was refused.
    """
    spans: list[tuple[int, int]] = []
    reach = 0
    for position in sorted(wanted):
        point = points[position]
        if spans and position not in cuts and _joins(points[spans[-1][0]], point, reach) and position == spans[-1][1]:
            spans[-1] = spans[-1][0], position + 1
            reach = max(reach, point.end)
        else:
            spans.append((position, position + 1))
            reach = point.end
    return [block(points, start, end) for start, end in spans]


def _joins(first: Point, point: Point, reach: int) -> bool:
    """Tell whether a block from ``first`` on, that reads up to ``reach``, can read ``point`` as well."""
    length = max(reach, point.end) - first.address
    return point.table == first.table and point.address <= reach and length <= point.table.request_max
