"""Targets for single values: our CBOR, names and addresses, keys, certificates, small documents."""

from __future__ import annotations

import functools
import importlib.util
import io
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from dinemic import live, metrics
from dinemic.filters import compile_filter
from dinemic.keyring import _object_id_untrusted
from dinemic.listeners import ListenersStatus
from dinemic.node import Status
from dinemic_engine import canonical, ids, keys, vetoes
from dinemic_engine.errors import (
    BadSignature,
    InvalidEvent,
    Reason,
    StoreCorrupt,
    TransportError,
    UsageError,
)
from dinemic_engine.ops import SUITE_HYBRID, SUITE_X25519
from dinemic_transport import addresses, certificates
from dinemic_transport.channel import TcpTransport
from dinemic_transport.discovery import MdnsDiscovery, cluster_tag
from dinemic_transport.membership import PROOF_BYTES, proofs
from fuzz.target import Target, arguments
from support.event_bytes import Actor

IROH: Final = importlib.util.find_spec("iroh") is not None
"""Whether the extra is installed."""

US: Final = Actor("us")
THEM: Final = Actor("them")


# -- our CBOR -----------------------------------------------------------------------------------


def value(data: bytes) -> None:
    """I-04: what is accepted is the one spelling of what it decodes to."""
    end = None
    with suppress(InvalidEvent):
        end = canonical.scan_untrusted(data)
        assert 0 < end <= len(data)
    is_veto = vetoes.is_veto_untrusted(data)
    try:
        found = canonical.decode_untrusted(data)
    except InvalidEvent as error:
        reason = error.reason
        assert reason in _OF_VALUES
        assert not is_veto
        return
    assert end == len(data)
    assert canonical.encode(found) == data
    if is_veto:
        assert list(vetoes.unpack(data)) == found


_OF_VALUES: Final = {
    Reason.VALUE,
    Reason.NOT_CANONICAL,
    Reason.TOO_LARGE,
    Reason.TOO_DEEP,
    Reason.TOO_MANY,
}


def _values() -> list[bytes]:
    sealed = canonical.Sealed(b"e" * 32, b"s" * 16, b"ciphertext")
    seeds: list[canonical.Value] = [
        *(None, True, 0, -1, (1 << 63) - 1, -(1 << 63), 0.5, 1.1, 1e300, "text", b"bytes", sealed),
        ["guard", "reason"],
        [1, [2, [3, {"a": [b"x", "y", -500]}]], 1.5, "z" * 300],
        {"": [], "a": {}, "bb": sealed, "é": 65_536},
    ]
    return [*map(canonical.encode, seeds), b"\x81" * 40, b"\xa1\x61a" * 20, b"\x9b" + b"\xff" * 8]


# -- names and addresses ------------------------------------------------------------------------


def text(data: bytes) -> None:
    """Every reader of one line of text; what has one spelling gives it back."""
    said = data.decode("utf-8", "surrogateescape")
    with suppress(ValueError):
        assert ids.to_text(ids.from_text_untrusted(said)) == said
    with suppress(ValueError):
        assert ids.db_id(*ids.parse_db_id_untrusted(said)) == said
    with suppress(StoreCorrupt):
        assert len(_object_id_untrusted(Path("keys"), said)) == ids.ID_BYTES
    with suppress(UsageError):
        host, port = addresses.split_untrusted(said)
        assert addresses.split_untrusted(addresses.join(host, port)) == (host, port)
    with suppress(UsageError):
        assert addresses.whereabouts_untrusted(said) != (None, None)
    with suppress(UsageError):
        ip, port = addresses.literal_untrusted(said)
        assert addresses.join(str(ip), port) == said
        assert port
    assert addresses.network(said) is None or "/" in str(addresses.network(said))
    with suppress(ValueError):
        compile_filter(said).matches("Person:" + "a" * ids.ID_TEXT_LENGTH + ":value_name")
    for transport in _transports():
        with suppress(UsageError):
            transport.check_address_untrusted(said)


@functools.cache
def _transports() -> Sequence[Any]:
    found: list[Any] = [TcpTransport(US.seed)]
    if IROH:
        from dinemic_transport.iroh_transport import IrohTransport

        found += [IrohTransport(US.seed), IrohTransport(US.seed, relay="n0")]
    return found


