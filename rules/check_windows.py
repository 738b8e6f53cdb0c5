"""Errors at load of conditions with a window (spec/rules.md C9): too short for its polls, longer than the journal."""

from collections.abc import Iterator
from typing import Final

from agent.config.fields import Duration
from agent.core.tags import Tag
from rules.conditions.average import Config as AverageRule
from rules.conditions.deviation import Config as DeviationRule
from rules.conditions.flatline import Config as FlatlineRule
from rules.conditions.rate import Config as RateRule
from rules.conditions.suspicion_noise_collapse import Config as NoiseRule
from rules.conditions.time_to_limit import Config as TimeToLimitRule
from rules.finding import Finding
from rules.model import RuleBase

_POLLS_PER_WINDOW: Final = 4


def check_windows(rule: RuleBase, tag: Tag, keep_ns: int | None) -> Iterator[Finding]:
    """What is wrong with a rule's window; what the tag does not tell is not checked."""
    found = _window(rule)
    if found is not None:
        key, window, min_samples = found
        if keep_ns is not None and window.ns > keep_ns:
            message = "window is longer than the journal keeps readings"
            yield Finding(rule.id, key, window, f"at most {_s(keep_ns)}", message, "窗口长于日志保留时间")
        if tag.poll_ns:
            yield from _of_poll(rule, key, window, min_samples, tag.poll_ns)
    if isinstance(rule, AverageRule) and rule.max_hold is not None and tag.poll_ns and rule.max_hold.ns < tag.poll_ns:
        message = "max_hold shorter than a poll: every reading would leave a gap"
        allowed = f"at least {_s(tag.poll_ns)}"
        yield Finding(
            rule.id, "max_hold", rule.max_hold, allowed, message, "max_hold 短于采集周期：每次读数之间都会有空缺"
        )
    if isinstance(rule, AverageRule | TimeToLimitRule) and tag.range is not None:
        low, high = tag.range
        if not low <= rule.limit <= high:
            message = "limit outside the tag's range"
            yield Finding(rule.id, "limit", rule.limit, f"{low:g}..{high:g}", message, "限值超出量程")


def _window(rule: RuleBase) -> tuple[str, Duration, int] | None:
    """The key, the window and the samples that it must hold; None where there is no window."""
    if isinstance(rule, RateRule):
        return "window", rule.window, rule.min_samples if rule.method == "least_squares" else 0
    if isinstance(rule, FlatlineRule | TimeToLimitRule | NoiseRule):
        return "window", rule.window, rule.min_samples
    if isinstance(rule, DeviationRule) and rule.window is not None:
        return "reference", rule.window, rule.min_samples
    if isinstance(rule, AverageRule) and rule.window is not None:
        return "window", rule.window, 0
    return None


def _of_poll(rule: RuleBase, key: str, window: Duration, min_samples: int, poll_ns: int) -> Iterator[Finding]:
    if window.ns < _POLLS_PER_WINDOW * poll_ns:
        allowed = f"at least {_s(_POLLS_PER_WINDOW * poll_ns)}"
        yield Finding(rule.id, key, window, allowed, "window shorter than four polls", "窗口短于四个采集周期")
        return
    most = window.ns // poll_ns + 1
    if min_samples > most:
        message = f"a window of {window} never holds so many readings: the rule could never be true"
        message_zh = f"{window} 的窗口容纳不下这么多读数：规则永远不会成立"
        yield Finding(rule.id, "min_samples", min_samples, f"at most {most}", message, message_zh)


def _s(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:g}s"
