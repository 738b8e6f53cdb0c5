"""One poll of one device: which requests, what to do when one fails, and the row of readings that comes out."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agent.core.quality import Quality
from drivers.modbus.codec import Point
from drivers.modbus.link import Link
from drivers.modbus.pdu import DeviceExceptionError, ExchangeError, NoReplyError, NotConnectedError, ReadRequest
from drivers.modbus.plan import Block, block, plan

BISECT_REQUESTS_MAX = 100
"""Most extra requests in one poll; what is unresolved then is bad in this poll and looked at further in the next."""
SILENT_REQUESTS_MAX = 2
"""After so many requests in a row without a reply the rest of the poll isn't asked for: it would only wait."""
SILENT_STRIKES_MAX = 3
"""A request that stays without a reply in so many polls, while others are answered, is left out for a while."""
PROBE_FIRST_NS = 10_000_000_000
PROBE_MAX_NS = 600_000_000_000
"""What is left out is tried again after 10 s, then twice as late each time, up to 10 min."""


@dataclass(slots=True)
class Row:
    """The readings of one poll, by position."""

    values: "array[float]"
    quality: bytearray
    exact: dict[int, str] = field(default_factory=dict[int, str])
    replies: int = 0
    """Requests that the device answered, exceptions included: 0 means it is silent or gone."""
    spare: int = BISECT_REQUESTS_MAX
    """Extra requests that may still be made."""

    def fail(self, block: Block, quality: int) -> None:
        """Every reading of a block is bad for one reason."""
        self.quality[block.start : block.end] = bytes([quality]) * (block.end - block.start)

    def take(self, block: Block, data: bytes) -> None:
        """The readings of a block out of its reply."""
        start = block.start
        decoded = block.decoder.decode(data)
        self.values[start : block.end] = array("d", decoded.values)
        self.quality[start : block.end] = bytes(block.end - start)
        for position, quality in decoded.marks.items():
            self.quality[start + position] = quality
        for position, text in decoded.exact.items():
            self.exact[start + position] = text


@dataclass(slots=True)
class LeftOut:
    """A point that isn't asked for with the others until ``due_ns`` (monotonic)."""

    quality: int
    due_ns: int
    delay_ns: int = PROBE_FIRST_NS


