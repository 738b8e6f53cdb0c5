"""What the demo says while it runs and at its end, in the operator's language."""

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from simulator.balance import Balance
from simulator.instruments import Fault
from simulator.scenario import Action

_OVER: Final = {
    Fault.SILENT: {"zh-CN": "恢复通信", "en": "it answers again"},
    Fault.OPEN: {"zh-CN": "接线已修复", "en": "the wire is mended"},
}
_TRANSITIONS: Final = {
    "activated": {"zh-CN": "报警", "en": "ALARM"},
    "acknowledged": {"zh-CN": "已确认", "en": "acknowledged"},
    "returned": {"zh-CN": "恢复", "en": "returned"},
}
_LIMIT_KINDS: Final = frozenset({"high", "high_high", "low", "low_low", "rate"})
_ROWS: Final = (
    ("polled", "采集", "polled"),
    ("journaled", "入库", "journaled"),
    ("evaluated", "规则计算", "evaluated"),
    ("lost", "丢失", "lost"),
    ("duplicated", "重复(已去重)", "duplicated (removed)"),
    ("wrong", "错值", "wrong"),
    ("alarms_raised", "报警产生", "alarms raised"),
    ("alarms_received", "报警收到", "alarms received"),
    ("alarms_acknowledged", "报警确认", "alarms acknowledged"),
)


def language_of(environment: Mapping[str, str]) -> str | None:
    """``zh-CN`` or ``en`` by LC_ALL, LC_MESSAGES, LANG; None (both) where they say neither."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environment.get(name, "")
        for prefix, language in (("zh", "zh-CN"), ("en", "en")):
            if value.startswith(prefix):
                return language
    return None


class Narrator:
    """Writes one line per happening, with the seconds since the start."""

    def __init__(self, out: TextIO, language: str | None, seconds: Callable[[], float]) -> None:
        self._out = out
        self._language = language
        self._seconds = seconds

    def say(self, texts: Mapping[str, str]) -> None:
        """A line of the narrative."""
        self._line("  ", self._pick(texts))

    def show(self, text: str) -> None:
        """A file, as it is."""
        self._out.write("".join(f"  | {line}\n" for line in text.splitlines()))
        self._out.flush()

    def action(self, action: Action) -> None:
        """The scenario did something."""
        step = action.step
        if action.begins and step.say:
            self._line("=>", self._pick(step.say))
        elif not action.begins and step.fault is not None:
            over = _OVER.get(step.fault, {"zh-CN": "故障结束", "en": "the fault is over"})
            self._line("<=", f"{step.target}: {self._pick(over)}")

    def event(self, event: Mapping[str, Any]) -> None:
        """The platform received an alarm event."""
        words = _TRANSITIONS.get(str(event.get("transition")))
        if words is not None:
            mark = "!!" if event["transition"] == "activated" else " ·"
            text = f"{self._pick(words)} [{event['priority']}] {self._pick(event['message'])}"
            self._line(mark, text + (self._figures(event) if mark == "!!" else ""))

    def balance(self, balance: Balance) -> None:
        """The table at the end."""
        self._out.write("\n")
        rows = [(self._pick({"zh-CN": zh, "en": en}), getattr(balance, key)) for key, zh, en in _ROWS]
        delivered = self._pick({"zh-CN": "送达", "en": "delivered"})
        rows[3:3] = [(f"{delivered} {name}", there["readings"]) for name, there in balance.destinations.items()]
        width = max(_columns(label) for label, _ in rows)
        for label, figure in rows:
            self._out.write(f"  {label}{' ' * (width - _columns(label))}  {figure:>8}\n")
        for problem in balance.problems:
            self._out.write(f"  ! {problem}\n")
        verdict = {"zh-CN": "结果:无丢失、无错值", "en": "result: nothing lost, nothing wrong"}
        failed = {"zh-CN": "结果:不平衡", "en": "result: the balance is not right"}
        self._out.write(f"\n  {self._pick(verdict if balance.is_right else failed)}\n")
        self._out.flush()

    def _figures(self, event: Mapping[str, Any]) -> str:
        """What was compared with what, where a person would want to know."""
        if event.get("cause") == "bad_input":
            return f"  ({self._pick({'zh-CN': '信号失效', 'en': 'no valid signal'})})"
        value, limit = event.get("value"), event.get("limit")
        if value is None or limit is None or event.get("kind") not in _LIMIT_KINDS:
            return ""
        unit = "" if event["kind"] == "rate" else f" {event.get('unit') or ''}".rstrip()
        return f"  {value:.4g}{unit} ({self._pick({'zh-CN': '限值', 'en': 'limit'})} {limit:g})"

    def _line(self, mark: str, text: str) -> None:
        self._out.write(f"{self._seconds():6.1f} s {mark} {text}\n")
        self._out.flush()

    def _pick(self, texts: Mapping[str, str]) -> str:
        if self._language is not None and self._language in texts:
            return texts[self._language]
        return " / ".join(dict.fromkeys(text for text in texts.values() if text))


def _columns(text: str) -> int:
    """How wide a text stands in a terminal: Chinese characters take two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
