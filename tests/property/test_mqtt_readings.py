"""Laws of the readings encoder: every value comes back bit for bit, every record once, in order."""

import json
import math
from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agent.core.batch import Batch, Layout, Source
from agent.core.records import Kind, Record
from agent.destinations.filters import ChangeFilter
from agent.destinations.readings import Encoder, Origin, plan
from agent.destinations.schemas import READINGS
from tests.support.memory_journal import is_same

ENCODER = Encoder(Origin("s1", "gw1", "e1"))
LAYOUTS = [
    Layout("d1", ("a", "b", "c")),
    Layout("d2", ("b", "x")),
    Layout("d3", ("液位",), Source.SIMULATOR),
    Layout("d4", tuple(f"t{i}" for i in range(8)), Source.DEVICE),
    Layout("d5", ("p", "q")),
]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    layout = draw(st.sampled_from(LAYOUTS))
    if draw(st.booleans()):
        count, index = len(layout.tags), None
    else:
        positions = draw(st.lists(st.integers(0, len(layout.tags) - 1), min_size=1, unique=True))
        count, index = len(positions), array("I", positions)
    number = st.one_of(st.floats(width=64), st.just(math.nan), st.sampled_from([0.0, -0.0, 5e-324, 1e308, 0.1]))
    values = array("d", draw(st.lists(number, min_size=count, max_size=count)))
    bytes_or_none = st.one_of(st.none(), st.lists(st.sampled_from([0, 2, 101]), min_size=count, max_size=count))
    quality = draw(bytes_or_none)
    dt = draw(st.one_of(st.none(), st.lists(st.integers(-(2**62), 2**62), min_size=count, max_size=count)))
    exact = draw(st.dictionaries(st.integers(0, count - 1), st.text(max_size=5), max_size=2))
    return Batch(
        layout,
        draw(st.integers(0, 2**62)),
        values,
        None if quality is None else bytes(quality),
        index,
        None if dt is None else array("q", dt),
        exact=exact,
        historical=draw(st.booleans()),
        exercise=draw(st.booleans()),
    )


def records(found: list[Batch]) -> list[Record]:
    return [Record(3 * seq + 1, Kind.READINGS, batch) for seq, batch in enumerate(found)]


def assert_block_is(block: dict[str, Any], tags: list[str], batch: Batch) -> None:
    count = len(batch)
    names = tags if "i" not in block else [tags[i] for i in block["i"]]
    assert tuple(names) == batch.tag_ids()
    assert block["t"] == batch.at_ns
    assert block.get("dt", [0] * count) == list(batch.dt_ns or [0] * count)
    values, quality = block["v"], block.get("q", [0] * count)
    if values is None:
        values, quality = [None] * count, [quality] * count
    assert bytes(quality) == (batch.quality or bytes(count))
    texts = block.get("x", {})
    for at, sent in enumerate(batch.values):
        if at in batch.exact:
            assert texts[str(at)] == batch.exact[at]
        elif math.isinf(sent):
            assert float(texts[str(at)]) == sent
        else:
            assert is_same(sent, values[at])


@given(st.lists(batches(), min_size=1, max_size=12), st.integers(1, 2_000))
def test_what_is_decoded_is_what_was_sent(found: list[Batch], message_bytes: int) -> None:
    sent = records(found)
    fresh = Encoder(Origin("s1", "gw1", "e1"))
    after = 0
    received: list[int] = []
    for part in plan(sent, message_bytes):
        text = fresh.encode(part, after)
        assert text == ENCODER.encode(part, after), "what it remembers changes nothing"
        message = json.loads(text)
        Draft202012Validator(READINGS).validate(message)
        assert message["after"] == after
        for record, block in zip(part, message["blocks"], strict=True):
            assert record.batch is not None
            assert (message["source"], message["historical"]) == (record.batch.layout.source, record.batch.historical)
            assert message.get("exercise", False) == record.batch.exercise
            assert block["seq"] == record.seq
            assert_block_is(block, message["tags"], record.batch)
            received.append(block["seq"])
        after = part[-1].seq
    assert received == [record.seq for record in sent]


@given(
    st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=1, max_size=30),
    st.floats(0.01, 5),
    st.lists(st.integers(1, 30), max_size=5),
)
def test_report_change_keeps_the_receiver_within_the_threshold_however_chunks_are_cut_and_repeated(
    rows: list[list[float]], threshold: float, cuts: list[int]
) -> None:
    sent = records([Batch(LAYOUTS[0], at, array("d", row)) for at, row in enumerate(rows)])
    change = ChangeFilter({"a": threshold, "b": threshold})
    shown: dict[str, float] = {}
    start = 0
    kept = dropped = 0
    for end in [*sorted(set(cuts)), len(sent)]:
        part = sent[start:end]
        start = max(start, min(end, len(sent)))
        assert [r.seq for r in change.apply(part).records] == [r.seq for r in change.apply(part).records]
        passed = change.apply(part)
        passed.commit()
        by_seq = {record.seq: record for record in passed.records}
        dropped += passed.filtered_readings
        for record in part:
            assert record.batch is not None
            left = by_seq.get(record.seq)
            if left is not None and left.batch is not None:
                kept += len(left.batch)
                shown |= dict(zip(left.batch.tag_ids(), left.batch.values, strict=True))
            real = dict(zip(record.batch.tag_ids(), record.batch.values, strict=True))
            assert abs(shown["a"] - real["a"]) < threshold or shown["a"] == real["a"]
            assert shown["c"] == real["c"], "a tag without report_change always passes"
    assert kept + dropped == 3 * len(rows)
