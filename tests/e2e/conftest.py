"""The parts of an end-to-end test: a device whose answers prove themselves, a real broker, a receiver, the agent."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.agent_process import AgentProcess
from tests.support.counting_device import REGISTERS, CountingDevice
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import Receiver

WAVE_LIMIT = 50


def config_text(
    state: Path,
    devices: dict[str, int],
    broker_port: int,
    *,
    poll: str = "100ms",
    extra: str = "",
    rules: Sequence[str] = (),
) -> str:
    """A configuration with one counting device per name and one limit rule on its wave."""
    lines = [
        "site: {id: test-site, name: 测试, timezone: Asia/Shanghai}",
        f'agent: {{name: gw1, state_dir: "{state}"}}',
        "devices:",
    ]
    limits = ["rules:"]
    for name, port in devices.items():
        lines.append(
            f"  - {{id: {name}, driver: modbus, link: {{kind: tcp, host: 127.0.0.1, port: {port}}},"
            f" unit_id: 1, poll: {poll}, timeout: 1s, tags: ["
        )
        lines += [f"      {{id: {name}.r{i}, table: holding, address: {i}, type: uint16}}," for i in range(REGISTERS)]
        lines.append("    ]}")
        limits.append(
            f"  - {{id: {name}-wave, tag: {name}.r10, condition: high, limit: {WAVE_LIMIT}, priority: high,"
            " message: {zh-CN: 波高, en: wave high}}"
        )
    destination = (
        f'destinations:\n  - {{id: platform, kind: mqtt, url: "mqtt://127.0.0.1:{broker_port}",'
        " keep_alive: 5s, operator: true, commands: [receipt, acknowledge]}"
    )
    return "\n".join(
        [*lines, *limits, *(f"  - {{{rule}}}" for rule in rules), destination, "journal: {commit_every: 200ms}", extra]
    )


@pytest.fixture
async def device() -> AsyncIterator[CountingDevice]:
    device = CountingDevice()
    await device.start()
    yield device
    await device.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", persistence=True) as broker:
        yield broker


@pytest.fixture
def receiver(broker: Mosquitto) -> Iterator[Receiver]:
    receiver = Receiver(broker.port)
    yield receiver
    receiver.close()


@pytest.fixture
def agent(tmp_path: Path, device: CountingDevice, broker: Mosquitto) -> Iterator[AgentProcess]:
    config = config_text(tmp_path / "agent" / "state", {"d1": device.port}, broker.port)
    with AgentProcess(tmp_path / "agent", config) as agent:
        yield agent
