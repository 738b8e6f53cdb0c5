"""One rule at work: its condition, its delay and its alarm, in one slotted object."""

import math
from collections.abc import Mapping
from typing import Any, Final

from agent.core.quality import Quality, is_bad
from agent.core.tags import Tag
from rules.conditions.base import CLOSED, Condition
from rules.joint import Joint
from rules.messages import Texts
from rules.model import OnBad, RuleBase
from rules.subject import Profile, Subject

AT_START: Final = "standing at start"
BAD_INPUT: Final = "bad_input"
_MAINTENANCE: Final = Quality.MAINTENANCE.value


class Watch(Subject):
    """The state of one rule. The engine decides; this holds, and keeps the *band*.

    The band is what makes readings cheap: a good value strictly between ``low`` and ``high`` changes nothing but
    ``value``. It is closed (holds no value) whenever the next reading must be looked at, whatever it says.
    """

    __slots__ = (
        *("condition", "delay_due_ns", "delay_from_ns", "followers", "high", "is_by_bad", "is_faulted", "is_flag"),
        *(
            "is_in_fault",
            "is_new",
            "is_overdue",
            "is_standing",
            "is_timed",
            "low",
            "off_delay_ns",
            "on_bad",
            "on_delay_ns",
            "reading",
            "rule",
        ),
        "truth",
    )

    def __init__(self, rule: RuleBase, tag: Tag, *, is_live: bool, tags: Mapping[str, Tag] | None = None) -> None:
        super().__init__(rule.id, _profile(rule, tag))
        self.rule = rule
        self.condition = rule.make_from({tag.id: tag} if tags is None else tags, is_live=is_live)
        self.is_timed = type(self.condition).due_ns is not Condition.due_ns
        """Its condition may turn true by itself."""
        self.on_bad = rule.on_bad
        self.on_delay_ns = rule.on_delay.ns
        self.off_delay_ns = rule.off_delay.ns
        self.delay_from_ns = 0
        """When the running delay began; the on-delay while the alarm is not active, else the off-delay."""
        self.delay_due_ns: int | None = None
        self.is_overdue = False
        """The on-delay ran out while the agent did not run: it fires on the first reading that proves it (T9)."""
        self.is_new = False
        """No reading since a start after a gap."""
        self.is_standing = False
        """The condition was true at the first reading after a start."""
        self.is_by_bad = False
        """The condition is true because readings are bad, not by a value (Q5)."""
        self.is_faulted = False
        self.is_flag = False
        """It suppresses other rules (A4)."""
        self.truth: bool | None = None
        """What the condition said last, before ``on_bad`` and delays; a bad reading leaves it (see is_bad_member)."""
        self.is_in_fault = False
        """The fault alarm of its tag is active (Q6)."""
        self.followers: tuple[int, ...] = ()
        """Places of the rules that look at this one's condition (T6)."""
        self.reading: float | None = None
        self.low, self.high = CLOSED

    @property
    def newest(self) -> float | None:
        """See :class:`Subject`."""
        if self.condition.is_derived or (self.quality is not None and is_bad(self.quality)):
            return self.reading
        return self.value

    @property
    def compared(self) -> float | None:
        """See :class:`Subject`."""
        return self.value if self.condition.compares else None

    @property
    def holds_latch(self) -> bool:
        """See :class:`Subject`."""
        return self.condition.holds_latch

    def release(self) -> None:
        """See :class:`Subject`."""
        self.condition.release()
        self.close()

    @property
    def coverage(self) -> float | None:
        """See :class:`Subject`."""
        return self.condition.coverage

    @property
    def is_bad_member(self) -> bool:
        """See :class:`rules.joint.Member`."""
        if self.truth is None or self.is_in_fault:
            return True
        return not self.rule.is_joint and (self.quality is None or is_bad(self.quality))

    @property
    def is_active(self) -> bool:
        """Its alarm is active: the condition after its delays."""
        return self.alarm.is_active

    @property
    def priority(self) -> str:
        """Of the rule."""
        return self.profile.priority

    @property
    def remark(self) -> str | None:
        """What its events and messages add, such as ``1oo2 (1 bad)``; None where there is nothing to add."""
        return self.condition.note if isinstance(self.condition, Joint) else None

    @property
    def has_evidence(self) -> bool:
        """See :class:`Subject`; a rule over several tags needs it of each."""
        condition = self.condition
        return condition.has_evidence if isinstance(condition, Joint) else super().has_evidence

    def judge_bad(self, at_ns: int) -> bool | None:
        """What a bad reading makes of the condition (Q5); None changes nothing."""
        if self.condition.sees_bad:
            return self.condition.take_bad(at_ns)
        if self.on_bad is OnBad.HOLD or self.quality == _MAINTENANCE:
            return None  # Q8: maintenance counts as hold
        if self.on_bad is OnBad.CLEAR:
            return False
        if self.delay_due_ns is None and not self.alarm.is_active:
            self.is_by_bad = True
        return True

    def set_delay(self, from_ns: int, delay_ns: int) -> None:
        """Start the delay that leads to the next transition."""
        self.delay_from_ns = from_ns
        self.delay_due_ns = from_ns + delay_ns

    def close(self) -> None:
        """Have the next reading looked at."""
        self.low, self.high = CLOSED

    def rearm(self) -> None:
        """Open the band as far as memory and extreme allow; call it after a good reading was evaluated."""
        low, high = self.condition.band()
        if self.alarm.is_active and self.condition.side:
            extreme = self.alarm.extreme
            if extreme is None:
                low, high = CLOSED
            elif self.condition.side > 0:
                high = min(high, math.nextafter(extreme, math.inf))
            else:
                low = max(low, math.nextafter(extreme, -math.inf))
        self.low, self.high = low, high

    def start(self, at_ns: int) -> None:
        """The agent starts after a gap (T9)."""
        self.close()
        self.is_new = True
        is_active = self.alarm.is_active
        self.condition.start(at_ns, is_active=is_active)
        if self.delay_due_ns is None:
            return
        if is_active or self.condition.due_ns is not None:
            self.delay_due_ns = None  # an off-delay starts anew; a stale condition is counted anew
        elif self.delay_due_ns <= at_ns:
            self.delay_due_ns = None
            self.is_overdue = True

    def shift(self, step_ns: int) -> None:
        """UTC stepped: move every time that something still waits for (T8)."""
        self.condition.shift(step_ns)
        self.delay_from_ns += step_ns
        if self.delay_due_ns is not None:
            self.delay_due_ns += step_ns

    def take_over(self, old: "Watch", *, is_soft: bool) -> None:
        """Continue a changed rule (G2): the alarm stays; the condition too where only limits and texts changed."""
        self.alarm = old.alarm
        self.exercise = old.exercise
        if old.profile.tag == self.profile.tag:
            self.quality, self.reading = old.quality, old.newest
            self.is_new = old.is_new
        if not is_soft:
            return
        self.value, self.truth = old.value, old.truth
        self.condition.from_row(old.condition.to_row(is_whole=True))
        self.is_overdue, self.is_standing, self.is_by_bad = old.is_overdue, old.is_standing, old.is_by_bad
        if old.delay_due_ns is not None:
            delay_ns = self.off_delay_ns if self.alarm.is_active else self.on_delay_ns
            self.set_delay(old.delay_from_ns, delay_ns)

    def to_row(self) -> list[Any]:
        """The watch for a snapshot (JSON types); what the flags say is left out."""
        flags = self.is_overdue | self.is_new << 1 | self.is_standing << 2 | self.is_by_bad << 3 | self.exercise << 4
        flags |= (0 if self.truth is None else 1 + self.truth) << 5 | self.is_in_fault << 7
        newest = self.newest
        is_apart = newest is not self.value
        flags |= is_apart << 8
        row = [flags, self.condition.to_row(), self.value, self.quality, self.alarm.to_row()]
        if is_apart:
            row.append(newest)
        return row if self.delay_due_ns is None else [*row, self.delay_from_ns, self.delay_due_ns]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        flags, condition, self.value, self.quality, alarm, *more = row
        self.reading = more.pop(0) if flags >> 8 else self.value
        self.delay_from_ns, self.delay_due_ns = more or (0, None)
        self.is_overdue, self.is_new, self.is_standing, self.is_by_bad, self.exercise = (
            bool(flags >> bit & 1) for bit in range(5)
        )
        self.truth = (None, False, True)[flags >> 5 & 3]
        self.is_in_fault = bool(flags >> 7 & 1)
        self.alarm.from_row(alarm)
        self.condition.from_row(condition)
        self.close()


def _profile(rule: RuleBase, tag: Tag) -> Profile:
    name = tag.name or tag.id
    return Profile(
        rule=rule.id,
        kind=rule.condition,
        tag=rule.tag,
        tag_name=tag.name,
        unit=tag.unit or rule.unit,
        limit=rule.limit_value,
        deadband=rule.deadband_of(tag),
        priority=rule.priority,
        basis=rule.basis,
        area=rule.area,
        equipment=rule.equipment,
        source=tag.source.value,
        texts=Texts(rule.message, rule.condition, name, rule.limit_value, rule.text_unit(tag)).limit_in(
            rule.limit_unit(tag)
        ),
        latch=rule.latch,
    )
