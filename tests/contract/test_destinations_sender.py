"""What every Sender promises (agent/core/ports.py), run on each lane of the MQTT destination."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import mqtt5
import pytest

from agent.core.ports import RejectedError, Sender, UnavailableError
from agent.core.records import Record
from agent.destinations.mqtt.config import Config
from agent.destinations.mqtt.destination import make
from tests.support.fake_broker import Answer, FakeBroker, HangUp, seqs
from tests.support.memory_journal import Site

OK = mqtt5.PubAckReasonCode.SUCCESS


@dataclass
class Rig:
    """One lane's sender and the far end it talks to."""

    lane: str
    site: Site
    broker: FakeBroker

    def sender(self) -> Sender:
        settings = {"id": "p", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{self.broker.port}", "timeout": "500ms"}
        destination = make(Config.model_validate(settings | {"send": [self.lane]}), self.site.context)
        lane = next(iter(destination.lanes.values()))  # type: ignore[attr-defined]
        return lane._make_sender()

    def records(self, count: int) -> list[Record]:
        add: Callable[[int], Record] = lambda n: (  # noqa: E731
            self.site.journal.batch([n + 0.5]) if self.lane == "readings" else self.site.journal.alarm(f"a{n + 0.5}")
        )
        return [add(n) for n in range(count)]

    @property
    def arrived(self) -> list[int]:
        return seqs(self.broker.on(f"/{self.lane}"))

    def script(self, answer: Callable[[mqtt5.PublishPacket], Answer]) -> None:
        self.broker.on_publish = lambda packet: answer(packet) if packet.topic.endswith(f"/{self.lane}") else OK


@pytest.fixture(params=["readings", "alarms"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with FakeBroker() as broker:
        yield Rig(request.param, Site(), broker)


async def test_send_returns_when_every_record_is_proved(rig: Rig) -> None:
    sender = rig.sender()
    await sender.open()
    await sender.send(rig.records(20), 0)
    assert rig.arrived == list(range(1, 21))
    await sender.send(rig.records(5), 20)
    assert rig.arrived == list(range(1, 26))
    await sender.close()


async def test_open_fails_when_nobody_listens(rig: Rig) -> None:
    rig.broker.connack = None
    sender = rig.sender()
    with pytest.raises(UnavailableError):
        await sender.open()
    await sender.close()


@pytest.mark.parametrize("fault", ["hang up", "silence", "refusal"])
async def test_a_send_that_proves_less_than_all_raises(rig: Rig, fault: str) -> None:
    def answer(packet: mqtt5.PublishPacket) -> Answer:
        if b"2.5" not in packet.payload:
            return OK
        if fault == "hang up":
            raise HangUp
        return None if fault == "silence" else mqtt5.PubAckReasonCode.UNSPECIFIED_ERROR

    rig.script(answer)
    sender = rig.sender()
    await sender.open()
    with pytest.raises(UnavailableError):
        await sender.send(rig.records(5), 0)
    await sender.close()


async def test_rejection_names_exactly_the_records_to_blame_and_proves_the_others(rig: Rig) -> None:
    rig.script(
        lambda packet: (
            mqtt5.PubAckReasonCode.PAYLOAD_FORMAT_INVALID
            if any(bad in packet.payload for bad in (b"2.5", b"6.5"))
            else OK
        )
    )
    sender = rig.sender()
    await sender.open()
    with pytest.raises(RejectedError) as error:
        await sender.send(rig.records(9), 0)
    assert sorted(error.value.seqs) == [3, 7]
    good = [p for p in rig.broker.on(f"/{rig.lane}") if not (b"2.5" in p.payload or b"6.5" in p.payload)]
    assert sorted(seqs(good)) == [1, 2, 4, 5, 6, 8, 9]
    await sender.send(rig.records(1), 9)
    await sender.close()


async def test_close_is_harmless_before_open_and_twice(rig: Rig) -> None:
    sender = rig.sender()
    await sender.close()
    await sender.close()
    sender = rig.sender()
    await sender.open()
    await sender.close()
    await sender.close()
