"""The three things a kind of network must offer; everything above is the same for all of them.

`channel.py` implements them with TCP and mutual TLS 1.3, `iroh_transport.py` (an extra) with QUIC,
and `discovery.py` with mDNS; sessions know nothing of which it is (CHAN-4). What an address is to
dial, the transport says: see addresses.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

CLOSE_SECONDS: Final = 0.5
"""What a closing link gets to pass on a last word."""


class Link(Protocol):
    """One authenticated, ordered, reliable two-way stream of frames to one peer."""

    @property
    def peer(self) -> bytes:
        """The peer's node id: its Ed25519 public key, proven by the handshake."""

    @property
    def dialled(self) -> bool:
        """Whether we opened this link."""

    @property
    def address(self) -> str:
        """The remote address for people: as it was dialled, or ``ip:port``."""

    @property
    def remote(self) -> str:
        """The remote IP and port, ``ip:port``: where the link comes from, or was dialled.

        It differs from `address` if that is a name or says whom it leads to, and is a URL if
        the peer was reached through a server of that address only.
        """

    async def send(self, frame: bytes) -> None:
        """Queue a frame; waits while the queue is full.

        Raises:
            TransportError: the link is closed or the peer took no bytes for 20 s.
        """

    def offer(self, frame: bytes) -> bool:
        """Queue a frame if there is room, at once.

        False: no room, or the link is over; nothing was queued.
        """

    async def recv(self) -> bytes | None:
        """The next whole frame, or None when the peer has closed in order.

        Only one task may receive on a link.

        Raises:
            TransportError: the link broke, we closed it, or the peer sent something that is no
                frame.
        """

    async def close(self) -> None:
        """Close in both directions, at once if cancelled, else within half a second.

        What was queued before leaves first if the peer takes it in that time. Idempotent.
        """


class Transport(Protocol):
    """Makes links. They live while `serve` runs: when it ends, every link breaks."""

    async def serve(
        self, handler: Callable[[Link], Awaitable[None]], started: Callable[[list[str]], None]
    ) -> None:
        """Accept links until cancelled; `handler` runs per link and the link closes after it.

        `started` is called once with the addresses listened on, as ``host:port``. A
        `TransportError` that a handler lets through ends its own link only.

        Raises:
            TransportError: the address cannot be listened on.
        """

    async def dial(self, address: str, expect: bytes | None = None) -> Link:
        """Open a link to an address; with `expect`, only to that node id.

        Waits until `serve` runs. The caller closes the link. A peer that refuses us may say so
        only at the first `recv`.

        Raises:
            TransportError: refused, unreachable, timed out, or somebody else answered.
        """


class Discovery(Protocol):
    """Finds addresses that may be peers. What it finds are hints: the handshake decides."""

    async def run(self, found: Callable[[str, bytes | None], None]) -> None:
        """Announce ourselves and call `found(address, node_id_if_known)` until cancelled."""
