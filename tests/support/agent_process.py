"""``davy run`` as a real child process, and what a test asks of it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class AgentProcess:
    """One agent with its configuration text; started and killed as often as a test likes."""

    directory: Path
    config: str
    console_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    prefix: tuple[str, ...] = ()

    @property
    def config_path(self) -> Path:
        return self.directory / "davy.yaml"

    @property
    def log_path(self) -> Path:
        return self.directory / "agent.log"

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        text = self.config + f'\nconsole: {{listen: "127.0.0.1:{self.console_port}"}}\n'
        self.config_path.write_text(text, encoding="utf-8")
        command = [*self.prefix, sys.executable, "-m", "agent.cli.main", "run", "-c", str(self.config_path)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "LANG": "C.UTF-8"}
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> float:
        """SIGTERM and wait; the seconds it took."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=DEADLINE_S)
        assert code == 0, f"exit code {code}\n{self.log()}"
        return time.monotonic() - started

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def metrics(self) -> dict[str, float]:
        """Sums over all labels of the metrics, by name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.console_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        sums: dict[str, float] = {}
        for line in lines:
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def davy(self, *arguments: str) -> Any:
        """Run a davy command against this agent's configuration; its JSON output."""
        command = [
            *self.prefix,
            sys.executable,
            "-m",
            "agent.cli.main",
            *arguments,
            "-c",
            str(self.config_path),
            "--json",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=60)
        assert done.stdout, done.stderr.decode()
        return json.loads(done.stdout.splitlines()[-1])

    def __enter__(self) -> "AgentProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


async def eventually(check: Any, what: str, within_s: float = DEADLINE_S) -> None:
    """Wait until ``check()`` is true; a test that waits in vain says for what."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if check():
                return
        except OSError:
            pass  # the agent does not listen yet
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        await asyncio.get_running_loop().run_in_executor(None, _poll_pause)


def _poll_pause() -> None:
    """The pause between two looks at another process, which gives no event to wait on."""
    socket.socketpair()[0].close()
    time.sleep(0.05)
