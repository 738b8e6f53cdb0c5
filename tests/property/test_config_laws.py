"""Whatever is done to a configuration: it loads, or it is a ConfigError with a line; never anything else."""

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.document import plain_value
from agent.config.errors import ConfigError, Problem
from agent.config.load import load, load_rules
from tests.support.configs import PLANT, write

TEXT = (
    PLANT
    + """\
  - {id: s, tag: T101.temp, condition: stale, after: 30s, priority: medium}
  - {id: r, tag: T101.temp, condition: rate, limit: 2.0, per: min, window: 60s, priority: low}
  - {id: x, tag: T101.level, condition: state, values: [1, 2], on_bad: alarm, priority: critical}
destinations:
  - {id: tsdb, kind: influxdb, url: "http://127.0.0.1:8086", bucket: davy, token: "${env:TOKEN}", timeout: 5s}
  - {id: mq, kind: mqtt, url: "mqtt://127.0.0.1", commands: [receipt]}
journal: {max_size: 8GiB, keep: 30d}
hiding: {max_hidden: 10%}
console: {listen: "127.0.0.1:8470"}
"""
)
CSV = "id,table,address,type,range\nA,holding,40001,uint16,0..12\nB,coil,1,bool,\n"
ODD = [
    *("", "null", "true", "-1", "0", "1e400", "-1e-400", "9" * 400, "nan", ".inf", "[]", "{}", "[[[]]]", "{a: {b: c}}"),
    *("x" * 70, "'5s'", "0s", "1.5ms", "9999999999d", "0B", "10%", "-", "a b", "${env:TOKEN}", "${env:}", "${file:/}"),
    *("&a x", "*a", "!!int x", "2026-11-21", "12:30", "on", "0x1F", "1_000", "~", "|", "?", "\\", '"\\u0000"'),
    *('"\\ud800"', "罐", "\t", "# x", "<<"),
]
KEYS = [
    "site",
    "agent",
    "devices",
    "rules",
    "destinations",
    "journal",
    "id",
    "driver",
    "tags",
    "condition",
    "kind",
    "use",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
)


def try_load(text: str, csv: str = CSV) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "tags.csv").write_bytes(csv.encode("utf-8", "surrogatepass"))
        path = directory / "davy.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load(path, env={"TOKEN": "s3cret-token"}).shown()
        except ConfigError as error:
            check_problems(error.problems, name)


def check_problems(problems: Sequence[Problem], directory: str) -> None:
    assert problems
    for problem in problems:
        assert problem.at.file.startswith(directory)
        for language in ("en", "zh-CN"):
            assert "s3cret-token" not in problem.to_text(language)
        json.dumps(problem.to_fields())


def test_the_text_that_is_changed_here_is_valid(tmp_path):
    assert len(load(write(tmp_path, TEXT), env={"TOKEN": "s3cret-token"}).config.rules) == 5


@given(st.data())
def test_any_value_replaced_by_any_other(data):
    words = [word for word in sorted(set(TEXT.replace(",", " ").replace("}", " ").split())) if len(word) > 1]
    word = data.draw(st.sampled_from(words))
    try_load(TEXT.replace(word, data.draw(st.sampled_from(ODD) | st.text(max_size=12)), data.draw(st.integers(1, 3))))


@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.text(max_size=6))
def test_any_part_cut_out_and_anything_put_there(start, length, text):
    try_load(TEXT[:start] + text + TEXT[start + length :])


@given(st.randoms(use_true_random=False))
def test_lines_in_any_order_and_number(source: random.Random):
    lines = TEXT.splitlines()
    try_load("\n".join(source.choice(lines) for _ in range(source.randint(1, 40))))


@given(
    st.sampled_from(["id", "table", "address", "type", "range", "40001", "uint16", "0..12", "coil", "A", ","]),
    st.sampled_from(ODD) | st.text(max_size=8),
)
def test_any_cell_of_a_table_replaced_by_any_other(cell, other):
    try_load(TEXT.replace("    tags:\n", "    tags_from: tags.csv\n    tags:\n"), CSV.replace(cell, other))


@given(VALUES)
def test_any_json_is_a_configuration_or_an_error(value):
    try_load(json.dumps(value))


def test_a_rules_file_is_as_forgiving(tmp_path):
    for text in ("", "rules: 7", "rules: [7]", "rules: [{}]", "tags: [{id: 1}]", "rules: [{use: x}]", "x: 1"):
        with pytest.raises(ConfigError):
            load_rules(write(tmp_path, text))


@given(st.text(max_size=20))
def test_a_plain_scalar_is_a_value_of_a_json_type(text):
    assert isinstance(plain_value(text), str | int | float | bool | None)
