"""A slow second opinion on conditions with windows (spec/rules.md C, C3-C5), in exact fractions from all samples."""

from fractions import Fraction
from typing import Any

from tests.support.rules_oracle import Oracle, S, Sample, slope

KINDS = ("deviation", "flatline", "average", "time_to_limit")
NEAR = Fraction(1, 10**9)


def near(quantity: Fraction | float | None, *edges: float) -> bool:
    """C10: within 1e-9 (relative) of an edge, where nobody is judged."""
    return quantity is not None and any(abs(Fraction(quantity) - Fraction(e)) <= NEAR * max(1, abs(e)) for e in edges)


class WindowOracle(Oracle):
    """``is_near`` once a quantity came so near to an edge that the rest is not judged; ``last`` is the newest one."""

    is_near = False
    last: Any = None
    coverage: Fraction | None = None

    def judge(self, sample: Sample) -> bool | None:
        if self.rule["condition"] not in KINDS:
            return super().judge(sample)
        if not sample.usable:
            return {"hold": None, "alarm": True, "clear": False}[self.rule.get("on_bad", "hold")]
        truth = getattr(self, self.rule["condition"])(sample)
        if truth is False and sample.quality == 6:
            return None
        if truth is not None:
            self.memory = truth
        return truth

    def line(self, quantity: Fraction, limit: float, edge: float) -> bool:
        """True at or above limit, false below edge, memory between."""
        self.is_near |= near(quantity, limit, edge)
        return quantity >= limit or (quantity >= edge and bool(self.memory))

    def deviation(self, now: Sample) -> bool | None:
        rule, reference = self.rule, self.rule["reference"]
        if isinstance(reference, dict):
            start = now.at - reference["mean"] * S
            past = [Fraction(s.value) for s in self.history if s.usable and start <= s.at < now.at]
            if len(past) < rule.get("min_samples", 10):
                return None
            reference = sum(past) / len(past)
        self.last = abs(Fraction(now.value) - Fraction(reference))
        return self.line(self.last, rule["limit"], rule["limit"] - rule.get("deadband", 0))

    def flatline(self, now: Sample) -> bool | None:
        start = now.at - self.rule["window"] * S
        clean: list[Sample] = []
        for s in self.history:
            clean = [*clean, s] if s.usable else []
        before = [s for s in clean if s.at <= start][-1:]
        inside = before + [s for s in clean if s.at > start]
        spread = max(s.value for s in inside) - min(s.value for s in inside)
        if spread > self.rule.get("epsilon", 0):
            return False
        return True if before and len(inside) >= self.rule.get("min_samples", 3) else None

    def stretches(self, start: int, now: Sample) -> tuple[Fraction, int]:
        """Area (unit x ns) and covered time of usable samples that hold, within [start, now]."""
        area, covered = Fraction(0), 0
        for s, following in zip(self.history, self.history[1:], strict=False):
            end = min(following.at, s.at + self.rule["max_hold"] * S, now.at)
            held = end - max(s.at, start)
            if s.usable and held > 0:
                area += Fraction(s.value) * held
                covered += held
        return area, covered

    def average(self, now: Sample) -> bool | None:
        rule = self.rule
        sign = -1 if rule.get("direction") == "low" else 1
        limit, deadband = rule["limit"], rule.get("deadband", 0)
        first = next(s.at for s in self.history if s.usable)
        if "shift" in rule:
            period = rule["shift"]["every"] * S
            start, over = now.at // period * period, rule["shift"]["over"] * S
            extent = now.at - start
        else:
            start, over, extent = now.at - rule["window"] * S, None, rule["window"] * S
        area, covered = self.stretches(start, now)
        if rule.get("partial") and covered:
            filled = now.at - max(start, first)
            area, covered = area * filled / covered, filled
        if extent == 0:
            return False
        self.coverage = Fraction(covered, extent)
        self.is_near |= near(self.coverage, 0.5)
        if covered == 0:
            return None
        if over is None and 2 * covered < extent:
            quantity = area / extent  # the rest counted as 0
            self.is_near |= near(quantity, limit)
            if sign < 0 or quantity < limit:
                return None
        else:
            quantity = area / (over if over is not None else covered)
            if over is not None and 2 * covered < extent:
                self.is_near |= near(quantity, limit)
                if sign < 0 or quantity < limit:
                    return None
        self.last = quantity
        return self.line(sign * quantity, sign * limit, sign * limit - deadband)

    def time_to_limit(self, now: Sample) -> bool | None:
        rule = self.rule
        sign = 1 if rule.get("direction", "rising") == "rising" else -1
        left = sign * (rule["limit"] - now.value)
        if left <= 0:
            self.last = 0
            return True
        found = slope(self.history, {**rule, "method": "least_squares", "per": "s"})
        if found is None:
            return None
        self.is_near |= abs(found) < 1e-9
        self.last = left / (sign * found) if sign * found > 0 else None
        if self.last is None:
            return False
        edges = rule["horizon"], rule["horizon"] + rule.get("deadband", 0)
        self.is_near |= near(self.last, *edges)
        return self.last <= edges[0] or (self.last <= edges[1] and bool(self.memory))
