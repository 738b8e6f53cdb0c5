"""A slow second opinion on T6, C6, C7: every rule of a small plant, second by second, from the text of the spec.

It shares no code with rules/. Time is whole seconds; at each one the readings come, then what looks at several tags or
rules, then the timers, then again what they changed.
"""

from typing import Any

NEXT = {  # A2 without people: (state, condition) -> (state, event)
    ("normal", True): ("unacknowledged", "activated"),
    ("unacknowledged", False): ("returned_unacknowledged", "returned"),
    ("returned_unacknowledged", True): ("unacknowledged", "activated"),
}


def both(x: Any, y: Any) -> Any:
    return False if x is False or y is False else None if x is None or y is None else True


def either(x: Any, y: Any) -> Any:
    return True if x is True or y is True else None if x is None or y is None else False


def over(x: float | None, limit: float) -> bool | None:
    return None if x is None else x > limit


class Rule:
    def __init__(self, keys: dict[str, Any]) -> None:
        self.keys = keys
        self.id = keys["id"]
        self.memory: bool | None = None
        self.truth: bool | None = None
        self.bad = True
        self.state = "normal"
        self.since: int | None = None
        self.silent = False
        self.heard: int | None = None
        self.held: int | None = None
        self.seen: Any = None

    @property
    def active(self) -> bool:
        return self.state == "unacknowledged"

    def settle(self, truth: bool | None, at: int, told: list[Any]) -> None:
        if truth is None:
            if self.active:
                self.since = None
        elif truth == self.active:
            self.since = None
        else:
            self.since = at if self.since is None else self.since
            if self.delay() == 0:
                self.change(at, told)

    def delay(self) -> int:
        return self.keys["off_delay" if self.active else "on_delay"]

    def change(self, at: int, told: list[Any]) -> None:
        self.since = None
        self.state, event = NEXT[self.state, not self.active]
        told.append((at, self.id, event))


