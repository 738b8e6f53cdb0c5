"""``davy run --require-tested``: no start with rules that no passing test is about."""

import os
import sys
from pathlib import Path

from agent.cli.text import INVALID, OK, pick

TESTS: str = "tests"
"""Where the tests of a configuration are looked for: the ``*.yaml`` of this directory beside it."""
SHOWN_MAX = 20


def require_tested(config: Path) -> int:
    """0 where every enabled rule has a test and no test fails, else 2, said on stderr.

    In a child process, so that what it leaves in memory dies with it; call it before any thread is started.
    """
    child = os.fork()
    if child == 0:
        code = INVALID
        try:
            code = _check_and_say(config)
            sys.stderr.flush()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _check_and_say(config: Path) -> int:
    from agent.config.errors import ConfigError
    from agent.ruletests import check_tested
    from drivers.replay import ReplayError

    directory = (config if config.is_dir() else config.parent) / TESTS
    try:
        failed, untested = check_tested(config, sorted(directory.glob("*.yaml")))
    except ConfigError as error:
        print(error.to_text(pick("en", "zh-CN")), file=sys.stderr)
        return INVALID
    except ReplayError as error:
        print(error, file=sys.stderr)
        return INVALID
    for result in failed:
        where = f"{result.loaded.file}:{result.loaded.line}: {result.loaded.case.name}"
        print(pick(f"{where}: test fails", f"{where}:测试未通过") + f"\n{result.failure()}", file=sys.stderr)
    for rule in untested[:SHOWN_MAX]:
        print(
            pick(f"rule {rule} has no passing test in {directory}", f"规则 {rule} 在 {directory} 中没有通过的测试"),
            file=sys.stderr,
        )
    if len(untested) > SHOWN_MAX:
        more = len(untested) - SHOWN_MAX
        print(pick(f"and {more} more", f"另有 {more} 条"), file=sys.stderr)
    return INVALID if failed or untested else OK
