"""The OPC UA server of a simulated site: variables in folders, written by the simulation."""

# asyncua is only partly typed.
# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, cast

from asyncua import Node, Server, ua
from asyncua.crypto.permission_rules import User, UserRole

from agent.core.clock import SystemClock

NAMESPACE: Final = "urn:davy:simulator"
PER_FOLDER: Final = 100
"""Adding to a folder gets slower with each variable in it (LIBRARIES 2b)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

logging.getLogger("asyncua").setLevel(logging.WARNING)

Type = Literal["Double", "Float", "Boolean", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "String"]
Served = Callable[[str, float | int | bool | str, int, int], None]
"""Called with node id, value, source time (ns UTC) and status code once a value can be read."""


@dataclass(frozen=True, slots=True)
class OpcuaNode:
    """One variable; its node id is ``ns=2;s=<id>``."""

    id: str
    initial: float | int | bool | str = 0.0
    unit: str | None = None
    range: tuple[float, float] | None = None
    type: Type = "Double"


class _OneUser:
    """Lets exactly one user in."""

    def __init__(self, user: str, password: str) -> None:
        self._login = (user, password)

    def get_user(
        self, iserver: object, username: str | None = None, password: Any = None, certificate: object = None
    ) -> User | None:
        del iserver, certificate
        text = password.decode() if isinstance(password, bytes) else password
        return User(role=UserRole.User, name=username) if (username, text) == self._login else None


class OpcuaServer:
    """An OPC UA server without encryption: anonymous, or for one user with a password.

    Source times are kept in microseconds, as asyncua does; ``on_served`` gets them as a client will see them.
    """

    def __init__(
        self,
        *,
        nodes: Sequence[OpcuaNode],
        host: str = "127.0.0.1",
        port: int = 0,
        user: str | None = None,
        password: str | None = None,
        on_served: Served | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._nodes = {node.id: node for node in nodes}
        self._login = None if user is None else (user, password or "")
        self._clock = SystemClock()
        self._on_served = on_served
        self._server: Server | None = None
        self._ids: dict[str, tuple[ua.NodeId, ua.VariantType]] = {}

    @property
    def server(self) -> Server:
        """asyncua's server, for tests that need more than values; RuntimeError before :meth:`start`."""
        if self._server is None:
            raise RuntimeError("the OPC UA server is not started")
        return self._server

    @property
    def port(self) -> int:
        """Where it listens; 0 until started, if none was asked for."""
        return self._port

    async def start(self) -> int:
        """Listen; returns the port, which stays the same over stop and start."""
        if self._port == 0:
            self._port = _free_port(self._host)
        server = Server(user_manager=None if self._login is None else _OneUser(*self._login))  # type: ignore[arg-type]
        await server.init()
        server.set_endpoint(f"opc.tcp://{self._host}:{self._port}")
        server.set_server_name("Davy simulator")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken if self._login is None else ua.UserNameIdentityToken])
        index = await server.register_namespace(NAMESPACE)
        await self._add_nodes(server, index)
        await server.start()
        self._server = server
        return self._port

    async def stop(self) -> None:
        """Close all connections; nothing happens when it is not started."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop()

    async def write(
        self,
        values: Mapping[str, float | int | bool | str],
        source_ns: Mapping[str, int] | int | None = None,
        status: Mapping[str, int] | None = None,
    ) -> None:
        """Let clients see new values; KeyError for a node that is not there.

        ``source_ns``: ns UTC, one for all or by node; left out: now. ``status``: 32 bit code by node; left out: good.
        """
        for name, value in values.items():
            node_id, variant_type = self._ids[name]
            time_ns = source_ns.get(name) if isinstance(source_ns, Mapping) else source_ns
            if time_ns is None:
                time_ns = self._clock.now_ns()
            code = 0 if status is None else status.get(name, 0)
            data = ua.DataValue(
                ua.Variant(_cast(value, variant_type), variant_type),
                ua.StatusCode(ua.UInt32(code)),
                SourceTimestamp=cast(ua.DateTime, _EPOCH + timedelta(microseconds=time_ns // 1000)),
            )
            await self.server.write_attribute_value(node_id, data)
            if self._on_served is not None:
                self._on_served(name, value, time_ns // 1000 * 1000, code)

    async def add(self, node: OpcuaNode) -> None:
        """Add a variable to the running server."""
        self._nodes[node.id] = node
        index = await self.server.get_namespace_index(NAMESPACE)
        folder = await self.server.get_objects_node().add_folder(index, f"folder of {node.id}")
        await self._add(folder, index, node)

    async def remove(self, name: str) -> None:
        """Delete a variable from the running server; KeyError where there is none."""
        node_id, _ = self._ids.pop(name)
        del self._nodes[name]
        await self.server.delete_nodes([self.server.get_node(node_id)])

    async def _add_nodes(self, server: Server, index: int) -> None:
        site = await server.get_objects_node().add_folder(index, "site")
        nodes = list(self._nodes.values())
        for start in range(0, len(nodes), PER_FOLDER):
            folder = await site.add_folder(index, f"group {start // PER_FOLDER + 1}")
            for node in nodes[start : start + PER_FOLDER]:
                await self._add(folder, index, node)

    async def _add(self, folder: Node, index: int, node: OpcuaNode) -> None:
        node_id = ua.StringNodeId(ua.String(node.id), ua.Int16(index))
        variant_type = ua.VariantType[node.type]
        variable = await folder.add_variable(node_id, node.id, _cast(node.initial, variant_type), variant_type)
        if node.range is not None:
            await variable.add_property(index, "EURange", ua.Range(Low=node.range[0], High=node.range[1]))
        if node.unit is not None:
            unit = ua.EUInformation(DisplayName=ua.LocalizedText(node.unit))
            await variable.add_property(index, "EngineeringUnits", unit)
        self._ids[node.id] = (node_id, variant_type)


def _cast(value: float | int | bool | str, variant_type: ua.VariantType) -> float | int | bool | str:
    if variant_type is ua.VariantType.String:
        return str(value)
    if variant_type is ua.VariantType.Boolean:
        return bool(value)
    if variant_type in (ua.VariantType.Double, ua.VariantType.Float):
        return float(value)
    return round(value) if isinstance(value, float) else int(value)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
