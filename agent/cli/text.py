"""What a person reads on the terminal, in the language of the terminal; tables; exit codes."""

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

OK: Final = 0
WARNINGS: Final = 1
INVALID: Final = 2
UNREACHABLE: Final = 3
REJECTED: Final = 4

EXIT_CODES: Final = "exit codes: 0 done, 1 warnings or findings, 2 invalid input, 3 agent not reachable, 4 rejected"


def speaks_chinese() -> bool:
    """Tell whether the terminal's language is Chinese (LC_ALL, LC_MESSAGES, LANG)."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            return value.startswith("zh")
    return False


def pick(en: str, zh: str) -> str:
    """The text in the terminal's language."""
    return zh if speaks_chinese() else en


def say(en: str, zh: str) -> None:
    """Print a line in the terminal's language."""
    print(pick(en, zh))


def fail(en: str, zh: str, code: int = INVALID) -> int:
    """Print an error line and give back the exit code."""
    print(f"davy: {pick(en, zh)}", file=sys.stderr)
    return code


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False))


def width(text: str) -> int:
    """Columns that a text takes on a terminal; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a head, aligned."""
    texts = [[str(cell) if cell is not None else "-" for cell in row] for row in rows]
    columns = [max(width(line[i]) for line in [list(head), *texts]) for i in range(len(head))]
    for line in [list(head), *texts]:
        padded = [cell + " " * (size - width(cell)) for cell, size in zip(line, columns, strict=True)]
        print("  ".join(padded).rstrip())


def local_time(at_ns: int | None) -> str:
    """A time of the journal in the machine's time zone, which it names, to the millisecond."""
    if at_ns is None:
        return "-"
    moment = datetime.fromtimestamp(at_ns / 1e9, UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ns // 1_000_000 % 1000:03d}" + moment.strftime("%z")
