"""A second transport: nodes dialled by their key over QUIC, also through NAT (iroh, an extra).

iroh proves node keys in its handshake as TLS does in channel.py: its secret key is the node key, so
its endpoint id is our node id. What it knows nothing of comes after, on the one stream a connection
has, before a byte is parsed::

    accept --> too many? --> QUIC handshake --> Door.judge --> proofs --> link
    dial   ---------------------^                 |              |
                                                  |              +-- membership.py: this cluster's
                                                  +-- the id is a usable key, not our own, the one
                                                      dialled, and no list keeps it out

A node is dialled as ``node@host:port``, or as ``host:port`` where its id is known from elsewhere
(found, or told by a peer), or as ``node`` alone if there is a relay to find it by. Without `relay`
no server of anybody's is asked for anything: nodes reach each other directly or not at all.

As in channel.py, links live in `serve`, and `dial` waits until it runs.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from iroh import (
    Connection,
    Endpoint,
    EndpointAddr,
    EndpointId,
    Incoming,
    IncomingAddr,
    IrohError,
)

from dinemic_engine import ids, keys
from dinemic_engine.errors import BadSignature, TransportError, UsageError
from dinemic_transport import addresses
from dinemic_transport.certificates import ALPN, cluster_secret
from dinemic_transport.door import Door
from dinemic_transport.handshakes import HANDSHAKES_PER_HOST_MAX
from dinemic_transport.iroh_calls import finished, why
from dinemic_transport.iroh_endpoint import PUBLIC_RELAY, Listening
from dinemic_transport.iroh_stream import REFUSED, IrohStream
from dinemic_transport.link import Link
from dinemic_transport.links import Links
from dinemic_transport.membership import PROOF_BYTES, Proofs, proofs
from dinemic_transport.stream_link import StreamLink

HANDSHAKE_SECONDS_MAX: Final = 10.0
DIAL_SECONDS_MAX: Final = 10.0
"""For `serve` to run and the peer to be found and to answer; the proofs have their own time."""

CLOSE_SECONDS_MAX: Final = 0.5

RECEIVED_BYTES_MAX: Final = 2 << 20
"""What a connection may hold that we have not read yet: QUIC's window for a long fast line."""

_ALPN: Final = ALPN.encode()

_log = logging.getLogger(__name__)


