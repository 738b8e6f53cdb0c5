"""A real victoria-metrics on a free port with a directory of its own."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.support.agent_process import free_port

PROGRAM = "/usr/bin/victoria-metrics"
START_S = 20.0


class Victoria:
    """Started by ``start``; ``export`` reads back what was written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        log = (self._directory / "victoria.log").open("wb")
        self._process = subprocess.Popen(
            [
                PROGRAM,
                f"-storageDataPath={self._directory / 'data'}",
                f"-httpListenAddr=127.0.0.1:{self._port}",
                "-retentionPeriod=100y",
                "-search.latencyOffset=0s",
                "-dedup.minScrapeInterval=1ms",
                "-memory.allowedBytes=64MiB",
            ],
            stdout=log,
            stderr=log,
        )
        log.close()
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                self._get("/health")
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)  # a foreign process that cannot tell when it is ready
            else:
                return
        raise RuntimeError((self._directory / "victoria.log").read_text()[-2000:])

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def export(self, name: str) -> dict[str, list[tuple[int, float]]]:
        """Samples (ms, value) of a metric, by its label ``tag`` (``alarm`` where there is none)."""
        self._get("/internal/force_flush")
        found: dict[str, list[tuple[int, float]]] = {}
        for line in self._get(f'/api/v1/export?match[]={{__name__="{name}"}}').splitlines():
            series = json.loads(line)
            key = series["metric"].get("tag") or series["metric"].get("alarm", "")
            found.setdefault(key, []).extend(zip(series["timestamps"], series["values"], strict=True))
        return found

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path.replace('"', "%22"), timeout=10) as answer:
            return answer.read().decode()
