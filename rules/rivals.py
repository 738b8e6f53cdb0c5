"""Which rules suppress which: more severe limits of the same tag and side, and flags (spec/rules.md A3, A8)."""

from collections.abc import Mapping
from typing import Final

from agent.core.quality import is_usable
from rules.hiding import Origin
from rules.watch import Watch

_SIDE: Final = {"high_high": 1, "high": 1, "low": -1, "low_low": -1}


class Rivals:
    """Worked out when the rule set comes; ``lookers``: by rule, those that must be looked at when it changes."""

    __slots__ = ("_above", "_groups", "_silent", "_suppressed", "_under", "lookers")

    def __init__(self) -> None:
        self.lookers: dict[str, tuple[str, ...]] = {}
        self._above: dict[str, tuple[str, ...]] = {}
        """By exclusive rule: the more severe ones of its tag and side."""
        self._under: dict[str, tuple[str, ...]] = {}
        """By rule: the exclusive rules that it suppresses."""
        self._silent: dict[str, tuple[str, ...]] = {}
        """By flag: the ``stale`` rules of its tag; while one is active the flag is stale."""
        self._suppressed: dict[str, None] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        """First-out groups: their rules."""

    @property
    def hideable(self) -> list[str]:
        """The rules that something may suppress."""
        return sorted({rule for rules in self.lookers.values() for rule in rules})

    def connect(self, watches: Mapping[str, Watch]) -> None:
        """Take another rule set."""
        lookers: dict[str, list[str]] = {}
        self._above, self._silent = {}, {}
        under: dict[str, list[str]] = {}
        groups: dict[str, list[str]] = {}
        by_tag: dict[str, list[Watch]] = {}
        for watch in watches.values():
            if watch.rule.tag is not None:
                by_tag.setdefault(watch.rule.tag, []).append(watch)
        for name, watch in watches.items():
            watch.is_flag = False
            if watch.rule.first_out is not None:
                groups.setdefault(watch.rule.first_out, []).append(name)
            if watch.rule.exclusive:
                worse = [rival.rule.id for rival in by_tag.get(watch.rule.tag or "", ()) if _is_worse(rival, watch)]
                self._above[name] = tuple(worse)
                for rival in worse:
                    under.setdefault(rival, []).append(name)
                    lookers.setdefault(rival, []).append(name)
            flag = watch.rule.suppress_when
            if flag is not None and flag in watches:
                silent = [each.rule.id for each in by_tag.get(watches[flag].rule.tag or "", ()) if _is_stale_rule(each)]
                self._silent[flag] = tuple(silent)
                for each in (flag, *silent):
                    lookers.setdefault(each, []).append(name)
        self._under = {name: tuple(names) for name, names in under.items()}
        self.lookers = {name: tuple(sorted(names)) for name, names in lookers.items()}
        self._groups = {group: tuple(names) for group, names in groups.items()}
        for flag in self._silent:
            watches[flag].is_flag = True
        self.restore(watches)

    def restore(self, watches: Mapping[str, Watch]) -> None:
        """Take who is suppressed from the holds."""
        self._suppressed = {
            name: None for name, watch in watches.items() if watch.holds and watch.holds.get(Origin.EXCLUSIVE)
        }

    def suppress(self, rule: str) -> None:
        """A more severe rule hides it now."""
        self._suppressed[rule] = None

    def release(self, rule: str) -> None:
        """None does any more."""
        self._suppressed.pop(rule, None)

    def suppresses(self, rule: str) -> bool:
        """It hides some exclusive rule now."""
        return any(name in self._suppressed for name in self._under.get(rule, ()))

    def is_first(self, watch: Watch, watches: Mapping[str, Watch]) -> bool | None:
        """It activates while nothing else of its first-out group is active (A8); None: it has no group."""
        if watch.rule.first_out is None:
            return None
        others = (watches[name] for name in self._groups.get(watch.rule.first_out, ()) if name != watch.rule.id)
        return True if not any(other.alarm.is_active for other in others) else None

    def worse_than(self, watch: Watch, watches: Mapping[str, Watch]) -> Watch | None:
        """The most severe rule whose active alarm is shown in the place of this one's; None: there is none."""
        active = [
            rival
            for name in self._above.get(watch.rule.id, ())
            if (rival := watches[name]).alarm.is_active and not (rival.holds and rival.holds.conceals)
        ]
        side = _SIDE.get(watch.rule.condition, 1)
        return max(active, key=lambda rival: (side * (rival.rule.limit_value or 0.0), rival.rule.id), default=None)

    def flag_of(self, watch: Watch, watches: Mapping[str, Watch]) -> Watch | None:
        """The flag that suppresses it now; one that is bad, unknown or stale does not (A4)."""
        flag = watches.get(watch.rule.suppress_when or "")
        if flag is None or not flag.alarm.is_active or flag.truth is None or flag.is_in_fault:
            return None
        if flag.quality is not None and not is_usable(flag.quality):
            return None
        is_silent = any(watches[name].alarm.is_active for name in self._silent.get(flag.rule.id, ()) if name in watches)
        return None if is_silent else flag


def _is_worse(rival: Watch, watch: Watch) -> bool:
    side = _SIDE.get(watch.rule.condition)
    one, other = rival.rule.limit_value, watch.rule.limit_value
    if side is None or _SIDE.get(rival.rule.condition) != side or one is None or other is None:
        return False
    return rival is not watch and side * one > side * other


def _is_stale_rule(watch: Watch) -> bool:
    return watch.rule.condition == "stale"
