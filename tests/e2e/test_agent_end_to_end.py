"""The main job on real protocols: a device, the agent as a process, a real broker, a receiver that judges."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.e2e.conftest import WAVE_LIMIT, config_text
from tests.support.agent_process import AgentProcess, eventually, free_port
from tests.support.counting_device import REGISTERS, CountingDevice
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.broker, pytest.mark.process]

KILLS = 50 if os.environ.get("DAVY_SOAK") else 10


async def settled(agent: AgentProcess, receiver: Receiver) -> None:
    """Stop the agent cleanly and wait until the receiver holds everything that the journal holds."""
    took_s = await asyncio.to_thread(agent.stop)
    assert took_s < 5.0
    stats = agent.davy("journal", "stats")
    await eventually(lambda: stats["last_seq"] in receiver.seqs, f"seq {stats['last_seq']} arrives")


def assert_balance(agent: AgentProcess, receiver: Receiver, *, only: str = "d1-wave") -> None:
    """Nothing lost, nothing wrong, every alarm there, and the journal proves itself."""
    stats = agent.davy("journal", "stats")
    expected = set(range(stats["first_seq"], stats["last_seq"] + 1))
    ticks = stats["records"].get("tick", 0)
    lost = expected - receiver.seqs
    assert len(lost) == ticks, f"lost {sorted(lost)[:20]} (ticks: {ticks})"
    assert receiver.wrong(REGISTERS) == 0
    # Davy's own alarms (chattering, floods) come on top; the wave's follow from the readings alone.
    activated = [fields for fields in receiver.alarms("activated") if fields["rule"] == only]
    assert [fields["cause_seq"] for fields in activated] == receiver.crossings(REGISTERS, WAVE_LIMIT)
    assert len({fields["id"] for fields in receiver.alarms()}) == len(receiver.alarms())
    report = agent.davy("journal", "verify")
    assert report["ok"], report


async def test_readings_and_alarms_reach_the_platform(
    agent: AgentProcess, device: CountingDevice, receiver: Receiver
) -> None:
    agent.start()
    await eventually(lambda: len(receiver.alarms("activated")) >= 3, "three alarms arrive")
    await settled(agent, receiver)
    assert_balance(agent, receiver)
    start, stop = receiver.audit("start"), receiver.audit("stop")
    assert len(start) == len(stop) == 1
    counts = stop[0]["counts"]
    assert counts["polled"] == counts["journaled"] == counts["evaluated"]
    assert counts["refused"] == counts["waiting"] == 0


async def test_kill_9_at_random_moments_loses_nothing(
    agent: AgentProcess, device: CountingDevice, receiver: Receiver
) -> None:
    chance = random.Random(417)
    for _ in range(KILLS):
        agent.start()
        polls = device.polls
        await eventually(lambda polls=polls: device.polls > polls + chance.randrange(1, 25), "the agent polls")
        agent.kill()
    agent.start()
    await eventually(lambda: len(receiver.audit("start")) == KILLS + 1, "every start is told")
    await settled(agent, receiver)
    assert_balance(agent, receiver)
    batches = receiver.good_batches(REGISTERS)
    seen = {(int(values[0]) << 16) + int(values[1]) for _, values in batches}
    assert device.polls - len(seen) <= KILLS * 2, "a kill loses at most the poll in hand"


async def test_an_outage_without_platform_from_the_first_second_and_a_kill_lose_nothing(
    tmp_path: Path, device: CountingDevice
) -> None:
    port = free_port()
    config = config_text(tmp_path / "agent" / "state", {"d1": device.port}, port)
    with AgentProcess(tmp_path / "agent", config) as agent:
        agent.start()
        await eventually(lambda: device.polls > 20, "polls go on without a platform")
        agent.kill()
        agent.start()
        polls = device.polls
        await eventually(lambda: device.polls > polls + 20, "polls go on after the kill")
        with Mosquitto(tmp_path / "broker", port=port, persistence=True) as broker:
            receiver = Receiver(broker.port)
            await eventually(lambda: len(receiver.audit("start")) == 2, "both starts arrive late")
            await settled(agent, receiver)
            assert_balance(agent, receiver)
            receiver.close()


async def test_a_broker_that_is_stopped_and_started_again_gets_everything(
    agent: AgentProcess, device: CountingDevice, broker: Mosquitto, receiver: Receiver
) -> None:
    agent.start()
    await eventually(lambda: len(receiver.alarms("activated")) >= 1, "an alarm arrives")
    broker.stop()
    polls = device.polls
    await eventually(lambda: device.polls > polls + 30, "polls go on during the outage")
    broker.start()
    await eventually(lambda: len(receiver.alarms("activated")) >= 3, "alarms arrive after the outage")
    await settled(agent, receiver)
    assert_balance(agent, receiver)


async def test_a_device_that_goes_silent_is_bad_and_comes_back(
    agent: AgentProcess, device: CountingDevice, receiver: Receiver
) -> None:
    agent.start()
    await eventually(lambda: len(receiver.good_batches(REGISTERS)) > 5, "good readings arrive")
    device.silent = True
    await eventually(lambda: any(b.get("q") == 101 for b in list(receiver.blocks.values())), "bad readings arrive")
    device.silent = False
    good = len(receiver.good_batches(REGISTERS))
    await eventually(lambda: len(receiver.good_batches(REGISTERS)) > good + 5, "good readings arrive again")
    await settled(agent, receiver)
    assert receiver.wrong(REGISTERS) == 0


async def test_an_acknowledgement_from_the_command_line_reaches_the_platform(
    agent: AgentProcess, device: CountingDevice, receiver: Receiver
) -> None:
    agent.start()
    await eventually(lambda: len(receiver.alarms("activated")) >= 1, "an alarm arrives")
    acted = await asyncio.to_thread(agent.davy, "alarms", "ack", "d1-wave", "--note", "seen")
    assert acted["outcome"] == "done", acted
    await eventually(lambda: len(receiver.alarms("acknowledged")) == 1, "the acknowledgement arrives")
    assert receiver.alarms("acknowledged")[0]["note"] == "seen"
    status = await asyncio.to_thread(agent.davy, "status")
    assert status["devices"]["d1"]["state"] == "up"
    assert status["destinations"]["platform"]["state"] == "up"
    metrics = await asyncio.to_thread(agent.metrics)
    assert metrics["davy_readings_polled_total"] > 0
    await settled(agent, receiver)


async def test_a_second_agent_on_the_same_state_directory_is_refused(
    agent: AgentProcess, device: CountingDevice
) -> None:
    agent.start()
    await eventually(lambda: device.polls > 3, "the first agent polls")
    second = AgentProcess(agent.directory / "second", agent.config)
    with second:
        second.start()
        assert second.process is not None
        assert await asyncio.to_thread(second.process.wait, 20) == 2
        assert "another davy agent uses this directory" in second.log()
