"""Slips that an engineer makes in a rules file: each is said in words that tell what to write instead."""

import pytest

from agent.cli.main import main
from rules.testing.plot import Trace, legend, plot

HEAD = """
tags:
  - {id: T201.level, unit: m, range: [0, 15], kind: level, poll: 10s}
  - {id: G1-x.h2s, unit: ppm, range: [0, 100], kind: gas, poll: 1s}
  - {id: fan.running, kind: state, poll: 1s}
rules:
"""
TEST = "rules: rules.yaml\ntests:\n  - {name: x, given: {T201.level: 1x3}, expect: []}\n"


@pytest.fixture
def say(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    def say(rules, *command):
        (tmp_path / "rules.yaml").write_text(HEAD + rules, encoding="utf-8")
        (tmp_path / "tests.yaml").write_text(TEST)
        code = main([str(tmp_path / word) if word.endswith((".yaml", ".csv")) else word for word in command])
        told = capsys.readouterr()
        return code, told.out + told.err

    return say


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{tag: T201.levl, condition: high, limit: 10}", 'unknown tag; found "T201.levl"; did you mean T201.level?'),
        ("{condition: expression, expression: fan.runing == 0}", "column 1: unknown tag fan.runing; did you mean"),
        ("{condition: expression, expression: G1-x.h2s > 10}", "a name with - is written in quotes: 'G1-x.h2s'"),
        ("{condition: expression, expression: fan.running == 0 AND T201.level > 1}", "found 'AND'; write and"),
        ("{tag: T201.level, condition: high, limit: 10,5}", "a number is written 10.5"),
        ("{tag: T201.level, condition: high, limit： 10}", "unknown key without a value"),
        (
            "{use: exposure.stel_twa, tags: [G1-x.h2s], with: {gas: H2S}}",
            "it has no limit for gas: H2S; davy presets show",
        ),
    ],
)
def test_a_slip_in_a_rule_is_told_with_what_to_write(say, rule, said):
    own = "" if "use:" in rule else "id: a, priority: low, "
    code, told = say("  - {" + own + rule[1:], "test", "tests.yaml")
    assert code == 2
    assert "rules.yaml:7: rules[0]" in told
    assert said in told


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("  - id： a\n    tag: T201.level\n", "a full-width colon"),
        ("  - id: a\n     tag: T201.level\n", "keys of one entry begin in the same column"),
    ],
)
def test_a_slip_in_the_yaml_is_told_with_what_to_write(say, rules, said):
    code, told = say(rules, "test", "tests.yaml")
    assert code == 2
    assert said in told


def test_a_rules_file_given_as_a_configuration_is_one_problem(say):
    code, told = say(
        "  - {id: a, tag: T201.level, condition: high, limit: 1, priority: low}\n", "check", "-c", "rules.yaml"
    )
    assert code == 2
    assert "a rules file, not a configuration" in told
    assert len(told.splitlines()) == 1


def test_a_replay_names_the_tags_that_the_recording_lacks(say, tmp_path):
    rules = "  - {id: a, tag: T201.level, condition: high, limit: 1, priority: low}\n"
    rows = "time,tag,value,quality\n2026-11-21T08:00:00+08:00,T909.level,3,good\n"
    (tmp_path / "data.csv").write_text(rows)
    code, told = say(rules, "replay", "data.csv", "--rules", "rules.yaml")
    assert code == 0
    assert "has no reading of T201.level: their rules were not tried" in told
    (tmp_path / "data.csv").write_text(rows.replace("T909", "T201"))
    assert "no reading" not in say(rules, "replay", "data.csv", "--rules", "rules.yaml")[1]


def test_a_preset_shows_all_that_a_test_of_it_must_know(say):
    code, told = say("", "presets", "show", "gas.gbt50493.toxic")
    assert code == 0
    assert "l2    high_high  oel x 2  1%        -         30s        high      yes    mg/m3 ppm" in told


def test_the_picture_of_a_time_to_limit_is_about_its_horizon(say, tmp_path):
    keys = "condition: time_to_limit, limit: 14, window: 5min, horizon: 30min, priority: low"
    rules = f"  - {{id: a, tag: T201.level, {keys}}}\n"
    signal = "12 for 5min 12..14 over 60min"
    text = TEST.replace("1x3", signal).replace("name: x", "name: x, step: 10s")
    (tmp_path / "far.yaml").write_text(text)
    code, told = say(rules, "test", "far.yaml")
    assert code == 1
    assert "limit 1800" in told
    assert "3600 │" in told


def test_the_scale_of_a_picture_shows_no_dust_of_the_arithmetic():
    trace = Trace("a", 1.0, [0, 1, 2], [-5e-15, 2.0, None])
    assert "e-15" not in plot(trace, 0)
    assert legend(trace) == "x bad or not known yet"
