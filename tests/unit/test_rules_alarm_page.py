"""The generated page of states is what the tables say."""

from pathlib import Path

from rules.alarm_page import page


def test_the_page_of_alarm_states_is_current():
    path = Path(__file__).parents[2] / "docs" / "alarm-states.md"
    assert path.read_text(encoding="utf-8") == page(), "run: python -m rules.alarm_page > docs/alarm-states.md"
