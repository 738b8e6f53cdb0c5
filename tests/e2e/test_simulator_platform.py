"""The demo's broker (rumqttd) and the platform's stand-in, over real sockets."""

import asyncio
import json

import aiomqtt
import pytest

from agent.core.clock import SystemClock
from agent.core.records import GENESIS, canonical_json, chain_hash
from simulator.broker import Broker
from simulator.operator import Operator
from simulator.platform import Platform

TOPIC = "davy/v1/s/a"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = Broker(tmp_path_factory.mktemp("broker"))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


def client(port: int, version=aiomqtt.ProtocolVersion.V5) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", port, protocol=version, timeout=5)


async def next_message(there: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(10):
        async for message in there.messages:
            return message
    raise AssertionError("the connection ended")


async def test_the_broker_speaks_both_versions_and_takes_large_payloads(broker):
    async with client(broker.port) as five, client(broker.port_v311, aiomqtt.ProtocolVersion.V311) as four:
        await four.subscribe("big/#", qos=1)
        await five.publish("big/one", b"x" * 1_000_000, qos=1)
        assert len((await next_message(four)).payload) == 1_000_000


async def test_the_platform_keeps_readings_confirms_alarms_and_acknowledges_them(broker):
    platform = Platform(broker.port, SystemClock(), Operator(0, 10_000_000_000))
    who = {"v": 1, "site": "s", "agent": "a", "epoch": "e"}
    readings = {**who, "after": 0, "tags": ["x"], "blocks": [{"seq": 1, "t": 5, "v": [1.5]}]}
    alarm = {**who, "seq": 2, "id": "i", "event": "i", "alarm": "A", "transition": "activated", "annunciated": True}
    digest = chain_hash(GENESIS, canonical_json(alarm)).hex()
    async with asyncio.timeout(20), client(broker.port) as agent, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(platform.run())
        await platform.ready.wait()
        await agent.subscribe(f"{TOPIC}/command", qos=1)
        await agent.publish(f"{TOPIC}/status", b"{}", qos=1, retain=True)
        await agent.publish(f"{TOPIC}/readings", json.dumps(readings), qos=1)
        await agent.publish(f"{TOPIC}/readings", json.dumps(readings), qos=1)
        sent = {**alarm, "after": 0, "prev": GENESIS.hex(), "hash": digest}
        await agent.publish(f"{TOPIC}/alarms", json.dumps(sent), qos=1)
        commands = [await next_message(agent), await next_message(agent)]
        answer = {"v": 1, "id": json.loads(commands[1].payload)["id"], "outcome": "done"}
        await agent.publish(commands[1].properties.ResponseTopic, json.dumps(answer), qos=1)
        while not platform.answers:
            await asyncio.sleep(0.01)
        running.cancel()
    assert [json.loads(c.payload)["kind"] for c in commands] == ["receipt", "acknowledge"]
    assert (platform.intake.counts.readings, platform.intake.counts.duplicated_readings) == (1, 1)
    assert len(platform.intake.alarms) == 1
