"""The command ``davy``: finds the command group and runs it."""

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata

from agent.cli import alarms, demo, journal, live, presets, replay, report, rules, run, test, users
from agent.cli.text import EXIT_CODES, INVALID, pick
from agent.config.errors import ConfigError

GROUPS = (run, live, alarms, journal, replay, test, presets, rules, demo, users, report)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="davy",
        description=pick(
            "Davy, an edge monitoring agent for places where a missed alarm kills.",
            "Davy:用于危险场所的边缘监测代理,不漏报一条报警。",
        ),
        epilog=EXIT_CODES,
    )
    top.add_argument("--version", action="version", version=f"davy {metadata.version('davy-agent')}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parsed = parser().parse_args(arguments)
    try:
        return parsed.run(parsed)
    except ConfigError as error:
        print(error.to_text(pick("en", "zh-CN")), file=sys.stderr)
        return INVALID
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing more to say, and no traceback about it
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
