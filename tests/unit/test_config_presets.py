"""``use:`` in the configuration: expansion, acceptance, faults at their lines, rationalisation, the export."""

import csv
import io
import json
import pickle

from agent.cli.main import main
from agent.cli.rules import COLUMNS, alarm_rows, to_csv
from agent.config.load import load_rules
from agent.config.presets import UseEntry, write_out
from agent.config.schema import config_schema
from agent.core.tags import Tag
from agent.differences import differences
from agent.prepare import prepare
from tests.support.configs import HEAD, loaded, problem, problems, write

DEVICES = """\
devices:
  - id: gds
    driver: modbus
    link: {kind: tcp, host: 10.0.0.5, port: 502}
    unit_id: 1
    tags:
      - {id: G12.lel, table: holding, address: 0, type: float32, unit: "%LEL", range: [0, 100], kind: gas, name: 泵房}
      - {id: G13.lel, table: holding, address: 2, type: float32, unit: "%LEL", range: [0, 100], kind: gas}
      - {id: G12.h2s, table: holding, address: 4, type: float32, unit: ppm, range: [0, 100], kind: gas}
"""
ACCEPTED = "accepted_by: engineer 0417, accepted_on: 2026-11-21"
USE = f"""\
rules:
  - {{use: gas.gbt50493, tags: [G12.lel, G13.lel], {ACCEPTED}}}
  - {{id: own, tag: G12.h2s, condition: high, limit: 7, deadband: 0.5, priority: high}}
  - use: gas.gbt50493.toxic
    tags: [G12.h2s]
    with: {{gas: H2S}}
    change: {{l1: {{limit: 6}}}}
"""
PLANT = HEAD + DEVICES + USE


def test_a_use_becomes_the_rules_of_its_tags(tmp_path):
    found = loaded(tmp_path, PLANT)
    enabled = {rule.id: rule.enabled for rule in found.config.rules}
    assert enabled == {
        "G12.lel:gas.gbt50493.l1": True,
        "G12.lel:gas.gbt50493.l2": True,
        "G13.lel:gas.gbt50493.l1": True,
        "G13.lel:gas.gbt50493.l2": True,
        "own": True,
        "G12.h2s:gas.gbt50493.toxic.l1": False,
        "G12.h2s:gas.gbt50493.toxic.l2": False,
    }
    assert found.config.rules[5].limit == 6
    assert found.sources["rules:G13.lel:gas.gbt50493.l1"].line == 13
    assert found.sources["rules:G12.h2s:gas.gbt50493.toxic.l2"].line == 15


def test_the_only_warning_is_that_one_is_not_accepted(tmp_path):
    (warning,) = loaded(tmp_path, PLANT).warnings
    assert (warning.path, warning.at.line) == ("rules[2].use", 15)
    assert "disabled" in warning.text.en


def test_an_acceptance_is_kept_for_the_journal_with_its_numbers(tmp_path):
    found = loaded(tmp_path, PLANT)
    (acceptance,) = found.acceptances
    fields = acceptance.to_fields()
    assert (fields["preset"], fields["accepted_by"], fields["accepted_on"]) == (
        "gas.gbt50493",
        "engineer 0417",
        "2026-11-21",
    )
    assert fields["rules"][0] == "G12.lel:gas.gbt50493.l1"
    assert (fields["basis"], fields["confidence"]) == ("GB/T 50493-2019 5.5.2", "C")
    json.dumps(fields)
    changed = loaded(tmp_path, PLANT.replace(ACCEPTED, f"change: {{l1: {{limit: 20}}}}, {ACCEPTED}"))
    assert changed.acceptances[0].digest != acceptance.digest
    assert pickle.loads(pickle.dumps(found)).acceptances == found.acceptances


