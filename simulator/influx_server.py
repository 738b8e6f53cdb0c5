"""A strict stand-in for InfluxDB 2: the v2 write endpoint with all its answers, for the demo and for tests."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from simulator.influx_lines import LineError, Point, Value, parse_line

POINTS_MAX: Final = 2_000_000
"""Beyond this many points a write is refused with 503."""
_PRECISIONS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Answer:
    """A scripted answer to one write; ``keeps``: the points are stored all the same (the answer got lost)."""

    status: int
    retry_after: str | None = None
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class InfluxOptions:
    """What the server knows, and how it behaves."""

    org: str = "plant"
    bucket: str = "davy"
    token: str = "demo"
    is_partial: bool = True
    """A malformed line: True keeps the good ones of the request (InfluxDB 3), False none (InfluxDB 2)."""
    body_bytes_max: int = 50_000_000
    lines_max: int = 50_000
    refuses: Callable[[Point], bool] | None = None
    """Points that are refused with 422, such as those beyond the retention of the bucket."""


@dataclass(slots=True)
class InfluxCounts:
    """What arrived since the start."""

    requests: int = 0
    answers: dict[int, int] = field(default_factory=dict[int, int])
    lines: int = 0
    duplicates: int = 0
    """Points that were there already, with the same fields."""
    conflicts: int = 0
    """Points that were there already with other fields: one of the two is lost."""


class InfluxServer:
    """Keeps points in memory by their identity, as InfluxDB does: the last writer of a field wins."""

    def __init__(self, options: InfluxOptions | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.options = options or InfluxOptions()
        self.counts = InfluxCounts()
        self._host = host
        self._port = port
        self._script: deque[Answer] = deque()
        self._points: dict[tuple[str, tuple[tuple[str, str], ...], int], dict[str, Value]] = {}
        self._types: dict[tuple[str, str], type] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The address of the running server."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> int:
        """Listen; the port, which stays the same when the server is stopped and started again."""
        app = web.Application(client_max_size=self.options.body_bytes_max + 1)
        app.router.add_post("/api/v2/write", self._write)
        app.router.add_get("/ping", _pong)
        app.router.add_get("/health", _pong)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, reuse_address=True, shutdown_timeout=0.1)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self._port

    async def stop(self) -> None:
        """Stop listening and drop connections; the points stay."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def script(self, *answers: Answer) -> None:
        """Answer the next writes so, whatever they hold; afterwards strictly again."""
        self._script.extend(answers)

    def points(self, measurement: str | None = None) -> Iterator[Point]:
        """What is stored, each point once."""
        for (name, tags, time_ns), fields in self._points.items():
            if measurement in (None, name):
                yield Point(name, tags, fields, time_ns)

    async def _write(self, request: web.Request) -> web.Response:
        self.counts.requests += 1
        status, message, headers = await self._judge(request)
        self.counts.answers[status] = self.counts.answers.get(status, 0) + 1
        if status == 204:
            return web.Response(status=204)
        return web.json_response(
            {"code": _CODES.get(status, "error"), "message": message}, status=status, headers=headers
        )

    async def _judge(self, request: web.Request) -> tuple[int, str, Mapping[str, str]]:
        if self._script:
            answer = self._script.popleft()
            if answer.keeps:
                self._take(await request.text(), 1)
            headers = {} if answer.retry_after is None else {"Retry-After": answer.retry_after}
            return answer.status, "scripted", headers
        refusal = self._refusal(request)
        if refusal is not None:
            return *refusal, {}
        # aiohttp would answer an over-long body itself, before it was read to its end.
        if (request.content_length or 0) > self.options.body_bytes_max:
            await request.content.read()
            return 413, "request body too large", {}
        text = (await request.read()).decode()
        if text.count("\n") >= self.options.lines_max:
            return 413, "too many points in one request", {}
        status, message = self._take(text, _PRECISIONS[request.query.get("precision", "ns")])
        return status, message, {}

    def _refusal(self, request: web.Request) -> tuple[int, str] | None:
        options, query = self.options, request.query
        if request.headers.get("Authorization") != f"Token {options.token}":
            return 401, "unauthorized access"
        if query.get("org") != options.org:
            return 404, f"organization name {query.get('org')!r} not found"
        if query.get("bucket") != options.bucket:
            return 404, f"bucket {query.get('bucket')!r} not found"
        if query.get("precision", "ns") not in _PRECISIONS:
            return 400, f"invalid precision {query.get('precision')!r}"
        if len(self._points) >= POINTS_MAX:
            return 503, f"this stand-in keeps {POINTS_MAX} points"
        return None

    def _take(self, text: str, ns_per_unit: int) -> tuple[int, str]:
        """Store what is right; the answer names the first line that is not."""
        good: list[Point] = []
        malformed: list[str] = []
        for line in text.split("\n"):
            if not line or line.startswith("#"):
                continue
            self.counts.lines += 1
            try:
                good.append(parse_line(line, ns_per_unit))
            except LineError as error:
                malformed.append(f"unable to parse {line[:100]!r}: {error}")
        if malformed and not self.options.is_partial:
            return 400, malformed[0]
        unfit = [reason for point in good if (reason := self._store(point))]
        if malformed:
            return 400, f"partial write: {malformed[0]} dropped={len(malformed)}"
        return (422, f"partial write: {unfit[0]} dropped={len(unfit)}") if unfit else (204, "")

    def _store(self, point: Point) -> str:
        """Keep a point; why not, where that is so."""
        if self.options.refuses is not None and self.options.refuses(point):
            return "point is outside the retention of the bucket"
        for name, value in point.fields.items():
            known = self._types.setdefault((point.measurement, name), type(value))
            if known is not type(value):
                return f'field type conflict: "{name}" is {type(value).__name__}, already exists as {known.__name__}'
        stored = self._points.setdefault(point.identity, {})
        if stored:
            same = {name: stored.get(name) for name in point.fields} == dict(point.fields)
            self.counts.duplicates += same
            self.counts.conflicts += not same
        stored.update(point.fields)
        return ""


_CODES: Final = {
    400: "invalid",
    401: "unauthorized",
    404: "not found",
    413: "request too large",
    422: "unprocessable entity",
    429: "too many requests",
    503: "unavailable",
}


async def _pong(_: web.Request) -> web.Response:
    return web.Response(status=204)
