import copy
import re
from pathlib import Path

import pytest
import yaml

from simulator.davyfile import Setting, render
from simulator.instruments import Fault, Instrument, InstrumentConfig
from simulator.scenario import NETWORK, Scenario, actions, truth
from simulator.site import ModbusDevice, OpcuaDevice, SiteError, find_site, load_site
from simulator.world import World

SECOND = 1_000_000_000
PATH = find_site("tank_farm")
SITE = load_site(PATH)
RAW = yaml.safe_load(PATH.read_text(encoding="utf-8"))


def refused(tmp_path: Path, change) -> str:
    raw = copy.deepcopy(RAW)
    change(raw)
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        load_site(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda raw: raw["plant"][2]["parameters"].update(volume=-5), r"plant\[2\].*greater than 0"),
        (lambda raw: raw["plant"][0].update(model="reactor"), "unknown model 'reactor'; there are gas, tank"),
        (lambda raw: raw["plant"][0]["inputs"].update(infow=1), "no input 'infow'"),
        (lambda raw: raw["instruments"][0].update(unit="furlong"), "unknown unit 'furlong'"),
        (lambda raw: raw["instruments"][0].update(measures="T109.level"), "the plant has no T109.level"),
        (lambda raw: raw["devices"][0]["registers"][1].update(address=1), "T101.temp and T101.level overlap"),
        (lambda raw: raw["devices"][1]["nodes"].append("G99.lel"), "there is no instrument G99.lel"),
        (lambda raw: raw["scenarios"]["demo"]["steps"][7].update(until=0.1), "expected at < until"),
        (lambda raw: raw["scenarios"]["demo"]["steps"][7].update(target="moon"), "moon cannot have the fault silent"),
        (lambda raw: raw["scenarios"]["demo"]["steps"][0].update(set="T101.moonlight"), "no input T101.moonlight"),
        (lambda raw: raw["scenarios"]["demo"]["steps"][0].update(at=1.2), "scenarios.demo.steps"),
        (lambda raw: raw.update(colour="red"), "colour"),
        (lambda raw: raw["instruments"].append(raw["instruments"][0]), "T101.level is there twice"),
    ],
)
def test_an_impossible_site_is_refused_with_file_place_and_reason(tmp_path, change, text):
    message = refused(tmp_path, change)
    assert "site.yaml" in message
    assert re.search(text, message)


def test_an_unknown_site_names_the_ready_made_ones():
    with pytest.raises(SiteError, match="tank_farm"):
        find_site("moon_base")


def test_the_device_has_at_least_twelve_registers_of_mixed_types():
    device = next(device for device in SITE.devices if isinstance(device, ModbusDevice))
    assert len(device.registers) >= 12
    assert {r.type for r in device.registers} >= {"float32", "float64", "int16", "uint16", "uint32", "bool"}


def setting(**more) -> Setting:
    return Setting(Path("/x"), 1502, 1883, 8470, 4840, 8086, **more)


def test_the_configuration_template_reads_every_register_as_the_device_sends_it():
    config = yaml.safe_load(render("tank_farm", setting()))
    for device in SITE.devices:
        tags = {tag["id"]: tag for there in config["devices"] if there["id"] == device.id for tag in there["tags"]}
        assert set(tags) == set(device.instruments)
        if isinstance(device, OpcuaDevice):
            continue
        for register in device.registers:
            tag = tags[register.instrument]
            for key in ("table", "address", "type"):
                assert tag[key] == getattr(register, key), register.instrument
            assert tag.get("scale", 1.0) == register.scale
            assert tag.get("order", register.byte_order) == register.byte_order
            assert tuple(tag.get("span", ())) == (register.span or ())


def test_the_expected_alarms_of_the_scenarios_are_rules_of_the_template():
    rules = {rule["id"] for rule in yaml.safe_load(render("tank_farm", setting()))["rules"]}
    for scenario in SITE.scenarios.values():
        for expectation in scenario.truth:
            assert set(expectation.alarms) <= rules


def test_parts_without_a_port_are_left_out_of_the_configuration():
    text = render("tank_farm", Setting(Path("/x"), 1502, 1883, 8470))
    assert "opcua" not in text
    assert "influx" not in text
    assert "@" not in re.sub(r"#.*", "", text)
    assert len(yaml.safe_load(text)["devices"]) == 1


