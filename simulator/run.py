"""A site in real time: the world, its servers, and ``davy simulate``."""

import asyncio
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from agent.core.clock import Clock, SystemClock
from simulator.history import History
from simulator.instruments import Fault
from simulator.registers import RegisterMap, Reply
from simulator.scenario import Action, Scenario
from simulator.servers.modbus import MapDevice, ModbusServer
from simulator.site import ModbusDevice, OpcuaDevice, Site, SiteError, find_site, load_site
from simulator.world import World

if TYPE_CHECKING:
    from simulator.servers.opcua import OpcuaServer

TICK_S: Final = 0.05
BAD_NO_COMMUNICATION: Final = 0x80310000
"""OPC UA status of a node whose instrument shows nothing."""
_NS_PER_US: Final = 1_000
"""OPC UA times reach the wire in steps of at least this."""


class LiveSite:
    """A world that follows the clock, shown by real servers. ``history`` holds what each device said."""

    def __init__(self, site: Site, clock: Clock, speed: float = 1.0, seed: int | None = None) -> None:
        self._site = site
        self._clock = clock
        self._speed = speed
        self._world = World(site, seed=seed)
        self._base_ns = clock.monotonic_ns()
        self._plant_base_ns = 0
        self._modbus: list[ModbusServer] = []
        self._opcua: list[_OpcuaPart] = []
        self._happened: list[Action] = []
        self.history: dict[str, History] = {device.id: History() for device in site.devices}
        self.ports: dict[str, int] = {}

    async def start(self) -> Mapping[str, int]:
        """Start every device's server and return the ports by device; OSError where one cannot listen."""
        for device in self._site.devices:
            if isinstance(device, ModbusDevice):
                server = ModbusServer(self._modbus_device(device), port=device.port)
                self.ports[device.id] = await server.start()
                self._modbus.append(server)
            else:
                part = _OpcuaPart(device, self._site, self._clock, self.history[device.id])
                self.ports[device.id] = await part.start(self._look())
                self._opcua.append(part)
        return self.ports

    async def stop(self) -> None:
        """Stop every server."""
        for server in self._modbus:
            await server.stop()
        for part in self._opcua:
            await part.stop()

    def play(self, scenario: Scenario, speed: float) -> None:
        """Start a scenario now, at this many times real time."""
        self._look()
        self._base_ns, self._plant_base_ns, self._speed = self._clock.monotonic_ns(), self._world.now_ns, speed
        self._world.play(scenario)

    async def run(self, on_action: Callable[[Action], None]) -> None:
        """Follow the clock until cancelled; tells what the scenario did."""
        while True:
            world = self._look()
            happened, self._happened = self._happened, []
            for action in happened:
                on_action(action)
            for part in self._opcua:
                await part.show(world)
            await asyncio.sleep(TICK_S)

    def _look(self) -> World:
        """The world as it is now."""
        passed_ns = self._clock.monotonic_ns() - self._base_ns
        self._happened += self._world.advance_to(self._plant_base_ns + round(passed_ns * self._speed))
        return self._world

    def _modbus_device(self, device: ModbusDevice) -> MapDevice:
        history = self.history[device.id]

        def fault() -> tuple[Fault, float] | None:
            # Asked for first in every request, so the values that follow are those of the same moment.
            return next(iter(self._look().faults(device.id).items()), None)

        def served(reply: Reply) -> None:
            history.note(self._clock.now_ns(), reply.values)

        return MapDevice(RegisterMap(device.registers), self._world.value, fault, served)


class _OpcuaPart:
    """One OPC UA server and what it was last told."""

    def __init__(self, device: OpcuaDevice, site: Site, clock: Clock, history: History) -> None:
        self._device = device
        self._clock = clock
        self._history = history
        self._configs = {config.id: config for config in site.instruments if config.id in device.nodes}
        self._shown: dict[str, float] = {}
        self._due_ns = 0
        self._server: OpcuaServer | None = None

    async def start(self, world: World) -> int:
        from simulator.servers.opcua import (
            OpcuaNode,
            OpcuaServer,
        )  # asyncua is heavy: only where there is such a device

        nodes = [
            OpcuaNode(id=name, initial=world.value(name), unit=config.unit, range=config.range)
            for name, config in self._configs.items()
        ]
        self._server = OpcuaServer(port=self._device.port, nodes=nodes)
        return await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    async def show(self, world: World) -> None:
        """Write what changed, at most once per ``update``; a silent device shows nothing new."""
        now_ns = self._clock.monotonic_ns()
        if self._server is None or now_ns < self._due_ns or world.faults(self._device.id):
            return
        self._due_ns = now_ns + self._device.update.ns
        changed = {name: value for name in self._configs if _differs(value := world.value(name), self._shown.get(name))}
        if not changed:
            return
        source_ns = self._clock.now_ns() // _NS_PER_US * _NS_PER_US
        self._history.note(source_ns, changed)
        self._shown.update(changed)
        status = {name: BAD_NO_COMMUNICATION for name, value in changed.items() if math.isnan(value)}
        values = {name: 0.0 if math.isnan(value) else value for name, value in changed.items()}
        await self._server.write(values, source_ns, status)


def _differs(value: float, shown: float | None) -> bool:
    return shown is None or not (value == shown or (math.isnan(value) and math.isnan(shown)))


async def run_site(site: Site, scenario: Scenario | None, speed: float, seed: int | None, out: TextIO) -> None:
    """Serve a site until cancelled and tell what happens."""
    live = LiveSite(site, SystemClock(), speed, seed)
    try:
        for device, port in (await live.start()).items():
            out.write(f"{device}: 127.0.0.1:{port}\n")
        if scenario is not None:
            live.play(scenario, speed)
        out.flush()
        await live.run(lambda action: _tell(action, out))
    finally:
        await live.stop()


def _tell(action: Action, out: TextIO) -> None:
    step = action.step
    text = " / ".join(step.say.values()) or f"{step.set} = {step.to}"
    if step.fault is not None:
        text += f" [{step.fault} {step.target}]" if action.begins else " - over / 恢复"
    out.write(f"{action.at_ns / 1e9:9.1f} s  {text}\n")
    out.flush()


def with_ports(site: Site, first_port: int) -> Site:
    """The site with its devices on ``first_port`` and the ports after it, in order."""
    devices = [device.model_copy(update={"port": first_port + i}) for i, device in enumerate(site.devices)]
    return site.model_copy(update={"devices": tuple(devices)})


def main(
    site_path: Path | str, scenario: str | None, speed: float, seed: int | None, first_port: int | None = None
) -> int:
    """``davy simulate``: 0 after Ctrl-C, 2 where the site, the scenario or a port cannot be used."""
    try:
        site = load_site(find_site(str(site_path)))
        if first_port is not None:
            site = with_ports(site, first_port)
        played = None if scenario is None else site.scenarios.get(scenario)
        if scenario is not None and played is None:
            raise SiteError(f"{site.id}: no scenario {scenario}; there are {', '.join(site.scenarios)}")
        if not 0 < speed < math.inf:
            raise SiteError(f"speed {speed}: expected a number above 0")
        asyncio.run(run_site(site, played, speed, seed, sys.stdout))
    except (SiteError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    return 0
