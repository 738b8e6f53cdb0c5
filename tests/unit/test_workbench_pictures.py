"""Comparison, picture, JUnit and occurrences: the pure parts of the workbench."""

import importlib
from xml.etree import ElementTree

import pytest

from drivers.replay import ReplayError, batches
from rules.testing.changes import Occurrence, Occurrences, changes
from rules.testing.diff import cells, compare, render
from rules.testing.junit import Outcome, junit
from rules.testing.plot import Trace, plot
from rules.testing.testfile import parse_expected
from tests.support.rules import T0, Plant, S, rule


def events(*values):
    plant = Plant(rule("high", id="r", limit=8))
    plant.signal(*values)
    return [event for event in plant.events if event.alarm == "r"]


def verdicts(expected, got):
    return [line.verdict.value for line in compare([parse_expected(each) for each in expected], got, T0, "r")]


def test_each_expectation_is_paired_with_the_nearest_event_of_its_kind():
    got = events(1, 9, 1, 9)
    assert verdicts(["1s activated", "2s returned", "3s activated"], got) == ["same"] * 3
    assert verdicts(["1s activated", "2s returned", "4s activated"], got) == ["same", "same", "moved"]
    assert verdicts(["2s activated", "2s returned"], got) == ["same", "moved", "unexpected"]
    assert verdicts(["1s reset"], []) == ["missing"]


def test_the_columns_of_a_comparison_are_aligned_for_chinese_names_too():
    plant = Plant(rule("high", id="一号罐液位高", limit=8))
    plant.signal(1, 9)
    wanted = [parse_expected("1s 一号罐液位高 activated"), parse_expected("5s r reset")]
    lines = render(compare(wanted, plant.events, T0, None)).splitlines()
    assert len({cells(line.partition("|")[0]) for line in lines if "|" in line}) == 1


def trace(*values, limit=5.0):
    return Trace("r", limit, [T0 + i * S for i in range(len(values))], list(values))


def test_a_picture_shows_signal_limit_bad_readings_and_times():
    lines = plot(trace(0.0, 10.0, None, 4.0), T0, width=40, height=5).splitlines()
    assert "limit 5 │" in lines[2]
    assert lines[0].count("●") == 1
    assert lines[4].count("x") == 1
    assert lines[-1].split() == ["0s", "3s"]
    assert max(len(line) for line in lines) <= 40


def test_a_picture_of_a_constant_of_nothing_and_of_one_sample_can_be_drawn():
    assert "●" in plot(trace(5.0, 5.0), T0)
    assert "●" in plot(trace(0.0, limit=None), T0)
    assert plot(trace(None, None), T0) == ""
    assert len(plot(trace(*[float(i % 7) for i in range(5_000)]), T0).splitlines()) == 12


def test_junit_survives_what_xml_cannot_hold():
    text = junit(
        [Outcome("a.yaml", "name \x00 <&>", 3, 0.5, "  - 1s \x1b[31m missing"), Outcome("b.yaml", "b", 1, 0, None)]
    )
    suites = ElementTree.fromstring(text).findall("testsuite")
    assert [suite.get("failures") for suite in suites] == ["1", "0"]
    assert suites[0].find("testcase").get("name") == "name ? <&>"


def of(*spans):
    gathered = Occurrences()
    gathered.by_alarm["r"] = [Occurrence("r", start, end) for start, end in spans]
    return gathered


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ([(1, 5)], [(1, 5)], []),
        ([(1, 5)], [(5, 6)], ["moved"]),
        ([(1, 5)], [(6, 7)], ["removed", "added"]),
        ([(1, None)], [(100, 200), (300, None)], ["moved", "added"]),
        ([(1, 9)], [(1, 3), (5, 9)], ["moved", "added"]),
        ([], [(1, 2)], ["added"]),
        ([(1, 2), (4, 5)], [(4, 5)], ["removed"]),
    ],
)
def test_occurrences_that_overlap_are_one(before, after, kinds):
    assert [change.kind for change in changes(of(*before), of(*after))] == kinds


def test_every_occurrence_is_counted_once_whichever_way_the_rules_are_compared():
    one, other = of((1, 5), (7, 9), (20, None)), of((2, 3), (4, 8), (30, 31))
    there, back = changes(one, other), changes(other, one)
    count = {"added": "removed", "removed": "added", "moved": "moved"}
    assert sorted(change.kind for change in there) == sorted(count[change.kind] for change in back)
    assert sum(change.before is not None for change in there) <= one.total


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    real = importlib.import_module

    def missing(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ReplayError, match="davy-agent\\[parquet\\]"):
        list(batches(tmp_path / "data.parquet", is_sorted=False))


def test_parquet_that_is_something_else_is_named(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "data.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(ReplayError, match="a Parquet file"):
        list(batches(path, is_sorted=False))
    pyarrow.parquet.write_table(pyarrow.table({"time": [1], "tag": ["A"]}), path)
    with pytest.raises(ReplayError, match="expected columns time, tag, value, quality"):
        list(batches(path, is_sorted=False))
    bare = pyarrow.array([1], pyarrow.timestamp("ns"))
    pyarrow.parquet.write_table(pyarrow.table({"time": bare, "tag": ["A"], "value": [1.0]}), path)
    with pytest.raises(ReplayError, match="a timestamp with a time zone"):
        list(batches(path, is_sorted=False))
    pyarrow.parquet.write_table(pyarrow.table({"time": [1, 2], "tag": ["A", None], "value": [1.0, 2.0]}), path)
    with pytest.raises(ReplayError, match=":2: found a row without time or tag"):
        list(batches(path, is_sorted=False))
    pyarrow.parquet.write_table(pyarrow.table({"time": [1], "tag": ["A"], "value": ["high"]}), path)
    with pytest.raises(ReplayError, match=r"data\.parquet"):
        list(batches(path, is_sorted=False))
