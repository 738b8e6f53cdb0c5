"""What the engine asks of a condition: true, false or unknown, from readings alone (spec/rules.md C)."""

import math
from typing import Any, ClassVar, Final

CLOSED: Final = (math.inf, -math.inf)
"""A band without a value in it."""


class Condition:
    """One condition and its memory. Three-valued: ``None`` is unknown, which starts and ends nothing."""

    __slots__ = ("value",)

    side: ClassVar[int] = 0
    """+1: higher values are worse, -1: lower ones; 0: no value is worse than another."""
    is_derived: ClassVar[bool] = False
    """``value`` is computed (a slope, a duration), not the reading itself."""
    compares: ClassVar[bool] = True
    """Its value is compared with something, so events tell it."""
    sees_bad: ClassVar[bool] = False
    """Bad readings are evidence for it: ``on_bad`` plays no part."""
    keeps_bad: ClassVar[bool] = False
    """Its window holds bad readings too; :meth:`refill` gives them back as NaN."""

    def __init__(self) -> None:
        self.value: float | None = None
        """What was compared when it was last asked; the watch's is the newest, for it sees what the band let pass."""

    def take(self, value: float, quality: int, t_ns: int, at_ns: int) -> bool | None:
        """Evaluate a usable reading; ``value`` is finite."""
        raise NotImplementedError

    def take_bad(self, at_ns: int) -> bool | None:
        """Evaluate a bad reading; asked of conditions that see bad ones only."""
        del at_ns
        return None

    def meet_bad(self, value: float, quality: int, t_ns: int) -> bool:
        """Note a bad reading before ``on_bad`` is asked; True: it is true all the same, whatever that says (Q4)."""
        del value, quality, t_ns
        return False

    @property
    def holds_latch(self) -> bool:
        """It stays true until a person resets it (Q4)."""
        return False

    def release(self) -> bool:
        """A person resets it; True where something held it. The next reading decides."""
        return False

    @property
    def coverage(self) -> float | None:
        """The share of its window that readings cover, 0..1, told by events (C5); None where that means nothing."""
        return None

    def band(self) -> tuple[float, float]:
        """Good values strictly between the two leave condition and memory as they are."""
        return CLOSED

    def worse(self, value: float | None, extreme: float | None) -> float | None:
        """The worse of a compared value and the worst so far."""
        if self.side == 0 or value is None:
            return extreme
        if extreme is None:
            return value
        return max(value, extreme) if self.side > 0 else min(value, extreme)

    @property
    def due_ns(self) -> int | None:
        """When it turns true if nothing comes (``at``); None: never by itself."""
        return None

    def fire(self) -> None:
        """The time ``due_ns`` has come: it is true from now on."""

    def assume_true(self) -> None:
        """Its alarm is active and nothing else is known: a value between the two columns is no evidence of a return."""

    def start(self, at_ns: int, *, is_active: bool) -> None:
        """The agent starts after a gap (T9)."""

    def shift(self, step_ns: int) -> None:
        """UTC stepped: move every time held (T8)."""

    @property
    def window_ns(self) -> int:
        """How far back its samples go; 0 for conditions without a window."""
        return 0

    @property
    def missing_from_ns(self) -> int | None:
        """Event time of the oldest sample that a restored window lacks; None when it is whole."""
        return None

    def refill(self, value: float, t_ns: int) -> None:
        """Give back a reading that a snapshot left out (G1), oldest first; NaN for a bad one (``keeps_bad``)."""

    def to_row(self, *, is_whole: bool = False) -> list[Any]:
        """Its memory for a snapshot (JSON types); ``is_whole``: with windows of more than five minutes, too."""
        del is_whole
        return [self.value]

    def from_row(self, row: list[Any]) -> None:
        """The inverse of :meth:`to_row`."""
        (self.value,) = row
