"""What every Sender promises (agent/core/ports.py), run on both lanes of the InfluxDB destination."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from agent.core.clock import SystemClock
from agent.core.ports import RejectedError, Sender, UnavailableError
from agent.core.records import Record
from agent.destinations.influxdb.config import Config
from agent.destinations.influxdb.lines import Lines
from agent.destinations.influxdb.sender import InfluxSender
from simulator.influx_lines import Point
from simulator.influx_server import Answer, InfluxOptions, InfluxServer
from tests.support.memory_journal import AT, Site


@dataclass
class Rig:
    """One lane's sender and the server it talks to."""

    lane: str
    site: Site = field(default_factory=Site)
    refused: set[int] = field(default_factory=set)
    server: InfluxServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = InfluxServer(InfluxOptions(refuses=lambda point: self.number(point) in self.refused))

    def number(self, point: Point) -> int:
        return (point.time_ns - AT) // 1_000_000

    def sender(self) -> Sender:
        settings = {
            "id": "t",
            "kind": "influxdb",
            "url": self.server.url,
            "org": "plant",
            "bucket": "davy",
            "token": "demo",
        }
        config = Config.model_validate({**settings, "timeout": "1s", "batch_points": 7})
        return InfluxSender(config, Lines("s1", "gw1", "davy"), SystemClock(), self.site.counters)

    def records(self, count: int) -> list[Record]:
        journal = self.site.journal
        if self.lane == "readings":
            return [journal.batch([n + 0.5]) for n in range(count)]
        return [journal.alarm(time=AT + (journal.synced_seq + 1) * 1_000_000) for _ in range(count)]

    @property
    def arrived(self) -> list[int]:
        return [self.number(point) for point in self.server.points()]


@pytest.fixture(params=["readings", "alarms"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    rig = Rig(request.param)
    await rig.server.start()
    yield rig
    await rig.server.stop()


async def test_send_returns_when_every_record_is_proved(rig: Rig) -> None:
    sender = rig.sender()
    await sender.open()
    await sender.send(rig.records(20), 0)
    assert rig.arrived == list(range(1, 21))
    await sender.send(rig.records(5), 20)
    assert rig.arrived == list(range(1, 26))
    await sender.close()


async def test_what_is_rejected_is_named_and_all_the_rest_is_proved(rig: Rig) -> None:
    rig.refused = {2, 9, 10}
    sender = rig.sender()
    await sender.open()
    with pytest.raises(RejectedError) as caught:
        await sender.send(rig.records(12), 0)
    assert caught.value.seqs == (2, 9, 10)
    assert sorted(rig.arrived) == [1, 3, 4, 5, 6, 7, 8, 11, 12]
    await sender.close()


async def test_unavailable_proves_nothing_and_a_new_sender_repeats_it_all(rig: Rig) -> None:
    records = rig.records(20)
    sender = rig.sender()
    await sender.open()
    rig.server.script(Answer(503, keeps=True))
    with pytest.raises(UnavailableError):
        await sender.send(records, 0)
    await sender.close()
    sender = rig.sender()
    await sender.open()
    await sender.send(records, 0)
    assert sorted(rig.arrived) == list(range(1, 21))
    assert rig.server.counts.conflicts == 0
    await sender.close()


async def test_close_never_raises_and_may_come_twice_or_first(rig: Rig) -> None:
    sender = rig.sender()
    await sender.close()
    await sender.open()
    await rig.server.stop()
    await sender.close()
    await sender.close()
    with pytest.raises(UnavailableError):
        await sender.send(rig.records(1), 0)
