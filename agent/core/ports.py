"""The ports between the parts. Each says who owns what, and what an exception asks the caller to do."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.core.batch import Batch, Layout
from agent.core.clock import Clock
from agent.core.counters import Counters
from agent.core.records import Lane, Record
from agent.core.tags import Tag


class Inbox(Protocol):
    """Where drivers put batches: bounded, between polling and journaling."""

    async def room(self) -> None:
        """Return when a poll may start; waits while the queue is full (the driver counts the ticks it missed)."""
        ...

    def put(self, batch: Batch) -> None:
        """Take one batch over. Never blocks; stamp ``at_ns`` and put without awaiting in between (spec/rules.md T5)."""
        ...


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver gets from the agent."""

    clock: Clock
    counters: Counters
    max_skew_ns: int = 5_000_000_000
    refresh_ns: int = 10_000_000_000


class Driver(Protocol):
    """One device. Owns its connection; a device that fails gives bad readings at every poll, never an exception."""

    @property
    def layout(self) -> Layout:
        """The columns of its batches."""
        ...

    @property
    def tags(self) -> Sequence[Tag]:
        """Its tags, in the order of the layout."""
        ...

    def status(self) -> dict[str, Any]:
        """What an operator wants to know: state, since, last error, quirks. JSON types."""
        ...

    async def run(self, inbox: Inbox) -> None:
        """Read until cancelled. Raises only on a bug; the supervisor then restarts it with back-off."""
        ...


class JournalReader(Protocol):
    """What a destination sees of the journal: synced records only."""

    async def read(self, lane: Lane, after: int, max_bytes: int) -> "Chunk":
        """The next records of a lane with seq > ``after``, about ``max_bytes`` of them (one at least, if there is one).

        Returns at once; an empty chunk means that nothing is there up to ``Chunk.seen``.
        """
        ...

    async def wait(self, after: int) -> None:
        """Return when a record with seq > ``after`` is synced."""
        ...

    @property
    def synced_seq(self) -> int:
        """The last seq that is known to be on disk."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records of one lane, and how far the reader has looked."""

    records: Sequence[Record]
    seen: int
    """Every record of the lane with seq <= ``seen`` is in this chunk or was before it."""


class Cursors(Protocol):
    """Durable positions of destinations. ``put`` is cheap; it is saved at most once a second and at stop."""

    def get(self, destination: str, lane: Lane) -> int | None:
        """The last seq proved delivered; None for a destination that is new."""
        ...

    def put(self, destination: str, lane: Lane, seq: int) -> None:
        """Move a cursor."""
        ...


class UnavailableError(Exception):
    """Nothing was proved delivered: keep the records, back off, try again. The text says thing, action and number."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RejectedError(Exception):
    """The destination will never take exactly these records: quarantine them and go on with the rest."""

    def __init__(self, message: str, seqs: Sequence[int]) -> None:
        super().__init__(message)
        self.seqs = tuple(seqs)


class Sender(Protocol):
    """One lane's way to one destination. Made anew for each connection; never used after it raised UnavailableError."""

    async def open(self) -> None:
        """Connect; UnavailableError when that fails."""
        ...

    async def send(self, records: Sequence[Record], after: int) -> None:
        """Deliver records in order and return when each is proved; ``after`` is the last seq this lane sent before.

        Raises UnavailableError (nothing proved, though some may have arrived) or RejectedError (all but the named
        ones proved).
        """
        ...

    async def close(self) -> None:
        """Disconnect; never raises for a broken connection."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it came from a destination, unparsed. ``retained`` ones are rejected unread."""

    payload: bytes
    destination: str
    is_operator: bool
    retained: bool = False


@dataclass(frozen=True, slots=True)
class SiteView:
    """What destinations may ask the running agent for; every answer is a value, never a live object."""

    status: Callable[[], dict[str, Any]]
    """The body of the status message."""
    tags: Callable[[], list[dict[str, Any]]]
    """The tag table."""
    alarms: Callable[[], list[dict[str, Any]]]
    """Alarms that are not normal or are hidden, with the keys of the alarm payload."""
    command: Callable[[Request], Awaitable[bytes]]
    """Carry a command out; the answer is ready to be published, once its record is synced."""
    end_unknown: Callable[[str], Awaitable[None]]
    """A retained alarm that this agent does not know was found: end it with an event."""


@dataclass(frozen=True, slots=True)
class DestinationContext:
    """What a destination gets from the agent."""

    clock: Clock
    counters: Counters
    reader: JournalReader
    cursors: Cursors
    view: SiteView
    site: str
    agent: str
    epoch: str
    tags: Sequence[Tag] = field(default_factory=list[Tag])
    on_quarantine: Callable[[str, Sequence[int], str], Awaitable[None]] | None = None
    """Called with destination, seqs and reason before a cursor moves past readings that will never be taken."""
