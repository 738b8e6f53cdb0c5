"""Alarm performance (EEMUA 191, DOMAIN 5.4) and the reports made of it."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.cli import main as davy
from agent.core.records import Kind, Lane
from agent.figures import LiveFigures
from agent.report.html import page
from agent.report.shift import gather, last_shift
from agent.report.words import Words
from rules.kpi import DAY_NS, MINUTE_NS, WINDOW_NS, Recent, find_floods, kpi, peak, rating
from tests.support.desk import place

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
START = 100 * DAY_NS


def event(at_ns: int, transition: str = "activated", alarm: str = "A", **fields: Any) -> dict[str, Any]:
    common = {"priority": "high", "annunciated": True, "exercise": False, "area": None, "since": at_ns, "actor": None}
    state = "normal" if transition == "returned" else "unacknowledged"
    texts = {"message": {"en": f"{alarm} <high>", "zh-CN": f"{alarm} 高"}, "state": state, "site": "s1", "agent": "gw1"}
    return {**common, **texts, "time": START + at_ns, "transition": transition, "alarm": alarm, **fields}


def figures(*events: dict[str, Any], length: int = DAY_NS):
    return kpi(sorted(events, key=lambda each: each["time"]), START, START + length)


def test_average_and_rates_are_of_the_period():
    found = figures(*(event(i * HOUR, alarm=f"A{i}") for i in range(24)))
    assert found.activations == 24
    assert found.per_10min == pytest.approx(1 / 6)
    assert (found.per_day, found.peak_10min, rating(found)) == (24.0, 1, "acceptable")


def test_peak_slides_and_a_window_is_half_open():
    assert peak([0, WINDOW_NS - 1, WINDOW_NS]) == 2
    assert peak([9 * MINUTE_NS, 10 * MINUTE_NS, 11 * MINUTE_NS, 18 * MINUTE_NS]) == 4


def test_a_flood_lasts_from_more_than_ten_until_under_five_a11():
    found = figures(*(event(i * SECOND, alarm=f"A{i}") for i in range(11)))
    (flood,) = found.floods
    assert (flood.start, flood.count) == (START + 10 * SECOND, 11)
    assert flood.end == START + 6 * SECOND + WINDOW_NS  # when the seventh leaves, four are left
    assert figures(*(event(i * SECOND, alarm=f"A{i}") for i in range(10))).floods == ()


@given(st.lists(st.integers(0, 40 * 60), max_size=120))
@example([0, 0, 0, 0, 0, 0, 249, 250, 250, 250, 250, 849])
def test_floods_are_those_of_counting_every_second(seconds):
    times = sorted(second * SECOND for second in seconds)
    end = 60 * MINUTE_NS
    is_on, expected = False, []
    for now in range(0, end, SECOND):
        count = sum(now - WINDOW_NS < at <= now for at in times)
        if is_on != (count > 10 or (is_on and count >= 5)):
            is_on = not is_on
            expected.append(now)
    found = [moment for span in find_floods(times, end) for moment in (span.start, span.end)]
    assert found == expected


def test_chattering_is_three_activations_within_a_minute():
    chatter = [event(second * SECOND) for second in (0, 30, 59)]
    slow = [event(second * SECOND, alarm="B") for second in (0, 30, 60)]
    assert figures(*chatter, *slow).chattering == {"A": 1}


def test_fleeting_alarms_return_within_a_minute():
    short = [event(0), event(60 * SECOND, "returned")]
    longer = [event(0, alarm="B"), event(61 * SECOND, "returned", "B")]
    assert figures(*short, *longer).fleeting == {"A": 1}


def test_standing_alarms_are_active_for_more_than_a_day_whenever_they_began():
    ended = [event(-2 * DAY_NS), event(HOUR, "returned")]
    still = [event(-DAY_NS, alarm="B")]
    young = [event(HOUR, alarm="C")]
    assert [each.alarm for each in figures(*ended, *still, *young).standing] == ["A", "B"]


def test_hidden_exercises_and_own_diagnostics_are_not_what_people_deal_with():
    found = figures(
        event(1, annunciated=False),
        event(2, exercise=True),
        event(3, alarm="davy:flood"),
        event(4, alarm="davy:tag:T1:fault"),
    )
    assert (found.activations, found.hidden, found.exercise) == (1, 1, 1)
    assert found.top == (("davy:tag:T1:fault", 1),)


def test_top_ten_mix_areas_and_time_to_acknowledge():
    events = [event(i * HOUR, alarm=f"A{i % 12:02d}", area="unit-1", priority="low") for i in range(20)]
    events += [event(i * HOUR + 90 * SECOND, "acknowledged", f"A{i % 12:02d}") for i in range(20)]
    found = figures(*events)
    assert len(found.top) == 10
    assert found.top[0] == ("A00", 2)
    assert found.top_share == pytest.approx(18 / 20)
    assert found.priorities["low"] == 20
    assert found.areas == {"unit-1": 20}
    assert found.acknowledged_within(0.5) == 90 * SECOND
    assert json.loads(json.dumps(found.to_fields()))["acknowledged"]["count"] == 20


def test_an_acknowledgement_after_the_return_counts_too():
    found = figures(event(0), event(10 * SECOND, "returned"), event(50 * SECOND, "acknowledged"))
    assert found.acknowledged_after == (50 * SECOND,)


@given(st.lists(st.tuples(st.integers(-DAY_NS, 2 * DAY_NS), st.sampled_from("ABC"), st.booleans()), max_size=60))
def test_any_history_gives_figures_that_add_up(history):
    events = [event(at, "activated" if is_up else "returned", alarm) for at, alarm, is_up in history]
    found = figures(*events)
    assert found.activations == sum(found.priorities.values()) == sum(found.areas.values())
    assert found.activations == sum(count for _, count in found.top)
    assert 0 <= found.flood_share <= 1


def test_the_metrics_show_the_last_ten_minutes_and_the_last_day():
    recent = Recent()
    for at in (0, HOUR, DAY_NS - MINUTE_NS):
        recent.take(event(at, alarm=f"A{at}"))
    gauges = recent.gauges(START + DAY_NS)
    assert (gauges["kpi_activations_10min"], gauges["kpi_activations_24h"]) == (1, 2)


# ---- shifts


def test_the_last_shift_is_the_last_complete_one_in_site_time():
    zone = ZoneInfo("Asia/Shanghai")
    words = Words(is_chinese=False, zone=zone)
    now = 1_795_248_000_000_000_000
    start, end = last_shift(now, "Asia/Shanghai")
    assert end <= now < end + 12 * HOUR
    assert {words.at(start, "%H:%M"), words.at(end, "%H:%M")} == {"08:00", "20:00"}


def shift_of(*events: dict[str, Any]):
    return gather([(Kind.ALARM, each) for each in events], START, START + 12 * HOUR)


def test_a_shift_tells_what_it_took_over_and_hands_over():
    shift = shift_of(
        event(-HOUR, alarm="old"),
        event(-HOUR, alarm="gone"),
        event(-1, "returned", "gone"),
        event(HOUR, alarm="new"),
        event(2 * HOUR, "returned", "old"),
        event(13 * HOUR, alarm="later"),
    )
    assert [each["alarm"] for each in shift.taken_over] == ["old"]
    assert [each["alarm"] for each in shift.handed_over] == ["new"]
    assert [each["alarm"] for each in shift.alarms] == ["new", "old"]
    assert {(each.alarm, each.end is None) for each in shift.stretches} == {("old", False), ("new", True)}
    assert sum(shift.bins) == 1


def test_the_page_is_sound_needs_nothing_else_and_escapes_what_it_shows():
    shift = shift_of(*(event(i * SECOND, alarm=f"<b>{i}") for i in range(30)), event(HOUR, "acknowledged", "<b>1"))
    text = page(shift, Words(is_chinese=True, zone=ZoneInfo("Asia/Shanghai")))
    assert "<b>" not in text
    assert not re.search(r"(src|href)=|<script|@import|url\(", text)
    assert "交接班报表" in text
    plots = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(plots) == 2
    for plot in plots:
        ET.fromstring(plot)
    empty = page(shift_of(), Words(is_chinese=False, zone=ZoneInfo("UTC")))
    assert "none" in empty


async def test_reports_are_made_from_the_files_of_a_journal(tmp_path: Path, capsys):
    async with place(tmp_path) as site:
        for value in (11, 9, 11, 13, 9):
            await site.read(value)
        await site.ask("acknowledge", alarm="T1-h")
        start, end = site.clock.now_ns() - HOUR, site.clock.now_ns() + HOUR
    words = Words(is_chinese=False, zone=ZoneInfo("UTC"))
    period = ["--from", words.at(start, "%Y-%m-%dT%H:%M:%S"), "--to", words.at(end, "%Y-%m-%dT%H:%M:%S")]
    where = ["-c", str(tmp_path / "none.yaml"), "--state-dir", str(tmp_path), *period]
    assert davy.main(["report", "kpi", "--json", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["activations"] == 3
    assert found["areas"] == {"unit-1": 2, "-": 1}
    assert davy.main(["report", "shift", "--json", *where]) == 0
    shift = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in shift["actions"]] == ["acknowledge"]
    assert davy.main(["report", "shift", *where]) == 0
    assert "T1-hh" in capsys.readouterr().out
    assert davy.main(["report", "shift", "--html", str(tmp_path / "s.html"), *where]) == 0
    assert (tmp_path / "s.html").read_text().startswith("<!doctype html>")
    assert davy.main(["report", "kpi", "--state-dir", str(tmp_path), "--from", "yesterday"]) == 2


async def test_a_day_ends_with_a_record_and_the_metrics_are_kept(tmp_path: Path):
    async with place(tmp_path) as site:
        figures = LiveFigures(site.pipeline, site.writer, site.clock, site.counters, "Asia/Shanghai")
        for value in (11, 9, 11):
            await site.read(value)
        await site.writer.sync()
        for record in (await site.writer.read(Lane.ALARMS, 0, 1 << 20)).records:
            figures.take(record)
        await figures.look()
        gauges = {name: value for name, _, value in site.counters.gauges()}
        assert gauges["kpi_activations_10min"] == 2
        assert site.records("kpi") == []
        site.clock.advance(DAY_NS)
        await figures.look()
        (record,) = site.records("kpi")
        assert record["kpi"]["activations"] == 2
        assert Words(is_chinese=False, zone=ZoneInfo("Asia/Shanghai")).at(record["to"], "%H:%M:%S") == "00:00:00"
        site.clock.advance(DAY_NS)
        await figures.look()
        second = site.records("kpi")[1]
        assert (second["from"], second["kpi"]["activations"]) == (record["to"], 0)
        assert [each["alarm"] for each in second["kpi"]["standing"]] == ["T1-h"]
