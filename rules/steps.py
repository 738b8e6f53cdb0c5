"""The order of what is looked at when a step ends (spec/rules.md T6): each rule after those it depends on."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter


@dataclass(frozen=True, slots=True)
class Node:
    """One rule that looks at more than one tag or at other rules."""

    id: str
    depends_on: tuple[str, ...]
    """The rules it looks at; those that are no nodes themselves play no part here."""
    sees_states: bool
    """It looks at alarm states, which the timers of the time still change: it comes after them."""


@dataclass(frozen=True, slots=True)
class Order:
    """Rules in the order in which they are looked at; from ``late_from`` on after the timers of the time."""

    ids: tuple[str, ...]
    late_from: int


def cycle(nodes: Sequence[Node]) -> tuple[str, ...] | None:
    """Rules that depend on each other in a circle, the first of them again at the end; None: there is no circle."""
    graph = {node.id: node.depends_on for node in nodes}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return tuple(reversed(found))
    return None


def in_order(nodes: Sequence[Node]) -> Order:
    """Each after those it depends on, ties by rule id.

    A rule that looks at states is late, and so is whatever depends on one: it could not come before it. A circle, which
    only a rule that waits for its alarm to end can make (G2), is cut where its last id looks at the others.
    """
    while (circle := cycle(nodes)) is not None:
        last = max(circle)
        nodes = [_without(node, circle) if node.id == last else node for node in nodes]
    by_id = {node.id: node for node in nodes}
    late = _late(by_id)
    sorter = TopologicalSorter({node.id: [each for each in node.depends_on if each in by_id] for node in nodes})
    sorter.prepare()
    ids: list[str] = []
    ready: list[tuple[bool, str]] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (name in late, name))
        _, first = heapq.heappop(ready)
        ids.append(first)
        sorter.done(first)
    return Order(tuple(ids), len(ids) - len(late))


def _without(node: Node, others: Sequence[str]) -> Node:
    return replace(node, depends_on=tuple(each for each in node.depends_on if each not in others))


def _late(by_id: Mapping[str, Node]) -> set[str]:
    late = {node.id for node in by_id.values() if node.sees_states}
    grows = True
    while grows:
        more = {name for name, node in by_id.items() if name not in late and late.intersection(node.depends_on)}
        late |= more
        grows = bool(more)
    return late


class Agenda:
    """Which rules have to be looked at when the step ends: places in the order, smallest first, each once."""

    __slots__ = ("_heap", "_places")

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._places: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._heap)

    def touch(self, places: Iterable[int]) -> None:
        """Have these looked at."""
        for place in places:
            if place not in self._places:
                self._places.add(place)
                heapq.heappush(self._heap, place)

    def first(self) -> int | None:
        """The place that comes first; None: nothing is left."""
        return self._heap[0] if self._heap else None

    def pop(self) -> int:
        """Take the first."""
        place = heapq.heappop(self._heap)
        self._places.discard(place)
        return place

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
        self._places.clear()

    def places(self) -> list[int]:
        """What is to be looked at, in order."""
        return sorted(self._heap)
