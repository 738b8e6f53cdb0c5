"""Tags whose readings are bad or missing for too long, and devices that are dead (spec/rules.md Q6)."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.core.batch import Batch, Layout
from agent.core.events import SEVERITY, Priority
from agent.core.quality import FIRST_BAD, Quality
from agent.core.tags import Tag
from rules.diagnostics import Raise, some
from rules.internal import Notice
from rules.model import RuleBase
from rules.settings import Settings

TAG: Final = "davy:tag:{}:fault"
DEVICE: Final = "davy:device:{}:fault"
COLUMNS_MAX: Final = 4_096
"""Layouts remembered; beyond it all are worked out again, which costs time only."""
_QUIET_NS: Final = 10_000_000_000
"""Distance of readings where none is known: a subscribed item that is quiet is read again after so long (T3)."""
_MAINTENANCE: Final = Quality.MAINTENANCE.value
_LINK: Final = frozenset({Quality.COMM_FAIL.value, Quality.DEVICE.value})
"""Bad for the sake of the device, not of one sensor."""


@dataclass(slots=True)
class Health:
    """One tag that a rule reads."""

    tag: str
    name: str | None
    device: str
    after_ns: int
    priority: Priority
    last_ns: int
    """The last usable reading; before it the start."""
    quality: int = 0
    """Of the last reading, where it was bad."""
    fault: str | None = None
    """The alarm that tells of it; None: it is well."""
    floor_ns: int = 0
    """It is not told before: its device has only just come back."""

    @property
    def due_ns(self) -> int:
        """When it is in fault if nothing usable comes."""
        return max(self.last_ns + self.after_ns, self.floor_ns)


def watched(rules: Iterable[RuleBase], tags: Mapping[str, Tag], settings: Settings, now_ns: int) -> dict[str, Health]:
    """Every tag that a rule reads, unless a ``stale`` or ``bad_quality`` rule names it."""
    worst: dict[str, Priority] = {}
    named: set[str] = set()
    for rule in rules:
        if not rule.enabled:
            continue
        for tag in rule.inputs:
            if rule.condition in ("stale", "bad_quality"):
                named.add(tag)
            elif tag not in worst or SEVERITY[rule.priority] > SEVERITY[worst[tag]]:
                worst[tag] = rule.priority
    found: dict[str, Health] = {}
    for tag in sorted(set(worst) - named):
        facts = tags.get(tag) or Tag(tag)
        priority = Priority.HIGH if worst[tag] is Priority.CRITICAL else worst[tag]
        after_ns = facts.fault_after_ns or max(
            settings.fault_floor_ns, settings.fault_polls * (facts.poll_ns or _QUIET_NS)
        )
        found[tag] = Health(tag, facts.name, facts.device or "", after_ns, priority, now_ns)
    return found


class Faults:
    """The health of all tags that rules read; its one timer is due when the first of them would be in fault."""

    def __init__(self, raise_: Raise, set_fault: Callable[[str, bool], None]) -> None:
        self._raise = raise_
        self._set_fault = set_fault
        self._tags: dict[str, Health] = {}
        self._devices: dict[str, dict[str, Health]] = {}
        self._columns: dict[int, tuple[Layout, list[tuple[int, Health]]]] = {}
        self._lines: dict[int, OrderedDict[str, Health]] = {}
        """Tags that are well, by ``after_ns``; in each those that are due first come first."""
        self._lost: dict[str, dict[str, Health]] = {}
        """Tags that are not, by the alarm that tells of them."""
        self._has_started = False
        self.in_maintenance: Mapping[str, None] = {}

    def install(self, tags: dict[str, Health]) -> None:
        """Another rule set; tags that stay keep their health."""
        for name, health in tags.items():
            old = self._tags.get(name)
            if old is not None:
                health.last_ns, health.quality, health.fault = old.last_ns, old.quality, old.fault
        self._tags = tags
        self._columns = {}
        self._sort()

    def _sort(self) -> None:
        self._devices, self._lines, self._lost = {}, {}, {}
        for health in sorted(self._tags.values(), key=lambda each: each.due_ns):
            self._devices.setdefault(health.device, {})[health.tag] = health
            line = self._lines.setdefault(health.after_ns, OrderedDict())
            if health.fault is None:
                line[health.tag] = health
            else:
                self._lost.setdefault(health.fault, {})[health.tag] = health

    def hear(self, batch: Batch, at_ns: int) -> bool:
        """Readings that are not historical; True where a tag or device came back."""
        _, columns = self._columns.get(id(batch.layout)) or self._layout(batch.layout)
        if batch.index is not None:
            places = {position: i for i, position in enumerate(batch.index)}
            columns = [(places[position], health) for position, health in columns if position in places]
        quality, lines = batch.quality, self._lines
        back: list[Health] = []
        for i, health in columns:
            code = 0 if quality is None else quality[i]
            if (code < FIRST_BAD and batch.values[i] == batch.values[i]) or code == _MAINTENANCE:
                health.last_ns, health.quality = at_ns, 0
                if health.fault is None:
                    lines[health.after_ns].move_to_end(health.tag)
                else:
                    back.append(health)
            else:
                health.quality = code or Quality.NOT_A_NUMBER.value
        if back:
            self._recover(back, at_ns)
        return bool(back)

    def _layout(self, layout: Layout) -> tuple[Layout, list[tuple[int, Health]]]:
        found = [(i, self._tags[tag]) for i, tag in enumerate(layout.tags) if tag in self._tags]
        if len(self._columns) >= COLUMNS_MAX:
            self._columns.clear()
        self._columns[id(layout)] = layout, found  # keeps the layout alive, so its identity is never used twice
        for _, health in found:
            if health.device != layout.device:
                self._devices[health.device].pop(health.tag)
                health.device = layout.device
                self._devices.setdefault(layout.device, {})[health.tag] = health
        return self._columns[id(layout)]

    def _recover(self, back: list[Health], at_ns: int) -> None:
        for health in back:
            self._set_fault(health.tag, False)
        for alarm in dict.fromkeys(health.fault for health in back):
            assert alarm is not None
            self._raise(alarm, None, at_ns)
            for health in self._lost.pop(alarm).values():
                # What is still bad on a device that came back is told apart, when the step ends: it is due first.
                health.fault = None
                health.floor_ns = at_ns
                line = self._lines[health.after_ns]
                line[health.tag] = health
                if health.last_ns != at_ns:
                    line.move_to_end(health.tag, last=False)

    @property
    def due_ns(self) -> int | None:
        """When the first tag would be in fault."""
        if not self._has_started:
            return None
        return min((next(iter(line.values())).due_ns for line in self._lines.values() if line), default=None)

    def _take_due(self, at_ns: int) -> list[Health]:
        due: list[Health] = []
        for line in self._lines.values():
            while line and next(iter(line.values())).due_ns <= at_ns:
                due.append(line.popitem(last=False)[1])
        return sorted(due, key=lambda each: each.tag)

    def fire(self, at_ns: int) -> None:
        """The time has come."""
        devices: dict[str, list[Health]] = {}
        for health in self._take_due(at_ns):
            if health.tag in self.in_maintenance:
                health.last_ns = at_ns
                self._lines[health.after_ns][health.tag] = health
            else:
                devices.setdefault(health.device, []).append(health)
        for device in sorted(devices):
            self._tell(device, devices[device], at_ns)

    def _tell(self, device: str, lost: list[Health], at_ns: int) -> None:
        everyone = self._devices[device].values()
        is_dead = bool(device) and all(
            (each.fault is not None or each.due_ns <= at_ns) and (each.quality == 0 or each.quality in _LINK)
            for each in everyone
        )
        if is_dead:
            self._tell_device(device, everyone, lost, at_ns)
        else:
            for health in lost:
                self._lose(health, TAG.format(health.tag))
                name = health.name or health.tag
                message = {"zh-CN": f"{name} 数据故障", "en": f"{name}: readings bad or missing"}
                notice = Notice(
                    kind="fault", priority=health.priority, message=message, tag=health.tag, tag_name=health.name
                )
                self._raise(TAG.format(health.tag), notice, at_ns)
        for health in lost:
            self._set_fault(health.tag, True)

    def _lose(self, health: Health, alarm: str) -> None:
        health.fault = alarm
        self._lost.setdefault(alarm, {})[health.tag] = health

    def _tell_device(self, device: str, everyone: Collection[Health], lost: list[Health], at_ns: int) -> None:
        alarm = DEVICE.format(device)
        for health in lost:
            self._lose(health, alarm)
        names = some(each.tag for each in everyone)
        message = {"zh-CN": f"设备 {device} 无数据：{names}", "en": f"device {device} gives no data: {names}"}
        priority = max((each.priority for each in everyone), key=lambda each: SEVERITY[each])
        notice = Notice(kind="fault", priority=priority, message=message, value=float(len(everyone)))
        self._raise(alarm, notice, at_ns)

    def start(self, at_ns: int) -> None:
        """The agent starts (after a gap, or for the first time): silence counts from now."""
        self._has_started = True
        for health in self._tags.values():
            if health.fault is None:
                health.last_ns = at_ns
        self._sort()

    def shift(self, step_ns: int) -> None:
        """UTC stepped (T8)."""
        for health in self._tags.values():
            health.last_ns += step_ns
            health.floor_ns += step_ns

    def to_rows(self) -> Iterable[list[Any]]:
        """For a snapshot."""
        for each in self._tags.values():
            yield [each.tag, each.device, each.last_ns, each.quality, each.fault, each.floor_ns]

    def from_rows(self, rows: list[list[Any]]) -> None:
        """The inverse of :meth:`to_rows`."""
        self._has_started = bool(rows)
        for tag, device, last_ns, quality, fault, floor_ns in rows:
            if tag in self._tags:
                health = self._tags[tag]
                health.device, health.last_ns, health.quality = device, last_ns, quality
                health.fault, health.floor_ns = fault, floor_ns
        self._sort()
