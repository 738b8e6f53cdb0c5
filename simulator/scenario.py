"""Scenarios: what happens to plant, instruments and links, and when; the truth that alarms are judged by."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from agent.config.fields import Duration, Strict
from simulator.instruments import Fault

Moment = Annotated[float, Field(ge=0, le=1)] | Duration
"""When: a fraction of the scenario's duration (a number from 0 to 1) or a duration since its start."""
Text = dict[str, str]
"""A text by language (zh-CN, en)."""

NETWORK = "network"
"""Fault target: the link between agent and platform."""


class Step(Strict):
    """One thing that happens: an input that changes (``set``, ``to``) or a fault (``fault``, ``target``, ``until``)."""

    at: Moment
    until: Moment | None = Field(None, description="a fault ends here; left out: it stays to the end")
    set: str | None = Field(None, description="plant input, MODEL.NAME")
    to: float | None = Field(None, description="its new value, SI")
    fault: Fault | None = None
    target: str | None = Field(None, description="instrument, device, or `network`")
    size: float = 0.0
    say: Text = Field(default_factory=dict, description="what an onlooker is told")

    @model_validator(mode="after")
    def _one_thing(self) -> "Step":
        sets = self.set is not None and self.to is not None
        faults = self.fault is not None and self.target is not None
        if sets == faults or (self.set is None) != (self.to is None) or (self.fault is None) != (self.target is None):
            raise ValueError("a step either sets an input (set, to) or makes a fault (fault, target)")
        if sets and self.until is not None:
            raise ValueError("`until` belongs to faults; set an input back with a step of its own")
        return self


class Expectation(Strict):
    """A hazard of the scenario: when it is there, and the alarms that a good rule set raises by ``by``."""

    hazard: str
    at: Moment
    until: Moment | None = None
    by: Moment
    alarms: tuple[str, ...] = ()


class Scenario(Strict):
    """A timeline. Its duration is plant time; played N times as fast, it takes one N-th of it."""

    duration: Duration = Field(description="length in plant time")
    title: Text = Field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    truth: tuple[Expectation, ...] = ()

    @model_validator(mode="after")
    def _inside(self) -> "Scenario":
        for position, step in enumerate(self.steps):
            at_ns = self.moment_ns(step.at)
            end_ns = self.duration.ns if step.until is None else self.moment_ns(step.until)
            is_instant = step.set is not None and at_ns == end_ns
            if not (0 <= at_ns < end_ns or is_instant) or end_ns > self.duration.ns:
                raise ValueError(f"steps[{position}]: expected at < until <= {self.duration}")
        return self

    def moment_ns(self, moment: "float | Duration") -> int:
        """A moment in plant time, ns since the start of the scenario."""
        return moment.ns if isinstance(moment, Duration) else round(moment * self.duration.ns)


@dataclass(frozen=True, slots=True)
class Action:
    """One instant of a timeline, ns of plant time since its start; exactly one of ``step.set`` and ``step.fault``."""

    at_ns: int
    step: Step
    begins: bool
    """False: the fault of ``step`` ends."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A labelled stretch of truth, ns of plant time since the start of the scenario."""

    label: str
    target: str
    from_ns: int
    to_ns: int


def actions(scenario: Scenario) -> list[Action]:
    """Everything that happens, in order; what ends at an instant ends before what begins at it."""
    found: list[Action] = []
    for step in scenario.steps:
        found.append(Action(scenario.moment_ns(step.at), step, begins=True))
        if step.until is not None:
            found.append(Action(scenario.moment_ns(step.until), step, begins=False))
    return sorted(found, key=lambda action: (action.at_ns, action.begins))


def truth(scenario: Scenario) -> list[Interval]:
    """The labelled intervals: every fault, and every hazard that the scenario names."""
    end_ns = scenario.duration.ns
    found = [
        Interval(
            step.fault.value, step.target or "", scenario.moment_ns(step.at), _end_ns(scenario, step.until, end_ns)
        )
        for step in scenario.steps
        if step.fault is not None
    ]
    found += [
        Interval(
            hazard.hazard,
            ", ".join(hazard.alarms),
            scenario.moment_ns(hazard.at),
            _end_ns(scenario, hazard.until, end_ns),
        )
        for hazard in scenario.truth
    ]
    return sorted(found, key=lambda interval: (interval.from_ns, interval.to_ns, interval.label, interval.target))


def _end_ns(scenario: Scenario, until: "float | Duration | None", default_ns: int) -> int:
    return default_ns if until is None else scenario.moment_ns(until)
