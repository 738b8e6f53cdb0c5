"""A valid configuration: files merged, defaults by sector, secrets masked, everything traced to its line."""

import json
import pickle
from pathlib import Path

import pytest

from agent.config.errors import ConfigError
from agent.config.fields import Duration
from agent.config.load import load, load_rules, state_dir
from agent.core.tags import Tag
from agent.prepare import prepare
from rules.settings import Settings
from tests.support.configs import DEVICE, HEAD, PLANT, RULES, loaded, problem, problems, write

INFLUX = """\
destinations:
  - {id: tsdb, kind: influxdb, url: "http://127.0.0.1:8086", bucket: davy, token: "${env:TOKEN}"}
"""


def test_devices_rules_and_destinations_are_instances_of_their_kinds(tmp_path):
    config = loaded(tmp_path, PLANT + INFLUX, env={"TOKEN": "s3cret-token"}).config
    assert config.devices[0].tags[0].address == 0
    assert config.rules[0].limit == 10.5
    assert config.destinations[0].token == "s3cret-token"


def test_tags_carry_what_rules_must_know(tmp_path):
    level, temp = loaded(tmp_path, PLANT).tags
    assert (level.id, level.device, level.range, level.kind, level.poll_ns) == (
        "T101.level",
        "plc",
        (0, 12),
        "level",
        10**9,
    )
    assert temp.scaling is not None
    assert temp.scaling.nearest(60.04) == 60.0


def test_a_share_of_the_range_becomes_a_number(tmp_path):
    text = PLANT.replace("kind: level", 'kind: level, report_change: "0.5%"')
    assert loaded(tmp_path, text).tags[0].report_change == pytest.approx(0.06)
    found = problem(tmp_path, PLANT.replace("unit: degC", 'unit: degC, report_change: "1%"'))
    assert "no range" in found.text.en


def test_q6_a_tag_may_say_when_it_is_in_fault_and_the_record_keeps_it(tmp_path):
    level, temp = loaded(tmp_path, PLANT.replace("kind: level", "kind: level, fault_after: 45s")).tags
    assert (level.fault_after_ns, temp.fault_after_ns) == (45 * 10**9, None)
    assert Tag.from_fields(level.to_fields()) == level
    found = problem(tmp_path, PLANT.replace("kind: level", "kind: level, fault_after: 0s"))
    assert "above zero" in found.text.en


def test_c5_averages_by_shift_start_at_the_sites_shifts(tmp_path):
    shift = "  - {id: twa, tag: T101.temp, condition: average, shift: {over: 8h}, limit: 50, priority: low}\n"
    assert list(loaded(tmp_path, PLANT + shift).config.rules[-1].shift.starts) == ["08:00", "20:00"]
    site = "id: s1, timezone: Asia/Shanghai, shifts: ['00:00', '08:00', '16:00']"
    rule = loaded(tmp_path, PLANT.replace("id: s1", site) + shift).config.rules[-1]
    assert (list(rule.shift.starts), rule.shift.zone) == (["00:00", "08:00", "16:00"], "Asia/Shanghai")
    wrong = problem(tmp_path, PLANT.replace("id: s1", "id: s1, shifts: ['8', '20:00']"))
    assert wrong.path == "site.shifts[0]"
    assert problem(tmp_path, PLANT.replace("id: s1", "id: s1, shifts: []")).path == "site.shifts"


def test_q7_the_site_says_when_a_rule_is_blind_and_the_record_keeps_it(tmp_path):
    path = write(tmp_path, PLANT.replace("id: s1", "id: s1, blind_after: 90s"))
    fields = json.loads(prepare(path).configuration)
    assert Settings.from_fields(fields["rules_settings"]).blind_after_ns == 90 * 10**9
    assert "expected 1s to 1d" in problem(tmp_path, PLANT.replace("id: s1", "id: s1, blind_after: 500ms")).text.en


@pytest.mark.parametrize(("sector", "keep"), [("chemical", "30d"), ("coal", "90d"), ("metal_mine", "90d")])
def test_readings_are_kept_longer_in_mines(tmp_path, sector, keep):
    text = HEAD.replace("id: s1", f"id: s1, sector: {sector}")
    assert loaded(tmp_path, text).config.journal.keep == keep
    assert loaded(tmp_path, text + "journal: {keep: 7d}\n").config.journal.keep == "7d"
    assert loaded(tmp_path, text + "journal: {commit_every: 2s}\n").config.journal.keep == keep


def test_every_entry_is_traced_to_its_line(tmp_path):
    sources = loaded(tmp_path, PLANT).sources
    assert sources["devices:plc"].line == 4
    assert sources["tags:T101.temp"].line == 10
    assert sources["rules:T101-temp-h"].line == 13


