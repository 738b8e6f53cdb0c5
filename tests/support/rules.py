"""Short ways to write rules, readings and what comes of them."""

from array import array
from collections.abc import Sequence
from typing import Any

from agent.core.batch import Batch, Layout
from agent.core.events import AlarmEvent
from agent.core.records import Kind, Record
from agent.core.tags import Tag
from rules.build import RuleSet, build
from rules.engine import Engine
from rules.registry import parse

S = 1_000_000_000
T0 = 1_795_248_000 * S
BAD = 101
NAN = float("nan")


def rule(condition: str, **keys: Any) -> Any:
    return parse({"id": keys.pop("id", condition), "tag": "T", "priority": "medium", "condition": condition, **keys})


def rule_set(*rules: Any, tags: Sequence[Tag] = (), live: bool = False) -> RuleSet:
    return build(rules, {tag.id: tag for tag in tags}, live=live)


class Plant:
    """Feeds an engine in seconds since T0 and keeps what it says as (second, alarm, transition, state)."""

    def __init__(self, *rules: Any, tags: Sequence[Tag] = (), live: bool = False, device: str = "D") -> None:
        self.engine = Engine(rule_set(*rules, tags=tags, live=live), epoch="0")
        self.events: list[AlarmEvent] = []
        self.device = device
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._seq = 0

    def read(self, at: float, *values: float | None, q: int = 0, tags: tuple[str, ...] = ("T",), **marks: Any) -> None:
        """One poll; None is a bad reading."""
        layout = self._layouts.setdefault(tags, Layout(self.device, tags))
        column = array("d", [NAN if value is None else value for value in values])
        qualities = bytes(BAD if value is None else q for value in values)
        self.take(Batch(layout, T0 + int(at * S), column, qualities if any(qualities) else None, **marks))

    def take(self, batch: Batch) -> None:
        self._seq += 1
        self.events += self.engine.apply(Record(self._seq, Kind.READINGS, batch=batch))

    def signal(self, *values: float | None, start: float = 0, step: float = 1) -> None:
        for i, value in enumerate(values):
            self.read(start + i * step, value)

    def at(self, second: float) -> None:
        """Time passes up to and including a second."""
        self.events += self.engine.advance(T0 + int(second * S), None)

    def audit(self, kind: str, at: float, **fields: Any) -> None:
        self._seq += 1
        fields = {"kind": kind, "time": T0 + int(at * S), **fields}
        self.events += self.engine.apply(Record(self._seq, Kind.AUDIT, fields=fields))

    def act(self, kind: str, at: float, alarm: str, event: str | None = None, actor: str = "li") -> str:
        self.at(at)
        outcome = self.engine.judge({"kind": kind, "alarm": alarm, "event": event})
        self.audit(kind, at, alarm=alarm, event=event, actor=actor, outcome=outcome.outcome)
        return outcome.reason or outcome.outcome

    def start(self, at: float, previous_end: float | None) -> None:
        end = None if previous_end is None else T0 + int(previous_end * S)
        self.audit("start", at, previous_end=end)

    def restored(self) -> None:
        """Stop and continue."""
        self.engine = Engine.restore(self.engine.rules, self.engine.snapshot(), epoch="0")

    @property
    def story(self) -> list[tuple[float, str, str]]:
        return [((event.time - T0) / S, event.transition.value, event.state.value) for event in self.events]

    @property
    def times(self) -> list[tuple[float, str]]:
        return [((event.time - T0) / S, event.transition.value) for event in self.events]
