"""Readings and alarms in a real VictoriaMetrics, read back equal."""

import time
from array import array

import pytest

from agent.core.batch import Batch, Layout
from agent.core.clock import SystemClock
from agent.core.counters import Counters
from agent.core.records import Kind, Record
from agent.destinations.influxdb.config import Config
from agent.destinations.influxdb.lines import Lines
from agent.destinations.influxdb.sender import InfluxSender
from tests.support.memory_journal import alarm_fields
from tests.support.victoria import Victoria


@pytest.fixture
def victoria(tmp_path):
    server = Victoria(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.tsdb
async def test_values_are_read_back_equal(victoria):
    now_ms = time.time_ns() // 1_000_000 - 60_000
    layout = Layout("tankfarm", ("T101.level", "一号罐.压力"))
    values = [(7.431, -0.001), (7.432, 0.1), (1e-3, 123456.75)]
    records = [
        Record(i + 1, Kind.READINGS, Batch(layout, (now_ms + i * 100) * 1_000_000, array("d", pair)))
        for i, pair in enumerate(values)
    ]
    records.append(Record(4, Kind.ALARM, fields={**alarm_fields("T101-level-h"), "time": now_ms * 1_000_000}))
    settings = {"id": "tsdb", "kind": "influxdb", "url": victoria.url, "bucket": "davy", "token": "any"}
    sender = InfluxSender(Config.model_validate(settings), Lines("s1", "gw1", "davy"), SystemClock(), Counters())
    await sender.open()
    await sender.send(records, 0)
    await sender.send(records, 0)
    await sender.close()
    stored = victoria.export("davy_value")
    assert stored["T101.level"] == [(now_ms + i * 100, pair[0]) for i, pair in enumerate(values)]
    assert stored["一号罐.压力"] == [(now_ms + i * 100, pair[1]) for i, pair in enumerate(values)]
    assert victoria.export("davy_quality")["T101.level"] == [(now_ms + i * 100, 0) for i in range(3)]
    assert victoria.export("davy_alarm_value")["T101.level"] == [(now_ms, 10.52)]
