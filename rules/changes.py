"""From one rule set to the next: what weakens a standing alarm waits until it is normal (spec/rules.md G2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.core.events import State, Transition
from agent.core.tags import Tag
from rules.alarm import ENDED, Move
from rules.build import RuleSet
from rules.degraded import DEGRADED
from rules.evaluator import Evaluator
from rules.model import SOFT_KEYS, RuleBase
from rules.registry import parse
from rules.subject import Why
from rules.watch import Watch
from rules.weakening import weakenings

CONFIG = "config"
"""``cause`` of what a change of the configuration does to an alarm."""


@dataclass(frozen=True, slots=True)
class Force:
    """``davy reload --force REASON``: weakening changes are applied now."""

    reason: str
    actor: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a rule keeps of the rule set before, until its alarm is normal."""

    rule: RuleBase
    tags: tuple[Tag, ...]
    """The one it is about first."""

    def to_fields(self) -> dict[str, Any]:
        """For a snapshot."""
        rule = self.rule.model_dump(mode="json", exclude_defaults=True)
        return {"rule": rule, "tags": [tag.to_fields() for tag in self.tags]}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Waiting":
        """The inverse of :meth:`to_fields`."""
        return cls(parse(fields["rule"]), tuple(map(Tag.from_fields, fields["tags"])))


def make(rules: RuleSet, rule: RuleBase) -> Watch:
    """The watch of a rule."""
    return Watch(rule, rules.tag(rule), is_live=rules.is_live, tags=rules.tags)


def take_back(work: Evaluator, waiting: Mapping[str, Any], *, is_live: bool) -> dict[str, Watch]:
    """From a snapshot: rules that wait have the form of the rule set before; their watches."""
    watches: dict[str, Watch] = {}
    for name, fields in waiting.items():
        kept = work.life.waiting[name] = Waiting.from_fields(fields)
        watches[name] = Watch(kept.rule, kept.tags[0], is_live=is_live, tags={tag.id: tag for tag in kept.tags})
    return watches


class Change:
    """One change of rule sets; :meth:`watches` makes it."""

    def __init__(self, work: Evaluator, old: RuleSet, new: RuleSet, at_ns: int, force: Force | None) -> None:
        self._work = work
        self._old = old
        self._new = new
        self._at_ns = at_ns
        self._force = force

    def watches(self) -> dict[str, Watch]:
        """The watches from now on, by rule id; what waits is noted in ``life.waiting``."""
        wanted = {rule.id: rule for rule in self._new.rules}
        enabled = {rule.id for rule in self._new.rules if rule.enabled}
        found: dict[str, Watch] = {}
        for name in sorted({*self._work.watches, *enabled}):
            old = self._work.watches.get(name)
            rule = wanted.get(name)
            watch = make(self._new, wanted[name]) if old is None else self._next(old, rule)
            if watch is not None:
                found[name] = watch
        return found

    def _next(self, old: Watch, rule: RuleBase | None) -> Watch | None:
        waiting = self._work.life.waiting
        name = old.rule.id
        before = waiting.pop(name).tags if name in waiting else self._old.tags_of(old.rule)
        target = rule if rule is not None and rule.enabled else None
        if target is not None and old.rule == target and before == self._new.tags_of(target):
            return old
        if old.alarm.state is not State.NORMAL:
            after = before[0] if rule is None else self._new.tag(rule)
            if weakenings(old.rule, rule, before[0], after):
                if self._force is None:
                    waiting[name] = Waiting(old.rule, before)
                    return old
                self._end(old, self._force)
        return self._replace(old, target)

    def _end(self, old: Watch, force: Force) -> None:
        self._work.life.flags.drop_holds(old, self._at_ns)
        why = Why(self._work.cause_seq, actor=force.actor, cause=CONFIG, reason=force.reason)
        self._work.tell(old, ENDED, self._at_ns, why)

    def _replace(self, old: Watch, rule: RuleBase | None) -> Watch | None:
        self._work.faults.pop(old.rule.id, None)
        if rule is None:
            self._work.life.flags.drop_holds(old, self._at_ns)
            self._work.life.blindness.see(old.rule.id, self._at_ns)
            self._work.life.raise_(DEGRADED + old.rule.id, None, self._at_ns)
            return None
        watch = make(self._new, rule)
        watch.take_over(old, is_soft=_is_soft(old.rule, rule))
        if rule.priority != old.rule.priority and watch.alarm.state is not State.NORMAL:
            move = Move(watch.alarm.state, Transition.PRIORITY_CHANGED)
            self._work.tell(watch, move, self._at_ns, Why(self._work.cause_seq, cause=CONFIG))
        return watch


def _is_soft(old: RuleBase, new: RuleBase) -> bool:
    """Only limits, delays, priority or texts changed, so the condition keeps its memory (G2)."""
    one, other = (rule.model_dump(exclude=set(SOFT_KEYS)) for rule in (old, new))
    return one == other
