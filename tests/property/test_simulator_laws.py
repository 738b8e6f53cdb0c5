import math
import struct

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator import registers
from simulator.chance import normal, stream
from simulator.instruments import Fault
from simulator.models import gas, tank
from simulator.scenario import Scenario
from simulator.site import find_site, load_site
from simulator.world import World

FLOWS = st.floats(0, 0.5)
STEPS = st.lists(st.tuples(st.floats(0.01, 600), FLOWS, FLOWS, st.floats(0, 0.05)), min_size=1, max_size=30)
TANK_FARM = load_site(find_site("tank_farm"))


@given(STEPS, st.floats(0, 12))
def test_what_came_into_a_tank_is_inside_went_out_leaked_or_was_spilled(steps, level):
    model = tank.Model(tank.Parameters(level=level))
    start = model.update(0.0, model.inputs)["volume"]
    for dt_s, inflow, outflow, leak in steps:
        end = model.update(dt_s, {**model.inputs, "inflow": inflow, "outflow": outflow, "leak_area": leak})
        gone = end["pumped_out"] + end["leaked"] + end["spilled"]
        assert end["volume"] - start == pytest.approx(end["pumped_in"] - gone, abs=1e-9 * (1 + end["pumped_in"]))
        assert -1e-9 <= end["level"] <= 12.0 + 1e-9


@given(STEPS, st.floats(-100, 20_000))
def test_no_step_makes_a_tank_colder_or_hotter_than_everything_around_it(steps, heating):
    model = tank.Model(tank.Parameters(level=6, temperature=300))
    for dt_s, inflow, outflow, _ in steps:
        inputs = {"inflow": inflow, "outflow": outflow, "ambient": 280.0, "inflow_temperature": 350.0}
        end = model.update(dt_s, {**model.inputs, **inputs})
        assert 280.0 - 1e-9 <= end["temperature"] <= 350.0 + 1e-9
        assert math.isfinite(end["pressure"])


@given(st.lists(st.tuples(st.floats(0.01, 600), st.floats(0, 1), st.floats(0, 20)), min_size=1, max_size=30))
def test_gas_that_was_released_is_in_the_room_or_was_carried_out(steps):
    model = gas.Model(gas.Parameters())
    carried = 0.0
    for dt_s, release, ventilation in steps:
        end = model.update(dt_s, {"release": release, "ventilation": ventilation})
        assert end["concentration"] >= 0
        assert end["carried_out"] >= carried - 1e-6 * (1 + end["released"])
        carried = end["carried_out"]


@given(st.lists(st.integers(0, 900_000), min_size=1, max_size=20), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_a_world_shows_the_same_whoever_looks_however_often(looks_ms, seed):
    scenario = TANK_FARM.scenarios["demo"]
    often, once = World(TANK_FARM, scenario, seed), World(TANK_FARM, scenario, seed)
    for look in sorted(looks_ms):
        often.advance_to(look * 1_000_000)
        often.value("T101.level")
    end_ns = max(looks_ms) * 1_000_000
    once.advance_to(end_ns)
    shown = [(often.value(i.id), once.value(i.id)) for i in TANK_FARM.instruments]
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in shown)


def test_another_seed_gives_other_noise_and_the_same_plant():
    one, other = World(TANK_FARM, seed=1), World(TANK_FARM, seed=2)
    for world in (one, other):
        world.advance_to(60_000_000_000)
    assert one.signals == other.signals
    assert one.value("T101.press") != other.value("T101.press")


def test_noise_has_mean_0_and_deviation_1():
    of = stream(7, "x")
    values = [normal(of, n) for n in range(20_000)]
    mean = sum(values) / len(values)
    assert abs(mean) < 0.03
    assert math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)) == pytest.approx(1, abs=0.02)


ORDERS = {
    "int16": ["AB", "BA"],
    "uint16": ["AB", "BA"],
    "int32": ["ABCD", "CDAB", "BADC", "DCBA"],
    "uint32": ["ABCD", "CDAB", "BADC", "DCBA"],
    "float32": ["ABCD", "CDAB", "BADC", "DCBA"],
    "int64": ["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"],
    "uint64": ["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"],
    "float64": ["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"],
}
FORMATS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}


@given(st.sampled_from([(k, o) for k, orders in ORDERS.items() for o in orders]), st.floats(-1e6, 1e6))
def test_the_words_on_the_wire_mean_the_value_that_is_noted_as_sent(kind_order, value):
    kind, order = kind_order
    config = registers.RegisterConfig(
        instrument="x", table="holding", address=0, type=kind, order=order, scale=0.5, offset=-3
    )
    sent = registers.encode(config, value)
    wire = struct.pack(f">{len(sent.words)}H", *sent.words)
    big_endian = bytes(wire[order.index(letter)] for letter in sorted(order))
    (raw,) = struct.unpack(">" + FORMATS[kind], big_endian)
    assert raw * 0.5 - 3 == sent.value


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_fault_is_there_from_its_beginning_to_its_end(one, other):
    start, end = sorted((one, other))
    assume(start < end)
    scenario = Scenario.model_validate(
        {
            "duration": "100s",
            "steps": [{"at": start / 100, "until": end / 100, "fault": "silent", "target": "tankfarm"}],
        }
    )
    world = World(TANK_FARM, scenario)
    for second in range(0, 101, 5):
        world.advance_to(second * 1_000_000_000)
        is_silent = Fault.SILENT in world.faults("tankfarm")
        assert is_silent == (start <= second < end)
