"""A real mosquitto (Debian 2.0) on a free port of 127.0.0.1, with a directory of its own; TLS where asked for."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.support.certificates import Certificates

BINARY = "/usr/sbin/mosquitto"
START_S = 10.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Mosquitto:
    """Runs from ``start`` (or ``with``) to ``stop``, always on one port; ``options``: lines of its configuration."""

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        persistence: bool = False,
        tls: Certificates | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "set_tcp_nodelay true",
            f"persistence {str(persistence).lower()}",
            f"persistence_location {directory}/",
            "autosave_interval 1",
            "log_dest file " + str(directory / "log"),
            *(["user root"] if os.geteuid() == 0 else []),
            *options,
        ]
        if tls is not None:
            lines += [f"cafile {tls.ca}", f"certfile {tls.server}", f"keyfile {tls.server_key}"]
            lines += ["require_certificate true", "use_identity_as_username true"]
        self._configuration = directory / "mosquitto.conf"
        self._configuration.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [BINARY, "-c", self._configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, f"mosquitto ended: {(self._directory / 'log').read_text()}"
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        """As ``systemctl stop``: SIGTERM, the retained messages and sessions are written where persistence is on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self, *, frozen: bool = True) -> None:
        """Stop it in its tracks: the kernel still takes bytes, nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        self._process.wait(10)
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
