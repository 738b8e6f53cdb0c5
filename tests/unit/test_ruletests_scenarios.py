"""Rule tests over simulated sites: what the instruments show in virtual time, and what is said of wrong names."""

import json
import math
import shutil

import pytest

from agent.cli.main import main
from agent.core.batch import READINGS_MAX
from agent.core.quality import Quality
from simulator.readings import readings
from simulator.scenario import Scenario, truth
from simulator.site import SITES, Site, find_site, load_site
from simulator.world import World

SITE = load_site(find_site("tank_farm"))
DEMO = SITE.scenarios["demo"]
START_NS = 1_767_571_200_000_000_000
SECOND = 1_000_000_000
RULES = """
tags:
  - {id: T101.level, unit: m, range: [0, 12], kind: level, poll: 1s}
  - {id: T101.hh, kind: state, poll: 1s}
rules:
  - {id: h, tag: T101.level, condition: high, limit: 10.5, deadband: 0.1, on_delay: 10s, off_delay: 30s, priority: high}
  - {id: hh, tag: T101.hh, condition: state, values: [1], priority: critical}
"""


def scenario(*steps, duration="100s") -> Scenario:
    return Scenario.model_validate({"duration": duration, "steps": steps})


def series(batches, tag) -> list[tuple[float, float, int]]:
    """Seconds since the start, value, quality."""
    found = []
    for batch in batches:
        for i, name in enumerate(batch.tag_ids()):
            if name == tag:
                quality = 0 if batch.quality is None else batch.quality[i]
                found.append(((batch.t_ns(i) - START_NS) / SECOND, batch.values[i], quality))
    return found


def play(played: Scenario, site: Site = SITE, step_ns: int = SECOND, **options):
    return readings(site, played, step_ns=step_ns, start_ns=START_NS, **options)


def test_the_instruments_show_what_the_world_shows_at_that_time():
    world = World(SITE, DEMO)
    for at_s, value, _ in series(play(DEMO, step_ns=60 * SECOND), "T101.level")[:40]:
        world.advance_to(round(at_s * SECOND))
        assert value == world.value("T101.level")


def test_every_instrument_of_the_site_has_a_value_at_every_step_until_the_scenario_ends():
    batches = list(play(scenario(duration="10s"), step_ns=5 * SECOND))
    seen = {(batch.at_ns - START_NS, tag) for batch in batches for tag in batch.tag_ids()}
    assert seen == {(at, each.id) for at in (0, 5 * SECOND, 10 * SECOND) for each in SITE.instruments}


def test_the_same_seed_gives_the_same_readings_and_another_one_other_noise():
    def levels(seed):
        return series(play(scenario(duration="20s"), seed=seed), "T101.press")

    assert levels(7) == levels(7)
    assert levels(7) != levels(8)
    assert levels(None) == levels(SITE.seed)


def test_a_cut_wire_is_a_sensor_fault_while_it_lasts():
    cut = scenario({"at": "10s", "until": "20s", "fault": "open", "target": "T101.level"})
    found = series(play(cut, step_ns=10 * SECOND), "T101.level")
    assert [quality for _, _, quality in found[:4]] == [0, Quality.SENSOR_FAULT, 0, 0]
    assert math.isnan(found[1][1])


@pytest.mark.parametrize(("fault", "quality"), [("silent", Quality.COMM_FAIL), ("exception", Quality.DEVICE)])
def test_a_device_that_fails_takes_all_its_tags_with_it_and_no_others(fault, quality):
    broken = scenario({"at": "10s", "until": "20s", "fault": fault, "target": "tankfarm"})
    batches = list(play(broken, step_ns=10 * SECOND))
    for tag in ("T101.level", "T102.hh"):
        assert [each[2] for each in series(batches, tag)[:3]] == [0, quality, 0]
    assert {each[2] for each in series(batches, "G11.lel")} == {0}


def test_what_happens_to_the_network_beyond_the_agent_changes_nothing():
    dead = scenario({"at": "10s", "fault": "silent", "target": "network"})
    assert series(play(dead), "T101.level") == series(play(scenario()), "T101.level")


def test_playing_a_scenario_leaves_its_truth_as_it_was():
    before = truth(DEMO)
    list(play(DEMO, step_ns=600 * SECOND))
    assert truth(DEMO) == before


def test_instruments_that_no_device_shows_have_values_too():
    raw = SITE.model_dump(mode="json")
    raw["devices"], raw["scenarios"] = [], {}
    site = Site.model_validate(raw)
    tags = {tag for batch in play(scenario(duration="1s"), site) for tag in batch.tag_ids()}
    assert tags == {each.id for each in SITE.instruments}


def test_a_poll_of_a_large_device_comes_in_batches_that_the_journal_takes():
    raw = SITE.model_dump(mode="json")
    one = {"id": "x", "measures": "T101.level", "unit": "m"}
    raw["instruments"] = [{**one, "id": f"x{i}"} for i in range(READINGS_MAX + 1)]
    raw["devices"], raw["scenarios"] = [], {}
    sizes = [len(batch) for batch in play(scenario(duration="1s"), Site.model_validate(raw))]
    assert sizes == [READINGS_MAX, 1] * 2


# ---- davy test


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    (tmp_path / "rules.yaml").write_text(RULES)

    def run(rules="rules.yaml", **keys):
        fields = {"name": "t", "site": "tank_farm", "scenario": "demo", "step": "5s", "expect": [], **keys}
        test = json.dumps({key: value for key, value in fields.items() if value is not None})
        (tmp_path / "t.yaml").write_text(f"rules: {rules}\ntests:\n  - {test}")
        code = main(["test", str(tmp_path / "t.yaml")])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def test_a_test_names_a_ready_made_site_and_its_scenario(run):
    code, told = run(rule="hh", until="25min", expect=["24min20s activated"])
    assert code == 0, told


def test_a_site_may_stand_beside_the_test_file(run, tmp_path):
    (tmp_path / "plant").mkdir()
    shutil.copy(SITES / "tank_farm" / "site.yaml", tmp_path / "plant")
    for site in ("plant", "plant/site.yaml"):
        code, told = run(site=site, rule="hh", until="25min", expect=["24min20s activated"])
        assert code == 0, told


def test_without_a_rule_the_test_is_about_every_rule_on_the_instruments_of_the_site(run):
    code, told = run(until="25min")
    assert code == 1
    assert "h activated -> unacknowledged   unexpected" in told
    assert "hh activated -> unacknowledged   unexpected" in told


def test_until_plays_a_scenario_no_further_and_no_less(run):
    assert run(rule="h", until="18min")[0] == 0
    code, told = run(rule="h", scenario="normal", until="2h", expect=["90min activated"])
    assert code == 1
    assert "2h" in told


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"site": "tank_fram"}, "no such site; ready-made ones are"),
        (
            {"scenario": "dmo"},
            'site tank_farm has no such scenario; found "dmo"; allowed: demo, normal; did you mean demo?',
        ),
        ({"scenario": None}, "site and scenario belong together"),
        ({"site": None}, "site and scenario belong together"),
        ({"given": {"T101.level": "1"}}, "expected one of given, data and scenario; found given and scenario"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_said_with_file_and_line(run, tmp_path, keys, said):
    code, told = run(**keys)
    assert code == 2
    assert f"{tmp_path / 't.yaml'}:3" in told
    assert said in told


def test_a_site_that_shows_no_tag_of_the_rules_is_refused(run, tmp_path):
    other = RULES.replace("T101.", "T909.")
    (tmp_path / "other.yaml").write_text(other)
    code, told = run(rules="other.yaml")
    assert code == 2
    assert "the site shows no tag of the rules" in told
