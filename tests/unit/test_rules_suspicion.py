"""Signs of falsification (spec/rules.md C8; DOMAIN 7.4)."""

from agent.core.tags import Tag
from tests.support.rules import T0, Plant, S, rule

NOISE = [0.0, 1.0, -1.0, 0.5, -0.5]


def noisy(count, size):
    return [50 + size * NOISE[i * 7 % 5] + 0.01 * (i % 3) for i in range(count)]


def story(plant):
    return [((e.time - T0) // S, e.transition.value) for e in plant.events if e.rule]


def test_c8_noise_that_collapses_to_a_fifth_of_what_it_was_is_suspicious():
    plant = Plant(rule("suspicion.noise_collapse", window="100s", id="n"))
    plant.signal(*noisy(800, 1.0), *noisy(300, 0.05), *noisy(200, 1.0))
    (first, second) = story(plant)
    assert first[1] == "activated"
    assert 880 <= first[0] <= 900
    assert second[1] == "returned"
    assert 1100 <= second[0] <= 1110
    assert "疑似" in plant.events[0].message["zh-CN"]
    assert "to be verified" in plant.events[0].message["en"]


def test_c8_noise_that_only_halves_is_not():
    plant = Plant(rule("suspicion.noise_collapse", window="100s", id="n"))
    plant.signal(*noisy(800, 1.0), *noisy(300, 0.5))
    assert story(plant) == []


def test_c8_a_given_baseline_needs_no_learning_and_survives_a_restart():
    plant = Plant(rule("suspicion.noise_collapse", window="100s", baseline=0.7, id="n"))
    plant.signal(*noisy(40, 0.05))
    plant.restored()
    plant.signal(*noisy(40, 0.05), start=40)
    assert story(plant) == [(50, "activated")]


def test_c8_data_that_go_missing_three_times_near_the_limit_are_suspicious():
    plant = Plant(rule("suspicion.missing_near_limit", limit=1.0, id="m"))
    for start in (0, 600, 1200):
        plant.signal(0.3, 0.85, None, None, 0.2, start=start)
        plant.restored()
    assert story(plant) == [(1202, "activated")]
    assert plant.events[0].value == 3
    plant.read(1200 + 86400, 0.2)
    assert story(plant)[-1][1] == "returned"


def test_c8_gaps_far_from_the_limit_or_long_after_are_not():
    plant = Plant(rule("suspicion.missing_near_limit", limit=1.0, id="m"))
    for start in range(0, 6000, 600):
        plant.signal(0.79, None, 0.9, 0.2, start=start)
        plant.read(start + 70, None)
    assert story(plant) == []


def test_c8_silence_for_more_than_three_polls_is_a_gap_too():
    plant = Plant(rule("suspicion.missing_near_limit", limit=1.0, count=1, id="m"), tags=[Tag("T", poll_ns=S)])
    plant.signal(0.9, 0.9)
    plant.read(4, 0.9)
    assert story(plant) == []
    plant.read(8, 0.2)
    assert story(plant) == [(8, "activated")]
