"""The demo's MQTT broker: rumqttd (PyPI package iotcore) as a child process, configured by file.

It keeps its state in memory, so outages are made by a proxy and not by restarting it. An MQTT 5 client on the 3.1.1
port gets only silence, therefore there are two ports.
"""

import asyncio
import socket
from pathlib import Path
from typing import Any, Final

PAYLOAD_MAX: Final = 8 << 20
"""Bytes; rumqttd's default of 20 KiB is less than one batch of readings."""

_LISTENER: Final = """
[{version}.1]
name = "{name}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload_max}
max_inflight_count = 200
dynamic_filters = true
"""
_ROUTER: Final = """id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
"""


class BrokerError(Exception):
    """The broker cannot be started; the text says what to do."""


def configuration(port_v5: int, port_v311: int) -> str:
    """The broker's configuration file (TOML): two listeners on 127.0.0.1."""
    listeners = (("v5", "mqtt5", port_v5), ("v4", "mqtt311", port_v311))
    return _ROUTER + "".join(
        _LISTENER.format(version=version, name=name, port=port, payload_max=PAYLOAD_MAX)
        for version, name, port in listeners
    )


class Broker:
    """The child process; it ends by itself when this process does."""

    def __init__(self, workdir: Path) -> None:
        self._path = workdir / "broker.toml"
        self._child: Any = None
        self.port = 0
        """MQTT 5."""
        self.port_v311 = 0

    async def start(self) -> None:
        """Write the configuration, start, and return when both ports accept; BrokerError says why not."""
        try:
            from iotcore import Broker as Child  # an optional extra: only the demo needs it
        except ImportError as error:
            raise BrokerError("the demo needs its broker: pip install 'davy-agent[demo]'") from error
        self.port, self.port_v311 = free_port(), free_port()
        self._path.write_text(configuration(self.port, self.port_v311), encoding="utf-8")
        self._child = Child(config_path=str(self._path))
        try:
            await asyncio.to_thread(self._child.start)
        except (OSError, RuntimeError) as error:
            raise BrokerError(f"broker on 127.0.0.1:{self.port}: {error}") from error

    async def stop(self) -> None:
        """End the child; safe to call twice."""
        if self._child is not None:
            await asyncio.to_thread(self._child.stop)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
