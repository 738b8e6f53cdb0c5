"""Who looks at whom: the readings of a rule set on their way to its rules, worked out when the rule set comes (T6)."""

from collections.abc import Iterable, Mapping
from typing import Any

from rules.evaluator import Evaluator
from rules.joint import Input, Joint
from rules.model import RuleBase
from rules.steps import Node, in_order
from rules.watch import Watch


def node(rule: RuleBase) -> Node:
    """A joint rule in the order of T6."""
    return Node(rule.id, rule.looks_at, rule.sees_states)


class Wiring:
    """Which rules look at a tag, and through which inputs."""

    __slots__ = ("_places", "by_tag", "inputs")

    def __init__(self) -> None:
        self.by_tag: dict[str, list[Watch]] = {}
        """Rules about one tag, by rule id."""
        self.inputs: dict[str, Input] = {}
        """Tags that rules over several tags look at."""
        self._places: dict[str, int] = {}
        """Of rules in the order of T6."""

    def connect(self, work: Evaluator) -> None:
        """Connect the watches of ``work``; inputs of tags that stay keep their last reading."""
        pending = {work.joint[place].rule.id for place in work.agenda.places()}
        joint = [watch for watch in work.watches.values() if watch.rule.is_joint]
        order = in_order([node(watch.rule) for watch in joint])
        work.joint = [work.watches[name] for name in order.ids]
        work.late_from = order.late_from
        work.timers.ranks = {name: place + 1 for place, name in enumerate(order.ids) if place >= order.late_from}
        work.agenda.clear()
        self.by_tag = {}
        for watch in work.watches.values():
            watch.followers = watch.counted_by = ()
            if not watch.rule.is_joint and watch.rule.tag is not None:
                self.by_tag.setdefault(watch.rule.tag, []).append(watch)
        self._places = {name: place for place, name in enumerate(order.ids)}
        old, self.inputs = self.inputs, {}
        for place, watch in enumerate(work.joint):
            self._bind(place, watch, work, old)
            if watch.rule.id in pending or (watch.rule.sees_states and watch.truth is None):
                work.agenda.touch((place,))

    def _bind(self, place: int, watch: Watch, work: Evaluator, old: Mapping[str, Input]) -> None:
        condition = watch.condition
        assert isinstance(condition, Joint)
        inputs: dict[str, Input] = {}
        for tag in watch.rule.inputs:
            heard = self.inputs.get(tag)
            if heard is None:
                heard = self.inputs[tag] = old.get(tag) or Input(tag)
                heard.followers, heard.listeners = (), ()
            heard.followers = (*heard.followers, place)
            if condition.listens_to(tag):
                heard.listeners = (*heard.listeners, watch)
            inputs[tag] = heard
        members = [work.watches.get(name) for name in watch.rule.looks_at]
        for member in dict.fromkeys(members):
            if member is None or self._places.get(member.rule.id, -1) >= place:
                continue  # what comes later in a circle that was cut must not have this one looked at again
            if watch.rule.sees_states:
                member.counted_by = (*member.counted_by, place)
            else:
                member.followers = (*member.followers, place)
                member.close()
        condition.bind(inputs, members, watch.rule.tag)

    def set_fault(self, work: Evaluator, tag: str, *, is_in_fault: bool) -> None:
        """The fault alarm of a tag came or went (Q6): rules that look at it see that (C6, C7)."""
        for watch in self.by_tag.get(tag, ()):
            watch.is_in_fault = is_in_fault
            work.agenda.touch(watch.followers)
        heard = self.inputs.get(tag)
        if heard is not None:
            heard.is_in_fault = is_in_fault
            work.agenda.touch(heard.followers)

    def to_rows(self) -> Iterable[list[Any]]:
        """The inputs for a snapshot."""
        return (self.inputs[tag].to_row() for tag in sorted(self.inputs))

    def from_rows(self, rows: list[list[Any]]) -> None:
        """The inverse of :meth:`to_rows`."""
        for row in rows:
            if row[0] in self.inputs:
                self.inputs[row[0]].from_row(row)
