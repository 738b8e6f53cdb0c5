"""Presets: the numbers of DOMAIN.md, conversion to ppm, what fits which tag, acceptance."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from agent.core.tags import Tag
from rules.build import build
from rules.check import check
from rules.conditions.high import Config as High
from rules.presets.expand import Expansion, Use, expand
from rules.presets.load import presets
from tests.support.rules import Plant

SUBSTANCES = {  # DOMAIN.md 1.2: M, MAC, TWA, STEL, IDLH, ppm at 25 degC of (MAC or TWA) and of STEL, confidence
    "H2S": (34.08, 10, None, None, 430, 7.17, None, "C"),
    "CO": (28.01, None, 20, 30, 1700, 17.5, 26.2, "C"),
    "NH3": (17.03, None, 20, 30, 360, 28.7, 43.1, "C"),
    "Cl2": (70.91, 1, None, None, 88, 0.345, None, "C"),
    "SO2": (64.06, None, 5, 10, 270, 1.91, 3.82, "C"),
    "NO2": (46.01, None, 5, 10, 96, 2.66, 5.31, "C"),
    "HCl": (36.46, 7.5, None, None, 150, 5.03, None, "C"),
    "HF": (20.01, 2, None, None, None, 2.44, None, "L"),
    "HCN": (27.03, 1, None, None, 56, 0.905, None, "C"),
    "phosgene": (98.92, 0.5, None, None, 8, 0.124, None, "C"),
    "O3": (48.00, 0.3, None, None, 20, 0.153, None, "C"),
    "CO2": (44.01, None, 9000, 18000, 92000, 5000, 10000, "C"),
    "benzene": (78.11, None, 3, 6, 9800, 0.94, 1.88, "L"),
    "toluene": (92.14, None, 50, 100, 7700, 13.3, 26.5, "C"),
    "xylene": (106.17, None, 50, 100, 4400, 11.5, 23.0, "C"),
    "styrene": (104.15, None, 50, 100, None, 11.7, 23.5, "L"),
    "methanol": (32.04, None, 25, 50, 33000, 19.1, 38.2, "C"),
    "acrylonitrile": (53.06, None, 1, 2, 1100, 0.46, 0.92, "C"),
    "vinyl_chloride": (62.50, None, 10, None, None, 3.91, None, "L"),
    "ethylene_oxide": (44.05, None, 2, None, 1500, 1.11, None, "L"),
}
PLACES = {  # DOMAIN.md 2.1: alarm, cut, re-power
    "T0": (1.0, 1.5, 1.0),
    "T1": (1.0, 1.5, 1.0),
    "T2": (1.0, 1.0, 1.0),
    "T3": (0.5, 0.5, 0.5),
    "T4": (0.5, 0.5, 0.5),
    "mid_return": (1.0, 1.0, 1.0),
    "machine": (1.0, 1.5, 1.0),
    "heading_T1": (1.0, 1.5, 1.0),
    "heading_T2": (1.0, 1.0, 1.0),
    "local_fan": (0.5, 0.5, 0.5),
    "trolley": (0.5, 0.5, 0.5),
}
GIVEN: dict[str, dict[str, Any]] = {  # what the presets with required parameters need
    "coal.wind": {"low": 0.25, "high": 4},
    "coal.temperature": {"place": "face"},
    "coal.aq1029": {"place": "T1"},
    "tank.level": {"low": 20, "high": 80},
    "tank.overfill": {"category": 2, "high_high": 90},
    "tank.temperature": {"first": 40, "second": 60},
    "tank.pressure": {"normal_upper": 40, "design_pressure": 90},
    "gas.group": {"group": "G1"},
    "tailings.upgrade": {"group": "P1", "item": "displacement"},
    "tailings.gb50863": {"class": "III", "measures": "freeboard"},
    "tailings.displacement": {"blue": 20, "yellow": 40, "red": 80},
    "tailings.rain": {"orange": 70, "red": 90},
    "tailings.phreatic_depth": {"blue": 70, "yellow": 50, "red": 30},
}


def gas(unit: str, top: float = 100, tag: str = "G1") -> Tag:
    return Tag(tag, unit=unit, kind="gas", range=(0, top), poll_ns=10**9)


def use(
    preset: str, *tags: Tag, change: dict[str, Any] | None = None, by: str | None = "li", **given: Any
) -> Expansion:
    on = None if by is None else "2026-11-21"
    entry = Use(preset, tuple(tag.id for tag in tags), given, change or {}, by, on)
    return expand(entry, presets()[preset], {tag.id: tag for tag in tags})


def limits(expansion: Expansion) -> dict[str, float]:
    assert not [each for each in expansion.troubles if not each.is_warning], expansion.troubles
    return {rule.id.rsplit(".", 1)[1]: rule.limit_value for rule in expansion.rules}  # type: ignore[misc]


def test_the_substances_are_those_of_the_table_and_none_that_is_unsure():
    rows = presets()["gas.gbt50493.toxic"].rows
    found = {
        name: (*(row.get(key) for key in ("molar_mass", "mac", "twa", "stel", "idlh")), row.get("confidence", "C"))
        for name, row in rows.items()
    }
    assert found == {name: (*row[:5], row[7]) for name, row in SUBSTANCES.items()}
    assert {name for name in presets() if name.startswith("oel.")} == {f"oel.{name.lower()}" for name in SUBSTANCES}


@pytest.mark.parametrize("name", SUBSTANCES)
def test_exposure_limits_in_mg_and_in_ppm_at_25_degc(name):
    _, mac, twa, stel, _, ppm, ppm_stel, confidence = SUBSTANCES[name]
    preset = f"oel.{name.lower()}"
    assert list(limits(use(preset, gas("mg/m3", 1e5))).values()) == [mac or twa]
    (converted,) = limits(use(preset, gas("ppm", 1e5), vm_ref_temp=25)).values()
    assert converted == pytest.approx(ppm, rel=0.006)
    if stel:
        assert list(limits(use(preset, gas("mg/m3", 1e5), oel_basis="mac_stel")).values()) == [stel]
        (converted,) = limits(use(preset, gas("ppm", 1e5), vm_ref_temp=25, oel_basis="mac_stel")).values()
        assert converted == pytest.approx(ppm_stel, rel=0.006)
    assert {origin.confidence for origin in use(preset, gas("mg/m3", 1e5)).origins.values()} == {confidence}


def test_the_conversion_has_the_vectors_of_the_domain_notes_and_never_rounds_up():
    assert limits(use("oel.h2s", gas("ppm"), vm_ref_temp=25))["mac"] == pytest.approx(7.17, abs=0.005)
    assert limits(use("oel.h2s", gas("ppm"), vm_ref_temp=0))["mac"] == pytest.approx(6.58, abs=0.005)
    assert limits(use("oel.h2s", gas("ppm")))["mac"] == 7.053  # 20 degC: 7.05399
    stel = limits(use("oel.co", gas("ppm"), vm_ref_temp=0, oel_basis="mac_stel"))["oel"]
    assert stel == pytest.approx(24.0, abs=0.01)


def test_carbon_monoxide_high_up_has_a_ceiling():
    assert limits(use("oel.co", gas("mg/m3"), altitude=2000)) == {"oel": 20}
    assert limits(use("oel.co", gas("mg/m3"), altitude=2500)) == {"mac": 20}
    high = use("oel.co", gas("mg/m3"), altitude=3200)
    assert limits(high) == {"mac": 15}
    assert high.origins["G1:oel.co.mac"].confidence == "L"


def test_the_newer_stricter_benzene_says_so():
    preset = presets()["oel.benzene"]
    assert "6/10" in preset.note["en"]
    assert use("oel.benzene", gas("mg/m3")).rules[0].basis == "GBZ 2.1-2019 Amendment 1"


def test_gbt50493_two_levels():
    assert limits(use("gas.gbt50493", gas("%LEL"))) == {"l1": 25, "l2": 50}
    assert limits(use("gas.gbt50493.open_path", gas("LEL.m", 5))) == {"l1": 1, "l2": 2}
    assert limits(use("gas.gbt50493.toxic", gas("mg/m3"), gas="H2S")) == {"l1": 10, "l2": 20}
    assert limits(use("gas.gbt50493.toxic", gas("mg/m3"), gas="CO")) == {"l1": 20, "l2": 40}
    assert limits(use("gas.gbt50493.toxic_idlh", gas("mg/m3"), gas="H2S")) == {"l1": 21.5, "l2": 43.0}
    assert limits(use("gas.gbt50493.oxygen", gas("%VOL", 30))) == {"deficiency": 19.5, "enrichment": 23.5}


def test_gbt50493_levels_are_medium_and_high_without_a_delay_and_the_second_latches():
    one, two = use("gas.gbt50493", gas("%LEL")).rules
    assert (one.priority, two.priority) == ("medium", "high")
    assert (one.on_delay.ns, two.on_delay.ns, one.latch, two.latch) == (0, 0, False, True)
    assert one.id == "G1:gas.gbt50493.l1"


def test_no_gas_rule_of_any_preset_has_an_on_delay():
    for preset in presets().values():
        assert not [rule.name for rule in preset.rules if preset.kind == "gas" and "on_delay" in rule.keys]


def test_the_text_names_what_counts_as_100_percent():
    one, _ = use("gas.gbt50493.toxic", gas("ppm"), gas="CO", vm_ref_temp=25).rules
    assert one.message["en"] == "G1 carbon monoxide, level 1 (100 %OEL = PC-TWA 20 mg/m3, limit 17.45 ppm)"
    assert "PC-STEL" in use("gas.gbt50493.toxic", gas("ppm"), gas="CO", oel_basis="mac_stel").rules[0].message["zh-CN"]


def test_gbzt223_three_steps():
    assert limits(use("gas.gbzt223", gas("mg/m3"), gas="H2S")) == {"forecast": 5, "alarm": 10}
    assert limits(use("gas.gbzt223", gas("mg/m3"), gas="CO", high_alarm=60)) == {
        "forecast_stel": 15,
        "alarm_stel": 30,
        "high_alarm": 60,
    }
    assert limits(use("gas.gbzt223", gas("mg/m3"), gas="vinyl_chloride")) == {"forecast_stel": 15, "alarm_stel": 30}


def test_exposure_over_15_minutes_and_over_the_shift():
    assert limits(use("exposure.stel_twa", gas("mg/m3"), gas="CO")) == {"stel": 30, "twa": 20}
    stel, twa = use("exposure.stel_twa", gas("mg/m3"), gas="CO", shift_starts=["07:00"]).rules
    assert stel.window == "15min"
    assert (list(twa.shift.starts), twa.shift.over) == (["07:00"], "8h")
    without = use("exposure.stel_twa", gas("mg/m3"), gas="ethylene_oxide")
    assert limits(without) == {"twa": 2, "excursion": 6, "peak": 10}
    assert without.origins["G1:exposure.stel_twa.peak"].confidence == "L"
    (trouble,) = use("exposure.stel_twa", gas("mg/m3"), gas="H2S").troubles
    assert "it has no limit for gas: H2S" in trouble.message


def test_the_places_of_aq1029_are_those_of_the_table():
    assert set(presets()["coal.aq1029"].rows) == set(PLACES)


@pytest.mark.parametrize("place", PLACES)
def test_aq1029_alarm_cut_and_repower_strictly_below(place):
    alarm, cut, repower = PLACES[place]
    rules = {rule.id: rule for rule in use("coal.aq1029", gas("%CH4", 4), place=place).rules}
    cut_rule = rules["G1:coal.aq1029.cut"]
    assert rules["G1:coal.aq1029.alarm"].limit_value == alarm
    assert isinstance(cut_rule, High)
    assert (cut_rule.limit, cut_rule.limit - cut_rule.deadband_of(gas("%CH4", 4))) == (cut, repower)
    plant = Plant(*rules.values())
    plant.read(0, cut, tags=("G1",))
    plant.read(1, repower, tags=("G1",))
    assert [event.alarm for event in plant.events if event.transition == "returned"] == []
    plant.read(2, repower - 1e-9, tags=("G1",))
    assert "G1:coal.aq1029.cut" in [event.alarm for event in plant.events if event.transition == "returned"]


def test_aq1029_a_local_fan_in_series_has_a_cut_of_its_own():
    fan = use("coal.aq1029", gas("%CH4", 4), place="local_fan")
    assert limits(fan) == {"alarm": 0.5, "cut": 0.5, "fan_cut": 1.5}
    assert fan.rules[2].deadband == 1.0  # type: ignore[attr-defined]
    assert {origin.confidence for origin in fan.origins.values()} == {"L"}


def test_coal_carbon_monoxide_and_temperature():
    assert limits(use("coal.co", gas("ppm"))) == {"alarm": 24}
    warm = Tag("T", unit="degC", kind="temperature", range=(0, 50))
    assert limits(use("coal.temperature", warm, place="face")) == {"alarm": 30}
    assert limits(use("coal.temperature", warm, place="chamber")) == {"alarm": 34}


def test_tailings_take_the_ponds_own_values_and_small_is_dangerous_for_beaches():
    level = Tag("P", unit="m", kind="level", range=(0, 100))
    assert limits(use("tailings.water_level", level, orange=30, red=40, blue=10, yellow=20)) == {
        "blue": 10,
        "yellow": 20,
        "orange": 30,
        "red": 40,
    }
    beach = use("tailings.dry_beach", level, orange=60, red=50)
    assert limits(beach) == {"orange": 60, "red": 50}
    assert {rule.condition for rule in beach.rules} == {"low"}
    (trouble,) = use("tailings.dry_beach", level, orange=50, red=60).troubles
    assert trouble.path == ("with", "red")
    assert limits(use("tailings.displacement", level, red=50)) == {"orange": 40, "red": 50}
    assert limits(use("tailings.phreatic_depth", level, red=10)) == {"orange": 11, "red": 10}
    assert limits(use("tailings.rain", level, red=90)) == {"yellow": 50, "red": 90}


@pytest.mark.parametrize(
    ("pond", "freeboard", "beach"),
    [("I", 1.5, 150), ("II", 1.0, 100), ("III", 0.7, 70), ("IV", 0.5, 50), ("V", 0.4, 40)],
)
def test_gb50863_is_a_sample_by_class(pond, freeboard, beach):
    metres = Tag("P", unit="m", range=(0, 500))
    for measures, limit in (("freeboard", freeboard), ("dry_beach", beach)):
        found = use("tailings.gb50863", metres, **{"class": pond}, measures=measures)
        assert limits(found) == {"least": limit}
        assert found.origins["P:tailings.gb50863.least"].sample


def test_tailings_upgrade_counts_what_was_upgraded():
    points = [Tag(f"D{i}", unit="mm", range=(0, 100)) for i in range(4)]
    yellow, orange, red = use("tailings.upgrade", *points, group="POND", item="displacement").rules
    assert yellow.members == [f"D{i}:tailings.displacement.blue" for i in range(4)]  # type: ignore[attr-defined]
    assert "POND:tailings.upgrade.yellow" in orange.members  # type: ignore[attr-defined]
    found = [(rule.level, rule.n, rule.priority) for rule in (yellow, orange, red)]  # type: ignore[attr-defined]
    assert found == [("low", 4, "medium"), ("medium", 3, "high"), ("high", 2, "critical")]


def test_tank_samples():
    assert limits(use("tank.pressure", Tag("P", kind="pressure", range=(0, 100)), **GIVEN["tank.pressure"])) == {
        "first": 40,
        "second": 72,
    }
    level = Tag("L", unit="m", kind="level", range=(0, 100))
    horizons = [use("tank.overfill", level, category=i, high_high=90).rules[0].horizon for i in (1, 2, 3)]  # type: ignore[attr-defined]
    assert horizons == ["45min", "30min", "15min"]
    own = use("tank.overfill", level, category=1, high_high=90, response_time="12min").rules
    assert [rule.horizon for rule in own] == ["12min"]  # type: ignore[attr-defined]
    assert limits(use("tank.wind", Tag("W", unit="m/s", range=(0, 60)))) == {"alarm": 13.8}
    (switch,) = use("tank.hh_switch", Tag("S")).rules
    assert (switch.on_bad, switch.latch, switch.priority) == ("alarm", True, "critical")


@pytest.mark.parametrize("preset", presets())
def test_every_preset_expands_and_passes_the_checks(preset):
    definition = presets()[preset]
    given = dict(GIVEN.get(preset, {}))
    if "orange" in definition.parameters and preset not in GIVEN:
        values = [10, 20, 30, 40] if definition.rising else [40, 30, 20, 10]
        given |= dict(zip(("blue", "yellow", "orange", "red"), values, strict=True))
    choices = definition.rows if definition.row in ("gas", "place") else [None]
    for choice, unit in product(choices, sorted({unit for rule in definition.rules for unit in rule.units}) or [None]):
        if choice is not None:
            given[definition.row or ""] = choice
        tags = [Tag(f"T{i}", unit=unit, kind=definition.kind, range=(0, 100)) for i in range(4)]
        if preset == "gas.group":
            tags = [gas("%LEL", tag=tag.id) for tag in tags]
        if definition.row == "gas" or preset.startswith(
            "oel."
        ):  # an instrument that fits: four times the greatest limit
            top = 4 * max([rule.limit_value or 0 for rule in use(preset, *tags, **given).rules], default=1)
            tags = [replace(tag, range=(0, top)) for tag in tags]
        members = _members(preset, tags)
        found = use(preset, *tags, **given)
        if "gas" in given and not found.rules:
            continue  # no IDLH, or nothing but a MAC: said in words, see above
        assert [each for each in found.troubles if not each.is_warning] == []
        rules = [*found.rules, *members]
        findings = check(rules, tags, keep_ns=None)
        assert [each for each in findings if not each.is_warning] == []
        own = {rule.id for rule in found.rules}
        expected = {(rule.id, key) for rule in found.rules for key in definition.expected_warnings}
        assert {(each.rule_id, each.key) for each in findings if each.is_warning and each.rule_id in own} <= expected
        build(rules, {tag.id: tag for tag in tags}, live=True)


def _members(preset: str, tags: list[Tag]) -> list[Any]:
    if preset == "gas.group":
        return use("gas.gbt50493", *tags).rules
    if preset == "tailings.upgrade":
        return use("tailings.displacement", *tags, **GIVEN["tailings.displacement"]).rules
    return []


def test_every_preset_says_source_confidence_and_note_in_both_languages():
    for preset in presets().values():
        assert preset.source
        assert preset.confidence in ("C", "L")
        assert all(preset.note[language] for language in ("zh-CN", "en"))
        for rule in preset.rules:
            assert set(rule.keys["message"]) == {"zh-CN", "en"}
            assert rule.keys["rationale"]["cause"]


def test_what_is_not_accepted_is_disabled_with_a_warning():
    found = use("gas.gbt50493", gas("%LEL"), by=None)
    assert [rule.enabled for rule in found.rules] == [False, False]
    assert [(each.is_warning, each.path) for each in found.troubles] == [(True, ("use",))]
    assert all(rule.enabled for rule in use("gas.gbt50493", gas("%LEL")).rules)


def test_the_plants_own_value_wins_but_a_looser_one_is_told():
    found = use("gas.gbt50493", gas("%LEL"), change={"l1": {"limit": 20, "area": "A"}, "l2": {"limit": 60}})
    assert limits(found) == {"l1": 20, "l2": 60}
    assert found.rules[0].message["en"].endswith("(20 %LEL)")
    (warning,) = found.troubles
    assert (warning.path, warning.allowed) == (("change", "l2", "limit"), "50")
    looser = use("gas.gbt50493.oxygen", gas("%VOL", 30), change={"deficiency": {"limit": 19}})
    assert looser.troubles[0].is_warning
    kept = use("gas.gbt50493", gas("%LEL"), change={"l2": {"rationale": {"time_to_respond": "2min"}}}).rules[1]
    assert (kept.rationale.time_to_respond, kept.rationale.consequence[:9]) == ("2min", "explosion")


@pytest.mark.parametrize(
    ("preset", "tag", "more", "path", "words"),
    [
        ("gas.gbt50493", gas("ppm"), {}, ("tags", 0), "%LEL"),
        ("gas.gbt50493", Tag("T", unit="%LEL", kind="level"), {}, ("tags", 0), "kind gas"),
        ("gas.gbt50493", Tag("T", kind="gas"), {}, ("tags", 0), "%LEL"),
        ("gas.gbt50493.toxic", gas("ppm"), {}, ("with", "gas"), "needs this parameter"),
        ("gas.gbt50493.toxic", gas("ppm"), {"gas": "HCHO"}, ("with", "gas"), "choices"),
        ("gas.gbt50493.toxic", gas("ppm"), {"gaz": "CO", "gas": "CO"}, ("with", "gaz"), "did you mean gas?"),
        ("gas.gbt50493", gas("%LEL"), {"change": {"l3": {}}}, ("change", "l3"), "no such rule"),
        ("gas.gbt50493", gas("%LEL"), {"change": {"l1": {"tag": "X"}}}, ("change", "l1", "tag"), "cannot"),
        ("gas.gbt50493", gas("%LEL"), {"change": {"l1": {"limt": 3}}}, ("change", "l1"), "limt"),
        ("tank.level", Tag("L", kind="level"), {"low": "x", "high": 3}, ("with", "low"), "number"),
        ("tank.level", Tag("L", kind="level"), {"low": 9, "high": 3}, ("with", "high"), "above low"),
    ],
)
def test_a_use_that_does_not_fit_is_refused_in_words(preset, tag, more, path, words):
    (trouble,) = use(preset, tag, **more).troubles
    assert (trouble.path, trouble.is_warning) == (path, False)
    assert words in trouble.message


def test_a_gas_tag_without_its_kind_is_a_warning():
    (warning,) = use("gas.gbt50493", Tag("T", unit="%LEL", range=(0, 100))).troubles
    assert warning.is_warning
    assert "kind: gas" in warning.message


def test_other_spellings_of_a_unit_are_understood():
    assert limits(use("coal.aq1029", gas("%VOL", 4), place="T1"))["cut"] == 1.5
    assert limits(use("oel.h2s", gas("mg/m³")))["mac"] == 10
    assert use("oel.h2s", gas("mg/m³")).rules[0].unit == "mg/m³"
