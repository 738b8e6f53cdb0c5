"""A slow second opinion on spec/rules.md, written from its text: one rule, whole history, anew at each sample.

It shares no code with rules/: the condition is worked out from all samples so far, the delays by looking back.
"""

from dataclasses import dataclass, field
from typing import Any

S = 1_000_000_000
TABLE = {  # A2, by hand: (state, what) -> (state, event)
    ("normal", "true"): ("unacknowledged", "activated"),
    ("unacknowledged", "false"): ("returned_unacknowledged", "returned"),
    ("unacknowledged", "false latch"): ("latched_unacknowledged", "returned"),
    ("unacknowledged", "acknowledge"): ("acknowledged", "acknowledged"),
    ("acknowledged", "false"): ("normal", "returned"),
    ("acknowledged", "false latch"): ("latched_acknowledged", "returned"),
    ("returned_unacknowledged", "true"): ("unacknowledged", "activated"),
    ("returned_unacknowledged", "acknowledge"): ("normal", "acknowledged"),
    ("latched_unacknowledged", "true"): ("unacknowledged", "activated"),
    ("latched_unacknowledged", "acknowledge"): ("latched_acknowledged", "acknowledged"),
    ("latched_acknowledged", "true"): ("unacknowledged", "activated"),
    ("latched_acknowledged", "reset"): ("normal", "reset"),
}
SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass
class Sample:
    at: int
    value: float
    quality: int

    @property
    def usable(self) -> bool:
        return self.quality < 100


def line(
    value: float, limit: float, deadband: float, memory: bool | None, quality: int
) -> tuple[bool | None, bool | None]:
    """One row of the table of C for a quantity that is worse when larger: what it says, and the memory after it."""
    if value >= limit:
        return True, True
    says = False if value < limit - deadband else bool(memory)
    if says:
        return True, True
    return (None, memory) if quality == 6 else (False, False)


def slope(history: list[Sample], rule: dict[str, Any]) -> float | None:
    now = history[-1]
    window = rule["window"] * S
    inside = [s for s in history if s.usable and s.at > now.at - window]
    first = inside[0]
    if now.at == first.at or (now.at - first.at) < window / 2:
        return None
    per = SECONDS[rule.get("per", "min")]
    if rule.get("method", "endpoints") == "endpoints":
        return (now.value - first.value) / ((now.at - first.at) / S) * per
    n = len(inside)
    if n < rule.get("min_samples", 5):
        return None
    xs = [(s.at - now.at) / S for s in inside]
    mean_x, mean_y = sum(xs) / n, sum(s.value for s in inside) / n
    over = sum((x - mean_x) * (s.value - mean_y) for x, s in zip(xs, inside, strict=True))
    return over / sum((x - mean_x) ** 2 for x in xs) * per


@dataclass
class Oracle:
    rule: dict[str, Any]
    """id, condition, its keys with durations in seconds."""
    history: list[Sample] = field(default_factory=list)
    memory: bool | None = None
    state: str = "normal"
    told: list[tuple[int, str, str]] = field(default_factory=list)
    since: int | None = None
    """When the condition took, without a break, the value that the alarm has not followed yet."""
    silent: bool = False

    def judge(self, sample: Sample) -> bool | None:
        rule, kind = self.rule, self.rule["condition"]
        if kind == "bad_quality":
            return not sample.usable
        if kind == "stale":
            if sample.usable:
                self.silent = False
                return False
            # Q5: it ignores on_bad; a bad reading leaves it what it was, unknown before anything was told.
            return True if self.silent else False if any(s.usable for s in self.history) else None
        if not sample.usable:
            return {"hold": None, "alarm": True, "clear": False}[rule.get("on_bad", "hold")]
        if kind == "state":
            if sample.value in rule["values"]:
                return True
            return None if sample.quality == 6 else False
        quantity: float | None = sample.value
        if kind == "rate":
            quantity = slope(self.history, rule)
            if quantity is None:
                return None
            quantity = {"rising": quantity, "falling": -quantity, "both": abs(quantity)}[
                rule.get("direction", "rising")
            ]
        limit = rule["limit"]
        if kind in ("low", "low_low"):
            quantity, limit = -quantity, -limit
        says, self.memory = line(quantity, limit, rule.get("deadband", 0), self.memory, sample.quality)
        return says

    @property
    def active(self) -> bool:
        return self.state in ("unacknowledged", "acknowledged")

    def feed(self, sample: Sample) -> None:
        self.pass_time(sample.at - 1)
        self.history.append(sample)
        self.settle(self.judge(sample), sample.at)

    def settle(self, truth: bool | None, at: int) -> None:
        if truth is None:
            if self.active:
                self.since = None
        elif truth == self.active:
            self.since = None
        else:
            self.since = at if self.since is None else self.since
            if self.delay() == 0:
                self.change(at)

    def delay(self) -> int:
        return self.rule.get("off_delay" if self.active else "on_delay", 0) * S

    def change(self, at: int) -> None:
        what = "true" if not self.active else "false latch" if self.rule.get("latch") else "false"
        self.since = None
        self.tell(what, at)

    def tell(self, what: str, at: int) -> None:
        move = TABLE.get((self.state, what))
        if move:
            self.state = move[0]
            self.told.append((at, move[1], move[0]))

    def pass_time(self, until: int) -> None:
        """Everything due at or before a time, one nanosecond of the spec at a time."""
        while True:
            due = [] if self.since is None else [(self.since + self.delay(), 1)]
            if self.rule["condition"] == "stale" and self.history and not self.silent:
                heard = [s.at for s in self.history if s.usable] or [self.history[0].at]
                due.append((heard[-1] + self.rule["after"] * S, 0))
            due = sorted(d for d in due if d[0] <= until)
            if not due:
                return
            at, kind = due[0]
            if kind == 1:
                self.change(at)
            else:
                self.silent = True
                self.settle(True, at)

    def act(self, what: str, at: int) -> None:
        self.pass_time(at)
        if what == "reset" and not (self.history and self.history[-1].usable):
            return
        self.tell(what, at)
