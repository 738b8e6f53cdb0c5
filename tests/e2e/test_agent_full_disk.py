"""A state directory that is full: the agent lives, alarms are delivered, it recovers by itself."""

import asyncio
import errno
from pathlib import Path

import pytest

from tests.e2e.conftest import WAVE_LIMIT, config_text
from tests.support.agent_process import AgentProcess, eventually
from tests.support.counting_device import REGISTERS, CountingDevice
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.broker, pytest.mark.process]

SMALL_DISK = ("unshare", "--map-root-user", "--mount", "sh", "-c")
MOUNT = 'mkdir -p "$0" && mount -t tmpfs -o size=5m tmpfs "$0" && exec "$@"'


def fill(directory: Path) -> Path:
    """Take all the room there is."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
    return ballast


async def test_a_full_disk_stops_no_alarm_and_heals_by_itself(
    tmp_path: Path, device: CountingDevice, broker: Mosquitto, receiver: Receiver
) -> None:
    state = tmp_path / "agent" / "state"
    config = config_text(state, {"d1": device.port}, broker.port)
    with AgentProcess(tmp_path / "agent", config, prefix=(*SMALL_DISK, MOUNT, str(state))) as agent:
        agent.start()
        await eventually(lambda: len(receiver.alarms("activated")) >= 1, "an alarm arrives")
        assert agent.process is not None
        # The agent's own view of its small disk: the mount exists in its name space only.
        ballast = await asyncio.to_thread(fill, Path(f"/proc/{agent.process.pid}/root{state}"))
        await eventually(lambda: agent.metrics().get("davy_journal_failing") == 1, "the disk is full", within_s=90)
        known = len(receiver.alarms("activated")) + len(receiver.unjournaled)
        await eventually(
            lambda: len(receiver.alarms("activated")) + len(receiver.unjournaled) >= known + 2, "alarms go on"
        )
        ballast.unlink()
        await eventually(lambda: agent.metrics().get("davy_journal_failing") == 0, "it takes readings again")
        good = len(receiver.good_batches(REGISTERS))
        await eventually(lambda: len(receiver.good_batches(REGISTERS)) > good + 5, "readings arrive again")
        assert agent.process.poll() is None
        assert (await asyncio.to_thread(agent.metrics))["davy_readings_refused_total"] > 0
        await asyncio.to_thread(agent.stop)
        late = {fields["id"] for fields in receiver.alarms()}
        await eventually(
            lambda: (
                set(receiver.unjournaled)
                <= {fields["id"] for fields in receiver.alarms()}
                | {fields.get("id") for fields in receiver.events.values()}
            ),
            f"what was sent without a seq is journaled later (so far {len(late)})",
        )
        disk = [fields["transition"] for fields in receiver.alarms() if fields["alarm"] == "davy:disk"]
        assert disk == ["activated", "returned"], "the full disk is an alarm of its own"
        assert receiver.wrong(REGISTERS) == 0
        assert len(receiver.crossings(REGISTERS, WAVE_LIMIT)) <= len(receiver.alarms("activated"))
