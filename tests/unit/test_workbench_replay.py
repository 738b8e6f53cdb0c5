"""davy replay: journals, differences of rule sets, and the same events however the data is cut."""

import json
from array import array
from dataclasses import replace

import pytest

from agent.cli.main import main
from agent.core.batch import Batch, Layout
from agent.core.records import Event, Kind
from agent.core.tags import Scaling, Tag
from agent.journal.format import FRAME_MAGIC
from agent.journal.log import Journal, JournalOptions
from agent.replay import Recording, compare, replay
from drivers.replay import ReplayError
from rules.engine import Engine
from rules.testing.changes import changes
from tests.support.rules import T0, S, rule, rule_set


def write(path, values, tag="T"):
    path.write_text("time,tag,value\n" + "".join(f"{T0 + i * S},{tag},{v}\n" for i, v in enumerate(values)))
    return path


def span(one):
    return None if one is None else ((one.activated_ns - T0) // S, one.returned_ns and (one.returned_ns - T0) // S)


def diff(path, before, after):
    found = changes(*compare(Recording(path), ([before], []), ([after], [])))
    return [(change.kind, span(change.before), span(change.after)) for change in found if change.alarm == "r"]


def test_a_change_of_rules_says_which_alarms_it_adds_removes_and_moves(tmp_path):
    path = write(tmp_path / "data.csv", [1, 9, 1, 5, 9, 9, 5, 1, 5, 1, 9, 1])
    low, high = rule("high", id="r", limit=4), rule("high", id="r", limit=8)
    assert diff(path, high, low) == [("moved", (4, 6), (3, 7)), ("added", None, (8, 9))]
    assert diff(path, low, high) == [("moved", (3, 7), (4, 6)), ("removed", (8, 9), None)]
    assert diff(path, low, low) == []


def test_an_alarm_that_stands_at_the_end_is_moved_when_its_beginning_is(tmp_path):
    path = write(tmp_path / "data.csv", [1, 5, 9, 9])
    assert diff(path, rule("high", id="r", limit=4), rule("high", id="r", limit=8)) == [("moved", (1, None), (2, None))]


def test_the_command_line_tells_the_difference_as_json_and_exits_1(tmp_path, capsys):
    write(tmp_path / "data.csv", [1, 5, 1])
    text = "rules: [{id: r, tag: T, condition: high, limit: %s, priority: low}]"
    (tmp_path / "old.yaml").write_text(text % 8)
    (tmp_path / "new.yaml").write_text(text % 4)
    files = ["--rules", str(tmp_path / "old.yaml"), "--diff", str(tmp_path / "new.yaml")]
    assert main(["replay", str(tmp_path / "data.csv"), *files, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["before"], told["after"], told["added"]) == (0, 1, 1)
    assert told["changes"][0]["after"] == {"activated": T0 + S, "returned": T0 + 2 * S}
    assert main(["replay", str(tmp_path / "data.csv"), *files[:3], str(tmp_path / "old.yaml")]) == 0
    assert "unchanged 0" in capsys.readouterr().out


def test_data_without_rules_is_refused(tmp_path, capsys):
    path = write(tmp_path / "data.csv", [1])
    assert main(["replay", str(path)]) == 2
    assert "--rules FILE" in capsys.readouterr().err
    with pytest.raises(ReplayError, match="no rules"):
        list(replay(Recording(path), None, []))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReplayError, match="journal"):
        list(replay(Recording(tmp_path / "empty"), None, []))


FLOAT = Tag("T", scaling=Scaling(is_float32=True))
LAYOUT = Layout("D", ("T",))


@pytest.fixture
def journal(tmp_path):
    """A journal as the agent writes it: configuration, readings of a float32 device, an acknowledgement."""
    rules = rule_set(rule("high", id="r", limit=11.2), tags=[FLOAT], live=True)
    there = Journal.open(JournalOptions(tmp_path / "journal"), now_ns=T0, machine_id="m", delivered={})
    engine = Engine(rules, epoch=there.epoch)
    common = {"v": 1, "site": "s1", "agent": "gw1", "clock": "synchronised", "actor": "davy", "source": "sensor"}
    settings = {"site": {"id": "s1", "name": "德清", "location": [120.0, 30.5]}}
    told = []

    def put(draft):
        (record,) = there.append([draft], T0)
        told.extend(engine.apply(record))
        return record

    fields = {"rules_version": rules.version, "rules": rules.to_fields(), "tags": [FLOAT.to_fields()]}
    put(Event(Kind.AUDIT, {**common, **fields, "settings": settings, "kind": "configuration", "time": T0}))
    for second, value in enumerate([1.0, 11.199999809265137, 11.5, 1.0, 12.0]):
        record = put(Batch(LAYOUT, T0 + second * S, array("d", [value])))
        told.extend(engine.advance(T0 + second * S, record.seq))
        if second == 2:
            action = {"kind": "acknowledge", "alarm": "r", "event": told[0].id, "outcome": "done", "time": T0 + 2 * S}
            put(Event(Kind.AUDIT, {**common, **action, "actor": "li"}))
    there.close()
    return tmp_path, told


def test_c2_a_journal_is_replayed_with_its_own_rules_and_the_limits_as_live(journal):
    directory, told = journal
    events = list(replay(Recording(directory), None, []))
    assert [event["transition"] for event in events] == ["activated", "acknowledged", "returned", "activated"]
    same = ("id", "alarm", "transition", "state", "time", "value", "limit", "occurrence", "event", "actor")
    live = [{**event.to_fields()} for event in told]
    assert [[event[key] for key in same] for event in events] == [[event[key] for key in same] for event in live]
    first = events[0]
    assert (first["site"], first["agent"], first["clock"]) == ("s1", "gw1", "synchronised")
    assert first["place"]["site_name"] == "德清"
    assert first["seq"] is first["cause_seq"] is first["hash"] is None


def test_t4_other_rules_are_tried_on_a_journal_and_compared_with_its_own(journal):
    directory, _ = journal
    other = rule("high", id="r", limit=11.4)
    found = changes(*compare(Recording(directory / "journal"), None, ([other], [])))
    assert [(change.kind, span(change.before), span(change.after)) for change in found] == [("moved", (1, 3), (2, 3))]
    events = list(replay(Recording(directory), [other], []))
    assert next(event["transition"] for event in events) == "activated"


def test_t4_the_events_of_a_file_are_the_same_bytes_for_every_cutting(tmp_path, monkeypatch):
    from drivers.recorded import csv_file

    rows = [f"{T0 + (i // 3) * S},{'ABC'[i % 3]},{(i * 7) % 11}" for i in range(120)]
    rows += [f"{T0 + 12 * S},A,10", f"{T0 + 60 * S},B,"]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["time,tag,value", *rows, ""]))
    rules = [rule("high", id=f"{tag}-h", tag=tag, limit=7, on_delay="1s", deadband=1) for tag in "ABC"]
    told = set()
    for size in (1, 30, 1000, 1 << 17):
        monkeypatch.setattr(csv_file, "BLOCK", size)
        told.add(json.dumps(list(replay(Recording(path), rules, [])), sort_keys=True))
    shares = []
    told.add(json.dumps(list(replay(replace(Recording(path), progress=shares.append), rules, [])), sort_keys=True))
    assert len(told) == 1
    assert shares[-1] == 1.0


