"""Speed of the rule engine. Run: python -m benchmarks.rules ; prints one JSON object per case."""

import json
import resource
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any

from agent.core.batch import Batch, Layout
from agent.core.records import Kind, Record
from agent.core.tags import Tag
from rules.build import RuleSet, build, from_fields
from rules.engine import Engine
from rules.model import RuleBase
from rules.registry import parse

S = 1_000_000_000
T0 = 1_795_248_000 * S
READINGS = 2_000_000


def limit_rule(tag: str) -> RuleBase:
    keys = {"limit": 90, "deadband": 1, "on_delay": "5s", "off_delay": "5s"}
    return parse({"id": f"{tag}-h", "tag": tag, "condition": "high", "priority": "high", **keys})


def rate_rule(tag: str, method: str) -> RuleBase:
    keys = {"limit": 2, "window": "60s", "method": method}
    return parse({"id": f"{tag}-r", "tag": tag, "condition": "rate", "priority": "high", **keys})


WINDOWS: Mapping[str, Mapping[str, Any]] = {
    "average": {"limit": 60, "window": "60s"},
    "flatline": {"window": "60s"},
    "deviation": {"limit": 20, "reference": {"mean": "60s"}},
    "time_to_limit": {"limit": 90, "window": "60s", "horizon": "10s"},
}


def window_rule(tag: str, kind: str) -> RuleBase:
    return parse({"id": f"{tag}-w", "tag": tag, "condition": kind, "priority": "high", **WINDOWS[kind]})


def rule_set(tags: Sequence[str], make: Callable[[str], RuleBase]) -> RuleSet:
    return build([make(tag) for tag in tags], {tag: Tag(tag) for tag in tags}, live=False)


