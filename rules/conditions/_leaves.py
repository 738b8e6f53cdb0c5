"""What an expression reads: last readings, windows, ages, and how long something has been true (spec/rules.md C7)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent.core.events import Priority
from agent.core.quality import FIRST_BAD, Quality
from agent.core.tags import Tag
from rules.conditions import average, flatline, rate
from rules.conditions.base import Condition
from rules.expression.program import Program, Value
from rules.expression.tree import Held, Look, Name, Node
from rules.joint import Input

_BAND: Final = Quality.NE43_BAND.value
_NS_PER_S: Final = 1e9
_WINDOWS: Final = frozenset({"avg", "rate", "flat"})


class Reading:
    """The last reading of a tag, its age in seconds, or whether it is bad."""

    __slots__ = ("_function", "_input")

    def __init__(self, function: str) -> None:
        self._function = function
        self._input: Input | None = None

    def bind(self, inputs: Mapping[str, Input], tag: str) -> None:
        """Take its input."""
        self._input = inputs[tag]

    @property
    def is_band(self) -> bool:
        """It is a reading in the NE 43 band: it proves what is true, never what is false (Q3)."""
        return self._function == "" and self._input is not None and self._input.quality == _BAND

    def read(self, at_ns: int) -> Value:
        """Its value now; None is unknown."""
        source = self._input
        assert source is not None
        if self._function == "":
            return source.usable
        if self._function == "bad":
            return None if source.quality is None and not source.is_in_fault else source.is_bad
        return None if source.usable_at_ns is None else (at_ns - source.usable_at_ns) / _NS_PER_S


class Window:
    """avg, rate or flat over the readings of one tag: the quantities of C5, C3 and C4, without their limits."""

    __slots__ = ("_function", "_input", "_now", "condition", "tag")

    def __init__(self, look: Look, tag: Tag) -> None:
        self.tag = look.tag.tag
        self._function = look.function
        self.condition = _window(look, tag)
        self._now: Value = None
        """What the newest usable reading made of it."""
        self._input: Input | None = None

    def bind(self, inputs: Mapping[str, Input]) -> None:
        """Take its input."""
        self._input = inputs[self.tag]

    @property
    def is_band(self) -> bool:
        """See :class:`Reading`."""
        return self._input is not None and self._input.quality == _BAND

    def hear(self, value: float, quality: int, t_ns: int, at_ns: int) -> None:
        """Take a reading."""
        if quality >= FIRST_BAD:
            self.condition.meet_bad(value, quality, t_ns)
            return
        truth = self.condition.take(value, 0, t_ns, at_ns)
        self._now = truth if self._function == "flat" or truth is None else self.condition.value

    def read(self, at_ns: int) -> Value:
        """See :class:`Reading`; unknown while the tag's last reading is bad."""
        del at_ns
        assert self._input is not None
        return None if self._input.usable is None else self._now

    def refill(self, value: float, t_ns: int) -> None:
        """Give back a reading that a snapshot left out, NaN for a bad one."""
        if value == value or self.condition.keeps_bad:
            self.condition.refill(value, t_ns)

    def to_row(self, *, is_whole: bool) -> list[Any]:
        """For a snapshot."""
        return [self._now, self.condition.to_row(is_whole=is_whole)]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        self._now, condition = row
        self.condition.from_row(condition)


def _window(look: Look, tag: Tag) -> Condition:
    head = {"id": "expression", "tag": tag.id, "priority": Priority.LOW, "window": f"{look.window_ns // 1_000_000}ms"}
    if look.function == "rate":
        rule = rate.Config.model_validate({**head, "condition": "rate", "limit": 0})
    elif look.function == "avg":
        # Low, so that a poorly covered window is unknown: the exception of C5 is for reaching a limit.
        rule = average.Config.model_validate({**head, "condition": "average", "limit": 0, "direction": "low"})
    else:
        rule = flatline.Config.model_validate({**head, "condition": "flatline", "epsilon": look.epsilon})
    return rule.make(tag, is_live=False)


