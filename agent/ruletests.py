"""Runs rule test files: loads them with the rules they name, plays every test, says what is wrong (davy test)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from agent.config.document import Document, parse, read_text
from agent.config.errors import ConfigError, Problem, Text, closest, same, show_found, show_path
from agent.config.errors import Path as Path_
from agent.config.load import load_rules, load_workbench
from agent.config.parts import Parts
from agent.config.sources import yaml_files
from agent.core.batch import Batch
from agent.core.ranges import Ranges
from agent.core.tags import Tag
from agent.scenarios import Scene, SceneError, load_scene
from drivers.replay import batches
from rules.build import RuleSet, build
from rules.model import RuleBase
from rules.testing.coverage import Coverage
from rules.testing.diff import Line, Verdict, compare, render
from rules.testing.notation import NotationError
from rules.testing.plot import Trace, Tracer, legend, plot
from rules.testing.runner import Observer, Played, Player, batches_of
from rules.testing.scope import readers, with_relatives
from rules.testing.testfile import Case, Given, Suite

PLOTS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class RulesFile:
    """Rules and tags as a test file names them, loaded once for all tests."""

    path: Path
    rules: tuple[RuleBase, ...]
    tags: Mapping[str, Tag]


@dataclass(frozen=True, slots=True)
class LoadedCase:
    """A test that is ready to run."""

    file: Path
    line: int
    case: Case
    rules_file: RulesFile
    judged: frozenset[str]
    """Alarms whose events must be exactly those expected."""
    scene: Scene | None = None

    @property
    def sole_rule(self) -> str | None:
        """What is meant where the test names no alarm."""
        return next(iter(self.judged)) if len(self.judged) == 1 else None

    def source(self) -> Iterable[Batch]:
        """The readings, from the beginning; what lies outside its tag's range is marked (spec/rules.md Q2)."""
        tags = self.rules_file.tags
        ranges = Ranges({name: tag.range for name, tag in tags.items() if tag.range is not None})
        return map(ranges.mark, self._readings())

    def _readings(self) -> Iterable[Batch]:
        if self.case.data is not None:
            return batches(Path(self.case.data), is_sorted=False)
        if self.scene is not None:
            return self.scene.readings(self.case)
        return batches_of(self.case)


@dataclass(slots=True)
class Result:
    """What came of one test."""

    loaded: LoadedCase
    seconds: float = 0.0
    lines: list[Line] = field(default_factory=list[Line])
    complaints: list[str] = field(default_factory=list[str])
    pictures: list[str] = field(default_factory=list[str])

    @property
    def is_passed(self) -> bool:
        """Everything came as expected, and nothing else."""
        return not self.complaints and all(line.verdict is Verdict.SAME for line in self.lines)

    def failure(self) -> str:
        """What a person reads; empty where it passed."""
        if self.is_passed:
            return ""
        parts = [*(f"  {complaint}" for complaint in self.complaints)]
        if self.lines:
            parts.append(render(self.lines))
        return "\n".join([*parts, *self.pictures])

    def to_fields(self) -> dict[str, Any]:
        """The result with JSON types."""
        return {
            "file": str(self.loaded.file),
            "line": self.loaded.line,
            "name": self.loaded.case.name,
            "passed": self.is_passed,
            "seconds": round(self.seconds, 6),
            "rules": sorted(self.loaded.judged),
            "transitions": [line.to_fields() for line in self.lines],
            "complaints": self.complaints,
        }


def load_tests(files: Sequence[Path]) -> list[LoadedCase]:
    """The tests of some files (of a directory: its ``*.yaml``), in order.

    Raises ConfigError with every problem of the first file that has one.
    """
    known: dict[Path, RulesFile] = {}
    return [case for path in files for file in yaml_files(path) for case in _load_file(file, known)]


def run(loaded: LoadedCase, coverage: Coverage | None = None) -> Result:
    """Play a test; a failed one is played again for its picture."""
    observers: list[Observer] = []
    if coverage is not None:
        coverage.add(str(loaded.rules_file.path), loaded.rules_file.rules)
        observers.append(coverage.observe(str(loaded.rules_file.path), _rule_set(loaded), loaded.judged))
    played = _play(loaded, observers)
    result = Result(loaded, complaints=played.complaints)
    events = [event for event in played.events if event.alarm in loaded.judged]
    result.lines = compare(loaded.case.expected, events, played.start_ns, loaded.sole_rule)
    if not result.is_passed:
        wrong = [line.alarm for line in result.lines if line.verdict is not Verdict.SAME]
        names = list(dict.fromkeys(wrong or sorted(loaded.judged)))[:PLOTS_MAX]
        tracer = Tracer(names)
        played = _play(loaded, (tracer,))
        pictures = (_picture(tracer.traces[name], played) for name in names)
        result.pictures = [picture for picture in pictures if picture]
    return result


def _picture(trace: Trace, played: Played) -> str:
    picture = plot(trace, played.start_ns)
    return f"\n{trace.rule}\n{picture}\n{legend(trace)}".rstrip() if picture else ""


def _play(loaded: LoadedCase, observers: Sequence[Observer]) -> Played:
    return Player(_rule_set(loaded), loaded.case, loaded.source(), observers).play()


def _rule_set(loaded: LoadedCase) -> RuleSet:
    rules = with_relatives(loaded.rules_file.rules, loaded.judged)
    return build(rules, loaded.rules_file.tags, live=False)


# ---- loading


def load_rules_file(path: Path) -> RulesFile:
    """A rules file, a davy.yaml or its directory; ConfigError."""
    is_whole = path.is_dir() or _is_whole_configuration(path)
    rules, tags = load_workbench(path) if is_whole else load_rules(path)
    return RulesFile(path, cast("tuple[RuleBase, ...]", rules), {tag.id: tag for tag in tags})


