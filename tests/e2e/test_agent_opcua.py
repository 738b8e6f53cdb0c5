"""OPC UA end to end: a source clock that is wrong is an alarm of its own, and its values still arrive."""

import time
from pathlib import Path

import pytest

from simulator.servers.opcua import OpcuaNode, OpcuaServer
from tests.support.agent_process import AgentProcess, eventually
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.broker, pytest.mark.process]

HOUR_NS = 3_600 * 10**9
CLOCK = "davy:device:dcs:clock"


def config_text(state: Path, opcua_port: int, broker_port: int) -> str:
    return f"""
site: {{id: test-site}}
agent: {{name: gw1, state_dir: "{state}"}}
devices:
  - id: dcs
    driver: opcua
    endpoint: opc.tcp://127.0.0.1:{opcua_port}
    mode: subscribe
    publish: 100ms
    tags: [{{id: T, node: "ns=2;s=T", unit: degC}}]
rules:
  - {{id: T-h, tag: T, condition: high, limit: 100, priority: high}}
destinations:
  - {{id: platform, kind: mqtt, url: "mqtt://127.0.0.1:{broker_port}", keep_alive: 5s}}
journal: {{commit_every: 100ms}}
"""


@pytest.mark.parametrize("shift_ns", [HOUR_NS, -HOUR_NS])
async def test_a_source_clock_an_hour_off_is_an_alarm_and_hides_no_value(
    tmp_path: Path, broker: Mosquitto, receiver: Receiver, shift_ns: int
) -> None:
    server = OpcuaServer(nodes=[OpcuaNode(id="T", initial=20.0, unit="degC", range=None)])
    port = await server.start()

    def qualities() -> list[int]:
        blocks = sorted(receiver.blocks.items())
        return [(block.get("q") or [0])[0] if block["v"] else block["q"] for _, block in blocks]

    def transitions(alarm: str) -> list[str]:
        return [fields["transition"] for fields in receiver.alarms() if fields["alarm"] == alarm]

    try:
        with AgentProcess(tmp_path / "agent", config_text(tmp_path / "state", port, broker.port)) as agent:
            agent.start()
            await eventually(lambda: 0 in qualities(), "a good reading arrives")
            await server.write({"T": 120.0}, time.time_ns() + shift_ns)
            await eventually(lambda: transitions(CLOCK) == ["activated"], "the wrong clock is an alarm")
            await eventually(lambda: transitions("T-h") == ["activated"], "the value counts all the same")
            await eventually(lambda: 4 in qualities(), "its quality says why it is doubted")
            for value in (30.0, 31.0):
                await server.write({"T": value}, time.time_ns())
                seen = len(receiver.blocks)
                await eventually(lambda seen=seen: len(receiver.blocks) > seen, "the next value arrives")
            await eventually(lambda: transitions(CLOCK) == ["activated", "returned"], "the clock is right again")
            agent.stop()
    finally:
        await server.stop()
