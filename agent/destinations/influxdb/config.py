"""The configuration of an InfluxDB destination."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator

from agent.config.base import DestinationBase
from agent.config.fields import Duration, PathText, Secret

Name = Annotated[str, StringConstraints(pattern=r"^[^\s,=\\\"]{1,64}$")]
"""A measurement that needs no escaping."""


class Config(DestinationBase):
    """A bucket that is written by the v2 API."""

    kind: Literal["influxdb"]  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed, and frozen
    url: str = Field(description="address of the server", examples=["http://127.0.0.1:8086"])
    org: str = Field("", description="organisation; VictoriaMetrics has none", examples=["plant"])
    bucket: str = Field(min_length=1, description="bucket (InfluxDB 3: database)", examples=["davy"])
    token: Secret = Field(Secret(""), description="API token, best as ${credential:NAME}")
    ca: PathText | None = Field(None, description="PEM file of the authority that signed the server (https)")
    measurement: Name = Field(
        "davy", description="measurement of readings; alarms go to NAME_alarm, audit records to NAME_audit"
    )
    timeout: Duration = Field(default=Duration("10s"), description="longest wait for one answer")
    batch_points: int = Field(5_000, ge=1, le=100_000, description="most points in one request")

    def missing_files(self) -> list[Path]:
        """The files named here that cannot be found."""
        return [Path(self.ca)] if self.ca is not None and not Path(self.ca).is_file() else []

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError("expected http(s)://HOST[:PORT]") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("expected http(s)://HOST[:PORT]")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("expected http(s)://HOST[:PORT] alone: the token stands in its own key")
        return url.rstrip("/")

    @field_validator("timeout")
    @classmethod
    def _is_sensible(cls, timeout: Duration) -> Duration:
        if not 100_000_000 <= timeout.ns <= 300_000_000_000:
            raise ValueError("expected 100ms to 5min")
        return timeout
