"""A peer that means ill, over real sockets: it holds a valid certificate and keeps no other rule.

Plain blocking sockets, and of the code it attacks only what writes the bytes: certificates, and the
messages in canonical form. What it sends need not be a message, a frame or TLS at all.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dinemic_engine.errors import TransportError
from dinemic_engine.ranges import FINGERPRINT_BYTES
from dinemic_transport.certificates import TlsContexts, mint_contexts
from dinemic_transport.frames import FrameDecoder, encode_frame
from dinemic_transport.messages import (
    ALL_MODELS,
    Bye,
    Got,
    Hello,
    Message,
    Ping,
    Pong,
    Row,
    Summary,
    cluster_hash,
)
from dinemic_transport.pages import events_messages
from dinemic_transport.wire import decode_untrusted, encode

CLUSTER: Final = "dinemic"
PATIENCE_SECONDS: Final = 20.0
"""How long anything it waits for may take: far more than the limits it tests."""

ANOTHER_HOST: Final = "127.0.0.2"
"""On Linux all of 127/8 is this machine: where it knocks from, it is counted as another host."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing breaks the connection and leaves nothing waiting in the kernel."""


def dial(address: str, source: str = ANOTHER_HOST) -> socket.socket:
    """A TCP connection, without a word on it."""
    host, _, port = address.rpartition(":")
    place = (source, 0) if host.startswith("127.") else None
    tcp = socket.create_connection((host, int(port)), PATIENCE_SECONDS, place)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return tcp


def is_closed(connection: socket.socket, within_seconds: float = 0.0) -> bool:
    """Whether the other side closes in that time; what it says before is read and dropped."""
    end = time.monotonic() + within_seconds
    while True:
        connection.settimeout(max(0.0, end - time.monotonic()))
        try:
            if not connection.recv(65536):
                return True
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(PATIENCE_SECONDS)


class Identity:
    """A node key and its certificate; the node id is above `above`, so that `above` drives."""

    def __init__(self, above: bytes = b"") -> None:
        while True:
            key = Ed25519PrivateKey.generate()
            self.node_id = key.public_key().public_bytes_raw()
            if self.node_id > above:
                break
        self.contexts: TlsContexts = mint_contexts(key, CLUSTER, None)


class HostilePeer:
    """One connection to a node, after the handshake. A context manager."""

    def __init__(
        self, address: str, identity: Identity | None = None, *, source: str = ANOTHER_HOST
    ) -> None:
        self.identity = identity or Identity()
        tcp = dial(address, source)
        try:
            self.stream = self.identity.contexts.client.wrap_socket(tcp)
            """What goes in here the node takes for the bytes of frames."""
        except BaseException:
            tcp.close()
            raise
        self._decoder = FrameDecoder()
        self._ticket = 0

    def __enter__(self) -> HostilePeer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close without a goodbye."""
        self.stream.close()

    # -- to say --

    def send_raw(self, data: bytes) -> None:
        """Bytes into the TLS stream; in vain if the node has closed."""
        with contextlib.suppress(OSError):
            self.stream.sendall(data)

    def send_frame(self, payload: bytes) -> None:
        """A frame of whatever length."""
        self.send_raw(len(payload).to_bytes(4, "big") + payload)

    def send(self, *messages: Message) -> None:
        """Well-formed messages."""
        for message in messages:
            self.send_frame(encode(message))

    def send_events(self, model: str, events: Sequence[bytes], ticket: int = 0) -> None:
        """Events, unasked unless there is a ticket."""
        self.send(*events_messages(ticket, model, events))

    def offer(self, model: str, events: Sequence[bytes]) -> Got | None:
        """Events as a catch-up offers them: what became of them, or None if the node closed."""
        self._ticket += 1
        self.send_events(model, events, -self._ticket)
        return next((said for said in self.conversation() if isinstance(said, Got)), None)

    def pour(self, messages: Iterable[Message], seconds: float) -> int:
        """Send as fast as the node reads, for so long at most; the bytes it took in.

        Nothing can be said afterwards: the last frame may not have left whole.
        """
        end, taken = time.monotonic() + seconds, 0
        with contextlib.suppress(OSError):
            for message in messages:
                self.stream.settimeout(max(0.001, end - time.monotonic()))
                self.stream.sendall(encode_frame(payload := encode(message)))
                taken += len(payload)
        return taken

    def greet(self, rows: Sequence[Row] = ()) -> HostilePeer:
        """Say hello as one should, and hear the node's hello out."""
        self.send(Hello(cluster_hash(CLUSTER), (ALL_MODELS,), tuple(rows)))
        heard = self.expect(Hello)
        while isinstance(heard, Hello | Summary) and heard.more:
            heard = self.expect(Summary)
        return self

    # -- to hear --

    def hear(self) -> Message | None:
        """The next message; None when the node has closed."""
        while True:
            try:
                frame = self._decoder.next_frame()
                if frame is not None:
                    return decode_untrusted(frame)
                data = self.stream.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not data:
                return None
            self._decoder.feed_untrusted(data)

    def expect(self, kind: type[Message]) -> Message:
        """The next message of that kind; pings are answered and others passed over."""
        for message in self.conversation():
            if isinstance(message, kind):
                return message
        raise TransportError(f"the node closed before it said {kind.__name__}")

    def conversation(self) -> Iterator[Message]:
        """All that the node says until it closes; pings are answered."""
        while (message := self.hear()) is not None:
            if isinstance(message, Ping):
                self.send(Pong())
            yield message

    def last_word(self) -> str:
        """Say nothing until the node closes; the reason it gave, nothing if it gave none."""
        reason, end = "", time.monotonic() + PATIENCE_SECONDS
        while (message := self.hear()) is not None:
            assert time.monotonic() < end, "the node goes on talking to a peer that is silent"
            if isinstance(message, Bye):
                reason = message.reason
        return reason


def false_row(model: str = "Person", count: int = 1_000_000) -> Row:
    """A claim about events there are not."""
    return Row(model, count, *(secrets.token_bytes(FINGERPRINT_BYTES) for _ in range(3)))