class HeldFor:
    """``held``: an inner condition that has been true without a break for so long, by ``at``, at the looks at it (T6).

    An unknown is no break, as for an on-delay; while it lasts the answer is unknown.
    """

    __slots__ = ("_duration_ns", "_since_ns", "group")
    is_band = False

    def __init__(self, held: Held, tags: Mapping[str, Tag]) -> None:
        self.group = Group(held.operand, tags)
        self._duration_ns = held.duration_ns
        self._since_ns: int | None = None

    def read(self, at_ns: int) -> Value:
        """See :class:`Reading`."""
        truth = self.group.look(at_ns)
        if truth is None:
            return None
        if not truth:
            self._since_ns = None
            return False
        if self._since_ns is None:
            self._since_ns = at_ns
        return at_ns - self._since_ns >= self._duration_ns

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        if self._since_ns is not None:
            self._since_ns += step_ns
        self.group.shift(step_ns)

    def to_row(self, *, is_whole: bool) -> list[Any]:
        """For a snapshot."""
        return [self._since_ns, self.group.to_row(is_whole=is_whole)]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        self._since_ns, group = row
        self.group.from_row(group)


class Group:
    """One condition with what it reads: the whole expression, or what stands in a ``held``."""

    __slots__ = ("_held", "_leaves", "_own", "_program", "_tags", "is_unknown", "windows")

    def __init__(self, node: Node, tags: Mapping[str, Tag]) -> None:
        self._program = Program(node)
        self._leaves: list[Reading | Window | HeldFor] = []
        self._tags: list[str | None] = []
        for leaf in self._program.leaves:
            self._leaves.append(_leaf(leaf, tags))
            self._tags.append(leaf.tag if isinstance(leaf, Name) else leaf.tag.tag if isinstance(leaf, Look) else None)
        self._own = [leaf for leaf in self._leaves if isinstance(leaf, Window)]
        self._held = [leaf for leaf in self._leaves if isinstance(leaf, HeldFor)]
        self.windows: Sequence[Window] = [*self._own, *(w for each in self._held for w in each.group.windows)]
        """Its own and those within a ``held``."""
        self.is_unknown = False
        """The last look ended in unknown, and not only for a reading in the NE 43 band."""

    def bind(self, inputs: Mapping[str, Input]) -> None:
        """Take the inputs of its tags."""
        for leaf, tag in zip(self._leaves, self._tags, strict=True):
            if isinstance(leaf, Reading):
                assert tag is not None
                leaf.bind(inputs, tag)
            elif isinstance(leaf, Window):
                leaf.bind(inputs)
            else:
                leaf.group.bind(inputs)

    def look(self, at_ns: int) -> bool | None:
        """Evaluate: false only where it is so without the readings that can prove nothing false (Q3)."""
        # Every leaf is read, whatever the others say: what has a memory must see each look.
        values = [leaf.read(at_ns) for leaf in self._leaves]
        truth = self._program.run(values)
        self.is_unknown = truth is None
        if truth is False and any(leaf.is_band for leaf in self._leaves):
            sure = [None if leaf.is_band else value for leaf, value in zip(self._leaves, values, strict=True)]
            return self._program.run(sure)
        return truth

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        for window in self._own:
            window.condition.shift(step_ns)
        for each in self._held:
            each.shift(step_ns)

    def to_row(self, *, is_whole: bool) -> list[Any]:
        """For a snapshot."""
        return [leaf.to_row(is_whole=is_whole) for leaf in (*self._own, *self._held)]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        for leaf, one in zip((*self._own, *self._held), row, strict=True):
            leaf.from_row(one)


def _leaf(leaf: Name | Look | Held, tags: Mapping[str, Tag]) -> Reading | Window | HeldFor:
    if isinstance(leaf, Name):
        return Reading("")
    if isinstance(leaf, Held):
        return HeldFor(leaf, tags)
    if leaf.function in _WINDOWS:
        return Window(leaf, tags.get(leaf.tag.tag) or Tag(leaf.tag.tag))
    return Reading(leaf.function)
