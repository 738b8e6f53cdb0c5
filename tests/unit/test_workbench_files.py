"""davy test: test files, what they may say, what comes of them, and what is wrong with them."""

import json
from xml.etree import ElementTree

import pytest

from agent.cli.main import main

RULES = """
tags:
  - {id: T101.level, unit: m, range: [0, 12], kind: level}
  - {id: T102.level, unit: m}
rules:
  - {id: h, tag: T101.level, condition: high, limit: 10.5, deadband: 0.1, on_delay: 5s, off_delay: 3s, priority: high}
  - {id: silent, tag: T101.level, condition: stale, after: 30s, priority: medium}
  - {id: other, tag: T102.level, condition: low, limit: 1, priority: medium, latch: true}
"""
LONG = """
  - name: a long excursion alarms
    rule: h
    given: {T101.level: 10 10.6x9 10.45x2 10.2x5}
    do: [8s ack h seen]
    expect: [6s activated, 8s acknowledged, "15s returned -> normal"]
"""


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    (tmp_path / "rules.yaml").write_text(RULES)

    def run(tests, *options):
        (tmp_path / "t.yaml").write_text(f"rules: rules.yaml\ntests:{tests}")
        code = main(["test", str(tmp_path / "t.yaml"), *options])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def one(**keys):
    fields = {"name": "t", "rule": "h", "given": {"T101.level": "10x3"}, "expect": [], **keys}
    return "\n  - " + json.dumps({key: value for key, value in fields.items() if value is not None})


def test_a_test_that_fits_passes_in_milliseconds(run):
    code, told = run(LONG)
    assert code == 0
    assert "1 passed, 0 failed" in told


def test_nothing_else_may_come(run):
    code, told = run(one(given={"T101.level": "10.6x9"}))
    assert code == 1
    assert "+ " in told
    assert "5s h activated -> unacknowledged   unexpected" in told


def test_a_failure_shows_what_is_missing_moved_and_different_aligned_with_a_picture(run):
    expect = ["4s activated", {"at": "5s", "transition": "reset"}]
    _, told = run(one(given={"T101.level": "10x2 10.6x9"}, expect=expect))
    lines = told.splitlines()
    moved = next(line for line in lines if line.startswith("  ~ "))
    missing = next(line for line in lines if line.startswith("  - "))
    assert "4s h activated" in moved
    assert "7s h activated   moved" in moved
    assert moved.index("|") == missing.index("|")
    assert "limit 10.5 │" in told
    assert "A activated" in told
    _, told = run(one(given={"T101.level": "10.6x9"}, expect=[{"at": "5s", "transition": "activated", "value": 11}]))
    assert "value=11" in told
    assert "value=10.6   different" in told


def test_without_named_rules_every_rule_that_reads_a_given_tag_is_judged(run):
    code, told = run(one(rule=None, given={"T101.level": "10 gapx40"}, expect=[]))
    assert code == 1
    assert "30s silent activated" in told
    code, told = run(one(rule=None, given={"T101.level": "10 gapx40"}, expect=["30s silent activated"]))
    assert code == 0


def test_bad_readings_two_tags_their_own_steps_and_mappings(run):
    given = {"T101.level": {"signal": "10.6 bad(101)x3 10.6x4", "step": "2s"}, "T102.level": "0.5 2"}
    expect = [
        {"at": 0, "alarm": "other", "transition": "activated", "state": "unacknowledged", "priority": "medium"},
        "1s other returned -> latched_unacknowledged",
        "5s h activated",
        "6s other acknowledged",
        "7s other reset -> normal",
    ]
    do = ["6s ack other", {"at": "7s", "do": "reset", "alarm": "other"}]
    code, told = run(one(rule=["h", "other"], given=given, expect=expect, do=do))
    assert code == 0, told


