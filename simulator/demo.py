"""``davy demo``: simulator, network, broker, platform and agent in one go; ends with a balance.

Everything runs in this process but the broker and the agent, which are children. The scenario is laid out in fractions
of the time that is left once the agent delivers its first readings.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from agent.core.clock import Clock, SystemClock
from simulator.agent_child import AgentChild, AgentFailedError
from simulator.balance import EXAMPLES_MAX, Balance, Truth, settle, unaccounted, wrong_reading
from simulator.broker import Broker, BrokerError, free_port
from simulator.davyfile import Setting, render
from simulator.influx_lines import Point
from simulator.influx_server import InfluxOptions, InfluxServer
from simulator.instruments import Fault
from simulator.intake import Received
from simulator.narrator import Narrator, language_of
from simulator.operator import Operator
from simulator.platform import Platform
from simulator.proxy import Link, Proxy
from simulator.run import LiveSite
from simulator.scenario import NETWORK, Action, Scenario
from simulator.scenario import truth as truth_of
from simulator.site import ModbusDevice, Site, find_site, load_site

SITE: Final = "tank_farm"
MQTT: Final = "platform"
INFLUX: Final = "tsdb"
"""The destinations of the site's davy.yaml."""
SCENARIO: Final = "demo"
SHUTDOWN_S: Final = 3.0
"""Kept back from the duration for the agent's stop and the balance."""
STARTUP_S: Final = 3.0
"""How long the agent is expected to take until its first readings arrive; only the speed is chosen by it."""
FIRST_READINGS_LIMIT_S: Final = 20.0
SCENARIO_MIN_S: Final = 13.0
"""A machine that takes long to start makes the demo longer, not the scenario too short to be noticed."""
KEEP_ALIVE_S: Final = 3
"""paho looks at its keep-alive once a second; with less than this the broker may close a link that is well."""
QUIET_S: Final = 0.5
QUIET_LIMIT_S: Final = 10.0
LAST_POLLS_NS: Final = 1_000_000_000
"""Replies this shortly before the stop may belong to a poll that the stop cut short."""
ACKNOWLEDGE_AFTER_NS: Final = 1_000_000_000
REPEAT_AFTER_NS: Final = 3_000_000_000
_LINKS: Final = {Fault.SILENT: Link.SILENT, Fault.RESET: Link.RESET, Fault.REFUSE: Link.REFUSE}


