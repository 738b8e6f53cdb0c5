"""Recorded data as batches (spec/config.md, last bullet)."""

import pytest

from drivers.replay import ReplayError, batches
from rules.engine import Engine
from tests.support.rules import T0, S, rule, rule_set


def read(tmp_path, text, *, is_sorted=False, head="time,tag,value,quality\n"):
    path = tmp_path / "data.csv"
    path.write_bytes((head + text).encode() if isinstance(text, str) else head.encode() + text)
    rows = []
    for batch in batches(path, is_sorted=is_sorted):
        for i, tag in enumerate(batch.tag_ids()):
            quality = batch.quality[i] if batch.quality else 0
            rows.append((batch.at_ns, batch.t_ns(i), tag, batch.values[i], quality, batch.historical))
    return rows


def test_rows_keep_their_order_and_quality(tmp_path):
    rows = read(tmp_path, f"{T0},A,1.5,\n{T0},B,2,uncertain\n{T0 + S},A,3,bad\n")
    assert rows == [
        (T0, T0, "A", 1.5, 0, False),
        (T0, T0, "B", 2.0, 1, False),
        (T0 + S, T0 + S, "A", 3.0, 100, False),
    ]


def test_times_are_rfc_3339_to_the_nanosecond(tmp_path):
    text = "2026-11-21T08:00:00.123456789+08:00,A,1,\n2026-11-21T00:00:01Z,A,1,\n"
    rows = read(tmp_path, text)
    assert [row[1] for row in rows] == [1_795_219_200_123_456_789, 1_795_219_201_000_000_000]


def test_an_empty_value_is_bad_and_nan_is_103(tmp_path):
    rows = read(tmp_path, f"{T0},A,,good\n{T0 + 1},A,NaN,\n{T0 + 2},A,-inf,bad\n{T0 + 3},A,1e400,\n")
    assert [row[4] for row in rows] == [100, 103, 100, 103]


def test_a_row_at_or_before_its_tags_last_time_is_historical_and_at_never_falls(tmp_path):
    rows = read(tmp_path, f"{T0 + 9},A,1,\n{T0 + 5},B,1,\n{T0 + 9},A,2,\n{T0 + 6},B,3,\n{T0 + 1},A,4,\n")
    assert [(row[0] - T0, row[1] - T0, row[5]) for row in rows] == [
        (9, 9, False),
        (9, 5, False),
        (9, 9, True),
        (9, 6, False),
        (9, 1, True),
    ]


def test_sort_takes_rows_by_time(tmp_path):
    rows = read(tmp_path, f"{T0 + 9},A,1,\n{T0 + 5},B,1,\n{T0 + 1},A,4,\n", is_sorted=True)
    assert [(row[0] - T0, row[2]) for row in rows] == [(1, "A"), (5, "B"), (9, "A")]


def test_a_byte_order_mark_blank_lines_and_a_missing_quality_column_are_fine(tmp_path):
    assert len(read(tmp_path, f"{T0},A,1\n\n{T0 + 1},A,2\n", head="\ufefftime,tag,value\n")) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-21T08:00:00,A,1,\n", ":2: found time '2026-11-21T08:00:00', expected RFC 3339 with offset"),
        ("2026-13-21T08:00:00Z,A,1,\n", ":2: found time"),
        (f"{T0},A,x,\n", ":2: found value 'x', expected a number or nothing"),
        (f"{T0},A,1,\n{T0},A,1,fine\n", ":3: found quality 'fine', expected good, uncertain or bad"),
        (f"{T0},A\n", ":2: found 2 columns, expected 4"),
        (f"{T0},,1,\n", ":2: found an empty tag"),
        (f'{T0},"A,1,\n', "expected CSV"),
        (b"\xff\xfe\n", "expected UTF-8"),
    ],
)
def test_a_bad_row_is_named_with_file_line_found_and_expected(tmp_path, text, said):
    with pytest.raises(ReplayError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert "data.csv" in str(error.value)


def test_a_wrong_header_an_empty_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(ReplayError, match="expected the header time,tag,value,quality"):
        read(tmp_path, "", head="t,v\n")
    with pytest.raises(ReplayError, match="an empty file"):
        read(tmp_path, "", head="")
    with pytest.raises(ReplayError, match="a readable file"):
        list(batches(tmp_path / "none.csv", is_sorted=False))


def test_parquet_without_its_package_or_of_another_kind_is_a_clear_error(tmp_path):
    path = tmp_path / "data.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(ReplayError, match=r"pip install pyarrow|a Parquet file"):
        list(batches(path, is_sorted=False))


def test_a_full_poll_needs_no_index_and_a_layout_is_shared(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("time,tag,value\n" + "".join(f"{T0 + i * S},{tag},{i}\n" for i in range(5) for tag in "ABC"))
    read_back = list(batches(path, is_sorted=False))
    assert all(batch.index is None and batch.dt_ns is None for batch in read_back[1:])
    assert len({id(batch.layout) for batch in read_back[1:]}) == 1


def test_replay_runs_rules_over_a_file(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("time,tag,value\n" + "".join(f"{T0 + i * S},T,{v}\n" for i, v in enumerate([1, 95, 95, 95, 1])))
    engine = Engine(rule_set(rule("high", limit=90, on_delay="2s")), epoch="0")
    events = [event for batch in batches(path, is_sorted=False) for event in engine.apply_batch(batch, None)]
    assert [(e.time - T0) // S for e in events] == [3, 4]
    assert {e.cause_seq for e in events} == {None}