def test_a_rejected_action_fails_unless_it_is_expected(run):
    code, told = run(one(do=["1s reset h"]))
    assert code == 1
    assert "1s reset was rejected: wrong_state" in told
    assert run(one(do=[{"at": "1s", "do": "reset", "alarm": "h", "rejected": "wrong_state"}]))[0] == 0
    assert run(one(do=[{"at": "1s", "do": "reset", "alarm": "h", "rejected": "superseded"}]))[0] == 1


def test_recorded_data_brings_its_own_time(run, tmp_path):
    rows = [f"2026-11-21T08:00:{i:02d}+08:00,T101.level,{10.6 if i > 2 else 10}" for i in range(12)]
    (tmp_path / "d.csv").write_text("\n".join(["time,tag,value", *rows]))
    assert run(one(given=None, data="d.csv", expect=["8s activated"]))[0] == 0
    assert run(one(given=None, data="d.csv", expect=["2026-11-21T08:00:08+08:00 activated"]))[0] == 0


def test_the_same_noise_every_time_and_another_for_another_seed(run):
    picture = [run(one(given={"T101.level": "10.5±0.4x60"}, seed=seed, expect=["1s reset"]))[1] for seed in (1, 1, 2)]
    cut = [text.partition("passed")[0][:-2] for text in picture]
    assert cut[0] == cut[1] != cut[2]


