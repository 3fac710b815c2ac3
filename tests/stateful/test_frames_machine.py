"""A stream of frames, cut anywhere, good until a length is bad: what was sent comes out (REC-4)."""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from dinemic_engine.errors import TransportError
from dinemic_engine.limits import FRAME_BYTES_MAX
from dinemic_transport.frames import HEADER_BYTES, FrameDecoder, encode_frame
from support.figures import Machine

GOOD_BYTES = 1_000
"""What is sent at least before a length is bad."""


class Stream(Machine):
    """What was sent, where in the stream each frame of it ends, and how much has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = FrameDecoder()
        self.stream = b""
        self.sent: list[bytes] = []
        self.ends: list[int] = []
        self.arrived = 0
        self.came: list[bytes] = []
        self.good_until: int | None = None
        """Where the bad length is known; None: there is none."""

    def is_good(self) -> bool:
        return self.good_until is None

    def is_lost(self) -> bool:
        return self.good_until is not None and self.arrived >= self.good_until

    @precondition(is_good)
    @rule(size=st.integers(1, 300))
    def send(self, size: int) -> None:
        self.sent.append(bytes([size % 251]) * size)
        self.stream += encode_frame(self.sent[-1])
        self.ends.append(len(self.stream))

    @precondition(lambda self: self.is_good() and len(self.stream) > GOOD_BYTES)
    @rule(length=st.sampled_from([0, FRAME_BYTES_MAX + 1, 1 << 31, (1 << 32) - 1]))
    def send_a_bad_length(self, length: int) -> None:
        self.stream += length.to_bytes(HEADER_BYTES, "big")
        self.good_until = len(self.stream)
        self.stream += b"tail"

    @precondition(lambda self: self.arrived < len(self.stream) and not self.is_lost())
    @rule(count=st.integers(1, 500))
    def arrive(self, count: int) -> None:
        data = self.stream[self.arrived : self.arrived + count]
        self.arrived += len(data)
        self.decoder.feed_untrusted(data)
        if self.is_lost():
            with pytest.raises(TransportError):
                self.drain()
        else:
            self.drain()

    def drain(self) -> None:
        while (frame := self.decoder.next_frame()) is not None:
            self.came.append(frame)

    @precondition(is_lost)
    @rule()
    def go_on(self) -> None:
        with pytest.raises(TransportError):
            self.decoder.feed_untrusted(encode_frame(b"good"))

    @invariant()
    def every_frame_that_is_here_came(self) -> None:
        whole = bisect_right(self.ends, self.arrived)
        assert self.came == self.sent[:whole]
        here = self.arrived > max(self.ends[:whole], default=0)
        assert self.decoder.unfinished == (here and not self.is_lost())


TestStream = Stream.TestCase
TestStream.settings = settings(max_examples=8 * settings().max_examples)
