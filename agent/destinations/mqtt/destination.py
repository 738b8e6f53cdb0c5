"""Makes an MQTT destination from its configuration."""

import ssl

from agent.core.ports import DestinationContext, Sender, UnavailableError
from agent.core.records import Lane as LaneName
from agent.destinations import readings
from agent.destinations.base import Destination, LanedDestination
from agent.destinations.filters import ChangeFilter, PriorityFilter
from agent.destinations.flow import Flow
from agent.destinations.lane import READINGS_LINGER_S, Lane, LaneOptions
from agent.destinations.mqtt.alarms import AlarmOptions, AlarmsSender, LanePosition
from agent.destinations.mqtt.client import Address, Connection
from agent.destinations.mqtt.config import Config
from agent.destinations.mqtt.sender import Proofs, ReadingsSender, ignore


def make(config: Config, context: DestinationContext) -> Destination:
    """The destination: a lane per entry of ``send``, each with a connection of its own."""
    lanes: list[Lane] = []
    if "alarms" in config.send:
        lanes.append(_alarms_lane(config, context))
    if "readings" in config.send:
        lanes.append(_readings_lane(config, context))
    return LanedDestination(config.id, config.kind, context, lanes)


def _alarms_lane(config: Config, context: DestinationContext) -> Lane:
    least = PriorityFilter(config.min_priority)
    proofs, position = Proofs(config.id, context.counters), LanePosition()

    def connect() -> Sender:
        options = AlarmOptions(
            destination=config.id,
            address=_address(config, f"davy-{context.site}-{context.agent}"),
            is_operator=config.operator,
            heartbeat_s=config.heartbeat.s,
            has_commands=bool(config.commands),
            filter=least,
            proofs=proofs,
            position=position,
            is_through=lambda upto: lane.position >= upto,
        )
        return AlarmsSender(options, context)

    lane = Lane(context, LaneOptions(config.id, LaneName.ALARMS, start=config.start, filter=least), connect)
    return lane


def _readings_lane(config: Config, context: DestinationContext) -> Lane:
    flow = Flow(config.in_flight_bytes.bytes)
    proofs = Proofs(config.id, context.counters)
    origin = readings.Origin(context.site, context.agent, context.epoch)
    thresholds = {tag.id: tag.report_change for tag in context.tags if tag.report_change is not None}

    def connect() -> Sender:
        connection = Connection(_address(config, f"davy-{context.site}-{context.agent}-readings"), None, ignore)
        return ReadingsSender(connection, origin, flow, proofs, compress=config.compress == "zstd")

    options = LaneOptions(
        config.id,
        LaneName.READINGS,
        start=config.start,
        linger_s=READINGS_LINGER_S,
        history_rate=None if config.history_rate is None else config.history_rate.amount,
        filter=ChangeFilter(thresholds),
        flow=flow,
    )
    return Lane(context, options, connect)


def _address(config: Config, client_id: str) -> Address:
    return Address(
        host=config.host,
        port=config.port,
        client_id=client_id,
        keep_alive_s=int(config.keep_alive.s),
        timeout_s=config.timeout.s,
        user=config.user,
        password=config.password,
        tls=_tls(config) if config.is_tls else None,
    )


def _tls(config: Config) -> ssl.SSLContext:
    """Read anew for each connection, so that a renewed certificate needs no restart."""
    try:
        context = ssl.create_default_context(cafile=config.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.certificate is not None:
            context.load_cert_chain(config.certificate, config.private_key)
    except (OSError, ssl.SSLError) as error:
        raise UnavailableError(f"{config.id}: cannot load certificates: {error}") from error
    return context
