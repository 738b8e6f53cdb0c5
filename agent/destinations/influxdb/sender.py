"""Sends lines to the v2 write API; one bad point never holds up or drops its batch."""

import email.utils
import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.client.write_api_async import WriteApiAsync
from influxdb_client.rest import ApiException

from agent.core.clock import Clock
from agent.core.counters import Counters, labels
from agent.core.ports import RejectedError, UnavailableError
from agent.core.records import Record
from agent.destinations.influxdb.config import Config
from agent.destinations.influxdb.lines import Lines

log = logging.getLogger("davy.destinations.influxdb")

MISCONFIGURED_RETRY_S: Final = 60.0
"""A wrong token or bucket does not heal by itself: ask seldom."""
RETRY_AFTER_MAX_S: Final = 300.0
SHOWN_MAX: Final = 3
"""So many poison points stand in the message; all are counted."""
TEXT_MAX: Final = 200

_POISON: Final = frozenset({400, 422})
_MISCONFIGURED: Final = frozenset({401, 403, 404})
_TOO_LARGE: Final = 413
_BUSY: Final = frozenset({429, 503})


_Write = Callable[[str, str, bytes, str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What the untyped ApiException says."""

    status: int
    reason: str
    retry_after: str


class MisconfiguredError(UnavailableError):
    """The server knows neither us nor our bucket; somebody must change the configuration, here or there."""


class _Load:
    """The lines of one send, and which of them the server will never take."""

    def __init__(self, records: Sequence[Record], lines: Lines) -> None:
        self.texts: list[str] = []
        self.refused: list[tuple[int, str]] = []
        """Position and reason."""
        self._seqs = [record.seq for record in records]
        self._ends: list[int] = []
        for record in records:
            self.texts += lines.record(record)
            self._ends.append(len(self.texts))

    def body(self, piece: range) -> bytes:
        return "\n".join(self.texts[piece.start : piece.stop]).encode()

    def refused_seqs(self) -> list[int]:
        return sorted({self._seqs[bisect_right(self._ends, position)] for position, _ in self.refused})

    def shown(self) -> str:
        return "; ".join(f"{self.texts[i][:TEXT_MAX]!r}: {reason}" for i, reason in self.refused[:SHOWN_MAX])


class InfluxSender:
    """The :class:`agent.core.ports.Sender` of both lanes: each point is proved by a 204 that covers it.

    A repeated send writes the same points again (same series, same stamp), so nothing is there twice.
    """

    def __init__(self, config: Config, lines: Lines, clock: Clock, counters: Counters) -> None:
        self._config = config
        self._lines = lines
        self._clock = clock
        self._counters = counters
        self._of = labels(destination=config.id)
        self._points_max = config.batch_points
        self._client: InfluxDBClientAsync | None = None
        self._api: WriteApiAsync | None = None

    async def open(self) -> None:
        """Make the client; HTTP connects with the first request."""
        config = self._config
        try:
            # No redirects: a POST that a captive portal turns into a GET would be proved by its 204.
            self._client = InfluxDBClientAsync(
                url=config.url,
                token=config.token,
                org=config.org,
                timeout=int(config.timeout.s * 1000),
                ssl_ca_cert=config.ca,
                allow_redirects=False,
            )
        except OSError as error:
            raise UnavailableError(f"{config.id}: {config.ca} cannot be used as authority: {error}", 60.0) from error
        self._api = self._client.write_api()

    async def close(self) -> None:
        """Close the client; never raises for a broken connection."""
        client, self._client, self._api = self._client, None, None
        if client is not None:
            await client.close()

    async def send(self, records: Sequence[Record], after: int) -> None:
        """See :class:`agent.core.ports.Sender`."""
        del after  # points carry their own time: a receiver of line protocol has no use for it
        load = _Load(records, self._lines)
        count, most = len(load.texts), self._points_max
        pending = [range(start, min(start + most, count)) for start in range(0, count, most)][::-1]
        while pending:
            pending += await self._write(load, pending.pop())
        if load.refused:
            self._counters.add("quarantined_points", len(load.refused), self._of)
            what = f"{self._config.id}: {len(load.refused)} of {count} points refused, such as {load.shown()}"
            raise RejectedError(what, load.refused_seqs())

    async def _write(self, load: _Load, piece: range) -> list[range]:
        """Write one piece; what is left to write of it, the part to be written first standing last."""
        try:
            is_proved = await self._post(load.body(piece))
        except ApiException as error:
            return self._refused(load, piece, error)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"{self._config.id}: write to {self._config.url} failed: {reason}") from error
        if not is_proved:
            raise UnavailableError(f"{self._config.id}: {self._config.url} answered without proof (204 expected)")
        return []

    async def _post(self, body: bytes) -> bool:
        if self._api is None:
            raise UnavailableError(f"{self._config.id}: not connected")
        self._counters.add("influxdb_requests", of=self._of)
        config = self._config
        write = cast("_Write", self._api.write)  # pyright: ignore[reportUnknownMemberType]
        return await write(config.bucket, config.org, body, "ns")

    def _refused(self, load: _Load, piece: range, error: ApiException) -> list[range]:
        refusal = _refusal(error)
        status, reason = refusal.status, refusal.reason
        what = f"{self._config.id}: write of {len(piece)} points answered {status}: {reason}"
        if status in _MISCONFIGURED:
            self._counters.add("destination_misconfigured", of=self._of)
            raise MisconfiguredError(f"{what}; check token, org and bucket", MISCONFIGURED_RETRY_S) from error
        if status in _BUSY:
            raise UnavailableError(what, self._retry_after_s(refusal.retry_after)) from error
        if status not in _POISON and status != _TOO_LARGE:
            raise UnavailableError(what) from error
        if len(piece) == 1:
            load.refused.append((piece.start, f"{status} {reason}"))
            return []
        middle = len(piece) // 2
        if status == _TOO_LARGE and middle < self._points_max:
            log.info("requests made smaller", extra={"destination": self._config.id, "points": middle})
            self._points_max = middle
        return [piece[middle:], piece[:middle]]

    def _retry_after_s(self, text: str) -> float | None:
        """Seconds, from a number of them or an HTTP date; None where the server says nothing of use."""
        try:
            seconds = float(text)
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(text).timestamp() - self._clock.now_ns() / 1e9
            except (ValueError, TypeError, OverflowError):
                return None
        # Not "min(max(…))" alone: "nan" would pass through both.
        return min(seconds, RETRY_AFTER_MAX_S) if seconds > 0 else None


def _refusal(error: ApiException) -> _Refusal:
    known = cast("Any", error)
    headers = cast("Mapping[str, str]", known.headers or {})
    body = cast("bytes | str | None", known.body)
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    reason = " ".join((text or str(known.reason)).split())[:TEXT_MAX]
    return _Refusal(int(known.status or 0), reason, headers.get("Retry-After", "").strip())
