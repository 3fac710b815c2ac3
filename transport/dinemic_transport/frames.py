"""Frames on a byte stream: cut what arrives into frames, wrap what leaves.

::

    +----------------+---------------------+----------------+------- - -
    | length, 4 B BE | payload, 1..64 KiB  | length, 4 B BE | ...
    +----------------+---------------------+----------------+------- - -

Invariant of `FrameDecoder`: which frames come out, and whether a bad length is met after them,
depends on the bytes alone and never on how they were cut; between calls of `feed_untrusted` and
after draining it holds less than one frame. A length outside 1..FRAME_BYTES_MAX ends the stream
as soon as its fourth byte is here, before a byte of its payload is kept (REC-4). What is larger
than a frame travels in parts, which is the session's business.
"""

from __future__ import annotations

from typing import Final

from dinemic_engine.errors import TransportError, UsageError
from dinemic_engine.limits import FRAME_BYTES_MAX

HEADER_BYTES: Final = 4


def encode_frame(payload: bytes) -> bytes:
    """Header and payload, ready for the stream.

    Raises:
        UsageError: the payload is empty or larger than FRAME_BYTES_MAX.
    """
    if not 1 <= len(payload) <= FRAME_BYTES_MAX:
        raise UsageError(f"a frame holds 1..{FRAME_BYTES_MAX} bytes, not {len(payload)}")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


class FrameDecoder:
    """Bytes in, whole frames out. Feed it one read at a time and drain it before the next.

    After a `TransportError` the stream is lost for good: every further call raises the same.
    """

    __slots__ = ("_buffer", "_error")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._error: str | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and not ended: an end of stream here is a break."""
        return bool(self._buffer)

    def feed_untrusted(self, data: bytes | bytearray) -> None:
        """Take bytes as they came off the stream.

        Raises:
            TransportError: an earlier length was bad.
        """
        if self._error is not None:
            raise TransportError(self._error)
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole payload, or None when more bytes are needed.

        Raises:
            TransportError: the next length is 0 or above FRAME_BYTES_MAX.
        """
        if self._error is not None:
            raise TransportError(self._error)
        buffer = self._buffer
        if len(buffer) < HEADER_BYTES:
            return None
        length = int.from_bytes(buffer[:HEADER_BYTES], "big")
        if not 1 <= length <= FRAME_BYTES_MAX:
            buffer.clear()
            self._error = f"a frame of {length} bytes; 1..{FRAME_BYTES_MAX} are allowed"
            raise TransportError(self._error)
        end = HEADER_BYTES + length
        if len(buffer) < end:
            return None
        payload = bytes(buffer[HEADER_BYTES:end])
        del buffer[:end]
        return payload
