"""One connection to an OPC UA server: everything that asyncua does for Davy, and nothing that it decides.

A session is used once: a client object that lost its server may hang when it connects again (asyncua issue 1660).
"""

# asyncua's messages are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

import asyncio
import logging
import struct
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from asyncua import Client, ua
from asyncua.ua.uaerrors import BadTooManyOperations, UaError, UaStatusCodeError

from agent.core.clock import Clock
from agent.core.counters import Counters, labels
from drivers.opcua.config import Config
from drivers.opcua.nodes import NodeRef, parse
from drivers.opcua.readings import Sample
from drivers.opcua.status import BAD_DECODING_ERROR, BAD_NODE_ID_UNKNOWN, GOOD, is_bad

SESSION_TIMEOUT_MS: Final = 60_000
"""A session that the agent could not close (power cut) is dropped by the server after this time."""
NOTIFICATIONS_MAX: Final = 10_000
"""Most values in one notification."""
CLOSE_S: Final = 2.0
"""Longest wait for a server to say goodbye."""
_HANDOFF_MAX: Final = 4
"""Notifications between asyncua and the driver; when they are taken slowly, the server is asked for no more."""
_UNSUPPORTED: Final = object()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME: Final = datetime(1601, 1, 2, tzinfo=UTC)
"""A source time at the beginning of OPC UA's calendar means that there is none."""
_MICROSECOND: Final = timedelta(microseconds=1)
_DECODING_ERRORS: Final = (
    UaError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What asyncua raises at answers that make no sense."""

T = TypeVar("T")

# The driver itself says once that a link is down and why; asyncua would say it at each attempt, with a traceback, and
# at INFO it formats every notification. A level that the operator has set stays.
for _name, _level in (("asyncua", logging.WARNING), ("asyncua.client", logging.CRITICAL + 1)):
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(_level)


class LinkError(Exception):
    """The connection is of no more use: close the session and make a new one. The text says thing and reason."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
        """One word for the counter."""


class Notification(NamedTuple):
    """What one publish answer brought."""

    samples: list[Sample]
    lost: int
    """How many notifications before this one never arrived."""


class Session:
    """Requests raise LinkError, and only that, when the connection is of no more use."""

    def __init__(self, config: Config, clock: Clock, counters: Counters) -> None:
        self._config = config
        self._clock = clock
        self._counters = counters
        self._of = labels(device=config.id)
        self._refs: list[NodeRef] = [parse(tag.node) for tag in config.tags]
        self._nodes: list[ua.NodeId | None] = [None] * len(self._refs)
        self._items: dict[int, int] = {}
        """Monitored item by tag."""
        self._request_size = config.request_size
        self._subscription = 0
        self._expected_number = 1
        self._handoff: asyncio.Queue[ua.PublishResult | None] = asyncio.Queue(_HANDOFF_MAX)
        self._client = self._make_client()
        self.heard_ns = 0
        """When the server last answered to the subscription (monotonic)."""
        self.silence_max_ns = 0
        """A subscription that is silent for longer is dead."""
        self.publish_ns = config.publish.ns
        """Distance of two notifications as the server granted it."""

    def _make_client(self) -> Client:
        config = self._config
        probe_s = max(config.keep_alive.s, config.timeout.s)
        client = Client(config.endpoint, timeout=config.timeout.s, watchdog_intervall=probe_s, auto_reconnect=False)
        client.name = client.description = "Davy"
        client.application_uri = "urn:davy:agent"
        client.product_uri = "urn:davy"
        client.session_timeout = SESSION_TIMEOUT_MS
        client.connection_lost_callback = self._on_lost
        if config.login is not None:
            client.set_user(config.login.user)
            client.set_password(str(config.login.password))
        return client

    async def open(self) -> None:
        """Connect, log in and look the namespaces up."""
        await self._ask("connect", self._client.connect())
        await self.resolve()

    async def resolve(self) -> None:
        """Look the indexes of the namespaces up; a URI that the server does not know leaves its nodes missing."""
        known = await self._ask("read namespaces", self._client.get_namespace_array())
        for tag, ref in enumerate(self._refs):
            text = ref.resolve([str(uri) for uri in known])
            self._nodes[tag] = None if text is None else ua.NodeId.from_string(text)

    async def close(self) -> None:
        """Close session and socket; never raises for a broken connection."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._client.disconnect()
        except TimeoutError:
            pass  # a server that does not answer drops the session after SESSION_TIMEOUT_MS
        finally:
            self._client.disconnect_socket()
        _obey_cancellation()

    # Reading

    async def read(self, tags: Sequence[int]) -> list[Sample]:
        """The values of some tags now, in their order; a node without answer has a bad status."""
        samples: list[Sample] = []
        start = 0
        while start < len(tags):
            chunk = tags[start : start + self._request_size]
            try:
                samples += await self._read(chunk)
            except BadTooManyOperations as error:
                self._shrink(error)
                continue
            start += len(chunk)
        return samples

    async def _read(self, tags: Sequence[int]) -> list[Sample]:
        nodes = [(tag, self._nodes[tag]) for tag in tags]
        wanted = [(tag, node) for tag, node in nodes if node is not None]
        values = dict.fromkeys(tags, ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(BAD_NODE_ID_UNKNOWN))))
        if wanted:
            request = ua.ReadParameters(
                TimestampsToReturn=ua.TimestampsToReturn.Source,
                NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value) for _, node in wanted],
            )
            try:
                answer = await self._ask("read", self._client.uaclient.session.read(request))
            except _DECODING_ERRORS as error:
                if isinstance(error, BadTooManyOperations):
                    raise
                return await self._read_apart(tags)
            self._check_count("read", len(answer), len(wanted))
            values.update({tag: value for (tag, _), value in zip(wanted, answer, strict=True)})
        return [_sample(tag, value) for tag, value in values.items()]

    async def _read_apart(self, tags: Sequence[int]) -> list[Sample]:
        """Find the one value that can't be decoded, so that it does not take its neighbours with it."""
        if len(tags) == 1:
            return [Sample(tags[0], None, BAD_DECODING_ERROR, None)]
        middle = len(tags) // 2
        return await self._read(tags[:middle]) + await self._read(tags[middle:])

    # Subscribing

    async def subscribe(self) -> None:
        """Create the subscription; :meth:`watch` puts nodes into it."""
        config = self._config
        publish_ns = max(config.publish.ns, 1_000_000)
        keep_alive = max(1, round(config.keep_alive.ns / publish_ns))
        request = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=ua.Duration(publish_ns / 1e6),
            # The library's own values would have the server keep silent for 45 minutes.
            RequestedMaxKeepAliveCount=ua.Counter(keep_alive),
            RequestedLifetimeCount=ua.Counter(max(10 * keep_alive, 100)),
            MaxNotificationsPerPublish=ua.Counter(NOTIFICATIONS_MAX),
            PublishingEnabled=True,
        )
        session = self._client.uaclient.session
        result = await self._ask("subscribe", session.create_subscription(request, self._on_publish))
        self._subscription = result.SubscriptionId
        self.publish_ns = max(publish_ns, int(result.RevisedPublishingInterval * 1e6))
        cycle_ns = self.publish_ns * max(1, int(result.RevisedMaxKeepAliveCount))
        self.silence_max_ns = 2 * cycle_ns + config.timeout.ns
        self.heard_ns = self._clock.monotonic_ns()

    async def watch(self, tags: Sequence[int]) -> list[tuple[int, int]]:
        """Have the server report changes of some tags; what it refused is returned with the status of the refusal."""
        refused = [(tag, BAD_NODE_ID_UNKNOWN) for tag in tags if self._nodes[tag] is None]
        wanted = [tag for tag in tags if self._nodes[tag] is not None]
        start = 0
        while start < len(wanted):
            chunk = wanted[start : start + self._request_size]
            request = ua.CreateMonitoredItemsParameters(
                SubscriptionId=self._subscription,
                TimestampsToReturn=ua.TimestampsToReturn.Source,
                ItemsToCreate=[self._item(tag) for tag in chunk],
            )
            try:
                results = await self._ask("watch", self._client.uaclient.session.create_monitored_items(request))
            except BadTooManyOperations as error:
                self._shrink(error)
                continue
            self._check_count("watch", len(results), len(chunk))
            for tag, result in zip(chunk, results, strict=True):
                if is_bad(result.StatusCode.value):
                    refused.append((tag, result.StatusCode.value))
                else:
                    self._items[tag] = result.MonitoredItemId
            start += len(chunk)
        return refused

    def _item(self, tag: int) -> ua.MonitoredItemCreateRequest:
        sampling = self._config.sampling or self._config.publish
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=self._nodes[tag], AttributeId=ua.AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=ua.IntegerId(tag + 1),  # some servers take 0 for "none"
                SamplingInterval=ua.Duration(sampling.ns / 1e6),
                QueueSize=ua.Counter(self._config.queue_size),
                DiscardOldest=True,
            ),
        )

    async def unwatch(self, tags: Sequence[int]) -> None:
        """Forget the items of some tags; an item that the server has already dropped is no error."""
        items = [self._items.pop(tag) for tag in tags if tag in self._items]
        for start in range(0, len(items), self._request_size):
            request = ua.DeleteMonitoredItemsParameters(
                SubscriptionId=self._subscription,
                MonitoredItemIds=[ua.IntegerId(item) for item in items[start : start + self._request_size]],
            )
            await self._ask("unwatch", self._client.uaclient.session.delete_monitored_items(request))

    @property
    def has_more(self) -> bool:
        """Tell whether a notification waits to be taken."""
        return not self._handoff.empty()

    async def notification(self, within_s: float) -> Notification | None:
        """The next notification (without samples: a sign of life); None when there is none in time."""
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                result = await self._handoff.get()
        except TimeoutError:
            return None
        if result is None:
            raise LinkError(f"{self._config.endpoint}: connection lost", "lost")
        return self._unpack(result)

    def _unpack(self, result: ua.PublishResult) -> Notification:
        samples: list[Sample] = []
        message = result.NotificationMessage
        parts: list[Any] = message.NotificationData or []
        for part in parts:
            if isinstance(part, ua.DataChangeNotification):
                for item in part.MonitoredItems:
                    tag = int(item.ClientHandle) - 1
                    if 0 <= tag < len(self._refs):
                        samples.append(_sample(tag, item.Value))
            elif isinstance(part, ua.StatusChangeNotification) and is_bad(part.Status.value):
                raise LinkError(f"{self._config.endpoint}: subscription ended: {part.Status.name}", "subscription")
        number = int(message.SequenceNumber)
        lost = max(0, number - self._expected_number)
        # A sign of life carries the number that the next notification will have.
        self._expected_number = number + 1 if parts else number
        return Notification(samples, lost)

    async def _on_publish(self, result: ua.PublishResult) -> None:
        self.heard_ns = self._clock.monotonic_ns()
        await self._handoff.put(result)

    async def _on_lost(self, error: Exception) -> None:
        del error  # always "transport lost", or the time-out of a probe
        await self._handoff.put(None)

    # Both

    async def _ask(self, action: str, answer: Awaitable[T]) -> T:
        """Wait for an answer. A bad status of the whole request comes through as UaStatusCodeError only where it is
        the caller's to mend (too many operations)."""
        self._counters.add("requests", of=self._of)
        try:
            result = await answer
            _obey_cancellation()
            return result
        except BadTooManyOperations:
            raise
        except UaStatusCodeError as error:
            raise LinkError(f"{self._config.endpoint}: {action}: {error}", type(error).__name__) from error
        except OSError as error:
            reason = str(error) or type(error).__name__
            raise LinkError(f"{self._config.endpoint}: {action}: {reason}", type(error).__name__) from error
        except _DECODING_ERRORS as error:
            if action == "read":
                raise
            raise LinkError(f"{self._config.endpoint}: {action}: {error!r}", "decoding") from error

    def _check_count(self, action: str, found: int, expected: int) -> None:
        if found != expected:
            text = f"{self._config.endpoint}: {action}: {found} results for {expected} nodes"
            raise LinkError(text, "count")

    def _shrink(self, error: BadTooManyOperations) -> None:
        if self._request_size == 1:
            text = f"{self._config.endpoint}: the server takes not even one node in a request"
            raise LinkError(text, "BadTooManyOperations") from error
        self._request_size = max(1, self._request_size // 2)


def _obey_cancellation() -> None:
    """asyncua swallows a cancellation that meets it at the wrong moment; the agent would never stop."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _sample(tag: int, value: ua.DataValue | None) -> Sample:
    if value is None:
        return Sample(tag, None, GOOD, None)
    status = GOOD if value.StatusCode is None else value.StatusCode.value
    return Sample(tag, _plain(value.Value), status, _ns(value.SourceTimestamp))


def _plain(variant: ua.Variant | None) -> object:
    if variant is None:
        return None
    value: object = variant.Value
    if value is None or isinstance(value, float | int | str):
        return value
    if isinstance(value, ua.LocalizedText):
        return value.Text
    return _UNSUPPORTED


def _ns(time: datetime | None) -> int | None:
    if time is None:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return None if time < _NO_TIME else (time - _EPOCH) // _MICROSECOND * 1000