def test_an_acceptance_is_an_audit_record_of_its_own_also_at_installation(tmp_path):
    new = json.loads(prepare(write(tmp_path, PLANT)).configuration)
    (found,) = differences({**new, "acceptances": {}}, new)
    assert found.path == "acceptances/gas.gbt50493:G12.lel"
    assert (found.old, found.new["accepted_by"], found.new["accepted_on"]) == (None, "engineer 0417", "2026-11-21")
    other = json.loads(prepare(write(tmp_path, PLANT.replace("0417", "0500"))).configuration)
    assert [each.path for each in differences(new, other)] == ["acceptances/gas.gbt50493:G12.lel/accepted_by"]
    without = json.loads(prepare(write(tmp_path, PLANT.replace(", " + ACCEPTED, ""))).configuration)
    gone = {each.path: each.new for each in differences(new, without)}
    assert gone["acceptances/gas.gbt50493:G12.lel"] is None


def test_name_and_date_belong_together(tmp_path):
    found = problem(tmp_path, PLANT.replace(", accepted_on: 2026-11-21", ""))
    assert "belong together" in found.text.en
    wrong = problem(tmp_path, PLANT.replace("2026-11-21", "yesterday"))
    assert (wrong.path, wrong.allowed.en) == ("rules[0].accepted_on", "YYYY-MM-DD")


def test_an_unknown_preset_names_the_nearest(tmp_path):
    found = problem(tmp_path, PLANT.replace("use: gas.gbt50493,", "use: gas.gbt50943,"))
    assert (found.path, found.at.line, found.suggestion) == ("rules[0].use", 13, "gas.gbt50493")


def test_an_unknown_tag_is_named_with_its_line(tmp_path):
    found = problem(tmp_path, PLANT.replace("tags: [G12.h2s]", "tags: [G12.h2]"))
    assert (found.path, found.at.line, found.suggestion) == ("rules[2].tags[0]", 16, "G12.h2s")


def test_a_missing_parameter_is_said_at_the_use(tmp_path):
    found = problem(tmp_path, PLANT.replace("    with: {gas: H2S}\n", ""))
    assert (found.path, found.at.line) == ("rules[2].with.gas", 15)


def test_a_fault_of_an_expanded_rule_names_rule_and_key(tmp_path):
    found = problem(tmp_path, PLANT.replace("range: [0, 100], kind: gas, name", "range: [0, 40], kind: gas, name"))
    assert (found.path, found.at.line) == ("rules[0]", 13)
    assert found.text.en.startswith("G12.lel:gas.gbt50493.l2, limit: ")


def test_a_handwritten_rule_cannot_take_the_name_of_a_presets(tmp_path):
    found = problem(tmp_path, PLANT.replace("id: own", 'id: "G12.lel:gas.gbt50493.l1"'))
    assert found.path == "rules[1].id"


def test_the_same_preset_twice_for_a_tag_is_refused(tmp_path):
    found = problems(tmp_path, PLANT + f"  - {{use: gas.gbt50493, tags: [G13.lel], {ACCEPTED}}}\n")
    assert {each.path for each in found} == {"rules[3].use"}
    assert problem(tmp_path, PLANT.replace("[G12.lel, G13.lel]", "[G12.lel, G12.lel]")).path == "rules[0].tags[1]"


def test_rules_of_recorded_data_may_use_presets(tmp_path):
    text = USE + 'tags:\n  - {id: G12.lel, unit: "%LEL", kind: gas, range: [0, 100]}\n'
    text += '  - {id: G13.lel, unit: "%LEL", kind: gas, range: [0, 100]}\n'
    text += "  - {id: G12.h2s, unit: ppm, kind: gas, range: [0, 100]}\n"
    rules, tags = load_rules(write(tmp_path, text))
    assert len(rules) == 7
    assert len(tags) == 3


def test_catalytic_sensors_latch_over_range_once_their_preset_is_accepted(tmp_path):
    def latched(text: str) -> list[bool]:
        return [tag.over_range_latch for tag in loaded(tmp_path, text).tags]

    assert latched(PLANT) == [True, True, False]
    assert latched(PLANT.replace(ACCEPTED, "with: {sensor: infrared}, " + ACCEPTED)) == [False, False, False]
    assert latched(PLANT.replace(", " + ACCEPTED, "")) == [False, False, False]
    own = PLANT.replace("kind: gas, name", "kind: gas, over_range_latch: false, name")
    assert latched(own) == [False, True, False]


