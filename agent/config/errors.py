"""What is wrong with a configuration: every problem with file, line, path, found and allowed, in two languages."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Path = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the root."""

_FOUND_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in the two languages that operators read."""

    en: str
    zh: str

    def get(self, language: str) -> str:
        """The sentence in ``zh-CN`` or, for any other language, in English."""
        return self.zh if language.lower().startswith("zh") else self.en


def same(text: str) -> Text:
    """A text that needs no translation (a name, a number, a list of keys)."""
    return Text(text, text)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; ``line`` and ``column`` count from 1, 0 where there is none."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``file:line``, with the column where it is known to matter (CSV)."""
        parts = [self.file, *(str(number) for number in (self.line, self.column) if number)]
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or (``is_warning``) that somebody should look at."""

    at: Position
    path: str
    text: Text
    found: str | None = None
    allowed: Text | None = None
    suggestion: str | None = None
    is_warning: bool = False

    def to_text(self, language: str = "en") -> str:
        """One line for people."""
        is_zh = language.lower().startswith("zh")
        words = _WORDS_ZH if is_zh else _WORDS_EN
        line = f"{self.at}: {self.path}: " if self.path else f"{self.at}: "
        line += self.text.get(language)
        if self.found is not None:
            line += words[0] + self.found
        if self.allowed is not None:
            line += words[1] + self.allowed.get(language)
        if self.suggestion is not None:
            line += words[2].format(self.suggestion)
        return line

    def to_fields(self) -> dict[str, Any]:
        """The problem as JSON types, for ``davy check --json``."""
        return {
            "file": self.at.file,
            "line": self.at.line or None,
            "column": self.at.column or None,
            "path": self.path,
            "level": "warning" if self.is_warning else "error",
            "message": {"en": self.text.en, "zh-CN": self.text.zh},
            "found": self.found,
            "allowed": None if self.allowed is None else {"en": self.allowed.en, "zh-CN": self.allowed.zh},
            "suggestion": self.suggestion,
        }


_WORDS_EN: Final = ("; found ", "; allowed: ", "; did you mean {}?")
_WORDS_ZH: Final = ("；现为 ", "；允许：", "；是否应为 {}？")


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` names everything that is wrong, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.to_text())

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[tuple[Problem, ...]]]:
        """Survive the way from another process: an exception is otherwise made again of its text alone."""
        return ConfigError, (self.problems,)

    def to_text(self, language: str = "en") -> str:
        """All problems, one a line."""
        return "\n".join(problem.to_text(language) for problem in self.problems)


def show_path(path: Sequence[str | int]) -> str:
    """A path as people write it: ``devices[0].tags[3].type``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def show_found(value: Any) -> str:
    """A short picture of a value that is not as it should be."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _FOUND_MAX else text[: _FOUND_MAX - 1] + "…"


def closest(name: str, names: Iterable[str]) -> str | None:
    """The known name that somebody probably meant; None where nothing is near."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return matches[0] if matches else None