def _texts() -> list[bytes]:
    _transports()  # made once, which is no input's work
    node = ids.to_text(THEM.public)
    seeds = [
        *(
            node,
            node[:-1] + "b",
            node.upper(),
            f"Person:{node}",
            f"{node}.key",
            f"{node}@192.0.2.7:4001",
            f"{node}@",
        ),
        *("192.0.2.7:4001", "[2001:db8::7]:4001", "[fe80::1%eth0]:7", "localhost:7", "[::]:0"),
        *("8.8.8.8:53", "[2606:4700::1111]:53", "[::ffff:1.2.3.4]:5", "host.example:65535"),
        *("8.8.8.8:053", "[2001:DB8::7]:1", "192.0.2.7:0", "224.0.0.1:5"),
        *("Person:[id]:value_name", "Person:*", "*", "*a*b*c*", "?" * 52, "Person:[id]:dict_x:?"),
    ]
    return [seed.encode() for seed in seeds]


# -- keys and certificates ----------------------------------------------------------------------


def public_key(data: bytes) -> None:
    """A key that is let through is one the library below takes, and agrees on a secret with."""
    with suppress(BadSignature):
        keys.check_signing_public_untrusted(data)
        Ed25519PublicKey.from_public_bytes(data)
    ours = X25519PrivateKey.from_private_bytes(US.sealing_private)
    for suite in (SUITE_X25519, SUITE_HYBRID):
        with suppress(BadSignature):
            keys.check_sealing_public_untrusted(data, suite)
            ours.exchange(X25519PublicKey.from_public_bytes(data[-32:]))
            if suite == SUITE_HYBRID:
                MLKEM768PublicKey.from_public_bytes(data[:-32])


def _public_keys() -> list[bytes]:
    low = [bytes(32), b"\1" + bytes(31), ((1 << 255) - 19).to_bytes(32, "little"), b"\xff" * 32]
    return [US.public, US.sealing, US.hybrid, bytes(1184) + US.sealing, b"\xff" * 1216, b"", *low]


def certificate(data: bytes) -> None:
    """Whose certificate it is, or that it is nobody's."""
    with suppress(TransportError):
        assert len(certificates.node_id_untrusted(data)) == ids.ID_BYTES


