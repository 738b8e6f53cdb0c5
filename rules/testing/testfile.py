"""What stands in a test file: pydantic models of the YAML, and the short forms of actions and expectations; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, cast

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from agent.config.fields import Duration, Id, PathText, RuleId, Strict
from agent.core.events import AlarmEvent, State, Transition
from rules.testing.notation import NotationError, duration_ns

START: Final = "2026-01-05T00:00:00Z"
"""Where the time of a test begins unless it says otherwise: a Monday."""

SHORT_KINDS: Final = {
    "ack": "acknowledge",
    "remove": "remove_from_service",
    "return": "return_to_service",
}
ON_ALARM: Final = frozenset(
    {
        *("acknowledge", "reset", "confirm", "silence", "comment", "shelve", "unshelve"),
        *("remove_from_service", "return_to_service"),
    }
)
ON_TAG: Final = frozenset({"maintenance", "end_maintenance", "done"})
ON_AREA: Final = frozenset({"planned_stop"})
ELSEWHERE: Final = frozenset({"exercise", "end_exercise", "start", "clock"})
ACTIONS: Final = ON_ALARM | ON_TAG | ON_AREA | ELSEWHERE
_TEXT_KEY: Final = {"acknowledge": "note", "reset": "note", "comment": "note", "silence": "note", "confirm": "finding"}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|min|h|d))+")
_TIME_KEYS: Final = frozenset({"until", "from", "previous_end"})
_NEEDED: Final = {"clock": "step", "start": "previous_end"}
_TRANSITIONS: Final = frozenset(Transition)
_STATES: Final = frozenset(State)
_EVENT_KEYS: Final = frozenset(AlarmEvent.__slots__) - {"time", "alarm", "transition"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(item) for item in cast("list[Any]", value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def instant_ns(text: str) -> int:
    """ns UTC of an RFC 3339 time with its offset; NotationError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotationError(f"found time {text!r}, expected one such as {START}") from error
    if moment.tzinfo is None:
        raise NotationError(f"found time {text!r}, expected one with its offset, such as {START}")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _time(value: Any) -> str:
    text = "0" if value == 0 else value
    if not isinstance(text, str):
        raise ValueError(f"expected a time with its unit, such as 9s; found {value!r}")
    if "T" in text:
        instant_ns(text)
    else:
        duration_ns(text)
    return text


TimeText = Annotated[str, BeforeValidator(_time)]
"""A time since the start of the test (``9s``), or of the calendar (RFC 3339)."""


def time_ns(text: str, start_ns: int) -> int:
    """ns UTC of a :data:`TimeText`."""
    return instant_ns(text) if "T" in text else start_ns + duration_ns(text)


def _above_zero(value: Duration) -> Duration:
    if value.ns == 0:
        raise ValueError("expected a step above zero")
    return value


Step = Annotated[Duration, AfterValidator(_above_zero)]


class Given(Strict):
    """The signal of one tag with its own step or start."""

    signal: Annotated[str, BeforeValidator(_as_text)] = Field(description="samples in the short notation")
    step: Step | None = Field(default=None, description="distance of its samples; default: the test's")
    start: TimeText = Field(default="0", description="when its first sample comes")


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person does. ``fields`` are those of its record but for kind, time and actor."""

    at: str
    kind: str
    fields: Mapping[str, Any]
    lasts_ns: int | None = None
    """``until`` is this long after ``at``."""
    rejected: str | bool = False
    """The engine must reject it, with this reason where one is given."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A transition at a time. ``fields`` are other keys of the event that must be so."""

    at: str
    alarm: str | None
    transition: str
    fields: Mapping[str, Any]


def parse_action(value: Any) -> Action:
    """An action as written; ValueError says what is right."""
    if isinstance(value, str):
        return _short_action(value)
    if not isinstance(value, dict):
        raise ValueError("expected an action such as '12s ack RULE', or a mapping with at and do")
    fields = dict(cast("dict[str, Any]", value))
    at, kind = _time(fields.pop("at", None)), str(fields.pop("do", None))
    kind = SHORT_KINDS.get(kind, kind)
    _known(kind, ACTIONS, "action")
    _check_fields(kind, fields)
    lasts = fields.pop("for", None)
    rejected = fields.pop("rejected", False)
    return Action(at, kind, fields, None if lasts is None else duration_ns(str(lasts)), rejected)


def _check_fields(kind: str, fields: Mapping[str, Any]) -> None:
    for key in _TIME_KEYS & fields.keys():
        _time(fields[key])
    if "step" in fields:
        duration_ns(str(fields["step"]).removeprefix("-"))
    needed = _NEEDED.get(kind)
    if needed is not None and needed not in fields:
        raise ValueError(f"{kind}: expected the key {needed}, such as {needed}: 1min")


