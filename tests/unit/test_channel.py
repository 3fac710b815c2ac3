"""TCP and TLS between nodes: who gets in, what is dialled, and what serving means (CHAN-1..4)."""

from __future__ import annotations

import errno
import logging
import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dinemic_engine import ids
from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport.channel import TcpTransport
from dinemic_transport.link import Link
from dinemic_transport.stream_link import StreamLink
from dinemic_transport.tls_stream import TlsStream
from support.link_pairs import (
    IDLE_SECONDS,
    assert_still_serves,
    keep,
    refused_by,
    run,
    serving,
    tcp_transport,
)

# -- who gets in --------------------------------------------------------------------------------


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
            await assert_still_serves("tcp", address, accepted)

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
        before = len(os.listdir("/proc/self/fd"))
        one, other = tcp_transport(1), tcp_transport(2)
        async with serving(one), serving(other) as (address, _, _):
            for _ in range(5):
                await one.dial(address)
            tcp = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
        await tcp.aclose()
        assert len(os.listdir("/proc/self/fd")) == before

    if not Path("/proc/self/fd").exists():
        pytest.skip("counts file descriptors in /proc")
    run(main)
