"""A wrong configuration is refused with file, line, path, found and allowed; never with a traceback."""

import pytest

from agent.config.errors import ConfigError
from agent.config.load import load
from tests.support.configs import DEVICE, HEAD, PLANT, RULES, problem, problems, write


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read: No such file"):
        load(tmp_path / "nothing.yaml", env={})


def test_an_empty_file_is_named(tmp_path):
    assert "empty" in problem(tmp_path, "# nothing yet\n").text.en


def test_a_list_is_no_configuration(tmp_path):
    assert "must be a mapping" in problem(tmp_path, "- 1\n").text.en


def test_a_yaml_syntax_error_names_its_line(tmp_path):
    found = problem(tmp_path, PLANT + "journal: {keep: 30d\nhiding: x\n")
    assert "YAML syntax" in found.text.en
    assert found.at.line >= 14


def test_a_tab_is_explained(tmp_path):
    assert "not tabs" in problem(tmp_path, HEAD + "journal:\n\tkeep: 30d\n").text.en


def test_a_file_that_is_not_utf8_names_the_line(tmp_path):
    text = HEAD.encode() + "console: {}  # 德清\n".encode("gb18030")
    found = problem(tmp_path, text)
    assert found.at.line == 3
    assert "UTF-8" in found.text.en
    assert "UTF-8" in found.text.zh


def test_a_control_character_is_refused(tmp_path):
    assert "YAML" in problem(tmp_path, HEAD + "console: {listen: a\x01b}\n").text.en


def test_two_documents_in_one_file_are_refused(tmp_path):
    assert "YAML syntax" in problem(tmp_path, HEAD + "---\n" + HEAD).text.en


def test_a_key_given_twice_names_both_lines(tmp_path):
    found = problem(tmp_path, HEAD + "journal:\n  keep: 30d\n  keep: 31d\n")
    assert (found.at.line, found.path) == (5, "journal.keep")
    assert "first in line 4" in found.text.en


def test_an_unknown_key_suggests_the_nearest(tmp_path):
    found = problem(tmp_path, PLANT.replace("on_delay", "on_dealy"))
    assert (found.at.line, found.path, found.suggestion) == (12, "rules[0].on_dealy", "on_delay")
    assert "deadband" in found.allowed.en


def test_an_unknown_key_at_the_root_is_named(tmp_path):
    found = problem(tmp_path, PLANT + "destination: []\n")
    assert (found.path, found.suggestion) == ("destination", "destinations")


def test_a_wrong_type_says_what_is_right(tmp_path):
    found = problem(tmp_path, PLANT.replace("unit_id: 1", "unit_id: one"))
    assert (found.at.line, found.path, found.found) == (7, "devices[0].unit_id", '"one"')
    assert found.allowed.en == "a whole number"
    assert found.allowed.zh == "整数"


def test_a_value_that_is_not_allowed_suggests_the_nearest(tmp_path):
    found = problem(tmp_path, PLANT.replace("type: float32", "type: flaot32"))
    assert (found.at.line, found.path, found.suggestion) == (9, "devices[0].tags[0].type", "float32")
    assert "int16" in found.allowed.en


def test_a_number_out_of_range_says_the_range(tmp_path):
    found = problem(tmp_path, PLANT.replace("port: 502", "port: 70000"))
    assert found.path == "devices[0].link.port"
    assert "65535" in found.allowed.en


def test_a_bare_number_is_no_duration(tmp_path):
    found = problem(tmp_path, HEAD + "journal: {commit_every: 1}\n")
    assert found.path == "journal.commit_every"
    assert "bare number has no unit" in found.text.en
    assert "没有单位" in found.text.zh


def test_a_range_upside_down_is_refused(tmp_path):
    found = problem(tmp_path, PLANT.replace("range: [0, 12]", "range: [12, 0]"))
    assert found.path == "devices[0].tags[0].range"
    assert "low < high" in found.text.en


def test_a_missing_required_key_is_named(tmp_path):
    found = problem(tmp_path, "site: {id: s1}\n")
    assert found.path == "agent"
    assert found.text.en == "required key is missing"
    found = problem(tmp_path, PLANT.replace(", address: 2", ""))
    assert (found.at.line, found.path) == (10, "devices[0].tags[1].address")


def test_an_unknown_kind_names_those_that_exist(tmp_path):
    found = problem(tmp_path, HEAD + DEVICE.replace("driver: modbus", "driver: profinet"))
    assert "modbus, opcua" in found.allowed.en
    found = problem(tmp_path, HEAD + "destinations:\n  - {id: x, kind: influx}\n")
    assert found.suggestion == "influxdb"
    found = problem(tmp_path, PLANT.replace("condition: high, limit: 60", "condition: hihg, limit: 60"))
    assert found.suggestion in {"high", "high_high"}


def test_a_rule_without_a_condition_is_told_which_there_are(tmp_path):
    found = problem(tmp_path, PLANT.replace("condition: high, limit: 60", "limit: 60"))
    assert found.path == "rules[1].condition"
    assert "bad_quality" in found.allowed.en


def test_a_preset_on_a_tag_that_it_does_not_fit_is_refused(tmp_path):
    found = problem(tmp_path, HEAD + DEVICE + "rules:\n  - {use: gas.gbt50493, tags: [T101.level]}\n")
    assert found.path == "rules[0].tags[0]"
    assert found.allowed.en == "gas"


