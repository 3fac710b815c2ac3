"""A network in memory: `Transport` and `Link` without sockets, threads or real time.

Everything a link promises holds, as it does of TCP: frames arrive whole, once and in order, or the
link breaks. On top of that frames can be delayed, links cut, and everything sent be watched::

    network = MemoryNetwork()
    a, b = network.transport(b"a" * 32), network.transport(b"b" * 32)
    ...                                       # serve both
    link = await a.dial(b.address)
    network.cut(a.node_id, b.node_id)         # links break, dialling fails
    network.heal(a.node_id, b.node_id)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from dinemic_engine.errors import TransportError, UsageError
from dinemic_engine.limits import FRAME_BYTES_MAX
from dinemic_transport.link import Link

QUEUE_BYTES_MAX: Final = 4 << 20
SEND_SECONDS_MAX: Final = 20.0

Delay = Callable[[], float]
"""How many seconds the next frame travels. One never overtakes another."""

Watch = Callable[["MemoryLink", bytes], None]
"""Told of every frame queued, and at which end."""


class _Pipe:
    """One direction: a queue of frames bounded by bytes, then an end or a break."""

    def __init__(self, queue_bytes_max: int, delay: Delay) -> None:
        self.frames: deque[tuple[float, bytes]] = deque()
        self.queued_bytes = 0
        self.ended = False
        self.broken: str | None = None
        self.changed = trio.lowlevel.ParkingLot()
        self._queue_bytes_max = queue_bytes_max
        self._delay = delay

    def has_room(self, frame: bytes) -> bool:
        """Whether a frame may be queued."""
        return self.queued_bytes + len(frame) <= self._queue_bytes_max

    def put(self, frame: bytes) -> None:
        """Queue a frame."""
        last = self.frames[-1][0] if self.frames else 0.0
        self.frames.append((max(last, trio.current_time() + self._delay()), frame))
        self.queued_bytes += len(frame)
        self.changed.unpark_all()

    def take(self) -> bytes:
        """The oldest frame, which has arrived."""
        _, frame = self.frames.popleft()
        self.queued_bytes -= len(frame)
        self.changed.unpark_all()
        return frame

    def end(self) -> None:
        """No more frames will come; those under way arrive."""
        self.ended = True
        self.changed.unpark_all()

    def break_(self, reason: str) -> None:
        """The connection is gone, with all that is under way."""
        self.broken = self.broken or reason
        self.changed.unpark_all()


class MemoryLink:
    """One end of a pair; a `Link`. `sent` counts the frames this end has queued."""

    def __init__(
        self,
        outgoing: _Pipe,
        incoming: _Pipe,
        *,
        own: bytes,
        peer: bytes,
        dialled: bool,
        address: str,
    ) -> None:
        self.own = own
        """The node id of this end."""
        self._out = outgoing
        self._in = incoming
        self._closed = False
        self._receiving = False
        self._peer = peer
        self._dialled = dialled
        self._address = address
        self.sent = 0
        self.watch: Watch | None = None

    @property
    def peer(self) -> bytes:
        """The peer's node id."""
        return self._peer

    @property
    def dialled(self) -> bool:
        """Whether this end opened the link."""
        return self._dialled

    @property
    def address(self) -> str:
        """Where the peer is dialled."""
        return self._address

    @property
    def remote(self) -> str:
        """The same: there are no names here."""
        return self._address

    async def send(self, frame: bytes) -> None:
        """As `Link.send`."""
        _check_size(frame)
        await trio.lowlevel.checkpoint()
        deadline = trio.current_time() + SEND_SECONDS_MAX
        while not self._writable() or not self._out.has_room(frame):
            with trio.move_on_at(deadline) as scope:
                await self._out.changed.park()
            if scope.cancelled_caught:
                self.break_(f"the peer took no bytes for {SEND_SECONDS_MAX:.0f} s")
        self._put(frame)

    def offer(self, frame: bytes) -> bool:
        """As `Link.offer`."""
        _check_size(frame)
        if self._closed or self._out.broken or not self._out.has_room(frame):
            return False
        self._put(frame)
        return True

    def _put(self, frame: bytes) -> None:
        self._out.put(frame)
        self.sent += 1
        if self.watch is not None:
            self.watch(self, frame)

    async def recv(self) -> bytes | None:
        """As `Link.recv`."""
        if self._receiving:
            raise trio.BusyResourceError("another task receives on this link")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closed:
                    raise TransportError(f"{self._address}: the link is closed")
                if self._in.broken:
                    raise TransportError(f"{self._address}: {self._in.broken}")
                if self._in.frames and self._in.frames[0][0] <= trio.current_time():
                    return self._in.take()
                if self._in.ended and not self._in.frames:
                    return None
                due = self._in.frames[0][0] if self._in.frames else math.inf
                with trio.move_on_at(due):
                    await self._in.changed.park()
        finally:
            self._receiving = False

    async def close(self) -> None:
        """As `Link.close`."""
        if not self._closed:
            self._closed = True
            self._out.end()
            self._in.break_("the peer closed the link")
        await trio.lowlevel.checkpoint()

    def break_(self, reason: str = "the connection broke") -> None:
        """Break the link as a pulled cable does: both ends get TransportError."""
        self._out.break_(reason)
        self._in.break_(reason)

    @property
    def is_over(self) -> bool:
        """Whether it was closed or broke."""
        return self._closed or self._out.broken is not None or self._in.broken is not None

    def _writable(self) -> bool:
        if self._closed:
            raise TransportError(f"{self._address}: the link is closed")
        if self._out.broken:
            raise TransportError(f"{self._address}: {self._out.broken}")
        return True


