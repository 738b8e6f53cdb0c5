"""Faults of the whole agent: kills with every kind of timer, a dead link, a damaged journal."""

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import config_text
from tests.e2e.test_agent_end_to_end import assert_balance, settled
from tests.support.agent_process import ROOT, AgentProcess, eventually
from tests.support.counting_device import CountingDevice
from tests.support.fault_proxy import FaultProxy
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.broker, pytest.mark.process]

KILLS = 30 if os.environ.get("DAVY_SOAK") else 6
RICH = (
    "id: late, tag: d1.r10, condition: high, limit: 50, on_delay: 300ms, off_delay: 500ms, priority: high",
    "id: latched, tag: d1.r10, condition: high, limit: 50, latch: true, priority: medium",
    "id: slope, tag: d1.r10, condition: rate, limit: 600, per: min, window: 2s, priority: low",
    "id: silent, tag: d1.r10, condition: stale, after: 1s, priority: medium",
    "id: bad, tag: d1.r10, condition: bad_quality, on_delay: 200ms, priority: low",
)


def replayed(agent: AgentProcess) -> list[str]:
    """Ids of the events that the journal's records give when they are evaluated again, from nothing."""
    command = [sys.executable, "-m", "agent.cli.main", "replay", str(agent.state_dir), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return [event["id"] for event in events if event["rule"] is not None]


async def test_across_kills_a_replay_of_the_journal_tells_what_was_told_live(
    tmp_path: Path, device: CountingDevice, broker: Mosquitto, receiver: Receiver
) -> None:
    chance = random.Random(2026)
    config = config_text(tmp_path / "agent" / "state", {"d1": device.port}, broker.port, rules=RICH)
    with AgentProcess(tmp_path / "agent", config) as agent:
        for _ in range(KILLS):
            agent.start()
            polls = device.polls
            await eventually(lambda polls=polls: device.polls > polls + chance.randrange(5, 40), "the agent polls")
            device.silent = chance.random() < 0.3
            agent.kill()
            device.silent = False
        agent.start()
        await eventually(lambda: len(receiver.audit("start")) == KILLS + 1, "every start is told")
        await settled(agent, receiver)
        assert_balance(agent, receiver, only="d1-wave")
        told = [fields["id"] for fields in receiver.alarms() if fields["rule"] is not None]
        assert sorted(await asyncio.to_thread(replayed, agent)) == sorted(told)


async def test_a_link_that_goes_silent_then_is_reset_then_is_back_loses_nothing(
    tmp_path: Path, device: CountingDevice, broker: Mosquitto, receiver: Receiver
) -> None:
    async with FaultProxy(broker.port) as link:
        config = config_text(tmp_path / "agent" / "state", {"d1": device.port}, link.port)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            await eventually(lambda: len(receiver.alarms("activated")) >= 1, "an alarm arrives")
            link.silence()
            await eventually(lambda: "destination down" in agent.log(), "the silence is noticed", within_s=60)
            await link.refuse()
            polls = device.polls
            await eventually(lambda: device.polls > polls + 20, "polls go on")
            await link.heal()
            alarms = len(receiver.alarms("activated"))
            await eventually(lambda: len(receiver.alarms("activated")) > alarms + 1, "alarms arrive again", within_s=60)
            newest = max(receiver.seqs)
            await eventually(lambda: any(seq > newest for _, seq in list(receiver.blocks)), "readings have caught up")
            await settled(agent, receiver)
            assert_balance(agent, receiver)


async def test_an_agent_starts_on_a_damaged_journal_and_tells_what_is_missing(
    agent: AgentProcess, device: CountingDevice, receiver: Receiver
) -> None:
    agent.start()
    await eventually(lambda: len(receiver.alarms("activated")) >= 2, "alarms arrive")
    await settled(agent, receiver)
    segment = sorted((agent.state_dir / "journal" / "segments").glob("*.seg"))[0]
    data = bytearray(segment.read_bytes())
    middle = len(data.rstrip(b"\0")) // 2
    data[middle : middle + 40] = bytes(40)
    segment.write_bytes(data)
    agent.start()
    await eventually(lambda: len(receiver.audit("gap")) >= 1, "the gap is told")
    gap = receiver.audit("gap")[0]
    assert 1 <= gap["from"] <= gap["to"]
    alarms = len(receiver.alarms("activated"))
    await eventually(lambda: len(receiver.alarms("activated")) > alarms, "alarms go on")
    await asyncio.to_thread(agent.stop)
    report = await asyncio.to_thread(agent.davy, "journal", "verify")
    assert not report["ok"]
