"""What strangers can do to the port of a node: take few places, for a while (CHAN-2, CHAN-4)."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.testing import MockClock, wait_all_tasks_blocked

from dinemic_engine.errors import TransportError
from dinemic_transport import certificates
from dinemic_transport.handshakes import (
    HANDSHAKES_PER_HOST_BURST,
    HANDSHAKES_PER_HOST_MAX,
    HANDSHAKES_PER_HOST_PER_SECOND,
)
from dinemic_transport.link import Link
from support.link_pairs import (
    IDLE_SECONDS,
    assert_still_serves,
    refused_by,
    run,
    serving,
    tcp_transport,
)


@contextlib.asynccontextmanager
async def stranger(address: str, host: str = "127.0.0.1") -> AsyncIterator[trio.SocketStream]:
    """A bare TCP connection to a node, from an address of this machine."""
    port = int(address.rpartition(":")[2])
    tcp = await trio.open_tcp_stream("127.0.0.1", port, local_address=host)
    try:
        yield tcp
    finally:
        await tcp.aclose()


def stranger_context(*, certificate: bool = True) -> ssl.SSLContext:
    """A client context of the open cluster, to be spoilt by the test."""
    key = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    context = certificates.mint_contexts(key, "dinemic", None).client
    if certificate:
        return context
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    bare.set_alpn_protocols([certificates.ALPN])
    return bare


def elliptic_context() -> ssl.SSLContext:
    """A client whose certificate the open cluster's CA signed, but for an ECDSA key."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key = certificates._cluster_ca_key("dinemic", None)
    leaf = certificates._mint_leaf(key.public_key(), ca_key)  # type: ignore[arg-type]
    context = stranger_context(certificate=False)
    with tempfile.NamedTemporaryFile() as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + leaf.public_bytes(serialization.Encoding.PEM)
        )
        file.flush()
        context.load_cert_chain(file.name)
    return context


def without_alpn() -> ssl.SSLContext:
    context = stranger_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def only_tls_1_2() -> ssl.SSLContext:
    context = stranger_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(
    "context",
    [lambda: stranger_context(certificate=False), elliptic_context, without_alpn, only_tls_1_2],
    ids=["no-certificate", "ecdsa-key", "other-alpn", "tls-1.2"],
)
def test_a_tls_client_of_another_kind_is_refused(
    context: Callable[[], ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dinemic_transport")

    async def main() -> None:
        other = tcp_transport(2)
        async with serving(other) as (address, accepted, _), stranger(address) as tcp:
            tls = trio.SSLStream(tcp, context())
            with pytest.raises(trio.BrokenResourceError):
                await tls.receive_some()  # shakes hands first
            await refused_by(other, 1)
            await assert_still_serves("tcp", address, accepted)

    run(main)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 70_000,
        b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000,
        bytes(range(256)) * 4,
        b"\xff\xff\xff\xff",
        b"",
    ],
    ids=["http", "zeros", "a-huge-client-hello", "every-byte", "a-length", "nothing"],
)
def test_garbage_on_the_port_is_dropped_and_changes_nothing(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dinemic_transport")

    async def main() -> None:
        other = tcp_transport(2)
        async with serving(other) as (address, accepted, _), stranger(address) as tcp:
            try:
                await tcp.send_all(garbage)
                await tcp.send_eof()
            except trio.BrokenResourceError:
                pass  # dropped before all of it was sent
            await refused_by(other, 1)
            await assert_still_serves("tcp", address, accepted)

    run(main)
    refusals = [record for record in caplog.records if "refused" in record.getMessage()]
    assert [record.levelname for record in refusals] == ["INFO"]
    assert "1 so far" in refusals[0].getMessage()
    assert not [record for record in caplog.records if record.exc_info]


def test_many_refusals_leave_few_lines_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="dinemic_transport")

    async def main() -> None:
        other = tcp_transport(2)
        async with serving(other) as (address, _, _):
            for count in range(1, 41):
                async with stranger(address) as tcp:
                    await tcp.send_all(b"garbage, not TLS")
                    await refused_by(other, count)

    run(main)
    levels = [record.levelname for record in caplog.records if "refused" in record.getMessage()]
    assert (levels.count("INFO"), len(levels)) == (6, 40)  # the 1st, 2nd, 4th .. 32nd


def test_half_open_handshakes_are_few_per_host_and_time_out() -> None:
    clock = MockClock()

    async def main() -> None:
        other = tcp_transport(2)
        async with serving(other) as (address, accepted, _):
            port = int(address.rpartition(":")[2])
            silent = [
                await trio.open_tcp_stream("127.0.0.1", port)
                for _ in range(HANDSHAKES_PER_HOST_MAX + 5)
            ]
            await refused_by(other, 5)
            await wait_all_tasks_blocked(IDLE_SECONDS)
            assert other.refused == 5
            elsewhere = tcp_transport(3)
            async with serving(elsewhere):
                with pytest.raises(TransportError):  # the same host: full for now
                    await elsewhere.dial(address)
            clock.jump(11)
            await refused_by(other, 6 + HANDSHAKES_PER_HOST_MAX)
            await assert_still_serves("tcp", address, accepted)
            for tcp in silent:
                await tcp.aclose()

    run(main, clock)


def test_a_full_host_leaves_room_for_the_others() -> None:
    async def main() -> None:
        other = tcp_transport(2)
        async with serving(other) as (address, accepted, _):
            port = int(address.rpartition(":")[2])
            crowd = []
            for _ in range(HANDSHAKES_PER_HOST_MAX + 1):
                sock = trio.socket.socket()
                await sock.bind(("127.0.0.2", 0))
                await sock.connect(("127.0.0.1", port))
                crowd.append(sock)
            await refused_by(other, 1)
            await assert_still_serves("tcp", address, accepted)
            for sock in crowd:
                sock.close()

    if os.uname().sysname != "Linux":
        pytest.skip("only Linux has all of 127.0.0.0/8 on loopback")
    run(main)


def test_a_host_that_comes_back_and_back_waits_for_its_turn_and_no_other_does() -> None:
    clock = MockClock()

    async def main() -> None:
        one, other = tcp_transport(1), tcp_transport(2)
        addresses: list[str] = []

        async def until_closed(link: Link) -> None:
            await link.recv()

        async def come_and_go() -> None:
            await (await one.dial(addresses[0])).close()

        async with serving(one), trio.open_nursery() as nursery:
            nursery.start_soon(other.serve, until_closed, addresses.extend)
            while not addresses:
                await wait_all_tasks_blocked()
            for _ in range(HANDSHAKES_PER_HOST_BURST):
                await come_and_go()
            await wait_all_tasks_blocked(IDLE_SECONDS)

            nursery.start_soon(come_and_go)
            await wait_all_tasks_blocked(IDLE_SECONDS)
            assert other._door.handshakes == 1, "it waits"
            async with stranger(addresses[0], "127.0.0.2") as tcp:
                await trio.SSLStream(tcp, stranger_context()).do_handshake()
            clock.jump(1 / HANDSHAKES_PER_HOST_PER_SECOND)
            while other._door.handshakes:
                await wait_all_tasks_blocked()
            assert other.refused == 0
            nursery.cancel_scope.cancel()

    if os.uname().sysname != "Linux":
        pytest.skip("only Linux has all of 127.0.0.0/8 on loopback")
    run(main, clock)
