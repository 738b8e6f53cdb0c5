"""What an agent reads of a simulated site, in virtual time: the instruments' values as batches, without servers."""

import math
from array import array
from collections.abc import Iterator

from agent.core.batch import Batch, Layout, Source, split
from agent.core.quality import Quality
from simulator.instruments import Fault
from simulator.scenario import Scenario
from simulator.site import Site
from simulator.world import World

UNWIRED = "site"
"""The device of instruments that no device of the site shows."""


def readings(
    site: Site, scenario: Scenario, *, step_ns: int, start_ns: int, seed: int | None = None, lasts_ns: int | None = None
) -> Iterator[Batch]:
    """A poll of every device each ``step_ns``, from ``start_ns`` (ns UTC) to the scenario's end or for ``lasts_ns``.

    Values are the instruments' own, not rounded by a wire. An instrument that shows nothing is a sensor fault; a silent
    device is a communication failure of all its tags, one that answers with exceptions a device fault. What happens
    to the network lies beyond the agent and changes nothing here. Same site, scenario, seed and step: same readings.
    """
    world = World(site, scenario, seed)
    layouts = _layouts(site)
    end_ns = scenario.duration.ns if lasts_ns is None else lasts_ns
    for at_ns in range(0, end_ns + 1, step_ns):
        world.advance_to(at_ns)
        for layout in layouts:
            yield from split(_poll(world, layout, start_ns + at_ns))


def _layouts(site: Site) -> list[Layout]:
    wired = {name for device in site.devices for name in device.instruments}
    rest = tuple(each.id for each in site.instruments if each.id not in wired)
    groups = [(device.id, device.instruments) for device in site.devices] + [(UNWIRED, rest)]
    return [Layout(device, tuple(tags), Source.SIMULATOR) for device, tags in groups if tags]


def _poll(world: World, layout: Layout, at_ns: int) -> Batch:
    faults = world.faults(layout.device)
    fault = Quality.COMM_FAIL if Fault.SILENT in faults else Quality.DEVICE if Fault.EXCEPTION in faults else None
    if fault is not None:
        values = [math.nan] * len(layout.tags)
        quality = bytes([fault]) * len(values)
    else:
        values = [world.value(tag) for tag in layout.tags]
        quality = bytes(Quality.SENSOR_FAULT if math.isnan(value) else Quality.GOOD for value in values)
    return Batch(layout, at_ns, array("d", values), quality if any(quality) else None)