class IrohTransport:
    """A `Transport` over iroh for one node of one cluster.

    `listen` is ``ip:port``, port 0 for any free one; None listens on every interface. `relay` is
    ``"n0"`` or the URL of a relay, for nodes that cannot be reached directly. `allow` and `deny`
    are the lists of a `Door`.
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
        relay: str | None = None,
    ) -> None:
        """No network yet. With a cluster key this takes some 40 ms.

        Raises:
            UsageError: the seed is not 32 bytes, the cluster key is empty, `listen` is no IP
                address and port, or `relay` is no URL.
        """
        if len(node_seed) != ids.ID_BYTES:
            raise UsageError(f"a node key's seed is {ids.ID_BYTES} bytes, not {len(node_seed)}")
        node_key = Ed25519PrivateKey.from_private_bytes(node_seed)
        self.node_id: Final = node_key.public_key().public_bytes_raw()
        self._secret = cluster_secret(cluster, cluster_key)
        self._listening = Listening(node_seed, _ALPN, listen=listen, relay=relay)
        self._relay = relay
        self._door = Door(self.node_id, allow=allow, deny=deny)
        self._endpoint: Endpoint | None = None
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
        node_id, place = addresses.whereabouts_untrusted(address)
        if node_id is None:
            raise UsageError(f"iroh dials node ids: write node@host:port, not {address[:120]!r}")
        if place is None and self._relay is None:
            raise UsageError(
                f"without a relay a node cannot be found by its id alone: write node@host:port"
                f" or set iroh_relay, for {address[:120]!r}"
            )

    async def serve(
        self, handler: Callable[[Link], Awaitable[None]], started: Callable[[list[str]], None]
    ) -> None:
        """Accept links until cancelled; `handler` runs per link and the link closes after it.

        What a handler raises ends its link and nothing else.

        Raises:
            TransportError: the address cannot be listened on.
        """
        endpoint = await self._listening.open()
        try:
            async with self._links.open() as nursery:
                self._endpoint = endpoint
                started(self._listening.places(endpoint))
                await self._accept(endpoint, handler, nursery)
        finally:
            if self._endpoint is endpoint:
                self._endpoint = None
            with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
                await finished(endpoint.close())

    async def dial(self, address: str, expect: bytes | None = None) -> Link:
        """Open a link to a node; with `expect`, only to that node id.

        Raises:
            TransportError: refused, unreachable, timed out, or `address` names another node.
            UsageError: this is no address, or it names no node and nothing is expected.
        """
        node_id, place = addresses.whereabouts_untrusted(address)
        if node_id is None and expect is not None:
            node_id = expect
        else:
            self.check_address_untrusted(address)
        assert node_id is not None
        connection = None
        try:
            self._door.judge(node_id, expect)
            with trio.fail_after(DIAL_SECONDS_MAX):
                await self._links.ready()
                places = [] if place is None else await _resolved(*place)
                connection = await self._connect(node_id, places)
            self._door.judge(_node_id_untrusted(connection), node_id)
            with trio.fail_after(HANDSHAKE_SECONDS_MAX):
                stream = await self._enter_untrusted(connection, node_id)
            remote = _remote(connection, places)
            link = self._links.add(
                stream, peer=node_id, dialled=True, address=address, remote=remote
            )
            self._links.start(link)
        except trio.TooSlowError as error:
            _give_up(connection)
            seconds = f"{DIAL_SECONDS_MAX if connection is None else HANDSHAKE_SECONDS_MAX:.0f} s"
            raise TransportError(f"{address}: no answer in {seconds}") from error
        except TransportError as error:
            _give_up(connection)
            raise TransportError(f"{address}: {error}") from error
        except BaseException:
            _give_up(connection)
            raise
        return link

    # -- strangers ---------------------------------------------------------------------------

    async def _accept(
        self,
        endpoint: Endpoint,
        handler: Callable[[Link], Awaitable[None]],
        nursery: trio.Nursery,
    ) -> None:
        """Accept for ever."""
        while (incoming := await finished(endpoint.accept_next())) is not None:
            try:
                ip, remote = _place(await finished(incoming.remote_addr()))
                crowded = self._door.handshakes >= HANDSHAKES_PER_HOST_MAX // 2
                if crowded and ip and not await finished(incoming.remote_addr_validated()):
                    await finished(incoming.retry())  # anybody's address can be written on UDP
                elif (turn := self._door.knock(ip, trio.current_time())) is None:
                    self._door.refuse(remote, "too many at once")
                    await finished(incoming.refuse())
                else:
                    shake_hands = partial(self._shake_hands, incoming, remote)
                    nursery.start_soon(self._links.welcome, turn, remote, shake_hands, handler)
            except IrohError as error:
                _log.debug("a connection that went away: %s", why(error))
        raise TransportError("the endpoint was closed")

    async def _shake_hands(self, incoming: Incoming, remote: str, begins: float) -> StreamLink:
        """A link whose writer is not running yet, or TransportError and a closed connection."""
        connection = None
        try:
            await trio.sleep_until(begins)
            with trio.fail_after(HANDSHAKE_SECONDS_MAX):
                connection = await finished((await finished(incoming.accept())).connect())
                peer = _node_id_untrusted(connection)
                self._door.judge(peer, None)
                stream = await self._let_in_untrusted(connection, peer)
        except IrohError as error:
            _give_up(connection)
            raise TransportError(why(error)) from error
        except trio.TooSlowError as error:
            _give_up(connection)
            raise TransportError(f"no handshake in {HANDSHAKE_SECONDS_MAX:.0f} s") from error
        except BaseException:
            _give_up(connection)
            raise
        return self._links.add(stream, peer=peer, dialled=False, address=remote, remote=remote)

    # -- proofs ------------------------------------------------------------------------------

    async def _connect(self, node_id: bytes, places: list[str]) -> Connection:
        if (endpoint := self._endpoint) is None:
            raise TransportError("the transport stopped")
        relay = None if self._relay == PUBLIC_RELAY else self._relay
        try:
            whom = EndpointAddr(EndpointId.from_bytes(node_id), relay, places)
            return await finished(endpoint.connect(whom, _ALPN))
        except IrohError as error:
            raise TransportError(why(error)) from error

    async def _enter_untrusted(self, connection: Connection, peer: bytes) -> IrohStream:
        """Show our proof to a node we dialled and check its own.

        Raises:
            TransportError: it is not of this cluster, or does not let us in.
        """
        proof = proofs(self._secret, dialler=self.node_id, acceptor=peer)
        _bound(connection)
        try:
            stream = await finished(connection.open_bi())
            await finished(stream.send().write_all(proof.dialler))
            shown = await finished(stream.recv().read_exact(PROOF_BYTES))
        except IrohError as error:
            reason = "not a node of this cluster, or it refused us"
            raise TransportError(f"{reason} ({why(error)})") from error
        _check(shown, proof.acceptor)
        return IrohStream(connection, stream)

    async def _let_in_untrusted(self, connection: Connection, peer: bytes) -> IrohStream:
        """Check the proof of a node that dialled us and then show our own.

        Raises:
            TransportError: it is not of this cluster.
            IrohError: the connection broke.
        """
        proof: Proofs = proofs(self._secret, dialler=peer, acceptor=self.node_id)
        _bound(connection)
        stream = await finished(connection.accept_bi())
        _check(await finished(stream.recv().read_exact(PROOF_BYTES)), proof.dialler)
        await finished(stream.send().write_all(proof.acceptor))
        return IrohStream(connection, stream)


def _node_id_untrusted(connection: Connection) -> bytes:
    """The id its handshake has proven, if it is one that somebody in particular holds (EV-9)."""
    node_id = connection.remote_id().to_bytes()
    try:
        keys.check_signing_public_untrusted(node_id)
    except BadSignature as error:
        raise TransportError(f"the peer's node key is unusable: {error}") from error
    return node_id


def _bound(connection: Connection) -> None:
    """Bound what the peer can make us hold: no more streams, and so much not read yet.

    It had credit for 100 streams before we could say so; we never read but the first.
    """
    connection.set_max_concurrent_bi_streams(1)
    connection.set_max_concurrent_uni_streams(0)
    connection.set_receive_window(RECEIVED_BYTES_MAX)


def _check(shown: bytes, proof: bytes) -> None:
    if not hmac.compare_digest(shown, proof):
        raise TransportError("not a node of this cluster")


def _give_up(connection: Connection | None) -> None:
    if connection is not None:
        connection.close(REFUSED, b"")


async def _resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, ``ip:port`` each."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_DGRAM)
    except (OSError, ValueError) as error:  # ValueError: a name that no resolver takes
        raise TransportError(getattr(error, "strerror", None) or str(error)) from error
    return [addresses.join(str(name[0]), port) for *_, name in found]


def _place(remote: IncomingAddr) -> tuple[str, str]:
    """The IP a connection comes from, and IP and port; "" and the relay's URL if by a relay."""
    if isinstance(remote, IncomingAddr.IP):
        return addresses.split_untrusted(remote.addr)[0], remote.addr
    return "", str(getattr(remote, "url", remote))


def _remote(connection: Connection, places: list[str]) -> str:
    """Where the peer is: the one of `places` it was reached at, else where packets go now.

    That is ``ip:port``, or a relay's URL. iroh changes to better paths as it finds them, so if the
    only place that was dialled is no path any more but another direct one is, it was right.
    """
    paths = sorted(connection.paths(), key=lambda path: not path.is_selected)
    if len(places) == 1 and any(path.is_ip for path in paths):
        return places[0]
    reached = [path.remote_addr for path in paths]
    return next((place for place in [*places, *reached] if place in reached), "")
