"""Options that several commands share."""

import argparse
from pathlib import Path
from typing import Any, Final

from agent.cli.text import EXIT_CODES, pick

Commands = Any
"""What ``add_subparsers`` returns; argparse gives it no public name."""

DEFAULT_CONFIG: Final = Path("davy.yaml")


def command(commands: Commands, name: str, en: str, zh: str, example: str) -> argparse.ArgumentParser:
    """Add a command with its one-line description and an example."""
    text = pick(en, zh)
    return commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"{pick('example', '示例')}: {example}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """``-c``: the configuration file or directory."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=pick("configuration file or directory (davy.yaml)", "配置文件或目录(davy.yaml)"),
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``: for machines."""
    parser.add_argument("--json", action="store_true", help=pick("print JSON", "输出 JSON"))
