"""What Davy says of its own watching: blind rules, hidden alarms, chattering, floods (spec/rules.md Q7, A4, A11)."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from agent.core.events import Priority
from rules.counts import CHATTER_FROM, FLOOD_FROM, Burst, chatter, flood
from rules.internal import Notice
from rules.settings import Settings
from rules.snapshot import packed

BLIND: Final = "davy:blind"
HIDDEN: Final = "davy:hidden"
FLOOD: Final = "davy:flood"
CHATTER: Final = "davy:chatter:"
FAULT_SUFFIX: Final = ":fault"
NAMED_MAX: Final = 5
"""So many rules, alarms or tags are named in a message; the rest is a number."""

Raise = Callable[[str, Notice | None, int], object]
"""Has an alarm of Davy's own become true (with what it says) or, with None, false: (alarm, notice, at)."""


def some(names: Iterable[str]) -> str:
    """The first few names and how many more there are."""
    known = sorted(names)
    text = ", ".join(known[:NAMED_MAX])
    return text if len(known) <= NAMED_MAX else f"{text} (+{len(known) - NAMED_MAX})"


class Blindness:
    """Rules that are unknown or held, since when, and which of them for too long (Q7)."""

    __slots__ = ("_raise", "after_ns", "blind", "dark")

    def __init__(self, after_ns: int, raise_: Raise) -> None:
        self.after_ns = after_ns
        self._raise = raise_
        self.dark: dict[str, int] = {}
        """By rule: since when it has said neither true nor false."""
        self.blind: dict[str, None] = {}
        """Those of them for which that is too long."""

    def due_of(self, rule: str) -> int | None:
        """When a rule becomes blind if nothing comes."""
        since_ns = self.dark.get(rule)
        return None if since_ns is None or rule in self.blind else since_ns + self.after_ns

    def fire(self, rule: str, at_ns: int) -> None:
        """The time has come."""
        self.blind[rule] = None
        self._tell(at_ns)

    def see(self, rule: str, at_ns: int) -> None:
        """It has said true or false, or is gone."""
        if self.dark.pop(rule, None) is not None and rule in self.blind:
            del self.blind[rule]
            self._tell(at_ns)

    def _tell(self, at_ns: int) -> None:
        if not self.blind:
            self._raise(BLIND, None, at_ns)
            return
        # Once it is true only the number is told anew: naming thousands of rules at each would take seconds.
        count, names = len(self.blind), next(iter(self.blind))
        message = {"zh-CN": f"{count} 条规则无法判断：{names}", "en": f"{count} rules cannot tell: {names}"}
        notice = Notice(kind="blind", priority=Priority.HIGH, message=message, value=float(count))
        self._raise(BLIND, notice, at_ns)

    def start(self, at_ns: int) -> None:
        """The agent starts after a gap: what was dark is dark since now."""
        for rule in self.dark:
            if rule not in self.blind:
                self.dark[rule] = at_ns

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        self.dark = {rule: since + step_ns for rule, since in self.dark.items()}

    def to_row(self) -> list[Any]:
        """For a snapshot."""
        return [packed(sorted(self.dark.items())), sorted(self.blind)]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        self.dark = dict(row[0])
        self.blind = dict.fromkeys(row[1])


