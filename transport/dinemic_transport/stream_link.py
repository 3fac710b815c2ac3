"""One link: frames over one stream of bytes between two nodes that have proven themselves.

Every transport brings a `Stream`; the link over it is the same for all. Sending and writing are
apart (CHAN-4): `send` and `offer` put frames into a queue bounded by bytes, and one writer task
empties it in pieces::

    send, offer --> queue (4 MiB) --> write_until_closed --> Stream.write
                                                  recv <---- Stream.read

so a receive loop that offers never waits for a slow peer, and a peer that takes no bytes for 20 s
loses its link and delays nobody else. The transport runs the writer.

A link ends once, for one reason, kept in `_ended` and told to everybody who asks afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio

from dinemic_engine.errors import TransportError
from dinemic_transport.frames import FrameDecoder, encode_frame

QUEUE_BYTES_MAX: Final = 4 << 20
"""Frames waiting for the peer to take them: 64 of the largest, or some 10,000 small events."""

WRITE_SECONDS_MAX: Final = 20.0
"""For one piece of 16 KiB: below 1 KiB/s a link is worth less than a new one."""

CLOSE_SECONDS_MAX: Final = 0.5
"""For what is queued to leave and the goodbye to follow, when closing in order."""

_WRITE_BYTES: Final = 16 << 10
"""The size of a TLS record."""

_CLOSED: Final = "the link is closed"


class Stream(Protocol):
    """An encrypted, reliable, two-way stream of bytes to one peer. One task reads, one writes."""

    async def read(self) -> bytes | bytearray:
        """Some bytes; b"" when the peer has ended in order. Cancelled: nothing is lost.

        Raises:
            TransportError: it broke; the text says why.
        """

    async def write(self, data: bytes | bytearray) -> None:
        """Hand over all of `data`, waiting while the peer takes none. Cancelled: it is broken.

        Raises:
            TransportError: it broke, at least in this direction; the text says why.
        """

    async def finish(self) -> None:
        """End in order, when all is written: the peer reads the end. May be cancelled."""

    def abort(self) -> None:
        """Close both directions at once and wake who waits on them. Idempotent."""


class StreamLink:
    """A `Link` over a stream. Made by a transport only, which also runs its writer."""

    def __init__(
        self,
        stream: Stream,
        *,
        peer: bytes,
        dialled: bool,
        address: str,
        remote: str,
        ended: Callable[[StreamLink], None],
    ) -> None:
        """Take over a stream whose handshake is done; `ended` is called once, at the end."""
        self._stream = stream
        self._peer = peer
        self._dialled = dialled
        self._address = address
        self._remote = remote
        self._tell_ended = ended
        self._ended: str | None = None
        self._gone = trio.Event()
        self._decoder = FrameDecoder()
        self._receiving = False
        self._peer_closed = False
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._room = trio.lowlevel.ParkingLot()
        self._work = trio.lowlevel.ParkingLot()
        self._closing = False
        self._written = trio.Event()

    @property
    def peer(self) -> bytes:
        """The peer's node id, proven by the handshake."""
        return self._peer

    @property
    def dialled(self) -> bool:
        """Whether we opened this link."""
        return self._dialled

    @property
    def address(self) -> str:
        """The remote address, as it was dialled."""
        return self._address

    @property
    def remote(self) -> str:
        """The remote ``ip:port``."""
        return self._remote

    async def send(self, frame: bytes) -> None:
        """Queue a frame; waits while the queue is full. Cancelled while waiting: not queued.

        Raises:
            TransportError: the link is over.
            UsageError: this is no frame.
        """
        data = encode_frame(frame)
        await trio.lowlevel.checkpoint()
        while not self._over() and not self._has_room(data):
            await self._room.park()
        if self._over():
            raise self._error()
        self._put(data)

    def offer(self, frame: bytes) -> bool:
        """Queue a frame if there is room, at once. False: no room or the link is over.

        Raises:
            UsageError: this is no frame.
        """
        data = encode_frame(frame)
        if self._over() or self._room or not self._has_room(data):
            return False
        self._put(data)
        return True

    async def recv(self) -> bytes | None:
        """The next frame, or None when the peer has closed in order; one task at a time.

        Raises:
            TransportError: the link broke or is closed, or the peer sent what is no frame.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task receives on this link")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while not self._over():
                if (frame := self._decoder.next_frame()) is not None:
                    return frame
                if self._peer_closed:
                    return None
                data = await self._stream.read()
                if data:
                    self._decoder.feed_untrusted(data)
                elif self._decoder.unfinished:
                    raise TransportError("the peer closed in the middle of a frame")
                else:
                    self._peer_closed = True
        except TransportError as error:
            self.abort(_CLOSED if self._closing else str(error))
            raise self._error() from error
        finally:
            self._receiving = False
        raise self._error()

    async def close(self) -> None:
        """Let the queue and the goodbye leave, half a second at most, and close. Idempotent.

        Cancelled: closed all the same, at once.
        """
        if self._closing:
            await self._gone.wait()
            return
        self._closing = True
        self._work.unpark_all()
        self._room.unpark_all()
        try:
            with trio.move_on_after(CLOSE_SECONDS_MAX):
                await self._written.wait()
                if self._ended is None:
                    await self._stream.finish()
        finally:
            self.abort(_CLOSED)

    def abort(self, reason: str) -> None:
        """End the link now, without a goodbye. Only the first reason given is kept."""
        if self._ended is not None:
            return
        self._ended = reason
        self._stream.abort()
        self._queue.clear()
        self._queued_bytes = 0
        self._work.unpark_all()
        self._room.unpark_all()
        self._gone.set()
        self._tell_ended(self)

    async def write_until_closed(self) -> None:
        """The writer task: returns when the link has ended or, closing, all is written."""
        try:
            while self._ended is None:
                if self._queue:
                    await self._write_some()
                elif self._closing:
                    return
                else:
                    await self._work.park()
        finally:
            self._written.set()

    async def _write_some(self) -> None:
        """Write whole frames from the queue, about one TLS record of them."""
        batch = bytearray()
        while self._queue and len(batch) < _WRITE_BYTES:
            batch += self._queue.popleft()
        for start in range(0, len(batch), _WRITE_BYTES):
            with trio.move_on_after(WRITE_SECONDS_MAX) as scope:
                try:
                    await self._stream.write(batch[start : start + _WRITE_BYTES])
                except TransportError as error:
                    await self._outlive(f"writing failed: {error}")
                    return
            if scope.cancelled_caught:
                self.abort(f"the peer took no bytes for {WRITE_SECONDS_MAX:.0f} s")
                return
        if self._ended is None:
            self._queued_bytes -= len(batch)  # counted until it left: the bound is a bound
            self._room.unpark_all()

    async def _outlive(self, reason: str) -> None:
        """Nothing more can be written, but a receiver may still be reading the peer's last words.

        It meets the end of the stream by itself: a connection that refuses writes is dead.
        """
        with trio.move_on_after(CLOSE_SECONDS_MAX):
            await self._gone.wait()
        self.abort(reason)

    def _has_room(self, data: bytes) -> bool:
        return self._queued_bytes + len(data) <= QUEUE_BYTES_MAX

    def _put(self, data: bytes) -> None:
        self._queue.append(data)
        self._queued_bytes += len(data)
        self._work.unpark_all()

    def _over(self) -> bool:
        return self._closing or self._ended is not None

    def _error(self) -> TransportError:
        return TransportError(f"{self._address}: {self._ended or _CLOSED}")