def test_a_directory_is_one_configuration(tmp_path):
    write(tmp_path, HEAD + DEVICE, "10-site.yaml")
    write(tmp_path, RULES, "20-rules.yaml")
    write(tmp_path, RULES.replace("T101-", "second-"), "30-more.yaml")
    write(tmp_path, "not: yaml: at all", "notes.txt")
    write(tmp_path, "an: editor's\n copy", ".10-site.yaml.yaml")
    result = load(tmp_path, env={})
    assert len(result.config.rules) == 4
    assert [path.name for path in result.files] == ["10-site.yaml", "20-rules.yaml", "30-more.yaml"]
    assert str(result.sources["rules:second-temp-h"]).endswith("30-more.yaml:3")


def test_a_problem_in_the_second_file_names_that_file(tmp_path):
    write(tmp_path, HEAD + DEVICE, "1.yaml")
    write(tmp_path, RULES, "2.yaml")
    write(
        tmp_path,
        RULES.replace("T101-", "x-").replace("limit: 60", "limit: no").replace("priority: high", "priority: hi"),
        "3.yaml",
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, env={})
    found = caught.value.problems
    assert [(Path(each.at.file).name, each.at.line, each.path) for each in found] == [
        ("3.yaml", 2, "rules[2].priority"),
        ("3.yaml", 3, "rules[3].limit"),
    ]


def test_a_mapping_in_two_files_is_an_error_that_names_both(tmp_path):
    write(tmp_path, PLANT, "a.yaml")
    write(tmp_path, "journal: {keep: 30d}\nsite: {id: s2}\n", "b.yaml")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, env={})
    (found,) = caught.value.problems
    assert (Path(found.at.file).name, found.at.line, found.path) == ("b.yaml", 2, "site")
    assert "a.yaml:1" in found.text.en


def test_a_file_that_cannot_be_parsed_does_not_hide_what_is_wrong_in_the_others(tmp_path):
    write(tmp_path, "site: {id: [}\n", "a.yaml")
    write(tmp_path, DEVICE.replace("unit_id: 1", "unit_id: x") + RULES, "b.yaml")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, env={})
    assert [Path(each.at.file).name for each in caught.value.problems] == ["a.yaml", "b.yaml"]


def test_an_empty_directory_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"no \*\.yaml"):
        load(tmp_path, env={})


def test_secrets_come_from_environment_file_and_credential(tmp_path):
    write(tmp_path, "from-a-file\n", "pki/token")
    write(tmp_path, "from-systemd\n", "credentials/influx")
    one, two, three = ("${env:TOKEN}", "${file:pki/token}", "${credential:influx}")
    for reference, value in ((one, "from-env"), (two, "from-a-file"), (three, "from-systemd")):
        text = PLANT + INFLUX.replace("${env:TOKEN}", reference)
        result = load(write(tmp_path, text), env={"TOKEN": "from-env"}, credentials_dir=tmp_path / "credentials")
        assert result.config.destinations[0].token == value
        shown = json.dumps(result.shown(), ensure_ascii=False)
        assert value not in shown
        assert reference in shown
        assert value not in result.secrets.mask(f"401 for token {value}")
        assert value not in repr(result.config)


def test_the_credentials_directory_is_taken_from_the_environment(tmp_path):
    write(tmp_path, "abc", "influx")
    text = PLANT + INFLUX.replace("${env:TOKEN}", "${credential:influx}")
    assert (
        load(write(tmp_path, text), env={"CREDENTIALS_DIRECTORY": str(tmp_path)}).config.destinations[0].token == "abc"
    )


def test_a_literal_secret_is_masked_too(tmp_path):
    shown = loaded(tmp_path, PLANT + INFLUX.replace("${env:TOKEN}", "literal-token")).shown()
    assert shown["destinations"][0]["token"] == "***"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("${env:TOKEN}", "environment variable TOKEN is not set"),
        ("${file:none}", "cannot be read: No such file"),
        ("${credential:influx}", "LoadCredential"),
        ("${vault:x}", "expected ${env:NAME}"),
        ("${TOKEN}", "expected ${env:NAME}"),
        ("${env:TOKEN", "expected ${env:NAME}"),
        ("${env:EMPTY}", "is empty"),
    ],
)
def test_a_secret_that_cannot_be_resolved_is_one_error_with_its_line(tmp_path, reference, why):
    found = problem(tmp_path, PLANT + INFLUX.replace("${env:TOKEN}", reference), env={"EMPTY": ""})
    assert (found.at.line, found.path) == (15, "destinations[0].token")
    assert why in found.text.en


def test_a_credential_has_no_path(tmp_path):
    text = PLANT + INFLUX.replace("${env:TOKEN}", "${credential:../shadow}")
    assert "no path" in problem(tmp_path, text, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}).text.en


