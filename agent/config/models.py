"""The root of the configuration: site, agent, journal, console, and the lists whose items belong to their kinds."""

import ipaddress
import zoneinfo
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SerializeAsAny, StringConstraints, model_validator

from agent.config.base import DestinationBase, DeviceBase
from agent.config.fields import SHIFT_STARTS, Duration, Id, PathText, Size, Strict, TimeOfDay

Sector = Literal["chemical", "coal", "metal_mine", "oil_gas", "tailings", "dust", "metallurgy", "other"]
Language = Literal["zh-CN", "en"]
MINES: Final = frozenset({"coal", "metal_mine"})


def between(low: str, high: str) -> Callable[[Duration], Duration]:
    """A check that a duration lies in a range, ends included."""
    least, most = Duration(low), Duration(high)

    def check(value: Duration) -> Duration:
        if not least.ns <= value.ns <= most.ns:
            raise ValueError(f"expected {low} to {high}")
        return value

    return check


def _known_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("expected an IANA time zone, such as Asia/Shanghai") from error
    return name


def _loopback(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("expected host:port, such as 127.0.0.1:8470")
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError as error:
        raise ValueError("expected an IP address or localhost before the port") from error
    if not is_local:
        raise ValueError(
            "beyond loopback the console needs TLS, which this version does not have; expected 127.0.0.1:port"
        )
    return listen


def _at_least_1_mib(size: Size) -> Size:
    if size.bytes < 1 << 20:
        raise ValueError("expected at least 1MiB")
    return size


class Site(Strict):
    """The plant or mine: its name for people and its codes for regulators."""

    id: Id = Field(description="name of the site in topics and records", examples=["zj-deqing-0031"])
    name: str | None = Field(None, description="name shown to operators", examples=["德清示范化工"])
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="IANA time zone, for what people read", examples=["Asia/Shanghai"]
    )
    languages: tuple[Language, ...] = Field(
        ("zh-CN", "en"), min_length=1, description="languages of messages, the first one first"
    )
    sector: Sector = Field("other", description="trade; mines keep readings longer by default")
    code: str | None = Field(None, description="统一社会信用代码", examples=["91330521XXXXXXXXXX"])
    hazard_code: str | None = Field(None, description="重大危险源编码", examples=["WXY-330521-0007"])
    location: tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]] | None = Field(
        None, description="longitude, latitude in degrees (WGS 84)", examples=[[120.0, 30.5]]
    )
    duty_phone: str | None = Field(None, description="telephone of the duty room", examples=["0572-0000000"])
    max_skew: Annotated[Duration, AfterValidator(between("100ms", "1h"))] = Field(
        Duration("5s"), description="how far a device's own time may lie from the agent's"
    )
    refresh: Annotated[Duration, AfterValidator(between("100ms", "1h"))] = Field(
        Duration("10s"), description="a subscribed item quiet for this long is read again"
    )
    require_rationalisation: bool = Field(
        default=False, description="critical rules must say cause, consequence, action and time to respond"
    )
    restart_gap: Annotated[Duration, AfterValidator(between("1s", "1h"))] = Field(
        Duration("10s"), description="a longer stop makes staleness and delays start anew"
    )
    blind_after: Annotated[Duration, AfterValidator(between("1s", "1d"))] = Field(
        Duration("10min"), description="a rule that can say neither true nor false for this long is blind: an alarm"
    )
    shifts: tuple[TimeOfDay, ...] = Field(
        SHIFT_STARTS, min_length=1, description="when shifts start, local times: reports, and averages by shift"
    )


class Agent(Strict):
    """This gateway."""

    name: Id = Field(description="name of the gateway, unique within the site", examples=["gw1"])
    state_dir: PathText = Field(
        "/var/lib/davy",
        description="directory of journal and state; a relative one is beside the configuration file",
        examples=["/var/lib/davy"],
    )


class Journal(Strict):
    """How much is kept on disk, and how often it is made safe."""

    max_size: Annotated[Size, AfterValidator(_at_least_1_mib)] | None = Field(
        default=None, description="most bytes on disk; default: the smaller of 8 GiB and 70 % of the file system"
    )
    keep: Annotated[Duration, AfterValidator(between("1h", "36500d"))] = Field(
        default=Duration("30d"),
        description="how long readings are kept; default 30d, 90d where sector is coal or metal_mine",
    )
    keep_alarms: Annotated[Duration, AfterValidator(between("1d", "36500d"))] = Field(
        default=Duration("1095d"), description="how long alarm and audit records are kept at least"
    )
    commit_every: Annotated[Duration, AfterValidator(between("10ms", "1min"))] = Field(
        default=Duration("1s"), description="longest time until a reading is safe from a power cut; alarms are at once"
    )


class Hiding(Strict):
    """Limits of shelving and suppression."""

    max_hidden: Annotated[str, StringConstraints(pattern=r"^(100|[1-9]?[0-9])(\.[0-9]+)?%$")] = Field(
        default="10%",
        description="more of the critical and high alarms hidden at once is itself an alarm",
        examples=["10%"],
    )


class Console(Strict):
    """Local web server: health and metrics."""

    listen: Annotated[str, AfterValidator(_loopback)] = Field(
        default="127.0.0.1:8470", description="address and port; port 0 takes a free one", examples=["127.0.0.1:8470"]
    )


class Config(Strict):
    """The whole configuration, as it is in force.

    ``devices`` and ``destinations`` are instances of their kinds' ``Config``, ``rules`` of their condition's model.
    """

    site: Site
    agent: Agent
    devices: tuple[SerializeAsAny[DeviceBase], ...] = Field((), description="what is read")
    rules: tuple[SerializeAsAny[Strict], ...] = Field((), description="what raises alarms")
    destinations: tuple[SerializeAsAny[DestinationBase], ...] = Field((), description="who gets readings and alarms")
    journal: Journal = Field(default_factory=Journal)
    hiding: Hiding = Field(default_factory=Hiding)
    console: Console = Field(default_factory=Console)

    @model_validator(mode="before")
    @classmethod
    def _keep_by_sector(cls, data: Any) -> Any:
        """Fill in what depends on two sections; after this ``journal.keep`` always has a value."""
        match data:
            case {"site": Site(sector=sector), "journal": Journal() as journal} if (
                "keep" not in journal.model_fields_set
            ):
                keep = Duration("90d" if sector in MINES else "30d")
                return {**data, "journal": journal.model_copy(update={"keep": keep})}
            case _:
                return data


SECTIONS: Final[dict[str, type[Strict]]] = {
    "site": Site,
    "agent": Agent,
    "journal": Journal,
    "hiding": Hiding,
    "console": Console,
}
"""The keys of the root that are single mappings."""

LISTS: Final = ("devices", "rules", "destinations")
"""The keys of the root that are lists, and may be spread over several files."""

Fields = dict[str, Any]
