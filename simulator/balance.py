"""The demo's balance: what the devices said against what the platform got. Pure, and counted on both sides apart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.history import History
from simulator.intake import Intake, Received

FIRST_BAD: Final = 100
SLACK_NS: Final = 5_000_000
"""Agent and simulator are two processes: their UTC bases may differ by this much."""
POLLED_AGE_MAX_NS: Final = 1_500_000_000
"""A polled value is from the poll's own reply: older than poll and timeout together, it is made up."""
REPORTED_AGE_MAX_NS: Final = 2_000_000_000
"""A value that a server reports may have been overtaken by a newer one this long before it was read."""
PROBE_NS: Final = 490_000_000
"""A little under the demo's poll: what is followed by another reply sooner was a probe, not a poll."""
EXAMPLES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Truth:
    """What one device said, and how: polled (the reply is the value) or reported (a value with a source time)."""

    history: History
    is_polled: bool


def wrong_reading(reading: Received, truth: Mapping[str, Truth]) -> str | None:
    """Say what is wrong with a received reading; None where it is what its device said."""
    of = truth.get(reading.tag)
    if of is None:
        return f"{reading.tag}: no device has it"
    if reading.value is None:
        return None if reading.quality >= FIRST_BAD else f"{reading.tag} #{reading.seq}: usable, but no value"
    if of.is_polled:
        said = of.history.last_before(reading.tag, reading.at_ns + SLACK_NS)
        candidates = [] if said is None or reading.at_ns - said[0] > POLLED_AGE_MAX_NS else [said[1]]
    else:
        exact = of.history.last_before(reading.tag, reading.t_ns)
        if exact is not None and exact[0] == reading.t_ns and reading.t_ns != reading.at_ns:
            candidates = [exact[1]]
        else:
            candidates = of.history.current(reading.tag, reading.t_ns - REPORTED_AGE_MAX_NS, reading.t_ns + SLACK_NS)
    # A device that says "I have no value" may be read as a bad reading with any number behind it.
    if any(_same(reading.value, value) or (math.isnan(value) and reading.quality >= FIRST_BAD) for value in candidates):
        return None
    return f"{reading.tag} #{reading.seq}: received {reading.value}, the device said {candidates}"


def _same(received: float, said: float) -> bool:
    return math.isclose(received, said, rel_tol=1e-12, abs_tol=1e-12)


def unaccounted(readings: Iterable[Received], truth: Mapping[str, Truth], from_ns: int, to_ns: int) -> int:
    """Replies that polled devices gave between two times for which no reading came, whatever its quality.

    A reply that is followed by another within ``PROBE_NS`` is no poll: a driver may ask whether a device is back.
    """
    taken: dict[str, list[int]] = {}
    for reading in readings:
        taken.setdefault(reading.tag, []).append(reading.at_ns)
    missing = 0
    for tag, of in truth.items():
        if not of.is_polled:
            continue
        times = [time for time in of.history.times(tag) if from_ns <= time <= to_ns]
        arrivals = sorted(taken.get(tag, []))
        position = 0
        for time, following in zip(times, [*times[1:], math.inf], strict=True):
            while position < len(arrivals) and arrivals[position] < time - SLACK_NS:
                position += 1
            if following - time < PROBE_NS:
                continue
            missing += not (position < len(arrivals) and arrivals[position] < following - SLACK_NS)
    return missing


@dataclass
class Balance:
    """The figures at the end; the first ten are the contract of ``davy demo --json``."""

    polled: int = 0
    journaled: int = 0
    evaluated: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    alarms_raised: int = 0
    alarms_received: int = 0
    alarms_acknowledged: int = 0
    destinations: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    served: int = 0
    """Values that the simulated Modbus device put into its replies."""
    unaccounted: int = 0
    """Of these, the ones for which no reading came, good or bad."""
    problems: list[str] = field(default_factory=list[str])

    @property
    def is_right(self) -> bool:
        """Nothing lost, nothing wrong, every alarm there, and nothing odd on the way."""
        figures = self.lost == 0 and self.wrong == 0 and self.unaccounted == 0
        return figures and self.alarms_raised == self.alarms_received and not self.problems

    def to_fields(self) -> dict[str, Any]:
        """JSON types, the contract's keys first."""
        return {**self.__dict__, "ok": self.is_right}


def settle(intake: Intake, truth: Mapping[str, Truth], counts: Mapping[str, int]) -> Balance:
    """Hold what the platform got against what the agent says it did (``counts`` of its stop record) and the truth."""
    balance = Balance(
        polled=counts["polled"],
        journaled=counts["journaled"],
        evaluated=counts["evaluated"],
        alarms_raised=counts["alarms_raised"],
        delivered=intake.counts.readings,
        duplicated=intake.counts.duplicated_readings + intake.counts.duplicated_events,
    )
    activated = {event["id"] for event in intake.alarms if event["transition"] == "activated"}
    acknowledged = {event["event"] for event in intake.alarms if event["transition"] == "acknowledged"}
    balance.alarms_received, balance.alarms_acknowledged = len(activated), len(acknowledged)
    lost_alarms = max(0, balance.alarms_raised - balance.alarms_received)
    balance.lost = max(0, balance.journaled - balance.delivered) + lost_alarms
    wrong = [text for reading in intake.readings if (text := wrong_reading(reading, truth)) is not None]
    balance.wrong = len(wrong)
    balance.problems = _problems(intake, counts, wrong)
    return balance


def _problems(intake: Intake, counts: Mapping[str, int], wrong: Sequence[str]) -> list[str]:
    found = [f"wrong: {text}" for text in wrong[:EXAMPLES_MAX]]
    found += [f"hole: {text}" for text in intake.holes[:EXAMPLES_MAX]]
    found += [f"conflict: {text}" for text in intake.conflicts[:EXAMPLES_MAX]]
    if intake.counts.invalid:
        found.append(f"{intake.counts.invalid} messages were not what spec/wire.md says")
    if intake.counts.not_kept:
        found.append(f"{intake.counts.not_kept} readings were more than could be kept for comparison")
    if intake.counts.readings > counts["journaled"]:
        found.append(f"{intake.counts.readings} readings delivered, but only {counts['journaled']} journaled")
    taken = counts["journaled"] + counts.get("refused", 0) + counts.get("waiting", 0)
    if counts["polled"] != taken:
        found.append(f"{counts['polled']} readings polled, {taken} journaled, refused or waiting")
    return found
