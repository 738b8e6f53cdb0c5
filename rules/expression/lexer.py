"""Words of an expression: names, numbers, durations, operators, each with its line and column."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent.config.fields import Duration

TEXT_MAX: Final = 4_000
"""Characters of one expression."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the text, both from 1."""

    line: int
    column: int


class ExpressionError(ValueError):
    """The text is no expression; says where, what was found and what would be right, in two languages."""

    def __init__(self, place: Place, message: str, message_zh: str) -> None:
        super().__init__(f"line {place.line}, column {place.column}: {message}")
        self.place = place
        self.message = message
        self.text_zh = f"第 {place.line} 行第 {place.column} 列：{message_zh}"


class Word(StrEnum):
    """Kinds of words."""

    NAME = "name"
    QUOTED = "quoted name"
    NUMBER = "number"
    DURATION = "duration"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One word. ``value``: a number as it is, a duration in seconds; ``text``: a name without its quotes."""

    kind: Word
    text: str
    place: Place
    value: float = 0.0


_WORDS: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
    | (?P<duration>[0-9]+(?:\.[0-9]+)?(?:ms|s|min|h|d)(?![\w.]))
    | (?P<name>\w[\w.]*)
    | (?P<quoted>'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)
    | (?P<sign><=|>=|==|!=|[<>+\-*/(),])
    """,
    re.VERBOSE,
)
_HINTS: Final = {
    "=": ("write == to compare", "比较应写作 =="),
    "&": ("write and", "应写作 and"),
    "|": ("write or", "应写作 or"),
    "!": ("write not, or != to compare", "应写作 not，不等于写作 !="),
    "≥": ("write >=", "应写作 >="),
    "≤": ("write <=", "应写作 <="),
    "≠": ("write !=", "应写作 !="),
    "（": ("write (", "应使用半角括号 ("),
    "）": ("write )", "应使用半角括号 )"),
    "，": ("write ,", "应使用半角逗号 ,"),
    "%": ("a percentage has no meaning here; write the number", "此处不能用百分号，应写数值"),
    "'": ("the quote is not closed", "引号未闭合"),
    '"': ("the quote is not closed", "引号未闭合"),
    "`": ("the quote is not closed", "引号未闭合"),
}


def words(text: str) -> Iterator[Token]:
    """The words of a text, the last of them END; ExpressionError at what is none."""
    if len(text) > TEXT_MAX:
        place = Place(1, TEXT_MAX + 1)
        raise ExpressionError(place, f"longer than {TEXT_MAX} characters", f"超过 {TEXT_MAX} 个字符")
    at, line, line_start = 0, 1, 0
    while at < len(text):
        place = Place(line, at - line_start + 1)
        match = _WORDS.match(text, at)
        if match is None:
            raise _unknown(text[at], place)
        found = match[0]
        kind = match.lastgroup
        if kind == "space":
            breaks = found.count("\n")
            if breaks:
                line, line_start = line + breaks, at + found.rindex("\n") + 1
        elif kind == "number":
            yield Token(Word.NUMBER, found, place, _finite(found, place))
        elif kind == "duration":
            yield Token(Word.DURATION, found, place, _seconds(found, place))
        elif kind == "quoted":
            yield Token(Word.QUOTED, found[1:-1], place)
        else:
            yield Token(Word.NAME if kind == "name" else Word.SIGN, found, place)
        at = match.end()
    yield Token(Word.END, "the end", Place(line, at - line_start + 1))


def _finite(text: str, place: Place) -> float:
    value = float(text)
    if value == float("inf"):
        raise ExpressionError(place, f"{text} is too large", f"数值 {text} 过大")
    return value


def _seconds(text: str, place: Place) -> float:
    try:
        return Duration(text).ns / 1e9
    except ValueError as error:
        raise ExpressionError(place, str(error), f"{text} 不是有效的时长") from error


def _unknown(sign: str, place: Place) -> ExpressionError:
    hint, hint_zh = _HINTS.get(sign, ("", ""))
    more, more_zh = (f"; {hint}", f"；{hint_zh}") if hint else ("", "")
    return ExpressionError(place, f"{sign!r} has no meaning here{more}", f"此处不能使用 {sign}{more_zh}")
