"""T4: what ran live comes out of `davy replay JOURNAL` again, byte for byte but for seq, cause_seq, recorded, chain."""

import asyncio
import json
import subprocess
import sys

import pytest

from agent.core.records import Kind
from agent.journal.records import JournalFiles
from tests.support.agent_process import ROOT, AgentProcess, eventually
from tests.support.counting_device import CountingDevice
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.broker, pytest.mark.process]

ONLY_LIVE = ("seq", "cause_seq", "recorded", "after", "prev", "hash")


async def test_the_journal_of_an_agent_that_was_killed_is_replayed_to_the_same_events(
    agent: AgentProcess, device: CountingDevice, receiver: Receiver
) -> None:
    agent.start()
    await eventually(lambda: len(receiver.alarms("activated")) >= 2, "two alarms arrive")
    await asyncio.to_thread(agent.kill)
    agent.start()
    await eventually(lambda: len(receiver.alarms("activated")) >= 4, "four alarms arrive")
    alarm = "d1-wave"
    await asyncio.to_thread(agent.davy, "alarms", "ack", alarm)
    await asyncio.to_thread(agent.stop)
    command = [sys.executable, "-m", "agent.cli.main", "replay", str(agent.state_dir), "--json"]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    live = [
        dict(record.fields)
        for record in JournalFiles(agent.state_dir / "journal").records()
        if record.kind is Kind.ALARM
    ]
    assert len(live) >= 5
    assert "acknowledged" in {fields["transition"] for fields in live}
    common = [{key: value for key, value in fields.items() if key not in ONLY_LIVE} for fields in live]
    again = [{key: value for key, value in fields.items() if key not in ONLY_LIVE} for fields in told]
    assert again == common
    assert all(fields[key] is None for fields in told for key in ONLY_LIVE)