def test_a_secret_in_a_wrong_place_is_not_shown_in_the_error(tmp_path):
    found = problems(tmp_path, PLANT + 'journal: {keep: "${env:TOKEN}"}\n', env={"TOKEN": "s3cret-token"})
    text = "\n".join(each.to_text(language) for each in found for language in ("en", "zh-CN"))
    assert "s3cret-token" not in text
    assert "${env:TOKEN}" in text


def test_two_dollars_are_one(tmp_path):
    text = PLANT.replace("unit: degC", 'unit: degC, name: "price $${x}"')
    assert loaded(tmp_path, text).config.devices[0].tags[1].name == "price ${x}"


def test_a_regulator_without_the_sites_codes_is_a_warning(tmp_path):
    text = PLANT + INFLUX.replace("bucket: davy", "bucket: davy, regulator: true")
    warnings = loaded(tmp_path, text, env={"TOKEN": "x"}).warnings
    assert [each.path for each in warnings] == ["site.code", "site.hazard_code"]
    assert all(each.is_warning and each.to_fields()["level"] == "warning" for each in warnings)


def test_the_state_directory_is_found_whatever_else_is_wrong(tmp_path):
    text = "agent: {name: gw1, state_dir: /srv/davy}\ndevices: 7\nx: ${env:NONE}\n"
    assert state_dir(write(tmp_path, text)) == Path("/srv/davy")
    assert state_dir(write(tmp_path, HEAD)) == Path("/var/lib/davy")


def test_rules_for_replay_need_no_tag_table(tmp_path):
    rules, tags = load_rules(write(tmp_path, RULES))
    assert [rule.id for rule in rules] == ["T101-level-h", "T101-temp-h"]
    assert [tag.id for tag in tags] == ["T101.level", "T101.temp"]


def test_tags_of_a_rules_file_are_checked_against_its_rules(tmp_path):
    tags = "tags:\n  - {id: T101.level, range: [0, 10], poll: 1s}\n"
    with pytest.raises(ConfigError, match=r"rules\[0\]\.limit"):
        load_rules(write(tmp_path, RULES + tags))
    with pytest.raises(ConfigError, match=r"tags\[0\]\.rnage: unknown key.*did you mean range"):
        load_rules(write(tmp_path, RULES + tags.replace("range", "rnage")))
    with pytest.raises(ConfigError, match=r"rules\[1\]\.tag: unknown tag; found \"T101\.temp\""):
        load_rules(write(tmp_path, RULES + tags.replace("10]", "12]")))
    _, known = load_rules(write(tmp_path, RULES + tags.replace("10]", "12]") + "  - {id: T101.temp}\n"))
    assert known[0].poll_ns == 10**9


@pytest.mark.parametrize(
    ("text", "ns"),
    [("4.35s", 4_350_000_000), ("500ms", 500_000_000), ("1.5 min", 90 * 10**9), ("36500d", 36500 * 86400 * 10**9)],
)
def test_durations_are_exact(text, ns):
    assert Duration(text).ns == ns


@pytest.mark.parametrize("text", ["5", "5 parsecs", "-5s", "s", "9" * 400 + "s", "0.0000000001s", "5 S", "1e3s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"expected a number with a unit|not a whole number"):
        Duration(text)


def test_relative_paths_are_beside_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    text = PLANT + INFLUX.replace("http:", "https:").replace("bucket: davy", "bucket: davy, ca: pki/ca.pem")
    assert problem(tmp_path, text, env={"TOKEN": "x"}).path == "destinations[0].ca"
    write(tmp_path, "-", "pki/ca.pem")
    assert loaded(tmp_path, text, env={"TOKEN": "x"}).config.destinations[0].ca == str(tmp_path / "pki/ca.pem")


def test_a_configuration_and_its_problems_survive_the_way_from_another_process(tmp_path):
    result = loaded(tmp_path, PLANT + INFLUX, env={"TOKEN": "s3cret-token"})
    copy = pickle.loads(pickle.dumps(result))
    assert copy.shown() == result.shown()
    assert copy.config.destinations[0].token == "s3cret-token"
    assert copy.config.destinations[0].timeout.ns == 10**10
    assert copy.tags == result.tags
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, HEAD + "x: 1\n")
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


@pytest.mark.parametrize("key", ["devices", "rules", "destinations"])
def test_a_list_key_with_nothing_behind_it_is_an_empty_list(tmp_path: Path, key: str) -> None:
    path = tmp_path / "davy.yaml"
    path.write_text(f"site: {{id: s1}}\nagent: {{name: gw1}}\n{key}:\n", encoding="utf-8")
    assert getattr(load(path).config, key) == ()
