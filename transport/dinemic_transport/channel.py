"""The channel: TCP and mutual TLS 1.3 between nodes that prove their node keys (CHAN-1..4).

What happens to a connection, from either side, before a byte of ours is parsed::

    accept --> too many handshakes? --> TLS handshake, 10 s --> judge --> link
    dial   ---------------------------^                           |
                                                                  +-- ALPN is ours
    certificates.py decides whom TLS                              +-- the certificate's key is
    lets through: this cluster's nodes                            |   Ed25519: the peer's node id
                                                                  +-- it is not our own
                                                                  +-- it is the one we dialled
                                                                  +-- it is on the allow list

In an open cluster TLS lets everybody through, so none of the five is ever skipped. In TLS 1.3 the
dialler is done before the other side has judged its certificate: a refused dialler gets a link
and learns it from the first `recv`.

Links live in `serve`: it runs their writer tasks, those of dialled links too, and when it ends
every link is over. `dial` waits until it runs.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dinemic_engine import ids
from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport import addresses
from dinemic_transport.certificates import ALPN, mint_contexts, node_id_untrusted
from dinemic_transport.link import Link
from dinemic_transport.tls_link import TcpLink, Wire

HANDSHAKE_SECONDS_MAX: Final = 10.0
DIAL_SECONDS_MAX: Final = 10.0
"""For the name, the connection and `serve` to run; the handshake has its own time."""

HANDSHAKES_PER_HOST_MAX: Final = 8
HANDSHAKES_MAX: Final = 64
"""Strangers cost a TLS handshake, about 1 ms of processor: no address gets many at once."""

ACCEPTED_LINKS_MAX: Final = 512
"""Links others opened: bounds file descriptors and queues where anybody may come in."""

_ACCEPT_PAUSE_SECONDS: Final = 0.1
_ACCEPT_PAUSE_SECONDS_MAX: Final = 5.0

_log = logging.getLogger(__name__)


class TcpTransport:
    """A `Transport` over TCP and TLS for one node of one cluster.

    `listen` is ``host:port``, port 0 for any free one; None listens on every interface, IPv4 and
    IPv6, on one free port. `allow` narrows the cluster to these node ids, both when accepting
    and when dialling.
    """

    def __init__(
        self,
        node_seed: bytes,
        *,
        listen: str | None = None,
        cluster: str = "dinemic",
        cluster_key: bytes | None = None,
        allow: frozenset[bytes] | None = None,
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
        self.refused = 0
        """Connections from outside that became no link."""
        self._listen = None if listen is None else addresses.split_untrusted(listen)
        self._allow = allow
        self._contexts = mint_contexts(node_key, cluster, cluster_key)
        self._nursery: trio.Nursery | None = None
        self._serving = trio.Event()
        self._links: set[TcpLink] = set()
        self._accepted_links = 0
        self._handshakes: Counter[str] = Counter()

    async def serve(
        self, handler: Callable[[Link], Awaitable[None]], started: Callable[[list[str]], None]
    ) -> None:
        """Accept links until cancelled; `handler` runs per link and the link closes after it.

        What a handler raises ends its link and nothing else: TransportError is ordinary, any
        other error is logged.

        Raises:
            TransportError: the address cannot be listened on.
        """
        if self._nursery is not None:
            raise UsageError("this transport serves already")
        listeners = await self._open_listeners()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._serving.set()
                started([_address_of(listener.socket.getsockname()) for listener in listeners])
                for listener in listeners:
                    nursery.start_soon(self._accept, listener, handler, nursery)
        finally:
            self._nursery = None
            self._serving = trio.Event()
            for listener in listeners:
                listener.socket.close()
            for link in list(self._links):
                link.abort("the transport stopped")

    async def dial(self, address: str, expect: bytes | None = None) -> Link:
        """Open a link to ``host:port``; with `expect`, only to that node id.

        Raises:
            TransportError: refused, unreachable, timed out, or somebody else answered.
            UsageError: this is no address.
        """
        host, port = addresses.split_untrusted(address)
        if expect is not None:
            self._check_allowed(expect)  # nobody on the list can answer
        try:
            with trio.fail_after(DIAL_SECONDS_MAX):
                await self._serving.wait()
                tcp = await trio.open_tcp_stream(host, port)
        except trio.TooSlowError as error:
            raise TransportError(f"{address}: no answer in {DIAL_SECONDS_MAX:.0f} s") from error
        except (OSError, ValueError) as error:  # ValueError: a name that no resolver takes
            raise TransportError(f"{address}: {_why_no_connection(error)}") from error
        link = await self._shake_hands(tcp, address, dialled=True, expect=expect)
        if self._nursery is None:
            link.abort("the transport stopped")
            raise TransportError(f"{address}: the transport stopped")
        self._nursery.start_soon(link.write_until_closed)
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
            host = _counted_as(remote[0])
            if self._is_full(host):
                tcp.socket.close()
                self._refuse(_address_of(remote), "too many at once")
                continue
            self._handshakes[host] += 1
            nursery.start_soon(self._welcome, tcp, _address_of(remote), host, handler)

    async def _welcome(
        self,
        tcp: trio.SocketStream,
        address: str,
        host: str,
        handler: Callable[[Link], Awaitable[None]],
    ) -> None:
        """One accepted connection, from handshake to end."""
        try:
            link = await self._shake_hands(tcp, address, dialled=False, expect=None)
        except TransportError as error:
            self._refuse(address, str(error).removeprefix(f"{address}: "))
            return
        finally:
            self._handshakes[host] -= 1
            if not self._handshakes[host]:
                del self._handshakes[host]
        self._accepted_links += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.write_until_closed)
                try:
                    await handler(link)
                finally:
                    await link.close()
        except* TransportError as group:
            _log.debug("%s: link ended: %s", address, group.exceptions[0])
        except* Exception:  # noqa: BLE001 - one handler's bug must not end the others' links
            _log.exception("%s: the link's handler failed", address)
        finally:
            self._accepted_links -= 1

    async def _shake_hands(
        self, tcp: trio.SocketStream, address: str, *, dialled: bool, expect: bytes | None
    ) -> TcpLink:
        """A link whose writer is not running yet, or TransportError and a closed socket."""
        wire = Wire(tcp)
        context = self._contexts.client if dialled else self._contexts.server
        tls = trio.SSLStream(wire, context, server_side=not dialled)
        try:
            remote = _address_of(tcp.socket.getpeername())
            with trio.fail_after(HANDSHAKE_SECONDS_MAX):
                await tls.do_handshake()
            peer = self._judge(tls, expect)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            wire.abort()
            raise TransportError(f"{address}: {_why_no_handshake(error)}") from error
        except OSError as error:  # gone before it began
            wire.abort()
            raise TransportError(f"{address}: {_why_no_connection(error)}") from error
        except trio.TooSlowError as error:
            wire.abort()
            seconds = f"{HANDSHAKE_SECONDS_MAX:.0f} s"
            raise TransportError(f"{address}: no handshake in {seconds}") from error
        except TransportError as error:
            wire.abort()
            raise TransportError(f"{address}: {error}") from error
        except BaseException:
            wire.abort()
            raise
        link = TcpLink(
            tls,
            peer=peer,
            dialled=dialled,
            address=address,
            remote=remote,
            ended=self._links.discard,
        )
        self._links.add(link)
        return link

    def _judge(self, tls: trio.SSLStream[Wire], expect: bytes | None) -> bytes:
        """The peer's node id, after every check of CHAN-2."""
        if tls.selected_alpn_protocol() != ALPN:
            raise TransportError(f"the peer does not speak {ALPN}")
        certificate = tls.getpeercert(binary_form=True)
        if not certificate:
            raise TransportError("the peer showed no certificate")
        peer = node_id_untrusted(certificate)
        if peer == self.node_id:
            raise TransportError("this is our own address")
        if expect is not None and peer != expect:
            raise TransportError(f"expected node {ids.short(expect)}, {ids.short(peer)} answered")
        self._check_allowed(peer)
        return peer

    def _check_allowed(self, peer: bytes) -> None:
        if self._allow is not None and peer not in self._allow:
            raise TransportError(f"node {ids.short(peer)} is not on the allow list")

    def _is_full(self, host: str) -> bool:
        return (
            self._handshakes[host] >= HANDSHAKES_PER_HOST_MAX
            or self._handshakes.total() >= HANDSHAKES_MAX
            or self._accepted_links >= ACCEPTED_LINKS_MAX
        )

    def _refuse(self, address: str, reason: str) -> None:
        """Count and log; at INFO for the 1st, 2nd, 4th, 8th ... so that nobody fills our logs."""
        self.refused += 1
        level = logging.DEBUG if self.refused & (self.refused - 1) else logging.INFO
        _log.log(level, "%s: refused: %s (%d so far)", address, reason, self.refused)


def _address_of(socket_name: tuple[str, int] | tuple[str, int, int, int]) -> str:
    return addresses.join(socket_name[0], socket_name[1])


def _counted_as(host: str) -> str:
    """Whom a connection is counted for: the IPv4 address, or the /64 one customer gets in IPv6."""
    plain = host.partition("%")[0]
    if ":" not in plain:
        return plain
    return str(ipaddress.ip_network((plain, 64), strict=False))


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