def _short_action(text: str) -> Action:
    words = text.split()
    if len(words) < 2:
        raise ValueError(f"expected an action such as '12s ack RULE', found {text!r}")
    at, kind = _time(words[0]), SHORT_KINDS.get(words[1], words[1])
    _known(kind, ACTIONS, "action")
    rest = words[2:]
    fields: dict[str, Any] = {}
    target = "alarm" if kind in ON_ALARM else "tag" if kind in ON_TAG else "area" if kind in ON_AREA else None
    if target is not None and rest:
        fields[target] = rest.pop(0)
    lasts_ns = None
    if rest and _DURATION.fullmatch(rest[0]):
        lasts_ns = duration_ns(rest.pop(0))
    if rest:
        fields[_TEXT_KEY.get(kind, "reason")] = " ".join(rest)
    return Action(at, kind, fields, lasts_ns)


def parse_expected(value: Any) -> Expected:
    """An expectation as written; ValueError says what is right."""
    if isinstance(value, str):
        return _short_expected(value)
    if not isinstance(value, dict):
        raise ValueError("expected a transition such as '9s RULE activated', or a mapping with at and transition")
    fields = dict(cast("dict[str, Any]", value))
    at, alarm, transition = (
        _time(fields.pop("at", None)),
        fields.pop("alarm", None),
        str(fields.pop("transition", None)),
    )
    _known(transition, _TRANSITIONS, "transition")
    for key in fields:
        _known(key, _EVENT_KEYS, "key")
    if "state" in fields:
        _known(str(fields["state"]), _STATES, "state")
    return Expected(at, alarm, transition, fields)


def _short_expected(text: str) -> Expected:
    head, arrow, state = text.partition("->")
    words, state = head.split(), state.strip()
    if not 2 <= len(words) <= 3:
        raise ValueError(f"expected a transition such as '9s RULE activated', found {text!r}")
    _known(words[-1], _TRANSITIONS, "transition")
    if arrow:
        _known(state, _STATES, "state")
    alarm = words[1] if len(words) == 3 else None
    return Expected(_time(words[0]), alarm, words[-1], {"state": state} if arrow else {})


def _known(word: str, words: frozenset[Any], what: str) -> None:
    if word not in words:
        raise ValueError(f"found {what} {word!r}, expected one of {', '.join(sorted(words))}")


def _each(parse: Any) -> Any:
    def check(value: Any) -> Any:
        parse(value)
        return value

    return check


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Case(Strict):
    """One test: signals in, actions in between, the transitions that must come of them."""

    name: str = Field(min_length=1, max_length=200, description="a sentence about what the rules do")
    rule: Annotated[tuple[RuleId, ...], BeforeValidator(_one_or_more)] = Field(
        (), description="rules under test; default: every rule that reads one of the given tags"
    )
    given: Mapping[Id, Annotated[str, BeforeValidator(_as_text)] | Given] = Field(
        default_factory=dict[str, Any], description="signals by tag"
    )
    data: PathText | None = Field(None, description="recorded data (CSV, Parquet) instead of signals")
    site: str | None = Field(
        None, description="a simulated site instead of signals: a ready-made one (tank_farm), or a path beside the file"
    )
    scenario: str | None = Field(None, description="the scenario of the site that is played")
    step: Step = Field(Duration("1s"), description="distance of two samples")
    start: str = Field(START, description="when the test begins; recorded data brings its own time")
    seed: int = Field(1, description="of the noise; of a simulated site: its own unless given")
    do: tuple[Annotated[Any, BeforeValidator(_each(parse_action))], ...] = Field((), description="what people do")
    until: TimeText | None = Field(
        None, description="time goes on until then; default: until the last sample, action or expectation"
    )
    expect: tuple[Annotated[Any, BeforeValidator(_each(parse_expected))], ...] = Field(
        description="the transitions that must come, and no others; [] for none"
    )

    @field_validator("start")
    @classmethod
    def _calendar(cls, value: str) -> str:
        instant_ns(value)
        return value

    @model_validator(mode="after")
    def _one_source(self) -> "Case":
        given = [key for key in ("given", "data", "scenario") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"expected one of given, data and scenario; found {' and '.join(given)}")
        if (self.site is None) != (self.scenario is None):
            raise ValueError("site and scenario belong together")
        return self

    @property
    def actions(self) -> list[Action]:
        """What people do, in file order."""
        return [parse_action(value) for value in self.do]

    @property
    def expected(self) -> list[Expected]:
        """The transitions that must come, in file order."""
        return [parse_expected(value) for value in self.expect]


class Suite(Strict):
    """A test file."""

    rules: PathText = Field(description="the rules under test: a rules file, a davy.yaml or its directory")
    tests: tuple[Case, ...] = Field(min_length=1)