@pytest.mark.parametrize(
    ("keys", "line", "said"),
    [
        ({"rule": "g"}, 3, "no such rule in"),
        ({"given": {"T101.leve": "1"}}, 3, "did you mean T101.level?"),
        ({"given": {"T101.level": "1y"}}, 3, "found '1y' at character 1"),
        ({"expect": ["5 activated"]}, 3, "found time '5', expected a number with its unit"),
        ({"expect": ["5s h raised"]}, 3, "found transition 'raised', expected one of acknowledged, activated"),
        ({"expect": ["5s g activated"]}, 3, "no such rule"),
        ({"do": ["5s akk h"]}, 3, "found action 'akk', expected one of acknowledge"),
        ({"do": ["5s ack hh"]}, 3, "no such rule"),
        ({"do": [5]}, 3, "expected an action such as '12s ack RULE'"),
        ({"do": [{"at": "5s", "do": "shelve", "alarm": "h", "until": "soon"}]}, 3, "found time 'soon'"),
        ({"do": [{"at": "5s", "do": "clock"}]}, 3, "clock: expected the key step"),
        ({"expect": [{"at": "5s", "transition": "activated", "colour": "red"}]}, 3, "found key 'colour'"),
        ({"step": "0s"}, 3, "expected a step above zero"),
        ({"expects": []}, 3, "unknown key"),
        ({"expect": None}, 3, "required key is missing"),
        ({"scenario": "leak", "given": None}, 3, "site and scenario belong together"),
        ({"data": "none.csv", "given": None}, 3, "no such file"),
        ({"data": "none.csv"}, 3, "expected one of given, data and scenario"),
        ({"rule": None, "given": {"T101.level": "1", "T102.level": "1"}, "expect": ["1s activated"]}, 3, "which rule?"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_what_is_right(run, tmp_path, keys, line, said):
    code, told = run(one(**keys))
    assert code == 2
    assert f"{tmp_path / 't.yaml'}:{line}" in told
    assert said in told


def test_a_shelving_ends_by_itself_and_maintenance_keeps_readings_out(run):
    shelved = ["1s shelved", {"at": "8s", "transition": "activated", "annunciated": False}]
    shelved += ["21s unshelved", {"at": "21s", "transition": "activated", "annunciated": True}]
    case = one(given={"T101.level": "10x3 10.6x30"}, do=["1s shelve h 20s calibration"], expect=shelved)
    assert run(case)[0] == 0
    case = one(
        given={"T101.level": "10x3 10.6x40"}, do=["1s maintenance T101.level 20s new cell"], expect=["27s activated"]
    )
    code, told = run(case)
    assert code == 0, told


def test_t9_a_stop_of_the_agent_and_a_step_of_its_clock_can_be_played(run):
    do = [{"at": "59s", "do": "start", "previous_end": "3s"}]
    given = {"T101.level": "10 10.6x2 gap for 57s 10.6x2"}
    code, told = run(one(given=given, do=do, expect=[{"at": "60s", "transition": "activated"}]))
    assert code == 0, told
    do = [{"at": "3s", "do": "clock", "step": "1h"}]
    code, told = run(one(given={"T101.level": "10.6x3"}, do=do, until="2h", expect=["1h5s activated"]))
    assert code == 0, told


def test_junit_and_json_say_the_same(run, tmp_path):
    code, told = run(LONG + one(expect=["1s h activated"]), "--json", "--junit", str(tmp_path / "j.xml"))
    assert code == 1
    result = json.loads(told)
    assert (result["tests"], result["passed"], result["failed"]) == (2, 1, 1)
    assert result["results"][1]["transitions"] == [{"verdict": "missing", "expected": "1s h activated", "got": None}]
    suite = ElementTree.parse(tmp_path / "j.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "1s h activated" in suite.find("testcase/failure").get("message")


def test_coverage_names_what_no_test_tries(run):
    code, told = run(LONG, "--coverage", "--json")
    assert code == 0
    coverage = json.loads(told)["coverage"]
    missing = {(item["rule"], item["item"]) for item in coverage["missing"]}
    assert ("h", "on_delay broken") in missing
    assert ("h", "off_delay broken") in missing
    assert ("h", "on_delay satisfied") not in missing
    assert ("h", "state acknowledged reached") not in missing
    assert ("h", "state returned_unacknowledged reached") in missing
    assert ("other", "limit approached from the normal side") in missing
    broken = one(
        given={"T101.level": "10 10.6x3 10.2x2 10.6x7 10.2x2 10.6x2 10.2x4"}, expect=["11s activated", "20s returned"]
    )
    _, told = run(LONG + broken, "--coverage", "--json")
    left = {item["item"] for item in json.loads(told)["coverage"]["missing"] if item["rule"] == "h"}
    assert left == set()
    assert run(LONG, "--coverage-min", "99")[0] == 1


CONFIG = """
site: {{id: s}}
agent: {{name: a, state_dir: {0}}}
devices:
  - {{id: d, driver: modbus, link: {{kind: tcp, host: 127.0.0.1}}, unit_id: 1,
     tags: [{{id: T, table: holding, address: 0, type: float32}}]}}
destinations: [{{id: p, kind: mqtt, url: "mqtts://${{env:NOT_SET}}:8883", ca: nowhere.pem}}]
rules:
  - {{id: h, tag: T, condition: high, limit: 5, priority: medium}}
  - {{id: l, tag: T, condition: low, limit: 1, priority: medium}}
"""


def test_a_whole_configuration_needs_no_secrets_or_certificates_on_the_desk(run, tmp_path):
    (tmp_path / "rules.yaml").write_text(CONFIG.format(tmp_path))
    code, told = run(one(given={"T": "3 6"}, expect=["1s activated"]))
    assert code == 0, told


def test_require_tested_refuses_rules_without_a_passing_test(tmp_path, capfd):
    from agent.cli.tested import require_tested

    config = tmp_path / "davy.yaml"
    config.write_text(CONFIG.format(tmp_path))
    assert require_tested(config) == 2
    assert "rule h has no passing test" in capfd.readouterr().err
    (tmp_path / "tests").mkdir()
    test = "rules: ../davy.yaml\ntests: [{name: t, given: {T: 3 6}, expect: [1s h activated]}]"
    (tmp_path / "tests" / "t.yaml").write_text(test)
    assert require_tested(config) == 0
    (tmp_path / "tests" / "t.yaml").write_text(test.replace("1s", "2s"))
    assert require_tested(config) == 2
    assert "test fails" in capfd.readouterr().err
    (tmp_path / "tests" / "t.yaml").write_text(test.replace("given", "rule: h, given"))
    assert require_tested(config) == 2
    assert "rule l has no passing test" in capfd.readouterr().err
