"""The configuration of an OPC UA device (spec/config.md, device ``dcs``)."""

from dataclasses import replace
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from agent.config.base import DeviceBase, TagBase
from agent.config.fields import Duration, Secret, Strict
from agent.core.tags import Scaling, Tag
from drivers.opcua.nodes import parse

_SCALING: Final = {
    "float32": Scaling(is_float32=True),
    "float64": Scaling(is_float64=True),
    "integer": Scaling(),
}

POLICIES = ("None",)
"""Security policies that this version has."""


class Login(Strict):
    """A user of the OPC UA server; without it the session is anonymous."""

    user: str = Field(min_length=1, description="user name")
    password: Secret = Field(Secret(""), description="password, best as ${credential:NAME}")


class Security(Strict):
    """Signing and encryption of the connection. This version has none."""

    policy: str = Field(default="None", description="security policy", examples=["None"])
    mode: Literal["None", "Sign", "SignAndEncrypt"] = Field(default="None", description="what the policy is used for")
    certificate: str | None = Field(default=None, description="own certificate (DER or PEM)")
    private_key: str | None = Field(default=None, description="key of the own certificate")
    trust: str | None = Field(default=None, description="folder of trusted server certificates")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.policy not in POLICIES:
            raise ValueError(f"policy {self.policy!r} is not in this version, which has: {', '.join(POLICIES)}")
        if self.mode != "None":
            raise ValueError(f"mode {self.mode!r} needs a policy, and this version has: {', '.join(POLICIES)}")
        return self


class TagConfig(TagBase):
    """One tag and the node it is read from."""

    node: str = Field(description="node id, by namespace index or URI", examples=["nsu=urn:plant:dcs;s=R201.Pressure"])
    type: Literal["float32", "float64", "integer"] | None = Field(
        None, description="data type where known; alarm limits then move to the nearest value that the node can take"
    )

    @field_validator("node")
    @classmethod
    def _is_node(cls, node: str) -> str:
        parse(node)
        return node


class Config(DeviceBase):
    """An OPC UA server as one device."""

    driver: Literal["opcua"]  # pyright: ignore[reportIncompatibleVariableOverride] (frozen models: never assigned)
    endpoint: str = Field(description="address of the server", examples=["opc.tcp://10.0.0.9:4840"])
    security: Security = Field(Security(), description="signing and encryption")
    login: Login | None = Field(None, description="user and password; left out: anonymous")
    mode: Literal["subscribe", "poll"] = Field("subscribe", description="the server reports changes, or is asked")
    timeout: Duration = Field(default=Duration("4s"), description="longest wait for one answer")
    publish: Duration = Field(default=Duration("500ms"), description="distance of two notifications (subscribe)")
    sampling: Duration | None = Field(None, description="how often the server looks at a node; left out: as publish")
    queue_size: int = Field(
        10, ge=1, le=1000, description="changes of one node that the server keeps between two notifications"
    )
    keep_alive: Duration = Field(
        default=Duration("5s"), description="the server says at least this often that it lives"
    )
    retry: Duration = Field(
        default=Duration("1s"), description="first wait before a connection or a node is tried again"
    )
    retry_max: Duration = Field(default=Duration("30s"), description="longest such wait; each doubles the one before")
    request_size: int = Field(1000, ge=1, le=1000, description="most nodes in one request")
    tags: tuple[TagConfig, ...] = Field((), description="what is read")

    @field_validator("endpoint")
    @classmethod
    def _is_endpoint(cls, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        if parts.scheme != "opc.tcp" or not parts.hostname or parts.username is not None:
            raise ValueError(f"expected opc.tcp://HOST:PORT (user and password belong under login), found {endpoint!r}")
        _ = parts.port  # raises ValueError when it is no port
        return endpoint

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for key in ("poll", "timeout", "publish", "keep_alive", "retry", "retry_max"):
            if getattr(self, key).ns <= 0:
                raise ValueError(f"{key}: expected more than zero")
        if self.retry.ns > self.retry_max.ns:
            raise ValueError(f"retry {self.retry} is longer than retry_max {self.retry_max}")
        return self

    def tag(self, config: TagConfig) -> Tag:
        """See :class:`DeviceBase`. A subscription has no fixed distance of readings."""
        scaling = None if config.type is None else _SCALING[config.type]
        return replace(super().tag(config), poll_ns=self.poll.ns if self.mode == "poll" else None, scaling=scaling)
