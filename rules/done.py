"""A ``done`` record (bump test, calibration, proof test): the overdue rules of its tag are false from now on (C)."""

from collections.abc import Mapping
from typing import Any

from rules.conditions.overdue import Overdue
from rules.evaluator import Evaluator


def apply_done(work: Evaluator, fields: Mapping[str, Any]) -> None:
    """Tell the overdue rules of the record's ``tag``; where it names a ``rule``, that one only."""
    named = fields.get("rule")
    for watch in work.watches.values():
        condition = watch.condition
        if not isinstance(condition, Overdue) or watch.rule.tag != fields["tag"] or named not in (None, watch.rule.id):
            continue
        condition.done(fields["time"])
        work.conclude(watch, False, fields["time"])
