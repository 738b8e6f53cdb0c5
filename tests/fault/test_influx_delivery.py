"""The InfluxDB destination against a strict v2 endpoint: every answer, and what becomes of the points."""

import asyncio
import math

import pytest

from agent.core.clock import SystemClock
from agent.core.counters import labels
from agent.core.ports import RejectedError, UnavailableError
from agent.core.records import Kind, Lane
from agent.destinations.influxdb.config import Config
from agent.destinations.influxdb.destination import make
from agent.destinations.influxdb.lines import Lines
from agent.destinations.influxdb.sender import InfluxSender, MisconfiguredError
from simulator.influx_server import Answer, InfluxOptions, InfluxServer
from tests.support.memory_journal import Site, eventually

GOOD = {"id": "tsdb", "kind": "influxdb", "org": "plant", "bucket": "davy", "token": "demo"}


def config(server: InfluxServer, **changes: object) -> Config:
    return Config.model_validate({**GOOD, "url": server.url, "timeout": "2s", **changes})


class Bench:
    """One server, one journal, one open sender."""

    def __init__(self, **options: object) -> None:
        self.server = InfluxServer(InfluxOptions(**options))  # type: ignore[arg-type]
        self.site = Site()

    async def __aenter__(self) -> "Bench":
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()

    async def send(self, **changes: object) -> None:
        sender = InfluxSender(
            config(self.server, **changes), Lines("s1", "gw1", "davy"), SystemClock(), self.site.counters
        )
        await sender.open()
        try:
            await sender.send(self.site.journal.records, 0)
        finally:
            await sender.close()

    def values(self) -> list[float]:
        return sorted(float(point.fields["value"]) for point in self.server.points("davy") if "value" in point.fields)


async def test_204_proves_every_point():
    async with Bench() as bench:
        bench.site.journal.batch([1.0, math.nan, 3.0], quality=bytes([0, 101, 0]))
        bench.site.journal.alarm()
        bench.site.journal.audit()
        await bench.send()
        assert bench.values() == [1.0, 3.0]
        assert [p.measurement for p in bench.server.points() if p.measurement != "davy"] == ["davy_alarm", "davy_audit"]


async def test_a_repeated_send_leaves_every_point_there_once():
    async with Bench() as bench:
        bench.site.journal.batch([1.0, 2.0])
        bench.site.journal.alarm()
        await bench.send()
        await bench.send()
        assert len(list(bench.server.points())) == 3
        assert (bench.server.counts.duplicates, bench.server.counts.conflicts) == (3, 0)


@pytest.mark.parametrize("is_partial", [True, False])
async def test_a_poison_point_is_isolated_and_its_neighbours_arrive(is_partial):
    async with Bench(is_partial=is_partial, refuses=lambda point: point.fields.get("value") == 66.6) as bench:
        for i in range(20):
            bench.site.journal.batch([float(i), 66.6 if i == 13 else i + 0.5])
        with pytest.raises(RejectedError, match=r"1 of 40 points refused.*66\.6.*422") as found:
            await bench.send()
        assert found.value.seqs == (14,)
        assert len(bench.values()) == 39
        assert bench.site.counters.count("quarantined_points", labels(destination="tsdb")) == 1


@pytest.mark.parametrize("is_partial", [True, False])
async def test_malformed_lines_are_isolated_too(is_partial, monkeypatch):
    monkeypatch.setattr(
        Lines,
        "record",
        lambda self, record: [f"davy,tag=t{record.seq} value={'x' if record.seq in (3, 4, 9) else 1.0} {record.seq}"],
    )
    async with Bench(is_partial=is_partial) as bench:
        for i in range(10):
            bench.site.journal.batch([float(i)])
        with pytest.raises(RejectedError) as found:
            await bench.send()
        assert found.value.seqs == (3, 4, 9)
        assert len(list(bench.server.points())) == 7


async def test_when_every_point_is_refused_all_are_quarantined_and_the_work_stays_bounded():
    async with Bench(refuses=lambda _: True) as bench:
        for i in range(8):
            bench.site.journal.batch([float(i)] * 8)
        with pytest.raises(RejectedError) as found:
            await bench.send()
        assert found.value.seqs == tuple(range(1, 9))
        assert bench.server.counts.requests == 2 * 64 - 1


@pytest.mark.parametrize(
    "wrong", [{"token": "stale"}, {"org": "other"}, {"bucket": "gone"}], ids=["token", "org", "bucket"]
)
async def test_a_wrong_token_or_bucket_stops_the_lane_for_long(wrong):
    async with Bench() as bench:
        bench.site.journal.batch([1.0])
        with pytest.raises(MisconfiguredError, match="check token, org and bucket") as found:
            await bench.send(**wrong)
        assert found.value.retry_after_s == 60.0
        assert bench.server.counts.requests == 1
        assert "stale" not in str(found.value)


async def test_413_halves_until_it_fits():
    async with Bench(lines_max=7) as bench:
        for i in range(10):
            bench.site.journal.batch([float(i), -float(i) - 1])
        await bench.send()
        assert len(bench.values()) == 20
        assert bench.server.counts.answers[413] <= 3


