"""The bytes of one link over TCP and TLS 1.3, after the handshake."""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

import trio

from dinemic_engine.errors import TransportError

_READ_BYTES: Final = 64 << 10


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


class TlsStream:
    """A `Stream` over TLS."""

    def __init__(self, tls: trio.SSLStream[Wire], *, dialled: bool) -> None:
        """Take over `tls`, whose handshake is done."""
        self._tls = tls
        self._wire = tls.transport_stream
        self._dialled = dialled
        self._heard = False

    async def read(self) -> bytes | bytearray:
        """Some bytes; b"" after the peer's close_notify.

        Raises:
            TransportError: the connection broke or is closed.
        """
        try:
            data = await self._tls.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError(self._why_no_read(error)) from error
        self._heard = True
        return data

    async def write(self, data: bytes | bytearray) -> None:
        """Encrypt and write all of `data`.

        Raises:
            TransportError: the connection broke; what the peer said before can still be read.
        """
        try:
            await self._tls.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError(str(error.__cause__ or error)) from error
        if (failed := self._wire.write_error) is not None:
            raise TransportError(str(failed.__cause__ or failed)) from failed

    async def finish(self) -> None:
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

    def abort(self) -> None:
        """Close the socket."""
        self._wire.abort()

    def _why_no_read(self, error: Exception) -> str:
        if self._dialled and not self._heard:
            # In TLS 1.3 the dialler is done before the other side has judged its certificate.
            return "the peer closed without a word: it may have refused us"
        if isinstance(error.__cause__, ssl.SSLError) and error.__cause__.reason:
            return f"the connection broke ({error.__cause__.reason})"
        return f"the connection broke ({error.__cause__ or 'closed by the peer'})"