def polls(tags: Sequence[str], readings: int) -> Iterator[Batch]:
    """A quiet plant at 1 Hz: values wander, each tag passes its limit now and then (one reading in a thousand)."""
    layout = Layout("D", tuple(tags))
    count = len(tags)
    columns = [array("d", [50.0 + (i * 7 + k) % 13 for i in range(count)]) for k in range(97)]
    for k, column in enumerate(columns):
        for i in range(count):
            if (i * 31 + k) % 1000 == 0:
                column[i] = 95.0
    for poll in range(max(1, readings // count)):
        yield Batch(layout, T0 + poll * S, columns[poll % len(columns)])


def restless(tags: Sequence[str], readings: int) -> Iterator[Batch]:
    """The worst plant: every tag crosses its limit at every poll, so that no reading is cheap."""
    layout = Layout("D", tuple(tags))
    columns = [array("d", [value]) * len(tags) for value in (50.0, 95.0)]
    for poll in range(max(1, readings // len(tags))):
        yield Batch(layout, T0 + poll * S, columns[poll % 2])


def measure(case: str, count: int, make: Callable[[str], RuleBase], readings: int) -> dict[str, Any]:
    """``case`` that ends in "restless" takes the worst plant."""
    tags = [f"T{i:04d}" for i in range(count)]
    work = list((restless if case.endswith("restless") else polls)(tags, readings))
    return run(case, count, Engine(rule_set(tags, make), epoch="0"), work)


def run(case: str, count: int, engine: Engine, work: Sequence[Batch]) -> dict[str, Any]:
    """Time ``work`` on ``engine``."""
    events = 0
    start = time.process_time()
    for batch in work:
        events += len(engine.apply_batch(batch, 1))
    used = time.process_time() - start
    done = engine.evaluated
    rate = round(done / used)
    return {"case": case, "tags": count, "readings_per_s": rate, "us": round(used / done * 1e6, 3), "events": events}


JOINT: Mapping[str, Mapping[str, Any]] = {
    "vote": {"k": 2},
    "discrepancy": {"limit": 60, "deadband": 5},
    "expression": {},
}


def joint_rules(kind: str, tags: Sequence[str]) -> list[RuleBase]:
    """One rule for each three tags; a vote has three limit rules as its members."""
    made: list[RuleBase] = []
    for i in range(0, len(tags) - 2, 3):
        three = list(tags[i : i + 3])
        own = {
            "vote": {"members": [f"{tag}-h" for tag in three]},
            "discrepancy": {"tags": three},
            "expression": {"expression": f"held({three[0]} > 90, 5s) and {three[1]} > 50 or bad({three[2]})"},
        }[kind]
        if kind == "vote":
            made.extend(map(limit_rule, three))
        made.append(parse({"id": f"J{i}", "condition": kind, "priority": "high", **JOINT[kind], **own}))
    return made


def joint(kind: str, count: int, readings: int) -> dict[str, Any]:
    """Rules over three tags each: they are looked at once, when a step ends."""
    tags = [f"T{i:04d}" for i in range(count)]
    rules = build(joint_rules(kind, tags), {tag: Tag(tag) for tag in tags}, live=False)
    engine = Engine(rules, epoch="0")
    return run(f"{kind}, one for three tags", count, engine, list(polls(tags, readings)))


def with_health(devices: int, readings: int) -> dict[str, Any]:
    """Fault alarms on, ten thousand tags on devices that are polled one after the other, and rules over two tags.

    Each step asks for the next timer, which is that of the tags' health.
    """
    tags = [f"T{i:05d}" for i in range(10_000)]
    size = len(tags) // devices
    parts = [tags[i : i + size] for i in range(0, len(tags), size)]
    pairs = [
        parse({"id": f"J{i}", "condition": "discrepancy", "priority": "high", "tags": part[:2], "limit": 90})
        for i, part in enumerate(parts)
    ]
    rules = [*pairs, *map(limit_rule, tags)]
    engine = Engine(
        build(rules, {tag: Tag(tag, poll_ns=S) for tag in tags}, live=False), epoch="0", has_fault_alarms=True
    )
    layouts = [Layout(f"D{i}", tuple(part)) for i, part in enumerate(parts)]
    values = array("d", [50.0]) * size
    work = [Batch(layouts[i % devices], T0 + i * (S // devices), values) for i in range(max(devices, readings // size))]
    return run(f"health of 10,000 tags, {devices} devices in turn", len(tags), engine, work)


def planned_stop(count: int) -> dict[str, Any]:
    """An area of many rules is suppressed at once, and shown again when the time is over."""
    tags = [f"T{i:05d}" for i in range(count)]
    keys = {"condition": "high", "priority": "high", "limit": 90, "area": "A"}
    rules = [parse({"id": f"{tag}-h", "tag": tag, **keys}) for tag in tags]
    engine = Engine(build(rules, {tag: Tag(tag, kind="flow") for tag in tags}, live=False), epoch="0")
    engine.advance(T0, 1)
    end = {"from": T0, "until": T0 + 600 * S, "time": T0, "outcome": "done"}
    fields = {"kind": "planned_stop", "area": "A", "actor": "a", "reason": "r", **end}
    start = time.process_time()
    events = len(engine.apply(Record(2, Kind.AUDIT, fields=fields)))
    begun = time.process_time() - start
    start = time.process_time()
    events += len(engine.advance(T0 + 600 * S, 3))
    ended = time.process_time() - start
    row = {"case": "planned stop", "rules": count, "begin_s": round(begun, 3), "end_s": round(ended, 3)}
    return {**row, "events": events}


def resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def load(count: int) -> list[dict[str, Any]]:
    tags = {f"T{i:05d}": Tag(f"T{i:05d}", range=(0.0, 100.0)) for i in range(count)}
    fields = [{**limit_rule(tag).model_dump(mode="json", exclude_defaults=True)} for tag in tags]
    start = time.process_time()
    rules = from_fields(fields, tags, live=True)
    parsed = time.process_time() - start
    before = resident_kib()
    start = time.process_time()
    engine = Engine(rules, epoch="0")
    made = time.process_time() - start
    per_rule = (resident_kib() - before) * 1024 / count
    names = list(tags)
    for chunk in range(0, count, 1_000):
        engine.apply_batch(Batch(Layout("D", tuple(names[chunk : chunk + 1_000])), T0, array("d", [95.0]) * 1_000), 1)
    engine.advance(T0 + 6 * S, 1)
    image, snaps = b"", list[float]()
    for _ in range(5):  # the first one meets a full garbage collection of what was just loaded
        start = time.process_time()
        image = engine.snapshot()
        snaps.append(time.process_time() - start)
    snap = sorted(snaps)[2]
    start = time.process_time()
    Engine.restore(rules, image, epoch="0")
    restored = time.process_time() - start
    return [
        {"case": "load", "rules": count, "parse_s": round(parsed, 3), "engine_s": round(made, 3)},
        {"case": "memory", "rules": count, "bytes_per_rule_without_model": round(per_rule)},
        {"case": "snapshot", "rules": count, "ms": round(snap * 1e3, 1), "bytes": len(image)},
        {"case": "restore", "rules": count, "ms": round(restored * 1e3, 1)},
    ]


def one_tag() -> Iterator[dict[str, Any]]:
    """Rules on one tag each, in batches of 8, 100 and 1,000."""
    sizes = (8, 100, 1_000)
    for count in sizes:
        yield measure("high, deadband, delays", count, limit_rule, READINGS)
    yield measure("high, deadband, delays, restless", 100, limit_rule, READINGS // 10)
    for method, count in product(("endpoints", "least_squares"), sizes):
        yield measure(f"rate 60 s, {method}", count, lambda tag, how=method: rate_rule(tag, how), READINGS // 10)
    for kind, count in product(WINDOWS, sizes):
        yield measure(f"{kind} 60 s", count, lambda tag, how=kind: window_rule(tag, how), READINGS // 10)


def whole_sites() -> Iterator[dict[str, Any]]:
    """Rules over several tags, and what is done to all rules or tags of a site at once."""
    for kind, count in product(JOINT, (9, 99, 999)):
        yield joint(kind, count, READINGS // 10)
    for devices in (1, 10, 100):
        yield with_health(devices, READINGS // 4)
    for count in (1_000, 10_000):
        yield planned_stop(count)


def main() -> None:
    for line in chain(load(10_000), one_tag(), whole_sites()):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
