"""The short notation of signals and times: ``0 80x3 91x9 80`` is one sample per step; pure."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from agent.core.quality import Quality

SAMPLES_MAX: Final = 10_000_000
"""Most samples of one signal: a slip such as x1000000000 must not take all memory."""

_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
_DURATION: Final = r"(?:\d+(?:\.\d+)?(?:ms|s|min|h|d))+"
_TOKEN: Final = re.compile(
    rf"(?:(?P<word>bad|gap)|(?P<start>{_NUMBER})(?:\.\.(?P<end>{_NUMBER}))?(?:(?:±|\+-)(?P<noise>{_NUMBER}))?)"
    rf"(?:\((?P<code>\d+)\))?(?:[x×](?P<count>\d+))?"
)
_LENGTH: Final = re.compile(rf"\s+(?:for|over)\s+({_DURATION})(?=[\s,]|$)")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|h|d)")
_NS: Final = {"ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
_NAN: Final = float("nan")
_GOOD_FORMS: Final = "80, 80x3, 80 for 9s, 0..100 over 60s, 80±0.5x60 (noise), bad, bad(101)x3 or gapx5"


class NotationError(ValueError):
    """A text that is no signal or no time; it says what was found, where, and what is right."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a signal; ``place`` counts steps from the signal's start."""

    place: int
    value: float
    quality: int


def duration_ns(text: str) -> int:
    """A time such as ``9s``, ``500ms`` or ``1min30s``; ``0`` alone is zero. NotationError for anything else."""
    compact = text.replace(" ", "")
    if compact == "0":
        return 0
    if not re.fullmatch(_DURATION, compact):
        raise NotationError(f"found time {text!r}, expected a number with its unit (ms, s, min, h, d): 9s or 1min30s")
    total_ns = 0
    for number, unit in _PART.findall(compact):
        whole, _, fraction = number.partition(".")
        scale = _NS[unit]
        part_ns, rest = divmod(int(fraction or 0) * scale, 10 ** len(fraction))
        if rest:
            raise NotationError(f"found time {text!r}, expected whole nanoseconds")
        total_ns += int(whole) * scale + part_ns
    return total_ns


def show_time(time_ns: int) -> str:
    """A time as a test file writes it: ``9s``, ``1min30s``, ``1.5s``."""
    sign, rest = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
    text = ""
    for unit in ("d", "h", "min"):
        count, rest = divmod(rest, _NS[unit])
        text += f"{count}{unit}" if count else ""
    if rest or not text:
        whole, nanos = divmod(rest, _NS["s"])
        text += f"{whole}" + (f".{nanos:09d}".rstrip("0") if nanos else "") + "s"
    return sign + text


def samples(text: str, step_ns: int, seed: str) -> tuple[list[Sample], int]:
    """The samples of a signal and how many steps it takes (gaps count); ``seed`` makes its noise.

    Raises NotationError.
    """
    found: list[Sample] = []
    place = 0
    for token in _tokens(text):
        count = _count(token, step_ns)
        if place + count > SAMPLES_MAX:
            raise NotationError(f"found more than {SAMPLES_MAX} samples at {token.text!r}, expected fewer")
        if token.word != "gap":
            found.extend(Sample(place + i, *_reading(token, i, count, seed, place + i)) for i in range(count))
        place += count
    return found, place


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    word: str | None
    start: float
    end: float | None
    noise: float
    code: int | None
    count: int | None
    length_ns: int | None


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while (rest := text[position:].lstrip(" \t\r\n,")) != "":
        position = len(text) - len(rest)
        match = _TOKEN.match(text, position)
        if match is None:
            _refuse(text, position)
        end = match.end()
        length = _LENGTH.match(text, end)
        if length is not None:
            end = length.end()
        if end < len(text) and text[end] not in " \t\r\n,":
            _refuse(text, position)
        if length is not None and match["count"]:
            raise NotationError(f"found {text[position:end]!r}, expected a number of samples or a time, not both")
        yield _token(text[position:end], match, None if length is None else length[1])
        position = end


def _token(text: str, match: re.Match[str], length: str | None) -> _Token:
    code = None if match["code"] is None else int(match["code"])
    word, count = match["word"], match["count"]
    least, most = (Quality.BAD.value, 255) if word == "bad" else (0, Quality.BAD.value - 1)
    if code is not None and (word == "gap" or not least <= code <= most):
        right = "no code on gap" if word == "gap" else f"a code from {least} to {most}"
        raise NotationError(f"found quality {code} in {text!r}, expected {right}")
    if count is not None and int(count) == 0:
        raise NotationError(f"found {text!r}, expected at least one sample")
    return _Token(
        text,
        word,
        float(match["start"] or "nan"),
        None if match["end"] is None else float(match["end"]),
        abs(float(match["noise"] or 0)),
        code,
        None if count is None else int(count),
        None if length is None else duration_ns(length),
    )


def _refuse(text: str, position: int) -> NoReturn:
    word = text[position:].split()[0]
    raise NotationError(f"found {word!r} at character {position + 1}, expected {_GOOD_FORMS}")


def _count(token: _Token, step_ns: int) -> int:
    """How many samples: a ramp that takes 60 s has its first sample at its start and its last one 60 s later."""
    is_ramp = token.end is not None
    if token.length_ns is None:
        if is_ramp and (token.count is None or token.count < 2):
            raise NotationError(f"found ramp {token.text!r}, expected its length: over 60s, or x61 samples")
        return token.count or 1
    steps, rest = divmod(token.length_ns, step_ns)
    if rest or steps == 0:
        raise NotationError(f"found {token.text!r}, expected a whole number of steps of {show_time(step_ns)}")
    return steps + is_ramp


def _reading(token: _Token, i: int, count: int, seed: str, place: int) -> tuple[float, int]:
    if token.word == "bad":
        return _NAN, Quality.BAD.value if token.code is None else token.code
    value = token.start
    if token.end is not None:
        value = token.end if i == count - 1 else value + (token.end - value) * (i / (count - 1))
    if token.noise:
        value += token.noise * _noise(seed, place)
    return value, token.code or 0


def _noise(seed: str, place: int) -> float:
    """Evenly spread in [-1, 1]; a function of seed and place alone, so it is the same on every machine for ever."""
    digest = hashlib.blake2b(f"{seed}/{place}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 52) - 1.0
