"""The agent under demonstration, as a child process: started, watched, stopped by SIGTERM, asked for its figures."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

STOP_LIMIT_S: Final = 12.0
STATS_LIMIT_S: Final = 20.0
_LOG_LINES: Final = 15
_MAIN: Final = "agent.cli.main"


class AgentFailedError(Exception):
    """The agent ended by itself, did not end when told to, or gives no figures; the text shows its last log lines."""


class AgentChild:
    """``davy run -c davy.yaml`` with its output in ``agent.log`` beside it."""

    def __init__(self, workdir: Path, environment: Mapping[str, str]) -> None:
        self._workdir = workdir
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._workdir / "agent.log"

    async def start(self) -> None:
        """Start it; returns before it is ready."""
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MAIN,
                "run",
                "-c",
                str(self._workdir / "davy.yaml"),
                cwd=self._workdir,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def watch(self) -> None:
        """Wait until it has ended; AgentFailedError when nobody asked it to."""
        assert self._process is not None
        code = await self._process.wait()
        if not self._is_stopping:
            raise AgentFailedError(f"the agent ended by itself, exit code {code}\n{self.tail()}")

    async def stop(self) -> None:
        """SIGTERM, then wait; AgentFailedError where it does not end in time or not with 0."""
        assert self._process is not None
        self._is_stopping = True
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                code = await self._process.wait()
        except TimeoutError as error:
            raise AgentFailedError(f"the agent did not end within {STOP_LIMIT_S:g} s\n{self.tail()}") from error
        if code != 0:
            raise AgentFailedError(f"the agent ended with exit code {code}\n{self.tail()}")

    async def kill(self) -> None:
        """End it at once, if it still runs; for clean-up."""
        self._is_stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stats(self) -> dict[str, Any]:
        """``davy journal stats --json`` of the stopped agent."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MAIN,
            "journal",
            "stats",
            "--json",
            "-c",
            str(self._workdir / "davy.yaml"),
            cwd=self._workdir,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(STATS_LIMIT_S):
            out, err = await process.communicate()
        if process.returncode != 0:
            text = err.decode(errors="replace")
            raise AgentFailedError(f"davy journal stats: exit code {process.returncode}\n{text}")
        return cast("dict[str, Any]", json.loads(out))

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])
