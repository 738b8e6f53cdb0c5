"""Laws of hiding: an end and a name for each, no normal while active, restarts change nothing."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.rules import T0, Plant, S, rule

RULES = (
    rule("high", limit=8, id="h", exclusive=True, re_alarm="20s", on_delay="1s"),
    rule("high_high", limit=9, id="hh", latch=True),
    rule("low", limit=2, id="l", suppress_when="off", off_delay="2s"),
    rule("state", values=[5], id="off", priority="diagnostic"),
)
steps = st.tuples(
    st.sampled_from([1, 1, 2, 7]),
    st.sampled_from([1.0, 5.0, 8.5, 9.5, None]),
    st.sampled_from(["", "", "acknowledge", "reset", "shelve", "unshelve", "remove_from_service", "silence"]),
    st.sampled_from(["h", "hh", "l"]),
    st.integers(1, 30),
    st.booleans(),
)


def play(plan, *, stops):
    plant, at = Plant(*RULES), 0
    for gap, value, action, alarm, hold, stop in plan:
        at += gap
        plant.read(at, value)
        if stop and stops:
            plant.restored()
        if action:
            fields = {"alarm": alarm, "actor": "li", "reason": "r", "until": T0 + (at + hold) * S}
            plant.audit(action, at, **fields)
        for view in plant.engine.standing():
            for hidden in view.hidden:
                assert hidden["actor"]
                assert hidden["until"] is not None or hidden["by"] == "hh"
            assert view.state != "normal" or not view.active
    plant.at(at + 3600)
    return plant


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=1, max_size=25))
def test_nothing_is_hidden_without_an_end_and_a_name_and_a_stop_changes_nothing(plan):
    straight, stopped = play(plan, stops=False), play(plan, stops=True)
    assert [e.to_fields() for e in stopped.events] == [e.to_fields() for e in straight.events]
    again = Plant(*RULES)
    again.engine.adopt(event.to_fields() for event in straight.events)
    for one, other in zip(straight.engine.alarms()[:4], again.engine.alarms()[:4], strict=True):
        assert (one.active, one.occurrence, one.event) == (other.active, other.occurrence, other.event)
    shelved = [view for view in straight.engine.standing() if view.state == "shelved"]
    assert shelved == []
