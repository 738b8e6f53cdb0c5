"""Words and times of reports, in the reader's language."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "shift_report": ("Shift report", "交接班报表"),
    "kpi_report": ("Alarm performance (EEMUA 191 / ISA-18.2)", "报警绩效(EEMUA 191 / ISA-18.2)"),
    "period": ("period", "时段"),
    "rating": ("rating", "评价"),
    "acceptable": ("acceptable", "可接受"),
    "manageable": ("manageable", "勉强可控"),
    "overloaded": ("overloaded", "过载"),
    "activations": ("activations", "报警次数"),
    "per_10min": ("average per 10 min", "平均每 10 min"),
    "peak_10min": ("peak in 10 min", "10 min 峰值"),
    "per_day": ("per day", "平均每天"),
    "floods": ("floods", "报警泛滥"),
    "flood_share": ("time in flood", "泛滥时间占比"),
    "chattering": ("chattering", "抖动报警"),
    "fleeting": ("fleeting (under 1 min)", "瞬时报警(1 min 内恢复)"),
    "standing": ("standing over 24 h", "持续超过 24 h"),
    "top": ("ten most frequent", "前十报警"),
    "top_share": ("their share", "前十占比"),
    "priorities": ("by priority", "按优先级"),
    "areas": ("by area", "按区域"),
    "hidden": ("while hidden", "隐藏期间"),
    "exercise": ("in exercises", "演练"),
    "acknowledged": ("acknowledged within (median, 95 %)", "确认用时(中位数,95 %)"),
    "target": ("acceptable", "可接受值"),
    "value": ("value", "数值"),
    "figure": ("figure", "指标"),
    "taken_over": ("Taken over: not normal or hidden at the start", "接班时未恢复或被隐藏的报警"),
    "handed_over": ("Handed over: not normal or hidden at the end", "交班时未恢复或被隐藏的报警"),
    "events": ("Alarm events", "报警事件"),
    "actions": ("What people did", "人员操作"),
    "agent_records": ("The agent: starts, stops, gaps, clock, outages", "代理:启停、缺失、时钟、中断"),
    "time": ("time", "时间"),
    "alarm": ("alarm", "报警"),
    "transition": ("transition", "变化"),
    "state": ("state", "状态"),
    "priority": ("priority", "优先级"),
    "message": ("message", "内容"),
    "actor": ("by", "人员"),
    "remark": ("remark", "说明"),
    "kind": ("what", "事项"),
    "rate_plot": ("Annunciated activations per 10 min (line: 10)", "每 10 min 报警次数(横线:10)"),
    "active_plot": ("When alarms were active", "报警持续时段"),
    "none": ("none", "无"),
    "left_out": ("{} more left out", "另有 {} 条未列出"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """Texts in Chinese or English, times in the site's zone."""

    is_chinese: bool
    zone: ZoneInfo

    def __getitem__(self, key: str) -> str:
        return _WORDS[key][1 if self.is_chinese else 0]

    def at(self, at_ns: int | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        """A time of the journal, in the site's zone."""
        if at_ns is None:
            return "-"
        return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).astimezone(self.zone).strftime(form)

    def message(self, event: Mapping[str, Any]) -> str:
        """The message of an alarm event, in this language if it has it."""
        texts: Mapping[str, str] = event.get("message") or {}
        wanted = "zh-CN" if self.is_chinese else "en"
        return texts.get(wanted) or next(iter(texts.values()), "")

    def duration(self, ns: int | None) -> str:
        """A duration to the second."""
        if ns is None:
            return "-"
        seconds = ns // 1_000_000_000
        hours, rest = divmod(seconds, 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