def test_thousands_of_tags_expand_in_a_moment(tmp_path):
    tags = {f"G{i}": Tag(f"G{i}", unit="%LEL", kind="gas", range=(0, 100)) for i in range(3000)}
    entry = UseEntry.model_validate({"use": "gas.gbt50493", "tags": list(tags)})
    assert len(write_out([entry], list(tags.values())).rules) == 6000


def test_the_schema_knows_uses():
    assert "accepted_by" in json.dumps(config_schema())


CRITICAL = "  - {id: c, tag: G12.lel, condition: high, limit: 40, priority: critical%s}\n"
WHOLE = ", rationale: {cause: leak, consequence: fire, action: leave, time_to_respond: 2min}"


def test_critical_rules_must_be_rationalised_where_the_site_says_so(tmp_path):
    strict = PLANT.replace("site: {id: s1}", "site: {id: s1, require_rationalisation: true}")
    loaded(tmp_path, PLANT + CRITICAL % "")
    found = problem(tmp_path, strict + CRITICAL % "")
    assert (found.path, found.at.line) == ("rules[3].rationale", 19)
    assert found.text.en == (
        "critical rule c must be rationalised: missing cause, consequence, action, time_to_respond"
    )
    assert (
        "time_to_respond"
        in problem(tmp_path, strict + CRITICAL % ", rationale: {cause: a, consequence: b, action: c}").text.en
    )
    loaded(tmp_path, strict + CRITICAL % WHOLE)
    loaded(tmp_path, strict + CRITICAL % ", enabled: false")


def test_the_export_is_the_master_alarm_database(tmp_path):
    rows = alarm_rows(loaded(tmp_path, PLANT + CRITICAL % WHOLE))
    assert [row["rule"] for row in rows][:2] == ["G12.h2s:gas.gbt50493.toxic.l1", "G12.h2s:gas.gbt50493.toxic.l2"]
    by_id = {row["rule"]: row for row in rows}
    preset = by_id["G12.lel:gas.gbt50493.l2"]
    assert (preset["kind"], preset["limit"], preset["unit"], preset["deadband"]) == ("high_high", 50, "%LEL", "1%")
    assert (preset["preset"], preset["confidence"], preset["accepted_by"]) == ("gas.gbt50493", "C", "engineer 0417")
    assert by_id["G12.h2s:gas.gbt50493.toxic.l1"]["accepted_on"] is None
    assert by_id["c"]["time_to_respond"] == "2min"
    assert by_id["own"]["message_zh"] == "G12.h2s 高报警（限值 7 ppm）"
    assert all(tuple(row) == COLUMNS for row in rows)


def test_the_csv_opens_in_a_spreadsheet_and_runs_nothing(tmp_path, capsys):
    text = PLANT + CRITICAL % ", basis: '=cmd()', area: '库,区'"
    rows = list(csv.DictReader(io.StringIO(to_csv(alarm_rows(loaded(tmp_path, text))))))
    row = next(row for row in rows if row["rule"] == "c")
    assert (row["basis"], row["area"], row["enabled"]) == ("'=cmd()", "库,区", "yes")
    output = tmp_path / "alarms.csv"
    assert main(["rules", "export", "-c", str(write(tmp_path, text)), "-o", str(output)]) == 0
    assert output.read_bytes().startswith(b"\xef\xbb\xbfrule,tag,")
    assert main(["rules", "export", "--json", "-c", str(tmp_path / "davy.yaml")]) == 0
    assert json.loads(capsys.readouterr().out)[0]["tag"] == "G12.h2s"


def test_presets_are_listed_and_shown_on_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    assert main(["presets", "list"]) == 0
    assert "gas.gbt50493.toxic" in capsys.readouterr().out
    assert main(["presets", "show", "coal.aq1029"]) == 0
    shown = capsys.readouterr().out
    assert "AQ 1029-2019" in shown
    assert "T1          1.0    1.5  1.0" in shown
    assert main(["presets", "show", "coal.aq1030"]) == 2
    assert "did you mean coal.aq1029?" in capsys.readouterr().err
    assert main(["presets", "list", "--json"]) == 0
    assert {"preset", "title", "source", "confidence", "sample"} == set(json.loads(capsys.readouterr().out)[0])
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main(["presets", "show", "oel.benzene"]) == 0
    assert "6/10" in capsys.readouterr().out
