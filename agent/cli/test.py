"""``davy test``: rule test files in virtual time."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.options import Commands, add_json, command
from agent.cli.text import INVALID, OK, WARNINGS, fail, pick, print_json, say

if TYPE_CHECKING:
    from agent.ruletests import Result
    from rules.testing.coverage import Coverage


def add(commands: Commands) -> None:
    """Register the command."""
    test = command(
        commands, "test", "run rule tests", "运行规则测试", "davy test tests/*.yaml --coverage --junit report.xml"
    )
    test.add_argument("files", type=Path, nargs="+", metavar="FILE", help=pick("test files", "测试文件"))
    test.add_argument("--junit", type=Path, metavar="FILE", help=pick("write JUnit XML", "写出 JUnit XML"))
    test.add_argument(
        "--coverage",
        action="store_true",
        help=pick("what the tests try of each rule, and what not", "各规则被测试覆盖与未覆盖的内容"),
    )
    test.add_argument(
        "--coverage-min",
        type=float,
        metavar="PERCENT",
        help=pick("exit 1 below this coverage", "覆盖率低于此值时退出码为 1"),
    )
    add_json(test)
    test.set_defaults(run=_test)


def _test(options: argparse.Namespace) -> int:
    from agent.ruletests import load_tests, run
    from drivers.replay import ReplayError
    from rules.testing.coverage import Coverage

    is_measured = options.coverage or options.coverage_min is not None
    coverage = Coverage() if is_measured else None
    results: list[Result] = []
    for loaded in load_tests(options.files):
        begin = time.perf_counter()
        try:
            result = run(loaded, coverage)
        except ReplayError as error:
            return fail(str(error), str(error), INVALID)
        result.seconds = time.perf_counter() - begin
        results.append(result)
        if not options.json:
            _tell(result)
    if options.junit is not None:
        try:
            _write_junit(options.junit, results)
        except OSError as error:
            return fail(f"{options.junit}: {error.strerror}", f"{options.junit}:{error.strerror}")
    if options.json:
        _tell_json(results, coverage)
    else:
        _tell_sum(results, coverage)
    is_covered = coverage is None or options.coverage_min is None or coverage.percent >= options.coverage_min
    return OK if all(result.is_passed for result in results) and is_covered else WARNINGS


def _tell(result: "Result") -> None:
    loaded = result.loaded
    if not result.is_passed:
        word = pick("FAILED", "失败")
        print(f"{word}  {loaded.file}:{loaded.line}  {loaded.case.name}\n{result.failure()}\n")


def _tell_json(results: "list[Result]", coverage: "Coverage | None") -> None:
    passed = sum(result.is_passed for result in results)
    fields = {
        "tests": len(results),
        "passed": passed,
        "failed": len(results) - passed,
        "results": [result.to_fields() for result in results],
    }
    print_json(fields if coverage is None else {**fields, "coverage": coverage.to_fields()})


def _tell_sum(results: "list[Result]", coverage: "Coverage | None") -> None:
    passed = sum(result.is_passed for result in results)
    seconds = sum(result.seconds for result in results)
    numbers = (passed, len(results) - passed, seconds)
    say("{} passed, {} failed in {:.3f} s".format(*numbers), "{} 个通过,{} 个失败,用时 {:.3f} s".format(*numbers))
    if coverage is None:
        return
    from rules.testing.coverage import in_chinese

    numbers = (coverage.percent, coverage.covered, coverage.total)
    say("coverage {:.1f} % ({} of {})".format(*numbers), "覆盖率 {:.1f} %({} / {})".format(*numbers))
    rule = None
    for file, name, item in coverage.missing():
        if (file, name) != rule:
            rule = (file, name)
            print(pick(f"  not covered: {name} ({file})", f"  未覆盖:{name}({file})"))
        print(f"    {pick(item, in_chinese(item))}")


def _write_junit(path: Path, results: "list[Result]") -> None:
    from rules.testing.junit import Outcome, junit

    outcomes = [
        Outcome(
            str(result.loaded.file),
            result.loaded.case.name,
            result.loaded.line,
            result.seconds,
            None if result.is_passed else result.failure(),
        )
        for result in results
    ]
    path.write_bytes(junit(outcomes))
