import math

import pytest

from simulator.models import base, gas, tank


def fill(model: tank.Model, seconds: float, dt_s: float, **inputs: float) -> dict[str, float]:
    steps = round(seconds / dt_s)
    for _ in range(steps):
        outputs = model.update(dt_s, {**model.inputs, **inputs})
    return dict(outputs)


def test_200_cubic_metres_an_hour_lift_an_11_m_tank_by_32_mm_a_minute():
    model = tank.Model(tank.Parameters(level=5.0))
    outputs = fill(model, 60, 1.0, inflow=200 / 3600)
    assert outputs["level"] - 5.0 == pytest.approx(0.0321, abs=2e-4)


def test_a_leak_follows_torricelli():
    model = tank.Model(tank.Parameters(level=5.0))
    outputs = fill(model, 1, 1.0, leak_area=1e-3)
    assert outputs["leaked"] == pytest.approx(0.62 * 1e-3 * math.sqrt(2 * 9.80665 * 5.0))


def test_an_overfilled_tank_spills_at_the_rim():
    model = tank.Model(tank.Parameters(level=11.9, height=12.0))
    outputs = fill(model, 600, 1.0, inflow=0.1)
    assert outputs["level"] == pytest.approx(12.0)
    assert outputs["spilled"] == pytest.approx(60 - 0.1 * math.pi * 11.5**2 / 4)


def test_a_full_styrene_tank_takes_12_days_to_follow_the_weather():
    volume = 500.0
    level = volume / (math.pi * 11.5**2 / 4)
    model = tank.Model(tank.Parameters(level=level, temperature=293.15))
    days = 11.9
    outputs = fill(model, days * 86_400, 3600, ambient=303.15)
    assert outputs["temperature"] == pytest.approx(303.15 - 10 / math.e, abs=0.03)


def test_hot_feed_warms_a_full_tank_by_a_third_of_a_kelvin_a_minute():
    model = tank.Model(tank.Parameters(level=9.65, temperature=297.15))
    outputs = fill(model, 60, 0.2, inflow=0.111, inflow_temperature=353.15)
    assert outputs["temperature"] - 297.15 == pytest.approx(0.371, abs=0.005)


def test_a_breather_valve_keeps_a_filling_tank_near_its_set_pressure():
    model = tank.Model(tank.Parameters(level=9.0, vent_set=1960))
    outputs = fill(model, 1200, 0.2, inflow=0.111)
    assert 1960 < outputs["pressure"] < 2150
    emptied = fill(model, 1200, 0.2, outflow=0.111)
    assert -2150 < emptied["pressure"] < -1960


def test_methane_at_20_g_s_in_1000_m3_settles_at_36_percent_of_the_lower_limit():
    model = gas.Model(gas.Parameters())
    for _ in range(6_000):
        outputs = model.update(1.0, {"release": 0.020, "ventilation": 1000 / 600})
    assert outputs["fraction"] == pytest.approx(0.018, abs=1e-4)
    assert outputs["lel"] == pytest.approx(0.36, abs=2e-3)


def test_a_room_is_at_63_percent_of_its_end_after_one_time_constant():
    model = gas.Model(gas.Parameters())
    outputs = model.update(600.0, {"release": 0.020, "ventilation": 1000 / 600})
    assert outputs["concentration"] == pytest.approx(0.012 * (1 - 1 / math.e))


def test_without_ventilation_gas_piles_up():
    model = gas.Model(gas.Parameters(volume=100))
    assert model.update(50.0, {"release": 0.01, "ventilation": 0.0})["concentration"] == pytest.approx(0.005)


def test_models_are_found_by_name_and_an_unknown_one_names_those_there_are():
    assert base.kinds() == ("gas", "tank")
    with pytest.raises(ValueError, match="unknown model 'reactor'; there are gas, tank"):
        base.parameters_of("reactor")