class Concealed:
    """How much is hidden at once (A4). An alarm that ``exclusive`` suppresses does not count: a worse one is shown."""

    __slots__ = (
        *("_all_dark", "_dark", "_gas", "_hidden", "_is_on", "_raise", "_settings", "_tags_of", "_urgent"),
        *("_urgent_hidden", "tags"),
    )

    def __init__(self, settings: Settings, raise_: Raise) -> None:
        self._settings = settings
        self._raise = raise_
        self._urgent: frozenset[str] = frozenset()
        self._gas: Mapping[str, frozenset[str]] = {}
        self._tags_of: dict[str, list[str]] = {}
        """Gas tags by alarm."""
        self._hidden: dict[str, None] = {}
        self._urgent_hidden = 0
        """Running counts, so that hiding thousands of alarms one by one takes no square of their number."""
        self._dark: dict[str, int] = {}
        """By gas tag: how many of its alarms are hidden."""
        self._all_dark: dict[str, None] = {}
        """Gas tags of which all are."""
        self.tags: dict[str, None] = {}
        """Tags in maintenance."""
        self._is_on = False

    def install(self, settings: Settings, urgent: frozenset[str], gas: Mapping[str, frozenset[str]]) -> None:
        """The limits in force, the critical and high alarms, and the alarms of each gas tag."""
        self._settings = settings
        self._urgent = urgent
        self._gas = gas
        self._tags_of = {}
        for tag, alarms in gas.items():
            for alarm in alarms:
                self._tags_of.setdefault(alarm, []).append(tag)
        self._count_anew()

    def _count_anew(self) -> None:
        self._urgent_hidden, self._dark, self._all_dark = 0, {}, {}
        for alarm in self._hidden:
            self._add(alarm, 1)

    def _add(self, alarm: str, step: int) -> None:
        if alarm in self._urgent:
            self._urgent_hidden += step
        for tag in self._tags_of.get(alarm, ()):
            count = self._dark[tag] = self._dark.get(tag, 0) + step
            if count == len(self._gas[tag]):
                self._all_dark[tag] = None
            else:
                self._all_dark.pop(tag, None)

    @property
    def count(self) -> int:
        """Alarms that are hidden."""
        return len(self._hidden)

    def put(self, alarm: str, at_ns: int, *, is_hidden: bool) -> None:
        """An alarm was hidden, or is shown again."""
        if is_hidden == (alarm in self._hidden):
            return
        if is_hidden:
            self._hidden[alarm] = None
        else:
            del self._hidden[alarm]
        self._add(alarm, 1 if is_hidden else -1)
        self.look(at_ns)

    def look(self, at_ns: int) -> None:
        """Compare with the limits."""
        urgent = self._urgent_hidden
        gas = len(self._all_dark) + sum(tag in self._gas and tag not in self._all_dark for tag in self.tags)
        is_on = urgent > self._most(len(self._urgent)) or gas > self._most(len(self._gas))
        if is_on == self._is_on:
            return
        self._is_on = is_on
        if not is_on:
            self._raise(HIDDEN, None, at_ns)
            return
        message = {
            "zh-CN": f"被隐藏的重要报警 {urgent} 个，气体位号 {gas} 个",
            "en": f"hidden at once: {urgent} alarms of priority critical or high, {gas} gas tags",
        }
        value = float(max(urgent, gas))
        self._raise(HIDDEN, Notice(kind="hidden", priority=Priority.HIGH, message=message, value=value), at_ns)

    def _most(self, total: int) -> float:
        return max(self._settings.hidden_floor, self._settings.max_hidden * total)

    def to_row(self) -> list[Any]:
        """For a snapshot."""
        return [sorted(self._hidden), sorted(self.tags), self._is_on]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        self._hidden, self._is_on = dict.fromkeys(row[0]), row[2]
        self.tags.update(dict.fromkeys(row[1]))  # in place: the health of tags looks at it too
        self._count_anew()


class Bursts:
    """Chattering alarms and floods (A11). Davy's own alarms are not counted, but for faults."""

    __slots__ = ("_raise", "chatters", "flood")

    def __init__(self, raise_: Raise) -> None:
        self._raise = raise_
        self.chatters: OrderedDict[str, Burst] = OrderedDict()
        """By alarm, in the order of their newest activations."""
        self.flood = flood()

    def count(self, alarm: str, at_ns: int, *, annunciated: bool) -> None:
        """An alarm was activated. Floods do not count Davy's own alarms, but for faults; chattering does (A11)."""
        if alarm == FLOOD or alarm.startswith(CHATTER):
            return
        is_own = alarm.startswith("davy:") and not alarm.endswith(FAULT_SUFFIX)
        self._forget(at_ns)
        burst = self.chatters.get(alarm)
        if burst is None:
            burst = self.chatters[alarm] = chatter()
        else:
            self.chatters.move_to_end(alarm)
        if burst.add(at_ns):
            message = {
                "zh-CN": f"报警 {alarm} 抖动：1 分钟内触发 {burst.count} 次",
                "en": f"alarm {alarm} chatters: {burst.count} activations in a minute",
            }
            self._raise(CHATTER + alarm, _notice("chatter", message, burst.count, CHATTER_FROM), at_ns)
        if annunciated and not is_own and self.flood.add(at_ns):
            count = self.flood.count
            message = {
                "zh-CN": f"报警泛滥：10 分钟内触发 {count} 次",
                "en": f"alarm flood: {count} activations in ten minutes",
            }
            self._raise(FLOOD, _notice("flood", message, count, FLOOD_FROM - 1), at_ns)

    def due_of(self, name: str) -> int | None:
        """When chattering or the flood ends; ``name`` is the diagnostic's."""
        if name == FLOOD:
            return self.flood.due_ns
        burst = self.chatters.get(name.removeprefix(CHATTER))
        return None if burst is None else burst.due_ns

    def fire(self, name: str, at_ns: int) -> None:
        """The time has come."""
        burst = self.flood if name == FLOOD else self.chatters[name.removeprefix(CHATTER)]
        burst.end(at_ns)
        self._raise(name, None, at_ns)

    def _forget(self, at_ns: int) -> None:
        """Drop what no longer counts, so that memory does not grow with every alarm that ever was."""
        while self.chatters and self.chatters[alarm := next(iter(self.chatters))].is_idle(at_ns):
            del self.chatters[alarm]

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        for burst in (self.flood, *self.chatters.values()):
            burst.shift(step_ns)

    def to_row(self) -> list[Any]:
        """For a snapshot."""
        return [self.flood.to_row(), packed([alarm, *burst.to_row()] for alarm, burst in self.chatters.items())]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        self.flood.from_row(row[0])
        for alarm, *burst in row[1]:
            self.chatters[alarm] = chatter()
            self.chatters[alarm].from_row(burst)


def _notice(kind: str, message: Mapping[str, str], count: int, limit: int) -> Notice:
    return Notice(kind=kind, priority=Priority.DIAGNOSTIC, message=message, value=float(count), limit=float(limit))