def test_t4_a_journal_whose_first_segments_are_gone_is_replayed_from_what_is_left(tmp_path):
    there = Journal.open(JournalOptions(tmp_path, segment_size=16 << 10), now_ns=T0, machine_id="m", delivered={})
    fields = {
        "kind": "configuration",
        "time": T0,
        "rules_version": "x",
        "tags": [],
        "rules": rule_set(HIGH).to_fields(),
    }
    there.append([Event(Kind.AUDIT, fields)], T0)
    seqs = []
    for second in range(3_000):
        values = array("d", [((second * 7919) % 1000) / 1000 + (10 if second == 2_990 else 0)])
        seqs += [record.seq for record in there.append([Batch(LAYOUT, T0 + second * S, values)], T0 + second * S)]
        if second % 50 == 0:
            there.sync()
    there.close()
    segments = sorted((tmp_path / "segments").glob("*.seg"))
    assert len(segments) > 2
    segments[0].unlink()
    events = list(replay(Recording(tmp_path), None, []))
    assert [(event["transition"], (event["time"] - T0) // S) for event in events] == [
        ("activated", 2_990),
        ("returned", 2_991),
    ]


HIGH = rule("high", id="r", limit=5)


def test_a_damaged_frame_of_a_journal_costs_its_readings_only(tmp_path):
    there = Journal.open(JournalOptions(tmp_path), now_ns=T0, machine_id="m", delivered={})
    for second, value in enumerate([1.0, 9.0, 9.0, 1.0]):
        there.append([Batch(LAYOUT, T0 + second * S, array("d", [value]))], T0 + second * S)
        there.sync()
    there.close()
    (segment,) = (tmp_path / "segments").glob("*.seg")
    data = bytearray(segment.read_bytes())
    frames = [place for place in range(len(data)) if data.startswith(FRAME_MAGIC, place)]
    data[frames[1] + 40] ^= 0xFF
    segment.write_bytes(data)
    events = list(replay(Recording(tmp_path), [HIGH], []))
    assert [(event["transition"], (event["time"] - T0) // S) for event in events] == [("activated", 2), ("returned", 3)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('1,"A\nB",1\n2,A,x\n', ":4: found value 'x'"),
        (f"1,A,{'1' * 200_000}\n", "expected CSV"),
        ("99999999999999999999,A,1\n", ":2: found time '99999999999999999999'"),
        (f"{'9' * 5000},A,1\n", ":2: found time"),
        ("1,A,1_0\n", ":2: found value '1_0'"),
        ("1,A,\u0661\n", None),
        ("2026-11-21T08:00:60Z,A,1\n", ":2: found time"),
        ("1,A,1\n\n\n2,A,1,5\n", ":5: found 4 columns"),
        ("1,A\n2,2,2,3\n", ":2: found 2 columns"),
    ],
)
def test_strange_rows_are_named_or_read_as_before(tmp_path, text, said):
    path = tmp_path / "data.csv"
    path.write_text("time,tag,value\n" + text)
    if said is None:
        assert list(replay(Recording(path), [HIGH], [])) == []
        return
    with pytest.raises(ReplayError) as error:
        list(replay(Recording(path), [HIGH], []))
    assert said in str(error.value)
