"""Event time of OPC UA readings: when the source's own time is believed (spec/rules.md T1)."""

from typing import Final

_NOTHING: Final = object()
_FAR_NS: Final = 1 << 62
"""Kept source times are cut to 146 years from ``at``, so that they fit into a column of int64."""


class SourceTimes:
    """What was last seen of each tag; one instance per device, kept over reconnects.

    Within a tag the event time never falls and never repeats: a source time counts as rising when it lies behind the
    tag's last event time too, and a reading whose ``at`` does not (a source clock slightly ahead) comes 1 ns behind.
    """

    def __init__(self, tags: int, max_skew_ns: int) -> None:
        self._max_skew_ns = max_skew_ns
        self._values: list[object] = [_NOTHING] * tags
        self._met: list[int | None] = [None] * tags
        """Source time of the last reading, believed or not."""
        self._believed_ns = [-_FAR_NS] * tags
        self._event_ns = [-_FAR_NS] * tags
        self._is_first = [True] * tags

    def reconnect(self) -> None:
        """A new connection: the first value of a tag may have changed at any time since the last one."""
        self._is_first = [True] * len(self._is_first)

    def judge(self, tag: int, at_ns: int, source_ns: int | None, value: object) -> tuple[int, int, bool]:
        """Event time and source time of one reading, both minus ``at_ns``, and whether its clock must be doubted.

        ``value`` is None where the reading is bad. Where nothing is to be kept of the source time the second number
        equals the first.
        """
        is_changed = value is not None and value != self._values[tag]
        is_first, is_repeated = self._is_first[tag], source_ns is not None and source_ns == self._met[tag]
        self._note(tag, source_ns, value)
        if source_ns is None:
            return self._at(tag, at_ns, None)
        skew_ns = source_ns - at_ns
        if self._believed_ns[tag] - at_ns > self._max_skew_ns:
            # The agent's own clock was set back; what was believed under the old one is no measure any more.
            self._believed_ns[tag] = -_FAR_NS
        rises = source_ns > self._believed_ns[tag]
        if rises and -self._max_skew_ns <= skew_ns <= self._max_skew_ns:
            self._believed_ns[tag] = source_ns
            if not self._is_behind(tag, source_ns, at_ns):
                return self._at(tag, at_ns, None)
            self._event_ns[tag] = source_ns
            return skew_ns, skew_ns, False
        if not is_changed:
            return self._at(tag, at_ns, None if is_repeated else skew_ns)
        # The first value of a connection may well be older than max_skew: it changed while nobody listened.
        is_doubtful = not (is_first and rises and skew_ns < 0)
        dt_ns, source_dt_ns, _ = self._at(tag, at_ns, skew_ns)
        return dt_ns, source_dt_ns, is_doubtful

    def _note(self, tag: int, source_ns: int | None, value: object) -> None:
        self._is_first[tag] = False
        if source_ns is not None:
            self._met[tag] = source_ns
        if value is not None:
            self._values[tag] = value

    def _is_behind(self, tag: int, time_ns: int, at_ns: int) -> bool:
        last_ns = self._event_ns[tag]
        return time_ns > last_ns or last_ns - at_ns > self._max_skew_ns

    def _at(self, tag: int, at_ns: int, skew_ns: int | None) -> tuple[int, int, bool]:
        time_ns = at_ns if self._is_behind(tag, at_ns, at_ns) else self._event_ns[tag] + 1
        self._event_ns[tag] = time_ns
        dt_ns = time_ns - at_ns
        return dt_ns, dt_ns if skew_ns is None else max(-_FAR_NS, min(_FAR_NS, skew_ns)), False
