"""What an operator's tools ask for: /metrics, /healthz, /readyz over HTTP, and systemd's readiness and watchdog."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agent.core.counters import Counters

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

METRIC_PREFIX: Final = "davy_"


def render_metrics(counters: Counters) -> bytes:
    """All counters and gauges in the Prometheus text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

    families: dict[str, Metric] = {}
    for name, of, count in counters.counts():
        family = families.setdefault(name, CounterMetricFamily(METRIC_PREFIX + name, name, labels=[k for k, _ in of]))
        family.add_sample(METRIC_PREFIX + name + "_total", dict(of), float(count))
    for name, of, value in counters.gauges():
        family = families.setdefault(name, GaugeMetricFamily(METRIC_PREFIX + name, name, labels=[k for k, _ in of]))
        family.add_sample(METRIC_PREFIX + name, dict(of), value)

    class Collector:
        def collect(self) -> Iterator[Metric]:
            yield from families.values()

    registry = CollectorRegistry()
    registry.register(Collector())  # type: ignore[arg-type]
    return generate_latest(registry)


async def serve_http(
    listen: str,
    counters: Counters,
    refresh: Callable[[], None],
    is_ready: Callable[[], bool],
    is_alive: Callable[[], bool],
) -> None:
    """Serve until cancelled. ``refresh`` brings derived gauges up to date before each scrape."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def metrics(_: "Request") -> "Response":
        refresh()
        return PlainTextResponse(render_metrics(counters), media_type="text/plain; version=0.0.4")

    def answer(check: Callable[[], bool]) -> "Callable[[Request], Awaitable[Response]]":
        async def endpoint(_: "Request") -> "Response":
            return PlainTextResponse("ok\n") if check() else PlainTextResponse("failing\n", status_code=503)

        return endpoint

    routes = [
        Route("/metrics", metrics),
        Route("/healthz", answer(is_alive)),
        Route("/readyz", answer(is_ready)),
    ]
    host, _, port = listen.rpartition(":")
    config = uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off", access_log=False)

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            yield  # signals are the app's

    server = Server(config)
    try:
        listener = socket.create_server((host.strip("[]"), int(port)), family=_family(host))
    except OSError as error:
        raise OSError(
            error.errno, f"console.listen {listen}: {error.strerror}; monitoring goes on without it"
        ) from error
    with listener:
        try:
            await server.serve(sockets=[listener])
        finally:
            server.should_exit = True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def sd_notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens when not started by it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(message.encode())


async def feed_watchdog(is_progressing: Callable[[], bool]) -> None:
    """Feed systemd's watchdog while the pipeline makes progress; returns at once where there is none."""
    limit_us = os.environ.get("WATCHDOG_USEC")
    if not limit_us or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        if is_progressing():
            sd_notify("WATCHDOG=1")
        await asyncio.sleep(int(limit_us) / 3e6)