class Reader:
    """Reads all points of a device, and learns what it refuses.

    A request answered with exception 2 or 3 is cut in halves within the same poll, until the points that don't exist
    are found: they are config (104) and left out of later requests, so that their neighbours never miss a poll. Where
    both halves can be read, only the length was refused: the device's requests are cut there from then on.
    """

    def __init__(self, points: Sequence[Point], on_error: Callable[[ExchangeError], None]) -> None:
        self._points = tuple(points)
        self._on_error = on_error
        self._blank = array("d", [float("nan")]) * len(self._points)
        self._left_out: dict[int, LeftOut] = {}
        self._cuts: set[int] = set()
        self._strikes: dict[ReadRequest, int] = {}
        self._blocks: list[Block] = []
        self._now_ns = 0
        self.requests = 0
        """Requests made so far."""
        self._plan()

    @property
    def left_out(self) -> dict[int, int]:
        """Quality by position of the points that are left out."""
        return {position: entry.quality for position, entry in self._left_out.items()}

    def request(self, attempt: int) -> ReadRequest:
        """A request that shows whether the device answers; another one at the next attempt, if there is one."""
        blocks = self._blocks or plan(self._points, self._left_out)
        return blocks[attempt % len(blocks)].request

    def forget(self) -> None:
        """The device was connected anew, so it may have changed: try at once what was left out, and long requests."""
        self._cuts.clear()
        self._strikes.clear()
        for entry in self._left_out.values():
            entry.due_ns, entry.delay_ns = 0, PROBE_FIRST_NS
        self._plan()

    async def read(self, link: Link, now_ns: int) -> Row:
        """Poll once; ``now_ns`` is monotonic. Failures are qualities in the row, never exceptions."""
        self._now_ns = now_ns
        row = Row(self._blank[:], bytearray(len(self._points)))
        known = set(self._left_out)
        cuts = len(self._cuts)
        for position, entry in self._left_out.items():
            row.quality[position] = entry.quality
        silent: list[Block] = []
        # What was silent goes last, so that it can't keep the others from being asked.
        blocks = sorted(self._blocks, key=self._strikes_of) if self._strikes else self._blocks
        await self._read_all(link, blocks, row, silent)
        if self._left_out and link.is_connected:
            await self._read_all(link, self._probes(), row, [])
        if silent:
            self._strike(silent, is_answering=row.replies > 0)
        if known != set(self._left_out) or cuts != len(self._cuts):
            self._plan()
        return row

    async def _read_all(self, link: Link, blocks: Iterable[Block], row: Row, silent: list[Block]) -> None:
        in_a_row = 0
        for wanted in blocks:
            if in_a_row >= SILENT_REQUESTS_MAX or not link.is_connected:
                row.fail(wanted, Quality.COMM_FAIL)
                continue
            error = await self._exchange(link, wanted, row)
            in_a_row = in_a_row + 1 if isinstance(error, NoReplyError) else 0
            if isinstance(error, NoReplyError):
                silent.append(wanted)
            elif isinstance(error, DeviceExceptionError) and error.is_address:
                await self._bisect(link, wanted, row)

    async def _exchange(self, link: Link, wanted: Block, row: Row) -> ExchangeError | None:
        """Read one block into the row; the error where that failed."""
        self.requests += 1
        try:
            data = await link.exchange(wanted.request)
        except ExchangeError as error:
            self._on_error(error)
            row.fail(wanted, error.quality)
            if not isinstance(error, NoReplyError | NotConnectedError):
                row.replies += 1
            return error
        row.replies += 1
        row.take(wanted, data)
        if self._left_out:
            for position in range(wanted.start, wanted.end):
                self._left_out.pop(position, None)
        if self._strikes:
            self._strikes.pop(wanted.request, None)
        return None

    async def _bisect(self, link: Link, refused: Block, row: Row) -> bool:
        """Find what the device refuses in a block; True where all of it can be read in parts."""
        row.fail(refused, Quality.CONFIG)
        if refused.end - refused.start == 1:
            self._leave_out(refused, Quality.CONFIG)
            return False
        middle = (refused.start + refused.end) // 2
        left = await self._part(link, block(self._points, refused.start, middle), row)
        right = await self._part(link, block(self._points, middle, refused.end), row)
        if left and right:
            self._cuts.add(middle)
        return left and right

    async def _part(self, link: Link, part: Block, row: Row) -> bool:
        if not link.is_connected:
            row.fail(part, Quality.COMM_FAIL)
            return False
        if row.spare <= 0:
            # The next poll goes on from here.
            self._cuts |= {part.start, part.end}
            return False
        row.spare -= 1
        error = await self._exchange(link, part, row)
        if isinstance(error, DeviceExceptionError) and error.is_address:
            return await self._bisect(link, part, row)
        return error is None

    def _leave_out(self, missing: Block, quality: int) -> None:
        for position in range(missing.start, missing.end):
            entry = self._left_out.setdefault(position, LeftOut(quality, self._now_ns + PROBE_FIRST_NS))
            entry.quality = quality

    def _probes(self) -> list[Block]:
        """Blocks of what is left out and due again; each is due twice as late the next time."""
        due = [position for position, entry in self._left_out.items() if self._now_ns >= entry.due_ns]
        for position in due:
            entry = self._left_out[position]
            entry.due_ns = self._now_ns + entry.delay_ns
            entry.delay_ns = min(2 * entry.delay_ns, PROBE_MAX_NS)
        return plan(self._points, due, self._cuts) if due else []

    def _strikes_of(self, known: Block) -> int:
        return self._strikes.get(known.request, 0)

    def _strike(self, silent: Iterable[Block], is_answering: bool) -> None:
        """Leave out what stays silent while others are answered: it would cost them their rate at every poll."""
        for lost in silent:
            strikes = self._strikes_of(lost) + 1
            self._strikes[lost.request] = strikes
            if is_answering and strikes >= SILENT_STRIKES_MAX:
                del self._strikes[lost.request]
                self._leave_out(lost, Quality.COMM_FAIL)

    def _plan(self) -> None:
        wanted = [position for position in range(len(self._points)) if position not in self._left_out]
        self._blocks = plan(self._points, wanted, self._cuts)