async def test_one_point_that_is_too_large_alone_is_quarantined():
    async with Bench(body_bytes_max=150) as bench:
        bench.site.journal.batch([1.0])
        bench.site.journal.batch([2.0], exact={0: "x" * 200})
        with pytest.raises(RejectedError) as found:
            await bench.send()
        assert found.value.seqs == (2,)
        assert bench.values() == [1.0]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "wait_s"), [("7", 7.0), ("99999", 300.0), (None, None), ("soon", None), ("nan", None)]
)
async def test_a_busy_server_is_given_the_time_it_asks_for(status, header, wait_s):
    async with Bench() as bench:
        bench.site.journal.batch([1.0])
        bench.server.script(Answer(status, header))
        with pytest.raises(UnavailableError) as found:
            await bench.send()
        assert found.value.retry_after_s == wait_s


async def test_retry_after_may_be_a_date():
    async with Bench() as bench:
        bench.site.journal.batch([1.0])
        bench.server.script(Answer(503, "Wed, 21 Oct 2099 07:28:00 GMT"), Answer(503, "Wed, 21 Oct 2015 07:28:00 GMT"))
        waits = []
        for _ in range(2):
            with pytest.raises(UnavailableError) as found:
                await bench.send()
            waits.append(found.value.retry_after_s)
        assert waits == [300.0, None]


@pytest.mark.parametrize("status", [200, 202, 302, 307, 405, 500, 502, 504])
async def test_any_other_answer_proves_nothing(status):
    async with Bench() as bench:
        bench.site.journal.batch([1.0])
        bench.server.script(Answer(status))
        with pytest.raises(UnavailableError):
            await bench.send()


async def test_a_server_that_is_not_there_is_unavailable():
    async with Bench() as bench:
        bench.site.journal.batch([1.0])
        await bench.server.stop()
        with pytest.raises(UnavailableError, match="tsdb: write to http"):
            await bench.send()


async def test_a_server_that_never_answers_is_unavailable_after_the_timeout():
    async with Bench() as bench:
        bench.site.journal.batch([1.0])
        silent = await asyncio.start_server(lambda reader, _: reader.read(), "127.0.0.1", 0)
        async with silent:
            port = silent.sockets[0].getsockname()[1]
            with pytest.raises(UnavailableError, match="TimeoutError"):
                await bench.send(url=f"http://127.0.0.1:{port}", timeout="200ms")


async def test_a_server_that_talks_nonsense_is_unavailable():
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    async with Bench() as bench:
        bench.site.journal.batch([1.0])
        other = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with other:
            port = other.sockets[0].getsockname()[1]
            with pytest.raises(UnavailableError):
                await bench.send(url=f"http://127.0.0.1:{port}")


async def test_a_ca_file_that_is_not_there_is_unavailable(tmp_path):
    async with Bench() as bench:
        with pytest.raises(UnavailableError, match="cannot be used as authority"):
            await bench.send(url="https://127.0.0.1:1", ca=str(tmp_path / "none.pem"))


async def test_an_outage_in_the_middle_loses_nothing_and_repeats_harmlessly():
    async with Bench() as bench:
        for i in range(30):
            bench.site.journal.batch([float(i)] * 4)
        destination = make(config(bench.server, start="oldest", batch_points=10), bench.site.context)
        bench.server.script(Answer(503, keeps=True), Answer(500), Answer(500, keeps=True))
        async with asyncio.TaskGroup() as group:
            run = group.create_task(destination.run())
            await eventually(lambda: bench.site.cursors.get("tsdb", Lane.READINGS) == 30, "readings")
            await bench.server.stop()
            for i in range(30, 60):
                bench.site.journal.batch([float(i)] * 4)
            bench.site.journal.alarm()
            await eventually(lambda: destination.status()["state"] == "down", "the outage is noticed")
            await bench.server.start()
            await eventually(lambda: bench.site.cursors.get("tsdb", Lane.READINGS) == 60, "the backlog")
            await eventually(lambda: bench.site.cursors.get("tsdb", Lane.ALARMS) == 61, "the alarm")
            run.cancel()
        sent = {
            (r.batch.layout.tags[i], r.batch.at_ns, v)
            for r in bench.site.journal.records
            if r.batch
            for i, v in enumerate(r.batch.values)
        }
        assert {(p.tag("tag"), p.time_ns, p.fields["value"]) for p in bench.server.points("davy")} == sent
        assert bench.server.counts.conflicts == 0


async def test_a_poison_point_goes_to_quarantine_and_the_lane_goes_on():
    async with Bench(refuses=lambda point: point.fields.get("value") == 66.6) as bench:
        for value in (1.0, 66.6, 3.0):
            bench.site.journal.batch([value])
        destination = make(config(bench.server, start="oldest", send=["readings"]), bench.site.context)
        async with asyncio.TaskGroup() as group:
            run = group.create_task(destination.run())
            await eventually(lambda: bench.site.cursors.get("tsdb", Lane.READINGS) == 3)
            run.cancel()
        assert bench.values() == [1.0, 3.0]
        assert [(name, seqs) for name, seqs, _ in bench.site.quarantined] == [("tsdb", [2])]


async def test_only_configured_lanes_are_sent():
    async with Bench() as bench:
        destination = make(config(bench.server, send=["alarms"]), bench.site.context)
        assert set(destination.status()["lanes"]) == {"alarms"}
        assert Kind.ALARM in Lane.ALARMS.kinds