class Plant:
    def __init__(self, rules: list[dict[str, Any]]) -> None:
        self.rules = {keys["id"]: Rule(keys) for keys in sorted(rules, key=lambda keys: keys["id"])}
        self.last: dict[str, tuple[int, float, bool]] = {}
        self.usable_at: dict[str, int] = {}
        self.told: list[Any] = []
        self.order = [r for r in ("D", "E", "V", "W", "X") if r in self.rules]
        self.late = [r for r in ("U", "UU") if r in self.rules]

    def second(self, at: int, readings: list[tuple[str, float | None]]) -> None:
        fresh: set[str] = set()
        for tag, value in readings:
            fresh.add(tag)
            self.last[tag] = (at, value or 0.0, value is not None)
            if value is not None:
                self.usable_at[tag] = at
            for rule in self.rules.values():
                if rule.keys.get("tag") == tag and rule.keys["condition"] in ("high", "stale"):
                    self.read(rule, value, at)
        for name in self.order:
            self.look(self.rules[name], at, fresh)
        for rule in self.rules.values():
            if rule.id not in self.late:
                self.timers(rule, at)
        for name in self.order:
            self.look(self.rules[name], at, set())
        for name in self.late:
            self.look(self.rules[name], at, set())
            self.timers(self.rules[name], at)

    def read(self, rule: Rule, value: float | None, at: int) -> None:
        rule.bad = value is None
        if rule.keys["condition"] == "stale":
            rule.heard = at if value is not None or rule.heard is None else rule.heard
            if value is not None:
                rule.silent, rule.truth = False, False
                rule.settle(False, at, self.told)
            else:
                rule.settle(rule.truth, at, self.told)  # Q5: it ignores bad readings, and stays what it was
            return
        if value is None:
            rule.settle({"hold": None, "alarm": True, "clear": False}[rule.keys["on_bad"]], at, self.told)
            return
        limit = rule.keys["limit"]
        rule.memory = value >= limit or (value >= limit - rule.keys["deadband"] and bool(rule.memory))
        rule.truth = rule.memory
        rule.settle(rule.truth, at, self.told)

    def timers(self, rule: Rule, at: int) -> None:
        after = rule.keys.get("after")
        if after and rule.heard is not None and not rule.silent and at >= rule.heard + after:
            rule.silent = rule.truth = True
            rule.settle(True, at, self.told)
        if rule.since is not None and at >= rule.since + rule.delay():
            rule.change(at, self.told)

    def look(self, rule: Rule, at: int, fresh: set[str]) -> None:
        keys = rule.keys
        if "members" in keys:
            members = [self.rules[name] for name in keys["members"]]
            if keys["condition"] == "count_upgrade":
                seen: Any = [m.active for m in members]
                if seen != (rule.seen or [False] * len(seen)):
                    rule.seen = seen
                    standing = sum(m.active and m.keys["priority"] == keys["level"] for m in members)
                    rule.truth, rule.bad = standing >= keys["n"], False
                    rule.settle(rule.truth, at, self.told)
                return
            seen = [(m.truth, m.bad) for m in members]
            tags = {m.keys.get("tag") for m in members}
            if seen != (rule.seen or [(None, True)] * len(seen)) or tags & fresh or keys["sees"] & fresh:
                rule.seen = seen
                truth = vote(keys, members)
                rule.truth, rule.bad = truth, truth is None
                rule.settle(truth, at, self.told)
            return
        if not fresh & set(keys["inputs"]):
            return
        truth, is_bad = getattr(self, keys["condition"])(rule, at)
        rule.truth, rule.bad = truth, truth is None
        if is_bad:
            truth = {"hold": None, "alarm": True, "clear": False}[keys["on_bad"]]
        rule.settle(truth, at, self.told)

    def value(self, tag: str) -> float | None:
        reading = self.last.get(tag)
        return None if reading is None or not reading[2] else reading[1]

    def discrepancy(self, rule: Rule, at: int) -> tuple[bool | None, bool]:
        usable = [v for tag in rule.keys["inputs"] if (v := self.value(tag)) is not None]
        if len(usable) < 2:
            return None, any(tag in self.last and not self.last[tag][2] for tag in rule.keys["inputs"])
        return self.margin(rule, max(usable) - min(usable)), False

    def deviation(self, rule: Rule, at: int) -> tuple[bool | None, bool]:
        one, other = (self.value(tag) for tag in rule.keys["inputs"])
        if one is None or other is None:
            return None, any(tag in self.last and not self.last[tag][2] for tag in rule.keys["inputs"])
        return self.margin(rule, abs(one - other)), False

    def margin(self, rule: Rule, size: float) -> bool:
        limit = rule.keys["limit"]
        rule.memory = size >= limit or (size >= limit - rule.keys["deadband"] and bool(rule.memory))
        return rule.memory

    def expression(self, rule: Rule, at: int) -> tuple[bool | None, bool]:
        a, b, c = (self.value(tag) for tag in "ABC")
        truth: bool | None
        match rule.keys["expression"]:
            case "A > 5 and B > 8":
                truth = both(over(a, 5), over(b, 8))
            case "A - B > 2 or not C > 8":
                c_high = over(c, 8)
                truth = either(
                    over(None if a is None or b is None else a - b, 2), None if c_high is None else not c_high
                )
            case "min(A, B) / C > 1 or B > 9":
                part = None if a is None or b is None or not c else min(a, b) / c
                truth = either(over(part, 1), over(b, 9))
            case "bad(A) or age(B) > 3s":
                age = None if "B" not in self.usable_at else at - self.usable_at["B"]
                truth = either(None if "A" not in self.last else not self.last["A"][2], over(age, 3))
            case "B > 5 and held(A > 5 or C > 9, 3s)":
                inner = either(over(a, 5), over(c, 9))
                if inner is False:
                    rule.held = None
                if inner and rule.held is None:
                    rule.held = at
                held = None if inner is None else bool(inner and at - rule.held >= 3)
                truth = both(over(b, 5), held)
            case other:
                raise AssertionError(other)
        return truth, truth is None


def vote(keys: dict[str, Any], members: list[Rule]) -> bool | None:
    n, k = len(members), keys["k"]
    good = [m for m in members if not m.bad and m.truth is not None]
    b = n - len(good)
    if b == n:
        return True if keys["bad_vote"] == "trip" else None
    needed = {"degrade": max(1, k - b), "trip": max(0, k - b), "healthy": k, "drop": min(k, n - b)}[keys["bad_vote"]]
    return sum(m.truth for m in good) >= needed


EXPRESSIONS = {
    "A > 5 and B > 8": "AB",
    "A - B > 2 or not C > 8": "ABC",
    "min(A, B) / C > 1 or B > 9": "ABC",
    "bad(A) or age(B) > 3s": "AB",
    "B > 5 and held(A > 5 or C > 9, 3s)": "ABC",
}
