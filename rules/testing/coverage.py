"""What a set of tests has tried of each rule: its limit from both sides, its delays, its states; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.core.events import AlarmEvent, State, Transition
from agent.core.tags import Tag
from rules.build import RuleSet
from rules.engine import Engine
from rules.model import RuleBase

NEAR: Final = 0.05
"""A limit is approached by a value this near: a share of the tag's range, or of the limit where no range is known.
The deadband counts where it is wider."""

FROM_NORMAL: Final = "limit approached from the normal side"
FROM_ALARM: Final = "limit approached from the alarm side"
ON_SATISFIED: Final = "on_delay satisfied"
ON_BROKEN: Final = "on_delay broken"
OFF_SATISFIED: Final = "off_delay satisfied"
OFF_BROKEN: Final = "off_delay broken"
STATE: Final = "state {} reached"

_CHINESE: Final = {
    FROM_NORMAL: "从正常侧接近限值",
    FROM_ALARM: "从报警侧接近限值",
    ON_SATISFIED: "on_delay 走完",
    ON_BROKEN: "on_delay 中断",
    OFF_SATISFIED: "off_delay 走完",
    OFF_BROKEN: "off_delay 中断",
}


def in_chinese(item: str) -> str:
    """An item in the words of a Chinese reader."""
    return _CHINESE.get(item) or f"到达状态 {item.split()[1]}"


def items_of(rule: RuleBase) -> list[str]:
    """What there is to try of a rule."""
    items = [] if rule.limit_value is None else [FROM_NORMAL, FROM_ALARM]
    items += [ON_SATISFIED, ON_BROKEN] if rule.on_delay.ns else []
    items += [OFF_SATISFIED, OFF_BROKEN] if rule.off_delay.ns else []
    states = [State.UNACKNOWLEDGED, State.ACKNOWLEDGED]
    if rule.latch:
        states += [State.LATCHED_UNACKNOWLEDGED, State.LATCHED_ACKNOWLEDGED]
    else:
        states += [State.RETURNED_UNACKNOWLEDGED]
    return items + [STATE.format(state.value) for state in [*states, State.NORMAL]]


@dataclass(slots=True)
class Coverage:
    """Gathers over many tests. Rules are told apart by file and id."""

    tried: dict[tuple[str, str], dict[str, bool]] = field(default_factory=dict[tuple[str, str], dict[str, bool]])

    def add(self, file: str, rules: Iterable[RuleBase]) -> None:
        """Count these rules, tested or not."""
        for rule in rules:
            if rule.enabled:
                self.tried.setdefault((file, rule.id), dict.fromkeys(items_of(rule), False))

    def observe(self, file: str, rules: RuleSet, judged: Iterable[str]) -> "CoverageObserver":
        """An observer for one test of some of the rules of a file, which :meth:`add` has counted."""
        wanted = frozenset(judged)
        chosen = [rule for rule in rules.rules if rule.enabled and rule.id in wanted]
        near = {rule.id: _near(rule, rules.tag(rule), rule.limit_value) for rule in chosen}
        return CoverageObserver([_Eye(rule, near[rule.id], self.tried[file, rule.id]) for rule in chosen])

    @property
    def total(self) -> int:
        """How many items there are."""
        return sum(len(items) for items in self.tried.values())

    @property
    def covered(self) -> int:
        """How many have been tried."""
        return sum(sum(items.values()) for items in self.tried.values())

    @property
    def percent(self) -> float:
        """The share that has been tried; 100 where there is nothing to try."""
        return 100.0 * self.covered / self.total if self.total else 100.0

    def missing(self) -> list[tuple[str, str, str]]:
        """File, rule and item of what no test has tried."""
        return [
            (file, rule, item)
            for (file, rule), items in self.tried.items()
            for item, is_covered in items.items()
            if not is_covered
        ]

    def to_fields(self) -> dict[str, Any]:
        """The coverage with JSON types."""
        return {
            "percent": round(self.percent, 1),
            "covered": self.covered,
            "total": self.total,
            "missing": [{"file": file, "rule": rule, "item": item} for file, rule, item in self.missing()],
        }


class CoverageObserver:
    """Looks on during one test."""

    def __init__(self, eyes: "Sequence[_Eye]") -> None:
        self._eyes = eyes

    def look(self, engine: Engine, at_ns: int, events: Sequence[AlarmEvent]) -> None:
        """See Observer."""
        del at_ns
        for eye in self._eyes:
            eye.look(engine, events)


class _Eye:
    """Looks at one rule during one test."""

    def __init__(self, rule: RuleBase, near: float, tried: dict[str, bool]) -> None:
        self._rule = rule.id
        self._limit = rule.limit_value
        self._near = near
        self._tried = tried
        self._was_delayed = False
        self._was_active = False

    def look(self, engine: Engine, events: Sequence[AlarmEvent]) -> None:
        """A step has ended."""
        watch = engine.watch(self._rule)
        if watch is None:
            return
        own = [event for event in events if event.alarm == self._rule]
        for event in own:
            self._try(STATE.format(event.state.value))
        is_delayed = watch.delay_due_ns is not None
        self._look_at_delays({event.transition for event in own}, is_delayed=is_delayed)
        self._was_delayed, self._was_active = is_delayed, watch.alarm.is_active
        if self._limit is not None and watch.value is not None:
            self._look_at_limit(watch.value, self._limit, watch.condition.side)

    def _look_at_delays(self, transitions: set[Transition], *, is_delayed: bool) -> None:
        ended = self._was_delayed and not is_delayed
        if Transition.ACTIVATED in transitions:
            self._try(ON_SATISFIED)
        elif ended and not self._was_active:
            self._try(ON_BROKEN)
        if Transition.RETURNED in transitions:
            self._try(OFF_SATISFIED)
        elif ended and self._was_active:
            self._try(OFF_BROKEN)

    def _look_at_limit(self, value: float, limit: float, side: int) -> None:
        beyond = abs(value) - abs(limit) if side == 0 else (value - limit) * side
        if abs(beyond) <= self._near:
            self._try(FROM_ALARM if beyond >= 0 else FROM_NORMAL)

    def _try(self, item: str) -> None:
        if item in self._tried:
            self._tried[item] = True


def _near(rule: RuleBase, tag: Tag, limit: float | None) -> float:
    """How near to its limit a value approaches it, in the unit of the limit."""
    share = NEAR * (tag.range[1] - tag.range[0]) if tag.range is not None else NEAR * abs(limit or 1.0)
    is_share = isinstance(getattr(rule, "deadband", None), str)
    deadband = 0.0 if is_share and tag.range is None else rule.deadband_of(tag)
    return max(share, deadband or 0.0)