class MemoryTransport:
    """A `Transport` on a `MemoryNetwork`; `address` is where the others dial it."""

    def __init__(self, network: MemoryNetwork, node_id: bytes, address: str) -> None:
        self.node_id = node_id
        self.address = address
        self._network = network
        self._handler: Callable[[Link], Awaitable[None]] | None = None
        self._nursery: trio.Nursery | None = None
        self._serving = trio.Event()
        self._links: list[MemoryLink] = []

    async def serve(
        self, handler: Callable[[Link], Awaitable[None]], started: Callable[[list[str]], None]
    ) -> None:
        """As `Transport.serve`."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery, self._handler = nursery, handler
                self._serving.set()
                started([self.address])
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._serving = trio.Event()
            for link in self._links:
                link.break_("the transport stopped")
            self._links.clear()

    async def dial(self, address: str, expect: bytes | None = None) -> Link:
        """As `Transport.dial`."""
        await self._serving.wait()
        await trio.lowlevel.checkpoint()
        other = self._network.reachable(self, address)
        if other.node_id == self.node_id:
            raise TransportError(f"{address}: this is our own address")
        if expect is not None and other.node_id != expect:
            raise TransportError(f"{address}: another node answered")
        ours, theirs = self._network.pair(self, other)
        assert other._nursery is not None
        other._nursery.start_soon(other._handle, theirs)
        return ours

    async def _handle(self, link: MemoryLink) -> None:
        assert self._handler is not None
        try:
            await self._handler(link)
        except* TransportError:
            pass  # the handler saw its link break; any other error is a bug and ends the test
        finally:
            with trio.CancelScope(shield=True):
                await link.close()


class MemoryNetwork:
    """The nodes, who may reach whom, and every link made.

    `queue_bytes_max` bounds each direction of each link; `delay` is the one-way travel time in
    seconds of trio's clock, for all frames or drawn for each.
    """

    def __init__(
        self, *, queue_bytes_max: int = QUEUE_BYTES_MAX, delay: float | Delay = 0.0
    ) -> None:
        self.links: list[tuple[MemoryLink, MemoryLink]] = []
        """Every link ever made, as (dialling end, accepting end), oldest first."""
        self.watch: Watch | None = None
        self.delay: Delay = delay if callable(delay) else lambda: delay
        self._queue_bytes_max = queue_bytes_max
        self._transports: dict[str, MemoryTransport] = {}
        self._cuts: set[frozenset[bytes]] = set()

    def transport(self, node_id: bytes, address: str | None = None) -> MemoryTransport:
        """A new node. The same address again replaces the old node, as after a restart."""
        address = address or f"memory-{len(self._transports) + 1}:1"
        transport = MemoryTransport(self, node_id, address)
        self._transports[address] = transport
        return transport

    def cut(self, one: bytes, other: bytes) -> None:
        """Break the links between two node ids and refuse new ones until `heal`."""
        self._cuts.add(frozenset((one, other)))
        for ours, theirs in self.links:
            if {ours.peer, theirs.peer} == {one, other}:
                ours.break_("the network is cut")

    def breaks(self, one: bytes, other: bytes) -> int:
        """Break the links between two node ids, as a pulled cable does; how many there were."""
        found = [
            ours
            for ours, theirs in self.links
            if {ours.peer, theirs.peer} == {one, other} and not ours.is_over
        ]
        for ours in found:
            ours.break_()
        return len(found)

    def heal(self, one: bytes, other: bytes) -> None:
        """Undo `cut`."""
        self._cuts.discard(frozenset((one, other)))

    def reachable(self, source: MemoryTransport, address: str) -> MemoryTransport:
        """The serving transport behind an address; TransportError when there is none."""
        other = self._transports.get(address)
        if other is None or other._nursery is None:
            raise TransportError(f"{address}: connection refused")
        if frozenset((source.node_id, other.node_id)) in self._cuts:
            raise TransportError(f"{address}: no route to host")
        return other

    def pair(
        self, dialler: MemoryTransport, other: MemoryTransport
    ) -> tuple[MemoryLink, MemoryLink]:
        """A connected pair of links: the dialler's end, the other's end."""
        there = _Pipe(self._queue_bytes_max, self.delay)
        back = _Pipe(self._queue_bytes_max, self.delay)
        ours = MemoryLink(
            there,
            back,
            own=dialler.node_id,
            peer=other.node_id,
            dialled=True,
            address=other.address,
        )
        theirs = MemoryLink(
            back,
            there,
            own=other.node_id,
            peer=dialler.node_id,
            dialled=False,
            address=dialler.address,
        )
        ours.watch = theirs.watch = self.watch
        self.links.append((ours, theirs))
        dialler._links.append(ours)
        other._links.append(theirs)
        return ours, theirs


def _check_size(frame: bytes) -> None:
    if not 1 <= len(frame) <= FRAME_BYTES_MAX:
        raise UsageError(f"a frame holds 1..{FRAME_BYTES_MAX} bytes, not {len(frame)}")