def _is_whole_configuration(path: Path) -> bool:
    document = parse(read_text(path, str(path)), str(path), lambda text, _: text)
    return bool({"site", "agent", "devices"} & document.value.keys())


def _load_file(file: Path, known: dict[Path, RulesFile]) -> Iterator[LoadedCase]:
    document = parse(read_text(file, str(file)), str(file), lambda text, _: text)
    parts = Parts({"directory": file.parent})
    suite = parts.section(Suite, document.value, ())
    problems = [*document.problems]
    for fault in parts.faults:
        at = document.position(fault.path, is_key=fault.is_key)
        problems.append(Problem(at, show_path(fault.path), fault.text, fault.found, fault.allowed, fault.suggestion))
    if problems or suite is None:
        raise ConfigError(problems)
    path = Path(suite.rules).resolve()
    if path not in known:
        known[path] = load_rules_file(Path(suite.rules))
    rules_file = known[path]
    cases: list[LoadedCase] = []
    for position, case in enumerate(suite.tests):
        line = document.position(("tests", position)).line
        scene: Scene | None = None
        try:
            scene = load_scene(case, file.parent)
        except SceneError as error:
            at = ("tests", position, error.key)
            place = document.position(at)
            problems.append(Problem(place, show_path(at), error.text, error.found, error.allowed, error.near))
        judged = _judged(case, rules_file, scene)
        cases.append(LoadedCase(file, line, case, rules_file, judged, scene))
        problems += _Checker(document, ("tests", position), cases[-1]).problems()
    if problems:
        raise ConfigError(problems)
    yield from cases


def _judged(case: Case, rules_file: RulesFile, scene: Scene | None) -> frozenset[str]:
    named = frozenset(each.alarm for each in case.expected if each.alarm is not None)
    own = frozenset(case.rule)
    shown = case.given if scene is None else scene.tags
    if not own and shown:
        own = readers(rules_file.rules, shown)
    if not own and not shown:
        own = frozenset(rule.id for rule in rules_file.rules if rule.enabled)
    return own | named


class _Checker:
    """What the models cannot see: names that the rules file does not have, signals that cannot be read."""

    def __init__(self, document: Document, path: Path_, loaded: LoadedCase) -> None:
        self._document = document
        self._path = path
        self._loaded = loaded
        self._case = loaded.case
        self._ids = [rule.id for rule in loaded.rules_file.rules]
        file = loaded.rules_file.path
        self._no_rule = Text(f"no such rule in {file}", f"{file} 中没有这条规则")
        self._no_tag = Text(f"no such tag in {file}", f"{file} 中没有这个位号")

    def problems(self) -> Iterator[Problem]:
        """All of them."""
        yield from (self._unknown(("rule",), rule) for rule in self._case.rule if rule not in self._ids)
        yield from self._expectations()
        for i, action in enumerate(self._case.actions):
            alarm = action.fields.get("alarm")
            if isinstance(alarm, str) and not self._is_known(alarm) and not action.rejected:
                yield self._unknown(("do", i), alarm)
        yield from self._signals()
        yield from self._sources()

    def _expectations(self) -> Iterator[Problem]:
        for i, each in enumerate(self._case.expected):
            if each.alarm is not None:
                if not self._is_known(each.alarm):
                    yield self._unknown(("expect", i), each.alarm)
            elif self._loaded.sole_rule is None:
                text = Text("which rule? the test is about several", "是哪条规则?本测试涉及多条")
                yield self._problem(("expect", i), text, show_found(self._case.expect[i]))

    def _signals(self) -> Iterator[Problem]:
        tags = self._loaded.rules_file.tags
        for tag, given in self._case.given.items():
            if tag not in tags:
                yield self._problem(("given", tag), self._no_tag, show_found(tag), closest(tag, tags))
                continue
            try:
                batches_of(self._case.model_copy(update={"given": {tag: given}}))
            except NotationError as error:
                inner = ("given", tag, "signal") if isinstance(given, Given) else ("given", tag)
                yield self._problem(inner, same(str(error)), None)

    def _sources(self) -> Iterator[Problem]:
        case = self._case
        scene = self._loaded.scene
        if scene is not None and not scene.tags & self._loaded.rules_file.tags.keys():
            text = Text("the site shows no tag of the rules", "该站点没有规则所用的位号")
            yield self._problem(("site",), text, show_found(case.site))
        if case.data is not None and not Path(case.data).is_file():
            yield self._problem(("data",), Text("no such file", "文件不存在"), show_found(case.data))

    def _is_known(self, alarm: str) -> bool:
        return alarm in self._ids or alarm.startswith("davy:")

    def _unknown(self, inner: Path_, rule: str) -> Problem:
        return self._problem(inner, self._no_rule, show_found(rule), closest(rule, self._ids))

    def _problem(self, inner: Path_, text: Text, found: str | None, near: str | None = None) -> Problem:
        path = (*self._path, *inner)
        return Problem(self._document.position(path), show_path(path), text, found, None, near)


def check_tested(config: Path, files: Sequence[Path]) -> tuple[list[Result], list[str]]:
    """The tests of a configuration that fail, and its enabled rules that no passing test is about.

    Only tests that name this very configuration count. ConfigError, ReplayError.
    """
    rules = load_rules_file(config).rules
    results = [run(loaded) for loaded in load_tests(files) if loaded.rules_file.path.resolve() == config.resolve()]
    tested = {rule for result in results if result.is_passed for rule in result.loaded.judged}
    untested = [rule.id for rule in rules if rule.enabled and rule.id not in tested]
    return [result for result in results if not result.is_passed], untested
