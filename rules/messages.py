"""What operators read: the message of an alarm in zh-CN and en, made from kind, tag name, value and limit (K)."""

from collections.abc import Mapping
from typing import Final

LANGUAGES: Final = ("zh-CN", "en")

_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "high": ("高报警", "high"),
    "high_high": ("高高报警", "high-high"),
    "low": ("低报警", "low"),
    "low_low": ("低低报警", "low-low"),
    "rate": ("变化过快", "changes too fast"),
    "stale": ("无有效数据", "no usable reading"),
    "bad_quality": ("数据质量坏", "bad quality"),
    "state": ("状态报警", "state alarm"),
    "deviation": ("偏差过大", "deviates too far"),
    "flatline": ("数值长时间不变", "has not moved"),
    "average": ("平均值超限", "mean beyond its limit"),
    "time_to_limit": ("预计很快到达限值", "will soon reach its limit"),
    "overdue": ("检验、标定已超期", "test or calibration overdue"),
    "suspicion.noise_collapse": (
        "疑似异常：波动明显减小（可能被遮挡或替换，须核实）",
        "suspicious: noise has collapsed (perhaps covered or replaced; to be verified)",
    ),
    "suspicion.missing_near_limit": (
        "疑似异常：接近限值时数据多次缺失（须核实）",
        "suspicious: data repeatedly missing near the limit (to be verified)",
    ),
    "discrepancy": ("读数不一致", "instruments disagree"),
    "vote": ("表决报警", "vote"),
    "count_upgrade": ("报警数量升级", "count of alarms"),
    "expression": ("逻辑条件成立", "condition holds"),
    "clock": ("设备时钟异常", "device clock is wrong"),
}


class Texts:
    """The message of one alarm. A configured text stands as it is; only what is left out is made."""

    __slots__ = ("_configured", "_fixed", "_kind", "_limit", "_limit_unit", "_name", "_unit")

    def __init__(
        self, configured: Mapping[str, str] | None, kind: str, name: str, limit: float | None, unit: str | None
    ) -> None:
        """``unit`` is the value's and the limit's; see :meth:`limit_in` where they differ."""
        self._configured = dict(configured or {})
        self._kind = kind
        self._name = name
        self._limit = limit
        self._unit = self._limit_unit = unit or ""
        self._fixed = all(language in self._configured for language in LANGUAGES)

    def limit_in(self, unit: str | None) -> "Texts":
        """The limit has a unit of its own."""
        self._limit_unit = unit or ""
        return self

    def at(self, value: float | None, remark: str | None = None) -> Mapping[str, str]:
        """The texts by language; ``value`` is what was compared with the limit, ``remark`` follows what is made."""
        if self._fixed:
            return self._configured
        zh_kind, en_kind = _KINDS.get(self._kind, (self._kind, self._kind))
        more = "" if remark is None else f", {remark}"
        made = {
            "zh-CN": f"{self._name} {zh_kind}{self._detail(value, '：{}', '（限值 {}）')}{more.replace(', ', '，')}",
            "en": f"{self._name} {en_kind}{self._detail(value, ': {}', ' (limit {})')}{more}",
        }
        return {**made, **self._configured}

    def _detail(self, value: float | None, value_text: str, limit_text: str) -> str:
        text = "" if value is None else value_text.format(_with_unit(value, self._unit))
        return text if self._limit is None else text + limit_text.format(_with_unit(self._limit, self._limit_unit))


def _with_unit(number: float, unit: str) -> str:
    return f"{number:.6g} {unit}".rstrip()