def test_an_id_used_twice_names_the_first(tmp_path):
    two = PLANT + "  - {id: T101-level-h, tag: T101.temp, condition: low, limit: 1, priority: low}\n"
    found = problem(tmp_path, two)
    assert (found.at.line, found.path) == (14, "rules[2].id")
    assert "davy.yaml:12" in found.text.en


def test_a_tag_id_is_unique_over_all_devices(tmp_path):
    second = DEVICE.removeprefix("devices:\n").replace("id: plc", "id: plc2").replace("T101.temp", "T102.temp")
    found = problem(tmp_path, HEAD + DEVICE + second)
    assert found.path == "devices[1].tags[0].id"
    assert "used twice" in found.text.en


def test_a_bad_id_says_what_an_id_is(tmp_path):
    found = problem(tmp_path, PLANT.replace("id: plc", "id: plc 1"))
    assert "letters" in found.allowed.en


def test_a_rule_on_an_unknown_tag_suggests_the_nearest(tmp_path):
    found = problem(tmp_path, PLANT.replace("tag: T101.temp", "tag: T101.tmep"))
    assert (found.at.line, found.path) == (13, "rules[1].tag")
    assert "T101.temp" in found.to_text()


def test_a_rule_is_not_blamed_for_a_tag_whose_device_is_wrong(tmp_path):
    found = problem(tmp_path, PLANT.replace("unit_id: 1", "unit_id: 999"))
    assert found.path == "devices[0].unit_id"


def test_a_limit_outside_the_range_is_found(tmp_path):
    found = problems(tmp_path, PLANT.replace("limit: 10.5", "limit: 13"))
    assert {each.path for each in found} == {"rules[0].limit"}


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        PLANT.replace("unit_id: 1", "unit_id: x")
        .replace("limit: 60", "limit: hot")
        .replace("site: {id: s1}", "site: {}")
    )
    text += "journal: {keep: 1}\nconsole: {listen: '0.0.0.0:80'}\n"
    found = problems(tmp_path, text)
    assert [each.path for each in found] == [
        "site.id",
        "devices[0].unit_id",
        "rules[1].limit",
        "journal.keep",
        "console.listen",
    ]
    assert [each.at.line for each in found] == sorted(each.at.line for each in found)


def test_not_a_number_is_no_limit(tmp_path):
    for text in (".nan", "nan", ".inf", "1e999"):
        assert problem(tmp_path, PLANT.replace("limit: 60", f"limit: {text}")).path == "rules[1].limit"


def test_a_list_where_a_mapping_belongs_is_refused(tmp_path):
    found = problem(tmp_path, HEAD + "journal: [1]\n")
    assert (found.found, found.allowed.en) == ("a list", "a mapping (key: value)")
    found = problem(tmp_path, HEAD + "devices: {id: a}\n")
    assert (found.path, found.allowed.en) == ("devices", "a list")
    found = problem(tmp_path, HEAD + "devices: [7]\n")
    assert (found.path, found.allowed.en) == ("devices[0]", "a mapping (key: value)")


def test_yaml_that_grows_without_end_is_refused(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    found = problems(tmp_path, HEAD + "\n".join(lines) + "\n")
    assert any("too large" in each.text.en for each in found)


def test_a_list_that_contains_itself_is_refused(tmp_path):
    found = problems(tmp_path, HEAD + "journal: &j {keep: *j}\n")
    assert any("nested too deeply" in each.text.en for each in found)


def test_merge_keys_and_yaml_tags_are_refused_in_words(tmp_path):
    assert "merge keys" in problem(tmp_path, HEAD + "journal: {<<: {keep: 30d}}\n").text.en
    assert any("YAML tags" in each.text.en for each in problems(tmp_path, HEAD + "journal: {keep: !x 30d}\n"))


def test_words_that_yaml_1_1_took_for_yes_and_no_stay_text(tmp_path):
    text = PLANT.replace("unit: degC", "unit: no, name: on, location: 12:30")
    assert load(write(tmp_path, text), env={}).config.devices[0].tags[1].unit == "no"


def test_every_problem_is_told_in_both_languages(tmp_path):
    text = (
        PLANT.replace("unit_id: 1", "unit_id: x")
        .replace("type: int16", "type: int17")
        .replace("limit: 60", "limti: 60")
    )
    for each in problems(tmp_path, text + "journal: {keep: 5}\n"):
        assert each.text.en
        assert any("\u4e00" <= letter <= "\u9fff" for letter in each.text.zh)
        fields = each.to_fields()
        assert fields["line"] > 0
        assert set(fields["message"]) == {"en", "zh-CN"}


def test_beyond_loopback_the_console_needs_tls(tmp_path):
    assert "TLS" in problem(tmp_path, HEAD + 'console: {listen: "0.0.0.0:8470"}\n').text.en


def test_rules_without_problems_give_a_configuration(tmp_path):
    config = load(write(tmp_path, PLANT), env={}).config
    assert [rule.id for rule in config.rules] == ["T101-level-h", "T101-temp-h"]
    assert config.journal.keep == "30d"
    assert RULES


def test_true_is_no_number(tmp_path):
    found = problem(tmp_path, PLANT.replace("unit_id: 1", "unit_id: true"))
    assert (found.at.line, found.path, found.found) == (7, "devices[0].unit_id", "true")
