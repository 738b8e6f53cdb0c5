"""Configuration of an MQTT destination."""

import base64
from pathlib import Path
from typing import Final, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from agent.config.base import DestinationBase
from agent.config.fields import Duration, PathText, Rate, Secret, Size

SCHEMES = {"mqtt": 1883, "mqtts": 8883}
Command = Literal[
    "receipt",
    "acknowledge",
    "reset",
    "confirm",
    "silence",
    "comment",
    "shelve",
    "unshelve",
    "remove_from_service",
    "return_to_service",
    "maintenance",
    "end_maintenance",
    "done",
    "planned_stop",
    "exercise",
    "end_exercise",
]
LATER: Final = frozenset({"duty_check", "resend", "rebirth"})
WITHOUT_KEY: Final = frozenset({"receipt", "comment", "acknowledge"})
"""What a broker's word alone is enough for: it hides nothing and ends nothing."""


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


class Config(DestinationBase):
    """A broker, with a connection for alarms and one for readings. Paths are relative to the configuration file."""

    kind: Literal["mqtt"]  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed, and frozen
    url: str = Field(
        description="mqtt://host:1883 or mqtts://host:8883 (TLS)", examples=["mqtts://mq.example.com:8883"]
    )
    ca: PathText | None = Field(None, description="PEM file with the CAs to trust; the system's where it is left out")
    certificate: PathText | None = Field(None, description="PEM file with the client certificate and its chain")
    private_key: PathText | None = Field(None, description="PEM file with the key of the client certificate")
    user: str | None = Field(None, description="user name for the broker")
    password: Secret | None = Field(None, description="password for the broker", examples=["${credential:mqtt}"])
    operator: bool = Field(default=False, description="its acknowledgements change the alarm's state")
    commands: tuple[Command, ...] = Field((), description="which commands it may send; none by default")
    command_key: str | None = Field(
        None,
        description="Ed25519 public key (32 bytes, base64): commands must be signed with its private half; without it "
        "only receipt, acknowledge and comment can be enabled",
        examples=["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
    )
    confirm: Literal["transport"] = Field("transport", description="what proves delivery: the broker's PUBACK")
    catch_up: Literal["in_order"] = Field("in_order", description="how a backlog is sent: oldest first")
    history_rate: Rate | None = Field(
        None, description="most readings per second while catching up; without it as fast as the link takes them"
    )
    protocol: Literal["auto", "5", "3.1.1"] = Field("auto", description="MQTT version; this version of davy speaks 5")
    keep_alive: Duration = Field(
        default=Duration("20s"), description="silence after which the link is probed; as long again, and it is dead"
    )
    timeout: Duration = Field(
        default=Duration("15s"), description="longest wait for CONNACK, and for the next PUBACK while sending"
    )
    heartbeat: Duration = Field(default=Duration("60s"), description="distance of two status messages")
    in_flight_bytes: Size = Field(
        default=Size("4MiB"), description="most unacknowledged bytes of readings; starts at 64KiB, adapts to the link"
    )
    compress: Literal["none", "zstd"] = Field(
        "none", description="compression of readings messages, named by their content type"
    )

    @property
    def host(self) -> str:
        """Host name or address of the broker."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port of the broker."""
        parts = urlsplit(self.url)
        return parts.port or SCHEMES[parts.scheme]

    @property
    def is_tls(self) -> bool:
        """Tell whether the connection is encrypted."""
        return self.url.startswith("mqtts:")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname or parts.path not in ("", "/") or "@" in url:
            raise ValueError(
                "expected mqtt://host[:port] or mqtts://host[:port]; user and password have their own keys"
            )
        _ = parts.port  # raises ValueError where it is none
        return url

    @field_validator("commands", mode="before")
    @classmethod
    def _comes_later(cls, commands: object) -> object:
        later = sorted(name for name in _items(commands) if isinstance(name, str) and name in LATER)
        if later:
            raise ValueError(f"{', '.join(later)}: not in this version of davy; leave it out")
        return commands

    @field_validator("command_key")
    @classmethod
    def _is_key(cls, key: str | None) -> str | None:
        if key is None:
            return None
        try:
            raw = base64.b64decode(key, validate=True)
        except ValueError as error:
            raise ValueError("expected the 32 bytes of an Ed25519 public key in base64") from error
        if len(raw) != 32:
            raise ValueError(f"expected the 32 bytes of an Ed25519 public key in base64, found {len(raw)} bytes")
        return key

    @model_validator(mode="after")
    def _commands_are_signed(self) -> Self:
        unsigned = [name for name in self.commands if name not in WITHOUT_KEY]
        if unsigned and self.command_key is None:
            raise ValueError(
                f"commands: {', '.join(unsigned)} only with command_key; without it only "
                f"{', '.join(sorted(WITHOUT_KEY))} can be enabled"
            )
        return self

    @field_validator("protocol", mode="before")
    @classmethod
    def _known_protocol(cls, protocol: object) -> object:
        if protocol in (5, 5.0):
            return "5"
        if protocol in ("3.1.1", 4):
            raise ValueError("MQTT 3.1.1 is not there yet in this version; expected auto or 5")
        return protocol

    @field_validator("keep_alive")
    @classmethod
    def _whole_seconds(cls, keep_alive: Duration) -> Duration:
        if not 1 <= keep_alive.s <= 65_535 or keep_alive.s % 1:
            raise ValueError(f"expected 1s to 65535s in whole seconds, found {keep_alive}")
        return keep_alive

    @field_validator("timeout", "heartbeat")
    @classmethod
    def _not_too_short(cls, duration: Duration) -> Duration:
        if duration.s < 0.2:
            raise ValueError(f"expected at least 200ms, found {duration}")
        return duration

    @model_validator(mode="after")
    def _tls_fits(self) -> Self:
        files = {"ca": self.ca, "certificate": self.certificate, "private_key": self.private_key}
        given = [name for name, path in files.items() if path is not None]
        if given and not self.is_tls:
            raise ValueError(f"{', '.join(given)}: only with mqtts:// (url is {self.url})")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together")
        if self.password is not None and self.user is None:
            raise ValueError("password without user")
        return self

    def missing_files(self) -> list[Path]:
        """The files named here that cannot be found."""
        named = (self.ca, self.certificate, self.private_key)
        return [Path(path) for path in named if path is not None and not Path(path).is_file()]
