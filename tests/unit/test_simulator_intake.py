import json

import pytest

from agent.core.records import GENESIS, canonical_json, chain_hash
from simulator.intake import Intake, WireError

WHO = {"v": 1, "site": "s", "agent": "a", "epoch": "e"}
T = 1_795_248_000_000_000_000


def message(after: int, *blocks, tags=("x", "y"), **more) -> bytes:
    return json.dumps({**WHO, "after": after, "source": "simulator", "tags": tags, "blocks": blocks, **more}).encode()


def block(seq: int, *values, **more) -> dict:
    return {"seq": seq, "t": T + seq, "v": list(values), **more}


class Sender:
    """Chains events as spec/wire.md says."""

    def __init__(self) -> None:
        self.prev, self.after = GENESIS, 0

    def event(self, seq: int, **fields) -> bytes:
        stored = {**WHO, "seq": seq, "id": f"id{seq}", "transition": "activated", "alarm": "A", **fields}
        digest = chain_hash(self.prev, canonical_json(stored))
        sent = {**stored, "after": self.after, "prev": self.prev.hex(), "hash": digest.hex()}
        self.prev, self.after = digest, seq
        return json.dumps(sent).encode()


def test_readings_are_taken_column_by_column():
    intake = Intake()
    blocks = block(1, 1.5, 2.5), block(2, 3.5, None, q=[0, 101]), block(4, 7.5, i=[1], dt=[-5])
    assert intake.take_readings(message(0, *blocks)) == 5
    shown = [(r.seq, r.tag, r.at_ns - T, r.t_ns - T, r.value, r.quality) for r in intake.readings]
    assert shown == [
        (1, "x", 1, 1, 1.5, 0),
        (1, "y", 1, 1, 2.5, 0),
        (2, "x", 2, 2, 3.5, 0),
        (2, "y", 2, 2, None, 101),
        (4, "y", 4, -1, 7.5, 0),
    ]


def test_a_batch_that_is_bad_for_one_reason_is_a_reading_for_every_tag():
    intake = Intake()
    intake.take_readings(message(0, {"seq": 1, "t": T, "v": None, "q": 101}))
    assert [(r.tag, r.value, r.quality) for r in intake.readings] == [("x", None, 101), ("y", None, 101)]


def test_a_batch_that_comes_twice_counts_once():
    intake = Intake()
    intake.take_readings(message(0, block(1, 1, 2)))
    intake.take_readings(message(0, block(1, 1, 2), block(2, 3, 4)))
    assert (intake.counts.readings, intake.counts.duplicated_readings) == (4, 2)
    assert intake.conflicts == []


def test_one_seq_with_two_contents_is_a_conflict():
    intake = Intake()
    intake.take_readings(message(0, block(1, 1, 2)))
    intake.take_readings(message(0, block(1, 1, 9)))
    assert intake.conflicts == ["1: came with two contents"]


def test_another_epoch_is_another_life():
    intake = Intake()
    intake.take_readings(message(0, block(1, 1, 2)))
    intake.take_readings(message(0, block(1, 8, 9), epoch="f"))
    assert intake.counts.readings == 4


def test_a_message_that_names_an_unknown_predecessor_shows_a_hole():
    intake = Intake()
    intake.take_readings(message(0, block(1, 1, 2)))
    intake.take_readings(message(1, block(5, 1, 2)))
    assert intake.holes == []
    intake.take_readings(message(9, block(12, 1, 2)))
    assert intake.holes == ["readings: nothing came between 5 and 9"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"v":2}',
        json.dumps({**WHO, "tags": ["x"], "blocks": []}).encode(),
        message(0, block(1, 1, 2, 3)),
        message(0, block(1, 1, i=[9])),
        message(0, block(1, 1, 2, q=[0])),
        message(0, {"seq": 1, "t": T}),
    ],
)
def test_a_malformed_message_is_refused_and_counted(payload):
    intake = Intake()
    with pytest.raises(WireError):
        intake.take_readings(payload)
    assert intake.counts.invalid == 1
    assert intake.readings == []


def test_events_are_taken_once_and_their_chain_is_followed():
    intake, sender = Intake(), Sender()
    first, second, third = sender.event(3), sender.event(4), sender.event(9)
    assert intake.take_event(first, is_alarm=True)["id"] == "id3"
    assert intake.take_event(first, is_alarm=True) is None
    intake.take_event(second, is_alarm=False)
    intake.take_event(third, is_alarm=True)
    assert (intake.counts.events, intake.counts.duplicated_events) == (3, 1)
    assert (len(intake.alarms), len(intake.audit)) == (2, 1)
    assert intake.conflicts == intake.holes == []


def test_a_missing_event_is_a_hole():
    intake, sender = Intake(), Sender()
    first, _, third = sender.event(3), sender.event(4), sender.event(9)
    intake.take_event(first, is_alarm=True)
    intake.take_event(third, is_alarm=True)
    assert intake.holes == ["alarms: nothing came between 3 and 4"]


def test_an_altered_event_is_noticed():
    intake, sender = Intake(), Sender()
    event = sender.event(3, priority="high").replace(b"high", b"low")
    intake.take_event(event, is_alarm=True)
    assert intake.conflicts == ["3: hash does not fit the content"]


def test_a_rewritten_history_is_noticed():
    intake, sender, liar = Intake(), Sender(), Sender()
    intake.take_event(sender.event(3), is_alarm=True)
    liar.event(3, note="other")
    intake.take_event(liar.event(4), is_alarm=True)
    assert intake.conflicts == ["4: prev is not the hash of 3"]


def test_an_event_without_a_seq_is_the_same_one_when_it_comes_with_its_seq():
    intake, sender = Intake(), Sender()
    early = {**json.loads(Sender().event(3)), "seq": None, "prev": None, "hash": None}
    assert intake.take_event(json.dumps(early).encode(), is_alarm=True)["id"] == "id3"
    assert intake.take_event(sender.event(3), is_alarm=True) is None
    assert intake.counts.events == 1
