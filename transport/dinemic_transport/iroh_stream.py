"""The bytes of one link over iroh: one QUIC stream, the only one of its connection."""

from __future__ import annotations

import contextlib
from typing import Final

from iroh import BiStream, Connection, IrohError

from dinemic_engine.errors import TransportError
from dinemic_transport.iroh_calls import Call, finished, why

CLOSED_IN_ORDER: Final = 0
BROKEN: Final = 1
REFUSED: Final = 2
"""Why a QUIC connection was closed; for people, nothing depends on it."""

_READ_BYTES: Final = 64 << 10


class IrohStream:
    """A `Stream` over QUIC."""

    def __init__(self, connection: Connection, stream: BiStream) -> None:
        """Take over a connection and its stream."""
        self._connection = connection
        self._send = stream.send()
        self._recv = stream.recv()
        self._reading: Call[bytes] | None = None
        """Kept when its reader is cancelled: bytes that Rust has handed over are in no other."""

    async def read(self) -> bytes:
        """Some bytes; b"" after the peer has finished its side.

        Raises:
            TransportError: the connection broke or is closed.
        """
        if self._reading is None:
            self._reading = Call(self._recv.read(_READ_BYTES))
        try:
            data = await self._reading.result()
        except IrohError as error:
            self._reading = None
            raise TransportError(f"the connection broke ({self._why(error)})") from error
        self._reading = None
        return data

    async def write(self, data: bytes | bytearray) -> None:
        """Hand `data` to QUIC; waits while the peer's window and QUIC's own buffer are full.

        Raises:
            TransportError: the connection broke; what the peer said before can still be read.
        """
        try:
            await finished(self._send.write_all(bytes(data)))
        except IrohError as error:
            raise TransportError(self._why(error)) from error

    async def finish(self) -> None:
        """Finish our side, wait until the peer has it all, and close the connection.

        Closing alone would drop what is under way.
        """
        with contextlib.suppress(IrohError):  # the connection is over already
            await finished(self._send.finish())
            await finished(self._send.stopped())
        self._connection.close(CLOSED_IN_ORDER, b"")

    def abort(self) -> None:
        """Close the connection; what was not acknowledged is lost."""
        self._connection.close(BROKEN, b"")

    def _why(self, error: IrohError) -> str:
        return self._connection.close_reason() or why(error)