async def run_demo(duration_s: float, as_json: bool, workdir: Path, out: TextIO) -> int:
    """Play the demo; human lines go to ``out``, with ``as_json`` one JSON object goes to stdout.

    Returns 0 where the balance is right, 1 where it is not, or where broker or agent failed (stderr says how).
    """
    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    narrator = Narrator(out, language_of(os.environ), lambda: (clock.monotonic_ns() - started_ns) / 1e9)
    demo = Demo(load_site(find_site(SITE)), workdir, clock, narrator)
    failures: list[str] = []
    balance = Balance()
    try:
        balance = await demo.run(duration_s)
    except* (BrokerError, AgentFailedError) as group:
        failures = [str(error) for error in flat(group)]
    if failures:
        sys.stderr.write("\n".join(failures) + "\n")
        return 1
    narrator.balance(balance)
    if as_json:
        sys.stdout.write(json.dumps(balance.to_fields(), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    return 0 if balance.is_right else 1


def flat(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """The exceptions of a group and of the groups inside it."""
    found: list[Exception] = []
    for error in group.exceptions:
        found += flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


@dataclass(frozen=True, slots=True)
class _Stage:
    """Everything that stands around the agent."""

    live: LiveSite
    proxy: Proxy
    platform: Platform
    influx: InfluxServer
    agent: AgentChild


class Demo:
    """One run of the demo."""

    def __init__(self, site: Site, workdir: Path, clock: Clock, narrator: Narrator) -> None:
        self._site = site
        self._scenario: Scenario = site.scenarios[SCENARIO]
        self._workdir = workdir
        self._clock = clock
        self._narrator = narrator
        self._links: asyncio.Queue[Link] = asyncio.Queue(maxsize=16)

    async def run(self, duration_s: float) -> Balance:
        """Set the stage, play, stop the agent, count. BrokerError, AgentFailedError."""
        end_ns = self._clock.monotonic_ns() + round(duration_s * 1e9)
        async with self._stage(duration_s) as stage, asyncio.TaskGroup() as tasks:
            jobs = [
                tasks.create_task(stage.platform.run()),
                tasks.create_task(stage.live.run(self._on_action)),
                tasks.create_task(self._switch(stage.proxy)),
            ]
            await stage.platform.ready.wait()
            await stage.agent.start()
            jobs.append(tasks.create_task(stage.agent.watch()))
            balance = await self._play(stage, end_ns)
            for job in jobs:
                job.cancel()
        return balance

    @asynccontextmanager
    async def _stage(self, duration_s: float) -> AsyncGenerator[_Stage]:
        async with AsyncExitStack() as cleanup:
            broker = Broker(self._workdir)
            await broker.start()
            cleanup.push_async_callback(broker.stop)
            proxy = Proxy("127.0.0.1", broker.port)
            mqtt_port = await proxy.start()
            cleanup.push_async_callback(proxy.stop)
            live = LiveSite(self._site, self._clock)
            ports = await live.start()
            cleanup.push_async_callback(live.stop)
            operator = Operator(ACKNOWLEDGE_AFTER_NS, REPEAT_AFTER_NS)
            platform = Platform(broker.port, self._clock, operator, self._narrator.event)
            token = secrets.token_urlsafe(16)
            influx = InfluxServer(InfluxOptions(token=token))
            ports = {**ports, MQTT: mqtt_port, INFLUX: await influx.start()}
            cleanup.push_async_callback(influx.stop)
            self._write_configuration(ports, duration_s)
            agent = AgentChild(self._workdir, {"DAVY_DEMO_TOKEN": token})
            cleanup.push_async_callback(agent.kill)
            yield _Stage(live, proxy, platform, influx, agent)

    def _write_configuration(self, ports: Mapping[str, int], duration_s: float) -> None:
        scenario_s = max(duration_s - STARTUP_S - SHUTDOWN_S, SCENARIO_MIN_S)
        setting = Setting(
            state_dir=self._workdir / "state",
            modbus_port=ports["tankfarm"],
            opcua_port=ports.get("dcs"),
            mqtt_port=ports[MQTT],
            influx_port=ports[INFLUX],
            console_port=free_port(),
            speed=round(self._scenario.duration.s / scenario_s),
            keep_alive_s=KEEP_ALIVE_S,
            timeout_ms=round(min(max(scenario_s * _outage_share(self._scenario) / 3, 1.0), 15.0) * 1_000),
        )
        path = self._workdir / "davy.yaml"
        path.write_text(render(self._site.id, setting), encoding="utf-8")
        self._narrator.say({"zh-CN": f"配置文件 {path}", "en": f"configuration {path}"})
        self._narrator.show(path.read_text(encoding="utf-8"))

    async def _play(self, stage: _Stage, end_ns: int) -> Balance:
        self._narrator.say({"zh-CN": "代理已启动,等待首批数据", "en": "agent started, waiting for its first readings"})
        await self._first_readings(stage)
        first_ns = self._clock.now_ns()
        scenario_s = max((end_ns - self._clock.monotonic_ns()) / 1e9 - SHUTDOWN_S, SCENARIO_MIN_S)
        self._narrator.say(
            {
                "zh-CN": f"平台收到首批数据,剧情 {scenario_s:.0f} s",
                "en": f"the platform receives; {scenario_s:.0f} s to play",
            }
        )
        stage.live.play(self._scenario, self._scenario.duration.s / scenario_s)
        await asyncio.sleep(scenario_s)
        last_ns = self._clock.now_ns()
        self._narrator.say({"zh-CN": "停止代理(SIGTERM)", "en": "the agent is told to stop (SIGTERM)"})
        await stage.agent.stop()
        await self._settled(stage.platform)
        return await self._count(stage, first_ns, last_ns)

    async def _first_readings(self, stage: _Stage) -> None:
        try:
            async with asyncio.timeout(FIRST_READINGS_LIMIT_S):
                await stage.platform.first_readings.wait()
        except TimeoutError as error:
            raise AgentFailedError(
                f"no readings within {FIRST_READINGS_LIMIT_S:g} s; the agent's log ends with\n{stage.agent.tail()}"
            ) from error

    async def _settled(self, platform: Platform) -> None:
        """Return when the broker has handed over what it holds: no message for a while."""
        deadline_ns = self._clock.monotonic_ns() + round(QUIET_LIMIT_S * 1e9)
        before = -1
        while before != platform.intake.counts.messages and self._clock.monotonic_ns() < deadline_ns:
            before = platform.intake.counts.messages
            await asyncio.sleep(QUIET_S)

    async def _count(self, stage: _Stage, first_ns: int, last_ns: int) -> Balance:
        stats = await stage.agent.stats()
        truth = {
            tag: Truth(stage.live.history[device.id], isinstance(device, ModbusDevice))
            for device in self._site.devices
            for tag in device.instruments
        }
        balance = settle(stage.platform.intake, truth, _stop_counts(stats))
        balance.served = sum(
            stage.live.history[device.id].count for device in self._site.devices if isinstance(device, ModbusDevice)
        )
        balance.unaccounted = unaccounted(stage.platform.intake.readings, truth, first_ns, last_ns - LAST_POLLS_NS)
        counts = stage.platform.intake.counts
        balance.destinations[MQTT] = {"readings": counts.readings, "events": counts.events}
        _count_points(balance, stage.influx, truth)
        return balance

    def _on_action(self, action: Action) -> None:
        self._narrator.action(action)
        step = action.step
        if step.target == NETWORK and step.fault is not None:
            self._links.put_nowait(_LINKS[step.fault] if action.begins else Link.PASS)

    async def _switch(self, proxy: Proxy) -> None:
        while True:
            await proxy.put(await self._links.get())


def _outage_share(scenario: Scenario) -> float:
    """The longest network fault as a share of the scenario."""
    faults = [fault for fault in truth_of(scenario) if fault.target == NETWORK]
    return max((fault.to_ns - fault.from_ns for fault in faults), default=0) / scenario.duration.ns


def _count_points(balance: Balance, influx: InfluxServer, truth: Mapping[str, Truth]) -> None:
    """What the database holds, against what the agent journaled and the devices said."""
    points = list(influx.points("davy"))
    events = sum(1 for name in ("davy_alarm", "davy_audit") for _ in influx.points(name))
    balance.destinations[INFLUX] = {"readings": len(points), "events": events}
    balance.lost += max(0, balance.journaled - len(points))
    wrong = [text for point in points if (text := wrong_reading(_reading(point), truth)) is not None]
    balance.wrong += len(wrong)
    balance.problems += [f"{INFLUX}, wrong: {text}" for text in wrong[:EXAMPLES_MAX]]
    if influx.counts.conflicts:
        balance.problems.append(f"{influx.counts.conflicts} points overwrote others")


def _reading(point: Point) -> Received:
    """A point as a reading; a point knows its event time only."""
    value, quality = point.fields.get("value"), point.fields["quality"]
    number = float(value) if isinstance(value, float) else None
    return Received(0, dict(point.tags)["tag"], point.time_ns, point.time_ns, number, int(quality))


def _stop_counts(stats: Mapping[str, Any]) -> Mapping[str, int]:
    """The counts of the agent's last stop record; AgentFailedError where it left none."""
    try:
        return {name: int(count) for name, count in stats["last_stop"]["counts"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise AgentFailedError("the agent's journal has no stop record with counts") from error
