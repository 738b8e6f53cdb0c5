import itertools
import json

import pytest

from agent.commands.model import Acknowledge, Receipt, parse
from simulator.operator import Operator

SECOND = 1_000_000_000


def event(identity="e1", transition="activated", alarm="A", occurrence=None, **more) -> dict:
    fields = {"id": identity, "event": occurrence or identity, "alarm": alarm, "epoch": "ep", "annunciated": True}
    return {**fields, "transition": transition, **more}


@pytest.fixture
def operator() -> Operator:
    numbers = itertools.count(1)
    return Operator(SECOND, 3 * SECOND, lambda _: f"c{next(numbers)}")


def test_its_commands_are_what_the_agent_takes(operator):
    operator.watch(event(), 0)
    (acknowledge,) = operator.due(SECOND)
    assert isinstance(parse(acknowledge).body, Acknowledge)
    receipt = parse(operator.receipt(event(), 0)).body
    assert isinstance(receipt, Receipt)
    assert receipt.events == ("e1",)


def test_an_alarm_is_acknowledged_a_little_later_and_again_until_it_is_answered(operator):
    operator.watch(event(), 0)
    assert operator.due(SECOND - 1) == []
    first = json.loads(operator.due(SECOND)[0])
    assert (first["alarm"], first["event"]) == ("A", "e1")
    assert operator.due(2 * SECOND) == []
    assert len(operator.due(4 * SECOND)) == 1
    operator.answered(json.dumps({"id": first["id"], "outcome": "done"}).encode())
    assert operator.due(100 * SECOND) == []


def test_an_acknowledged_or_ended_alarm_is_left_alone(operator):
    operator.watch(event("e1"), 0)
    operator.watch(event("e2", "acknowledged", occurrence="e1"), 0)
    assert operator.due(SECOND) == []


def test_a_new_occurrence_takes_the_place_of_the_old_one(operator):
    operator.watch(event("e1"), 0)
    operator.watch(event("e2"), 0)
    assert [json.loads(c)["event"] for c in operator.due(SECOND)] == ["e2"]


def test_what_is_not_annunciated_is_nobodys_to_acknowledge(operator):
    operator.watch(event(annunciated=False), 0)
    assert operator.due(SECOND) == []


def test_it_gives_up_on_an_agent_that_never_answers(operator):
    operator.watch(event(), 0)
    sent = sum(len(operator.due(second * SECOND)) for second in range(0, 1000, 3))
    assert sent == 20
    assert operator.open == 0


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"id": 1}'])
def test_what_is_no_answer_is_ignored(operator, payload):
    assert operator.answered(payload) is None