def _certificates() -> list[bytes]:
    authority = certificates._cluster_ca_key("dinemic", None)
    node = Ed25519PrivateKey.from_private_bytes(US.seed).public_key()
    minted = [certificates._mint_ca(authority), certificates._mint_leaf(node, authority)]
    found = [each.public_bytes(serialization.Encoding.DER) for each in minted]
    return [*found, found[1].replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\x22", 1)]  # X.509 v35


def proof(data: bytes) -> None:
    """An array of a node id and what its holder shows to prove that it is of the cluster."""
    from dinemic_transport import iroh_transport

    match arguments(data):
        case [bytes(peer), bytes(shown)]:
            pass
        case _:
            return
    connection = cast(Any, _Connection(peer, shown))
    with suppress(TransportError):
        assert iroh_transport._node_id_untrusted(connection) == peer
    ours = iroh_transport.IrohTransport(US.seed)
    for enter in (ours._enter_untrusted, ours._let_in_untrusted):
        with suppress(TransportError):
            _at_once(enter(connection, peer))


class _Connection:
    """As much of a connection of iroh's as a proof needs; whoever it is shows `shown`."""

    def __init__(self, peer: bytes, shown: bytes) -> None:
        self._peer = peer
        self._shown = shown

    def remote_id(self) -> SimpleNamespace:
        return SimpleNamespace(to_bytes=lambda: self._peer)

    def set_max_concurrent_bi_streams(self, count: int) -> None:
        assert count == 1

    def set_max_concurrent_uni_streams(self, count: int) -> None:
        assert count == 0

    def set_receive_window(self, count: int) -> None:
        assert count > 0

    async def open_bi(self) -> _Connection:
        return self

    accept_bi = open_bi

    def send(self) -> _Connection:
        return self

    recv = send

    async def write_all(self, data: bytes) -> None:
        assert len(data) == PROOF_BYTES

    async def read_exact(self, size: int) -> bytes:
        """As much as is asked for, for iroh waits until it is there."""
        return self._shown.ljust(size, b"\0")[:size]


def _at_once(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run what never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def _proofs() -> list[bytes]:
    secret = certificates.cluster_secret("dinemic", None)
    ours = proofs(secret, dialler=US.public, acceptor=THEM.public)
    theirs = proofs(secret, dialler=THEM.public, acceptor=US.public)
    shown = (ours.acceptor, ours.dialler, theirs.dialler, b"")
    return [canonical.encode([THEM.public, each]) for each in shown]


# -- small documents ----------------------------------------------------------------------------


def announcement(data: bytes) -> None:
    """TXT records as pairs, hosts and a port; every hint can be dialled, and nobody is us."""
    match arguments(data):
        case [[*pairs], [*hosts], int() | None as port]:
            pass
        case _:
            return
    if type(port) is bool:
        return
    properties: dict[bytes, bytes | None] = {}
    for pair in pairs:
        match pair:
            case [bytes(key), bytes() | None as said]:
                properties[key] = said
            case _:
                return
    if not all(isinstance(host, str) for host in hosts):
        return
    info = SimpleNamespace(properties=properties, parsed_scoped_addresses=lambda: hosts, port=port)
    network = SimpleNamespace(get_service_info=lambda *_, **__: info)
    discovery = MdnsDiscovery(US.public, 1, "dinemic", hosts=["127.0.0.1"])
    hints = discovery._look_up_untrusted(cast(Any, network), "_x._udp.local.", "them")
    assert len(hints) <= len(hosts)
    for address, node_id in hints:
        assert addresses.split_untrusted(address)[1] == port
        assert node_id != US.public


def _announcements() -> list[bytes]:
    importlib.import_module("zeroconf")  # once, which is no input's work
    tag = cluster_tag("dinemic").encode()
    good = [[b"v", b"1"], [b"id", ids.to_text(THEM.public).encode()], [b"c", tag]]
    ours = [[b"v", b"1"], [b"id", ids.to_text(US.public).encode()], [b"c", tag]]
    hosts = ["192.0.2.7", "2001:db8::7", "fe80::1%2", "0.0.0.0", "224.0.0.1", "not an address"]
    seeds: list[canonical.Value] = [[good, hosts, 4001], [ours, hosts, 4001], [good, hosts, None]]
    seeds += [
        [[*good, [b"x", None]], hosts, 0],
        [good, ["fe80::1%2"], 2],
        [good, ["fe80::1%\0"], 2],
    ]
    return [canonical.encode(seed) for seed in seeds]


_QUIET: Final = Status(
    node_id=ids.to_text(US.public),
    home="home",
    relay=False,
    objects=0,
    events=0,
    authored=0,
    admitted=0,
    duplicate=0,
    void=0,
    flipped=0,
    vetoed=0,
    refused={},
    waiting=0,
    held=0,
    listeners=ListenersStatus(*[0] * len(ListenersStatus._fields)),
    network=None,
    metrics=None,
)


def request(data: bytes) -> None:
    """A request to the window that shows figures: one whole response, or none yet."""
    answer = metrics.answer_untrusted(data, lambda: _QUIET)
    if answer is None:
        assert b"\r\n\r\n" not in data
    else:
        assert answer.startswith(b"HTTP/1.1 ")
        assert b"\r\nConnection: close\r\n" in answer


def _requests() -> list[bytes]:
    return [
        b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HEAD /metrics?x=1 HTTP/1.0\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"GET /other HTTP/1.1\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n",
    ]


def status(data: bytes) -> None:
    """What a running node says of itself to `dinemic status`."""
    asked = cast(socket.socket, SimpleNamespace(recv=io.BytesIO(data).read))
    with suppress(ValueError, ConnectionError):
        assert live._read_untrusted(asked, float("inf"))["running"] is True


def _statuses() -> list[bytes]:
    return [b'{"running": true, "peers": [{"models": []}]}', b"[1]", b"", b"[" * 6000, b"9" * 5000]


TARGETS: Final = {
    "value": Target(value, _values),
    "text": Target(text, _texts),
    "public_key": Target(public_key, _public_keys),
    "certificate": Target(certificate, _certificates),
    "announcement": Target(announcement, _announcements),
    "request": Target(request, _requests),
    "status": Target(status, _statuses),
}
if IROH:
    TARGETS["proof"] = Target(proof, _proofs)
