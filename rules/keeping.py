"""What an engine keeps over a stop: its state as a snapshot, or, without one, the states its events tell (G1)."""

from collections.abc import Iterable, Mapping
from typing import Any

from rules.clocks import Clocks
from rules.evaluator import Evaluator
from rules.snapshot import Image, encode, packed
from rules.wiring import Wiring


class Keeping:
    """Of one engine."""

    def __init__(self, work: Evaluator, clocks: Clocks, wiring: Wiring) -> None:
        self._work = work
        self._clocks = clocks
        self._wiring = wiring

    def encode(self, rules_version: str, now_ns: int, evaluated: int, *, has_begun: bool) -> bytes:
        """The state as JSON; windows of more than five minutes are left out."""
        work = self._work
        watches = ((rule, watch.to_row()) for rule, watch in work.watches.items())
        extra = {
            "inputs": packed(self._wiring.to_rows()),
            "agenda": work.agenda.places(),
            "life": work.life.to_fields(),
            "late": work.late.to_fields(),
            "waiting": {name: waiting.to_fields() for name, waiting in sorted(work.life.waiting.items())},
            "has_begun": has_begun,
        }
        return encode(Image(rules_version, now_ns, evaluated, watches, self._clocks.to_rows(), extra))

    def restore(self, image: Image) -> None:
        """The inverse of :meth:`encode`; rules that wait have been taken back already (G2)."""
        work, extra = self._work, image.extra
        for rule, row in image.watches:
            work.watches[rule].from_row(row)
        self._clocks.from_rows(image.faults)
        self._wiring.from_rows(extra["inputs"])
        work.agenda.clear()
        work.agenda.touch(extra["agenda"])
        work.life.from_fields(extra["life"])
        work.late.from_fields(extra["late"], work.watches)
        work.set_timers()

    def adopt(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take states from journaled alarm events, any number of each alarm, in order."""
        work = self._work
        for fields in events:
            subject = work.life.find(fields["alarm"]) or self._clocks.adopted(fields) or work.life.adopted(fields)
            if not work.late.adopt(fields) and subject is not None:
                work.life.follow_event(subject, fields)
        for watch in work.watches.values():
            watch.close()
            if watch.alarm.is_active:
                watch.condition.assume_true()
        work.set_timers()
