"""One link: frames over one TLS 1.3 stream, after the handshake.

Sending and writing are apart (CHAN-4). `send` and `offer` put frames into a queue bounded by
bytes; one writer task empties it in TLS-record-sized pieces::

    send, offer --> queue (4 MiB) --> write_until_closed --> TLS --> socket
                                                  recv <---- TLS <---- socket

so a receive loop that offers never waits for a slow peer, and a peer that takes no bytes for 20 s
loses its link and delays nobody else. The transport runs the writer; see channel.py.

A link ends once, for one reason, kept in `_ended` and told to everybody who asks afterwards.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from dinemic_engine.errors import TransportError
from dinemic_transport.frames import FrameDecoder, encode_frame

QUEUE_BYTES_MAX: Final = 4 << 20
"""Frames waiting for the peer to take them: 64 of the largest, or some 10,000 small events."""

WRITE_SECONDS_MAX: Final = 20.0
"""For one piece of 16 KiB: below 1 KiB/s a link is worth less than a new one."""

CLOSE_SECONDS_MAX: Final = 0.5
"""For what is queued to leave and the goodbye of TLS to follow, when closing in order."""

_WRITE_BYTES: Final = 16 << 10
"""The size of a TLS record."""

_READ_BYTES: Final = 64 << 10

_CLOSED: Final = "the link is closed"


class _NoMoreReads(Exception):
    """The wire is not to be read any more; see `Wire.quiet`."""


class Wire(trio.abc.Stream):
    """A TCP stream as `trio.SSLStream` gets to see it, with two changes in how it fails.

    A failed write is noted in `write_error`, not raised: it would make the SSLStream unusable
    for reading too, and lose what the peer said before it closed. With `quiet` set a read raises
    at once, so that what is decrypted already can be taken out without waiting for more.
    """

    def __init__(self, tcp: trio.SocketStream) -> None:
        self.write_error: Exception | None = None
        self.quiet = False
        self._tcp = tcp

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write, or note why that failed."""
        try:
            await self._tcp.send_all(data)
        except trio.BrokenResourceError as error:
            self.write_error = error

    async def wait_send_all_might_not_block(self) -> None:
        """As trio has it."""
        await self._tcp.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read some bytes; b"" at the end."""
        if self.quiet:
            raise _NoMoreReads
        return await self._tcp.receive_some(max_bytes)

    def abort(self) -> None:
        """Close the socket at once and wake whoever waits on it. Idempotent."""
        self._tcp.socket.close()

    async def aclose(self) -> None:
        """As `abort`, and a checkpoint."""
        self.abort()
        await trio.lowlevel.checkpoint()


class TcpLink:
    """A `Link` over TCP and TLS. Made by `TcpTransport` only, which also runs its writer."""

    def __init__(
        self,
        tls: trio.SSLStream[Wire],
        *,
        peer: bytes,
        dialled: bool,
        address: str,
        remote: str,
        ended: Callable[[TcpLink], None],
    ) -> None:
        """Take over a stream whose handshake is done; `ended` is called once, at the end."""
        self._tls = tls
        self._wire = tls.transport_stream
        self._peer = peer
        self._dialled = dialled
        self._address = address
        self._remote = remote
        self._tell_ended = ended
        self._ended: str | None = None
        self._gone = trio.Event()
        self._decoder = FrameDecoder()
        self._receiving = False
        self._heard = False
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
        """The remote ``host:port``, as it was dialled."""
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
                    self._heard = True
                    return frame
                if self._peer_closed:
                    return None
                data = await self._tls.receive_some(_READ_BYTES)
                if data:
                    self._decoder.feed_untrusted(data)
                elif self._decoder.unfinished:
                    raise TransportError("the peer closed in the middle of a frame")
                else:
                    self._peer_closed = True
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.abort(self._why_no_read(error))
            raise self._error() from error
        except TransportError as error:
            self.abort(str(error))
            raise self._error() from error
        finally:
            self._receiving = False
        raise self._error()

    async def close(self) -> None:
        """Let the queue and TLS's goodbye leave, half a second at most, and close. Idempotent.

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
                    await self._say_goodbye()
        finally:
            self.abort(_CLOSED)

    def abort(self, reason: str) -> None:
        """End the link now, without a goodbye. Only the first reason given is kept."""
        if self._ended is not None:
            return
        self._ended = reason
        self._wire.abort()
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
                    await self._tls.send_all(batch[start : start + _WRITE_BYTES])
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    self.abort(f"writing failed: {error.__cause__ or error}")
                    return
            if scope.cancelled_caught:
                self.abort(f"the peer took no bytes for {WRITE_SECONDS_MAX:.0f} s")
                return
            if self._wire.write_error is not None:
                await self._outlive_write_error()
                return
        if self._ended is None:
            self._queued_bytes -= len(batch)  # counted until it left: the bound is a bound
            self._room.unpark_all()

    async def _outlive_write_error(self) -> None:
        """Nothing more can be written, but a receiver may still be reading the peer's last words.

        It meets the end of the stream by itself: a connection that refuses writes is dead.
        """
        error = self._wire.write_error
        reason = f"writing failed: {getattr(error, '__cause__', None) or error}"
        with trio.move_on_after(CLOSE_SECONDS_MAX):
            await self._gone.wait()
        self.abort(reason)

    async def _say_goodbye(self) -> None:
        """Send close_notify and close.

        OpenSSL refuses to send it while it holds data that nobody has read, and the peer would
        take our close for a break; so that data is read first and dropped.
        """
        self._wire.quiet = True
        with contextlib.suppress(_NoMoreReads, trio.BusyResourceError, trio.BrokenResourceError):
            while await self._tls.receive_some(_READ_BYTES):
                pass
        with contextlib.suppress(trio.ClosedResourceError):
            await self._tls.aclose()

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

    def _why_no_read(self, error: Exception) -> str:
        if self._closing:
            return _CLOSED
        if self._dialled and not self._heard:
            # In TLS 1.3 the dialler is done before the other side has judged its certificate.
            return "the peer closed without a word: it may have refused us"
        if isinstance(error.__cause__, ssl.SSLError) and error.__cause__.reason:
            return f"the connection broke ({error.__cause__.reason})"
        return f"the connection broke ({error.__cause__ or 'closed by the peer'})"