def test_rates_are_asked_for_in_the_plants_own_pace():
    rules = {rule["id"]: rule for rule in yaml.safe_load(render("tank_farm", setting(speed=150)))["rules"]}
    assert rules["T101-temp-rate"]["limit"] == 15
    assert rules["T101-temp-rate"]["window"] == "4000ms"


def scenario(*steps, duration="100s") -> Scenario:
    return Scenario.model_validate({"duration": duration, "steps": steps})


def test_times_are_fractions_of_the_duration_or_durations():
    played = scenario({"at": 0.5, "set": "T101.inflow", "to": 1}, {"at": "20s", "set": "T101.inflow", "to": 2})
    assert [(a.at_ns // SECOND, a.step.to) for a in actions(played)] == [(20, 2), (50, 1)]


def test_what_ends_at_an_instant_ends_before_what_begins_at_it():
    played = scenario(
        {"at": 0.5, "until": 0.6, "fault": "stuck", "target": "T101.level"},
        {"at": 0.2, "until": 0.5, "fault": "open", "target": "T101.press"},
    )
    assert [(a.at_ns // SECOND, a.begins) for a in actions(played)] == [
        (20, True),
        (50, False),
        (50, True),
        (60, False),
    ]


def test_every_fault_is_a_labelled_interval_of_truth():
    played = scenario({"at": 0.2, "fault": "silent", "target": NETWORK})
    (interval,) = truth(played)
    assert (interval.label, interval.target, interval.from_ns, interval.to_ns) == (
        "silent",
        "network",
        20 * SECOND,
        100 * SECOND,
    )


def test_a_step_that_both_sets_and_breaks_something_is_refused():
    with pytest.raises(ValueError, match="either sets an input"):
        scenario({"at": 0, "set": "T101.inflow", "to": 1, "fault": "stuck", "target": "T101.level"})


def test_the_demo_raises_what_it_promises():
    world = World(SITE, SITE.scenarios["demo"])
    highest = {"T101.level": 0.0, "T101.hh": 0.0, "G11.lel": 0.0, "G12.lel": 0.0}
    for second in range(0, 3600, 20):
        world.advance_to(second * SECOND)
        for name in highest:
            value = world.value(name)
            highest[name] = max(highest[name], value if value == value else 0.0)
    assert highest["T101.level"] > 10.6
    assert highest["T101.hh"] == 1
    assert highest["G11.lel"] > 30
    assert highest["G12.lel"] > 52
    assert world.value("T101.hh") == 0
    assert world.value("G12.lel") < 5


def instrument(**config) -> Instrument:
    made = Instrument(InstrumentConfig.model_validate({"id": "x", "measures": "T.level", **config}), seed=1)
    made.update(0.1, 5.0)
    return made


def test_t90_is_the_time_to_90_percent():
    made = instrument(t90="30s")
    for _ in range(300):
        made.update(0.1, 15.0)
    assert made.value() == pytest.approx(5 + 0.9 * 10)


def test_a_value_saturates_and_is_quantised():
    made = instrument(range=[0, 12], resolution=0.1)
    made.update(0.1, 3.14159)
    assert made.value() == 3.1
    made.update(0.1, 99.0)
    assert made.value() == 12


def test_a_stuck_instrument_stays_and_an_open_one_shows_nothing():
    made = instrument()
    made.begin(Fault.STUCK, 0)
    made.update(0.1, 9.0)
    assert made.value() == 5
    made.end(Fault.STUCK)
    assert made.value() == 9
    made.begin(Fault.OPEN, 0)
    assert made.value() != made.value()
    made.end(Fault.OPEN)
    made.begin(Fault.BIAS, -1.5)
    assert made.value() == 7.5


def test_a_switch_has_a_return_margin():
    made = instrument(switch={"closes": 10.9, "opens": 10.8})
    shown = []
    for level in (10.85, 10.9, 10.85, 10.79, 10.85):
        made.update(0.1, level)
        shown.append(made.value())
    assert shown == [0, 1, 1, 0, 0]
