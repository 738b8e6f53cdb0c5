"""Wires an InfluxDB destination: a lane and a client of its own for alarms, another for readings."""

from agent.core.ports import DestinationContext
from agent.core.records import Lane as LaneName
from agent.destinations.base import Destination, LanedDestination
from agent.destinations.filters import ChangeFilter, PriorityFilter
from agent.destinations.influxdb.config import Config
from agent.destinations.influxdb.lines import Lines
from agent.destinations.influxdb.sender import InfluxSender
from agent.destinations.lane import READINGS_LINGER_S, Lane, LaneOptions


def make(config: Config, context: DestinationContext) -> Destination:
    """The destination, ready to run."""
    lines = Lines(context.site, context.agent, config.measurement)

    def sender() -> InfluxSender:
        return InfluxSender(config, lines, context.clock, context.counters)

    lanes = [Lane(context, _options(config, context, LaneName(name)), sender) for name in config.send]
    return LanedDestination(config.id, config.kind, context, lanes)


def _options(config: Config, context: DestinationContext, lane: LaneName) -> LaneOptions:
    if lane is LaneName.ALARMS:
        return LaneOptions(config.id, lane, start=config.start, filter=PriorityFilter(config.min_priority))
    thresholds = {tag.id: tag.report_change for tag in context.tags if tag.report_change is not None}
    linger_s, change = READINGS_LINGER_S, ChangeFilter(thresholds)
    return LaneOptions(config.id, lane, start=config.start, linger_s=linger_s, filter=change)
