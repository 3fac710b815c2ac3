"""TCP and TLS between nodes: who gets in, and what strangers can do to the port (CHAN-1..4)."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.testing import MockClock, wait_all_tasks_blocked

from dinemic_engine import ids
from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport import certificates
from dinemic_transport.channel import TcpTransport
from dinemic_transport.door import HANDSHAKES_PER_HOST_MAX
from dinemic_transport.link import Link
from dinemic_transport.stream_link import StreamLink
from dinemic_transport.tls_stream import TlsStream
from support.link_pairs import serving, tcp_transport

KEY = b"a cluster key"
IDLE_SECONDS = 0.02


def run(main: Callable[[], Awaitable[None]], clock: MockClock | None = None) -> None:
    trio.run(main, clock=clock or MockClock())


async def keep(link: Link) -> None:
    """A handler that keeps its link open."""
    await trio.sleep_forever()


async def refused_by(transport: TcpTransport, count: int) -> None:
    """Wait until it has refused so many connections."""
    while transport.refused < count:
        await wait_all_tasks_blocked()


@contextlib.asynccontextmanager
async def stranger(address: str) -> AsyncIterator[trio.SocketStream]:
    """A bare TCP connection to a node."""
    tcp = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
    try:
        yield tcp
    finally:
        await tcp.aclose()


async def assert_still_serves(address: str, accepted: trio.MemoryReceiveChannel[Link]) -> None:
    """An honest node of the open cluster gets in and through."""
    honest = tcp_transport(77)
    async with serving(honest):
        link = await honest.dial(address)
        await link.send(b"hello")
        assert await (await accepted.receive()).recv() == b"hello"


# -- who gets in --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"cluster_key": KEY}, {"cluster_key": KEY + b"!"}),
        ({"cluster_key": KEY}, {}),
        ({}, {"cluster_key": KEY}),
        ({"cluster": "one"}, {"cluster": "other"}),
        ({"cluster": "one", "cluster_key": KEY}, {"cluster": "other", "cluster_key": KEY}),
    ],
)
def test_another_cluster_or_cluster_key_gets_nowhere(
    ours: dict[str, object], theirs: dict[str, object]
) -> None:
    async def main() -> None:
        one, other = tcp_transport(1, **ours), tcp_transport(2, **theirs)
        async with serving(one), serving(other) as (address, accepted, _):
            with pytest.raises(TransportError, match=rf"{address}: not a node of this cluster"):
                await one.dial(address)
            await refused_by(other, 1)
            with pytest.raises(trio.WouldBlock):
                accepted.receive_nowait()

    run(main)


def test_holders_of_one_cluster_key_meet() -> None:
    async def main() -> None:
        one, other = (tcp_transport(n, cluster="c", cluster_key=KEY) for n in (1, 2))
        async with serving(one), serving(other) as (address, _, _):
            assert (await one.dial(address)).peer == other.node_id

    run(main)


def test_a_node_that_is_not_on_the_allow_list_learns_it_from_its_first_recv() -> None:
    async def main() -> None:
        one, friend = tcp_transport(1), tcp_transport(3)
        other = tcp_transport(2, allow=frozenset([friend.node_id]))
        async with (
            serving(one),
            serving(friend) as (friends_address, _, _),
            serving(other) as (address, accepted, _),
        ):
            link = await one.dial(address)
            with pytest.raises(TransportError, match="may have refused us"):
                await link.recv()
            assert (await friend.dial(address)).peer == other.node_id
            assert (await accepted.receive()).peer == friend.node_id
            assert (await other.dial(friends_address)).peer == friend.node_id

    run(main)


def test_a_denied_node_gets_no_link_whoever_dials_and_though_it_is_allowed() -> None:
    async def main() -> None:
        one, friend = tcp_transport(1), tcp_transport(3)
        both = frozenset([one.node_id, friend.node_id])
        other = tcp_transport(2, allow=both, deny=frozenset([one.node_id]))
        async with (
            serving(one) as (denied_address, _, _),
            serving(friend),
            serving(other) as (address, accepted, _),
        ):
            link = await one.dial(address)
            with pytest.raises(TransportError, match="may have refused us"):
                await link.recv()
            with pytest.raises(TransportError, match="on the deny list"):
                await other.dial(denied_address)
            with pytest.raises(TransportError, match="on the deny list"):
                await other.dial("127.0.0.1:1", one.node_id)  # not even to find nobody there
            assert (await friend.dial(address)).peer == other.node_id
            assert (await accepted.receive()).peer == friend.node_id
            await refused_by(other, 1)

    run(main)


def test_a_node_does_not_dial_one_that_is_not_on_its_own_allow_list() -> None:
    async def main() -> None:
        one, other = tcp_transport(1, allow=frozenset([b"\1" * 32])), tcp_transport(2)
        async with serving(one), serving(other) as (address, _, _):
            with pytest.raises(TransportError, match="not on the allow list"):
                await one.dial(address)
            with pytest.raises(TransportError, match="not on the allow list"):
                await one.dial("127.0.0.1:1", other.node_id)  # not even to find nobody there

    run(main)


def test_an_address_may_name_the_node_that_is_to_answer() -> None:
    async def main() -> None:
        one, other = tcp_transport(1), tcp_transport(2)
        async with serving(one), serving(other) as (address, accepted, _):
            named = f"{ids.to_text(other.node_id)}@{address}"
            link = await one.dial(named)
            assert (link.peer, link.address, link.remote) == (other.node_id, named, address)
            await accepted.receive()
            somebody = ids.to_text(b"\7" * 32)
            with pytest.raises(TransportError, match=f"{somebody}@{address}: expected node"):
                await one.dial(f"{somebody}@{address}")
            for impossible in (one.node_id, other.node_id):
                with pytest.raises(TransportError):  # ourselves, or two names for one
                    await one.dial(f"{ids.to_text(impossible)}@{address}", b"\7" * 32)
            with pytest.raises(UsageError, match="does not say where"):
                await one.dial(somebody)

    run(main)


def test_a_link_that_was_dialled_by_name_knows_the_address_behind_it() -> None:
    async def main() -> None:
        one, other = tcp_transport(1), tcp_transport(2)
        async with serving(one), serving(other) as (address, _, _):
            name = address.replace("127.0.0.1", "localhost")
            link = await one.dial(name)
            assert (link.address, link.remote) == (name, address)

    run(main)


def test_an_empty_cluster_key_a_short_seed_and_a_bad_address_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="cluster key"):
        tcp_transport(1, cluster_key=b"")
    with pytest.raises(UsageError, match="32 bytes, not 5"):
        TcpTransport(b"short")
    with pytest.raises(UsageError, match="'nowhere'"):
        TcpTransport(bytes(32), listen="nowhere")


# -- strangers on the port: a TLS peer of every wrong kind --------------------------------------


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
            await assert_still_serves(address, accepted)

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
            await assert_still_serves(address, accepted)

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
            await assert_still_serves(address, accepted)
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
            await assert_still_serves(address, accepted)
            for sock in crowd:
                sock.close()

    if os.uname().sysname != "Linux":
        pytest.skip("only Linux has all of 127.0.0.0/8 on loopback")
    run(main)


def test_a_dial_to_a_port_that_never_answers_times_out() -> None:
    clock = MockClock()

    async def main() -> None:
        one = tcp_transport(1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            async with serving(one), trio.open_nursery() as nursery:

                async def must_fail() -> None:
                    with pytest.raises(TransportError, match=f"{address}: no handshake in 10 s"):
                        await one.dial(address)

                nursery.start_soon(must_fail)
                await wait_all_tasks_blocked(IDLE_SECONDS)
                clock.jump(11)

    run(main, clock)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "host.invalid:7", "x.." + "y" * 80 + ":7"])
def test_a_dial_that_cannot_connect_says_why_with_the_address(address: str) -> None:
    async def main() -> None:
        one = tcp_transport(1)
        async with serving(one):
            with pytest.raises(TransportError, match=rf"^{address}: .*\w"):
                await one.dial(address)

    run(main)


# -- a member that misbehaves on the stream -----------------------------------------------------


def test_what_is_no_frame_ends_the_link() -> None:
    async def main() -> None:
        one, other = tcp_transport(1), tcp_transport(2)
        async with serving(one), serving(other) as (address, accepted, _):
            link = await one.dial(address)
            assert isinstance(link, StreamLink)
            theirs = await accepted.receive()
            await link._stream.write(b"\0\0\0\1a" + b"\xff\xff\xff\xff" + b"x" * 1000)
            assert await theirs.recv() == b"a"
            with pytest.raises(TransportError, match="a frame of 4294967295 bytes"):
                await theirs.recv()
            assert theirs.offer(b"x") is False
            with pytest.raises(TransportError):
                await link.recv()

    run(main)


def test_an_orderly_close_inside_a_frame_is_a_break() -> None:
    async def main() -> None:
        one, other = tcp_transport(1), tcp_transport(2)
        async with serving(one), serving(other) as (address, accepted, _):
            link = await one.dial(address)
            assert isinstance(link, StreamLink)
            theirs = await accepted.receive()
            await link._stream.write(b"\0\0\0\5abc")
            await link.close()
            with pytest.raises(TransportError, match="middle of a frame"):
                await theirs.recv()

    run(main)


def test_a_stream_cut_without_tls_goodbye_is_a_break() -> None:
    async def main() -> None:
        one, other = tcp_transport(1), tcp_transport(2)
        async with serving(one), serving(other) as (address, accepted, _):
            link = await one.dial(address)
            assert isinstance(link, StreamLink)
            assert isinstance(link._stream, TlsStream)
            theirs = await accepted.receive()
            await link.send(b"whole")
            assert await theirs.recv() == b"whole"
            link._stream._wire._tcp.socket.shutdown(socket.SHUT_WR)
            with pytest.raises(TransportError, match="broke"):
                await theirs.recv()

    run(main)


# -- serving ------------------------------------------------------------------------------------


def test_a_handler_that_fails_is_logged_and_ends_its_own_link_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        one, other = tcp_transport(1), tcp_transport(2)
        addresses: list[str] = []
        first = True

        async def handler(link: Link) -> None:
            nonlocal first
            if first:
                first = False
                raise KeyError("a bug in a handler")
            await link.send(b"fine")

        async with serving(one), trio.open_nursery() as nursery:
            nursery.start_soon(other.serve, handler, addresses.extend)
            while not addresses:
                await wait_all_tasks_blocked()
            assert await (await one.dial(addresses[0])).recv() is None
            assert await (await one.dial(addresses[0])).recv() == b"fine"
            nursery.cancel_scope.cancel()

    run(main)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "a bug in a handler" in str(errors[0].exc_info)


def test_accepting_outlives_running_out_of_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = trio.SocketListener.accept
    recovered = trio.Event()
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))] * 3

    async def accept_when_possible(listener: trio.SocketListener) -> trio.SocketStream:
        if failures:
            raise failures.pop()
        recovered.set()
        return await accept(listener)

    clock = MockClock(rate=1000)

    async def main() -> None:
        async with serving(tcp_transport(2)) as (address, accepted, _):
            await recovered.wait()
            clock.rate = 0  # time has done its part: a handshake takes as long as it takes
            await assert_still_serves(address, accepted)

    monkeypatch.setattr(trio.SocketListener, "accept", accept_when_possible)
    run(main, clock)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1


def test_a_port_in_use_is_an_error_that_names_the_address() -> None:
    async def main() -> None:
        async with serving(tcp_transport(1)) as (address, _, _):
            second = TcpTransport(bytes(32), listen=address)
            with pytest.raises(TransportError, match=f"cannot listen on {address}"):
                await second.serve(keep, lambda _: None)

    run(main)


def test_by_default_a_node_listens_everywhere_on_one_port() -> None:
    async def main() -> None:
        one, other = tcp_transport(1), TcpTransport(b"\2" * 32)
        addresses: list[str] = []
        async with serving(one), trio.open_nursery() as nursery:
            nursery.start_soon(other.serve, keep, addresses.extend)
            while not addresses:
                await wait_all_tasks_blocked()
            port = addresses[0].rpartition(":")[2]
            assert addresses in ([f"0.0.0.0:{port}"], [f"0.0.0.0:{port}", f"[::]:{port}"])
            for host in ["127.0.0.1", "[::1]"][: len(addresses)]:
                assert (await one.dial(f"{host}:{port}")).peer == other.node_id
            nursery.cancel_scope.cancel()

    run(main)


def test_ending_serve_leaves_no_socket_open() -> None:
    async def main() -> None:
        stack = contextlib.AsyncExitStack()
        before = len(os.listdir("/proc/self/fd"))
        one, other = tcp_transport(1), tcp_transport(2)
        async with serving(one), serving(other) as (address, _, _):
            for _ in range(5):
                await one.dial(address)
            await stack.enter_async_context(stranger(address))
        await stack.aclose()
        assert len(os.listdir("/proc/self/fd")) == before

    if not Path("/proc/self/fd").exists():
        pytest.skip("counts file descriptors in /proc")
    run(main)
