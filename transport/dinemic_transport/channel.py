"""The channel: TCP and mutual TLS 1.3 between nodes that prove their node keys (CHAN-1..4).

What happens to a connection, from either side, before a byte of ours is parsed::

    accept --> too many? --> its turn --> TLS handshake, 10 s --> judge --> link
    dial   -----------------------------^                           |
                                                                    +-- ALPN is ours
    certificates.py decides whom TLS                                +-- the certificate's key is
    lets through: this cluster's nodes                              |   Ed25519: the peer's node id
                                                                    +-- it is not our own
                                                                    +-- it is the one we dialled
                                                                    +-- no list keeps it out

In an open cluster TLS lets everybody through, so none of the five is ever skipped. In TLS 1.3 the
dialler is done before the other side has judged its certificate: a refused dialler gets a link
and learns it from the first `recv`.

Links live in `serve` (links.py), and `dial` waits until it runs.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dinemic_engine import ids
from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport import addresses
from dinemic_transport.certificates import ALPN, mint_contexts, node_id_untrusted
from dinemic_transport.door import Door
from dinemic_transport.link import Link
from dinemic_transport.links import Links
from dinemic_transport.stream_link import StreamLink
from dinemic_transport.tls_stream import TlsStream, Wire

HANDSHAKE_SECONDS_MAX: Final = 10.0
DIAL_SECONDS_MAX: Final = 10.0
"""For the name, the connection and `serve` to run; the handshake has its own time."""

_ACCEPT_PAUSE_SECONDS: Final = 0.1
_ACCEPT_PAUSE_SECONDS_MAX: Final = 5.0

_log = logging.getLogger(__name__)


class TcpTransport:
    """A `Transport` over TCP and TLS for one node of one cluster.

    `listen` is ``host:port``, port 0 for any free one; None listens on every interface, IPv4 and
    IPv6, on one free port. `allow` narrows the cluster to these node ids, and `deny` keeps these
    out whatever `allow` says, both when accepting and when dialling.
    """

    def __init__(
        self,
        node_seed: bytes,
        *,
        listen: str | None = None,
        cluster: str = "dinemic",
        cluster_key: bytes | None = None,
        allow: frozenset[bytes] | None = None,
        deny: frozenset[bytes] = frozenset(),
    ) -> None:
        """Mint the certificates; no network yet. With a cluster key this takes some 40 ms.

        Raises:
            UsageError: the seed is not 32 bytes, the cluster key is empty, `listen` is no address.
            TransportError: the certificate could not be handed to OpenSSL.
        """
        if len(node_seed) != ids.ID_BYTES:
            raise UsageError(f"a node key's seed is {ids.ID_BYTES} bytes, not {len(node_seed)}")
        node_key = Ed25519PrivateKey.from_private_bytes(node_seed)
        self.node_id: Final = node_key.public_key().public_bytes_raw()
        self._listen = None if listen is None else addresses.split_untrusted(listen)
        self._door = Door(self.node_id, allow=allow, deny=deny)
        self._contexts = mint_contexts(node_key, cluster, cluster_key)
        self._links = Links(self._door)

    @property
    def refused(self) -> int:
        """Connections from outside that became no link."""
        return self._door.refused

    def check_address_untrusted(self, address: str) -> None:
        """Return if this is an address that can be dialled without knowing more.

        Raises:
            UsageError: it is none.
        """
        _where_untrusted(address)

    async def serve(
        self, handler: Callable[[Link], Awaitable[None]], started: Callable[[list[str]], None]
    ) -> None:
        """Accept links until cancelled; `handler` runs per link and the link closes after it.

        What a handler raises ends its link and nothing else.

        Raises:
            TransportError: the address cannot be listened on.
        """
        listeners = await self._open_listeners()
        try:
            async with self._links.open() as nursery:
                started([_address_of(listener.socket.getsockname()) for listener in listeners])
                for listener in listeners:
                    nursery.start_soon(self._accept, listener, handler, nursery)
        finally:
            for listener in listeners:
                listener.socket.close()

    async def dial(self, address: str, expect: bytes | None = None) -> Link:
        """Open a link to ``host:port`` or ``node@host:port``; with `expect`, only to that node id.

        Raises:
            TransportError: refused, unreachable, timed out, or somebody else answered.
            UsageError: this is no such address.
        """
        node_id, (host, port) = _where_untrusted(address)
        wanted = node_id or expect
        if wanted is not None:  # whoever answers, it would end so
            try:
                self._door.judge(wanted, expect)
            except TransportError as error:
                raise TransportError(f"{address}: {error}") from error
        try:
            with trio.fail_after(DIAL_SECONDS_MAX):
                await self._links.ready()
                tcp = await trio.open_tcp_stream(host, port)
        except trio.TooSlowError as error:
            raise TransportError(f"{address}: no answer in {DIAL_SECONDS_MAX:.0f} s") from error
        except (OSError, ValueError) as error:  # ValueError: a name that no resolver takes
            raise TransportError(f"{address}: {_why_no_connection(error)}") from error
        try:
            link = await self._shake_hands(tcp, address, dialled=True, expect=wanted)
            self._links.start(link)
        except TransportError as error:
            raise TransportError(f"{address}: {error}") from error
        return link

    async def _open_listeners(self) -> list[trio.SocketListener]:
        """The sockets to accept on. By default one port for both versions of IP, if both are."""
        host, port = self._listen or ("0.0.0.0", 0)
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except (OSError, ValueError) as error:
            where = addresses.join(host, port)
            raise TransportError(
                f"cannot listen on {where}: {_why_no_connection(error)}"
            ) from error
        if self._listen is None:
            port = listeners[0].socket.getsockname()[1]
            try:
                listeners += await trio.open_tcp_listeners(port, host="::")
            except OSError as error:
                _log.debug("not listening on IPv6: %s", error)
        return listeners

    async def _accept(
        self,
        listener: trio.SocketListener,
        handler: Callable[[Link], Awaitable[None]],
        nursery: trio.Nursery,
    ) -> None:
        """Accept for ever. Errors (file descriptors run out) are waited out, not fatal."""
        pause = 0.0
        while True:
            try:
                tcp = await listener.accept()
            except OSError as error:
                if not pause:
                    _log.warning("cannot accept connections, trying on: %s", error)
                pause = min(pause * 2 or _ACCEPT_PAUSE_SECONDS, _ACCEPT_PAUSE_SECONDS_MAX)
                await trio.sleep(pause)
                continue
            pause = 0.0
            try:
                remote = tcp.socket.getpeername()
            except OSError:  # gone already
                tcp.socket.close()
                continue
            address = _address_of(remote)
            if (turn := self._door.knock(remote[0], trio.current_time())) is None:
                tcp.socket.close()
                self._door.refuse(address, "too many at once")
                continue
            shake_hands = partial(self._shake_hands, tcp, address, dialled=False, expect=None)
            nursery.start_soon(self._links.welcome, turn, address, shake_hands, handler)

    async def _shake_hands(
        self,
        tcp: trio.SocketStream,
        address: str,
        begins: float = -math.inf,
        *,
        dialled: bool,
        expect: bytes | None,
    ) -> StreamLink:
        """A link whose writer is not running yet, or TransportError and a closed socket."""
        wire = Wire(tcp)
        context = self._contexts.client if dialled else self._contexts.server
        tls = trio.SSLStream(wire, context, server_side=not dialled)
        try:
            await trio.sleep_until(begins)
            remote = _address_of(tcp.socket.getpeername())
            with trio.fail_after(HANDSHAKE_SECONDS_MAX):
                await tls.do_handshake()
            peer = self._judge(tls, expect)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            wire.abort()
            raise TransportError(_why_no_handshake(error)) from error
        except OSError as error:  # gone before it began
            wire.abort()
            raise TransportError(_why_no_connection(error)) from error
        except trio.TooSlowError as error:
            wire.abort()
            raise TransportError(f"no handshake in {HANDSHAKE_SECONDS_MAX:.0f} s") from error
        except BaseException:
            wire.abort()
            raise
        stream = TlsStream(tls, dialled=dialled)
        return self._links.add(stream, peer=peer, dialled=dialled, address=address, remote=remote)

    def _judge(self, tls: trio.SSLStream[Wire], expect: bytes | None) -> bytes:
        """The peer's node id, after every check of CHAN-2."""
        if tls.selected_alpn_protocol() != ALPN:
            raise TransportError(f"the peer does not speak {ALPN}")
        certificate = tls.getpeercert(binary_form=True)
        if not certificate:
            raise TransportError("the peer showed no certificate")
        peer = node_id_untrusted(certificate)
        self._door.judge(peer, expect)
        return peer


def _where_untrusted(address: str) -> tuple[bytes | None, tuple[str, int]]:
    """The node id, if one is named, and host and port."""
    node_id, place = addresses.whereabouts_untrusted(address)
    if place is None:
        raise UsageError(f"a node id alone does not say where it is: {address[:120]!r}")
    return node_id, place


def _address_of(socket_name: tuple[str, int] | tuple[str, int, int, int]) -> str:
    return addresses.join(socket_name[0], socket_name[1])


def _why_no_connection(error: BaseException) -> str:
    """The system's word for it: below `open_tcp_stream`'s own error lies one per address tried."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        error = cause
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    resolver = isinstance(error, socket.gaierror)  # numbers of its own
    return str(error.strerror) if resolver else os.strerror(error.errno)


def _why_no_handshake(error: BaseException) -> str:
    match error.__cause__:
        case ssl.SSLCertVerificationError() as cause:
            return f"not a node of this cluster, or another key ({cause.verify_message})"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "the peer closed during the handshake"
        case ssl.SSLError() as cause:
            return f"no TLS 1.3 peer of ours ({cause.reason})"
        case OSError() as cause:
            return f"the connection broke during the handshake ({cause.strerror})"
        case _:
            return "the connection broke during the handshake"
