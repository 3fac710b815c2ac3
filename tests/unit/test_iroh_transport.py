"""iroh between nodes: who gets in, what strangers can do to the port, what can be dialled."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dinemic_engine import ids
from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport.handshakes import HANDSHAKES_PER_HOST_MAX
from dinemic_transport.membership import PROOF_BYTES, proofs
from dinemic_transport.stream_link import StreamLink
from support.link_pairs import (
    IDLE_SECONDS,
    assert_still_serves,
    iroh_transport,
    keep,
    refused_by,
    run,
    serving,
)

pytest.importorskip("iroh", reason="the extra 'iroh' is not installed")

import iroh

from dinemic_transport import certificates
from dinemic_transport.iroh_calls import finished
from dinemic_transport.iroh_stream import IrohStream
from dinemic_transport.iroh_transport import IrohTransport


@contextlib.asynccontextmanager
async def stranger(seed: bytes = b"s" * 32) -> AsyncIterator[iroh.Endpoint]:
    """An iroh endpoint that speaks our ALPN and is told nothing of clusters."""
    builder = iroh.EndpointBuilder()  # type: ignore[no-untyped-call]
    builder.apply_minimal()
    builder.relay_mode(iroh.RelayMode.disabled())
    builder.secret_key(seed)
    builder.alpns([b"dinemic/1"])
    for loopback in ("127.0.0.1:0", "[::1]:0"):
        builder.bind_addr(loopback)
    endpoint = await finished(builder.bind())
    try:
        yield endpoint
    finally:
        with trio.move_on_after(0.5, shield=True):
            await finished(endpoint.close())


def where(address: str) -> iroh.EndpointAddr:
    """The same for iroh itself."""
    node, _, place = address.partition("@")
    whom = iroh.EndpointId.from_bytes(ids.from_text_untrusted(node))
    return iroh.EndpointAddr(whom, None, [place])


# -- who gets in --------------------------------------------------------------------------------


def test_the_node_key_is_the_endpoint_key() -> None:
    async def main() -> None:
        one = iroh_transport(1)
        async with serving(one), stranger((1).to_bytes(32, "big")) as same:
            assert same.id().to_bytes() == one.node_id

    run(main)


def test_the_lists_keep_nodes_out_that_dial_and_that_are_dialled() -> None:
    async def main() -> None:
        one, friend = iroh_transport(1), iroh_transport(3)
        other = iroh_transport(2, allow=frozenset([friend.node_id]))
        third = iroh_transport(4, deny=frozenset([one.node_id]))
        async with (
            serving(one) as (ones_address, _, _),
            serving(friend),
            serving(other) as (address, accepted, _),
            serving(third) as (thirds_address, _, _),
        ):
            for picky, its_address in ((other, address), (third, thirds_address)):
                with pytest.raises(TransportError, match="refused us"):
                    await one.dial(its_address)
                await refused_by(picky, 1)
                with pytest.raises(TransportError, match="list"):
                    await picky.dial(ones_address)
            assert (await friend.dial(address)).peer == other.node_id
            assert (await accepted.receive()).peer == friend.node_id

    run(main)


def test_a_proof_fits_one_pair_of_nodes_in_their_roles_and_one_cluster() -> None:
    secret, a, b, c = (bytes([n]) * 32 for n in range(4))
    all_of = [
        *proofs(secret, dialler=a, acceptor=b),
        *proofs(secret, dialler=b, acceptor=a),
        *proofs(secret, dialler=a, acceptor=c),
        *proofs(b"x" * 32, dialler=a, acceptor=b),
    ]
    assert len(set(all_of)) == len(all_of)
    assert {len(proof) for proof in all_of} == {PROOF_BYTES}


def test_the_proofs_of_a_cluster_are_what_they_always_were() -> None:
    secret = certificates.cluster_secret("dinemic", None)
    dialler, acceptor = proofs(secret, dialler=b"\1" * 32, acceptor=b"\2" * 32)
    assert dialler.hex() == "957ff9e5c50e6c5dc378c80cb415ce7d56f44f30ab6c5abb0ca8ad46b5824eb6"
    assert acceptor.hex() == "b033ad727e4bee08732a31b4aff722e9a137566b184e0ef4665e13b583ebdf7b"


# -- strangers on the port ----------------------------------------------------------------------


def test_a_stranger_that_shows_no_proof_is_cut_after_10_seconds() -> None:
    clock = MockClock()

    async def main() -> None:
        other = iroh_transport(2)
        async with serving(other) as (address, accepted, _), stranger() as endpoint:
            silent = await finished(endpoint.connect(where(address), b"dinemic/1"))
            await wait_all_tasks_blocked(IDLE_SECONDS)
            assert other.refused == 0
            clock.jump(11)
            await refused_by(other, 1)
            await finished(silent.closed())
            await assert_still_serves("iroh", address, accepted)

    run(main, clock)


@pytest.mark.parametrize("said", [b"\0" * 32, b"x" * 70_000, b"short"])
def test_a_stranger_with_a_wrong_proof_is_cut_at_once_and_shown_nothing(said: bytes) -> None:
    async def main() -> None:
        other = iroh_transport(2)
        async with serving(other) as (address, accepted, _), stranger() as endpoint:
            connection = await finished(endpoint.connect(where(address), b"dinemic/1"))
            stream = await finished(connection.open_bi())
            with contextlib.suppress(iroh.IrohError):  # cut before all of it was sent
                await finished(stream.send().write_all(said))
                await finished(stream.send().finish())
            await refused_by(other, 1)
            with pytest.raises(iroh.IrohError):
                await finished(stream.recv().read(100))
            await assert_still_serves("iroh", address, accepted)

    run(main)


def test_a_dialler_believes_nobody_without_the_right_proof() -> None:
    async def main() -> None:
        one = iroh_transport(1)
        async with serving(one), stranger() as endpoint, trio.open_nursery() as nursery:

            async def pretend() -> None:
                incoming = await finished(endpoint.accept_next())
                assert incoming is not None
                connection = await finished((await finished(incoming.accept())).connect())
                stream = await finished(connection.accept_bi())
                shown = await finished(stream.recv().read_exact(PROOF_BYTES))
                await finished(stream.send().write_all(shown))
                await finished(connection.closed())

            nursery.start_soon(pretend)
            node = ids.to_text(endpoint.id().to_bytes())
            with pytest.raises(TransportError, match="not a node of this cluster"):
                await one.dial(f"{node}@{endpoint.bound_sockets()[0]}")

    run(main)


def test_only_the_first_stream_of_a_member_is_read() -> None:
    async def main() -> None:
        other = iroh_transport(2)
        async with serving(other) as (address, accepted, _), stranger() as endpoint:
            connection = await finished(endpoint.connect(where(address), b"dinemic/1"))
            secret = certificates.cluster_secret("dinemic", None)
            proof = proofs(secret, dialler=endpoint.id().to_bytes(), acceptor=other.node_id)
            stream = await finished(connection.open_bi())
            await finished(stream.send().write_all(proof.dialler + b"\0\0\0\1a"))
            for _ in range(2):
                other_stream = await finished(connection.open_bi())
                await finished(other_stream.send().write_all(b"\0\0\0\5wrong"))
            assert await finished(stream.recv().read_exact(PROOF_BYTES)) == proof.acceptor
            theirs = await accepted.receive()
            assert await theirs.recv() == b"a"
            await finished(stream.send().write_all(b"\0\0\0\1b"))
            assert await theirs.recv() == b"b"

    run(main)


def test_handshakes_under_way_are_few_per_host() -> None:
    """This machine is two hosts: once iroh knows both ways to a node it takes either."""
    clock = MockClock()
    taken_max = 2 * HANDSHAKES_PER_HOST_MAX
    knocks = taken_max + 3

    async def main() -> None:
        other = iroh_transport(2)
        async with (
            serving(other) as (address, accepted, _),
            stranger() as endpoint,
            trio.open_nursery() as nursery,
        ):

            async def knock() -> None:
                with contextlib.suppress(iroh.IrohError):
                    connection = await finished(endpoint.connect(where(address), b"dinemic/1"))
                    await finished(connection.closed())

            for _ in range(knocks):
                nursery.start_soon(knock)
            await refused_by(other, knocks - taken_max)
            while other._door.handshakes + other.refused < knocks:
                await wait_all_tasks_blocked()
            assert HANDSHAKES_PER_HOST_MAX <= other._door.handshakes <= taken_max
            clock.jump(11)
            await refused_by(other, knocks)
            await assert_still_serves("iroh", address, accepted)
            nursery.cancel_scope.cancel()

    run(main, clock)


def udp_socket(host: str) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host, 0))
    return udp


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="needs all of 127.0.0.0/8 on loopback")
def test_packets_with_any_address_on_them_take_few_places() -> None:
    """Who does not answer from where he says he is gets nothing but a retry, past the first few."""

    async def main() -> None:
        other = iroh_transport(2)
        async with (
            serving(other) as (address, _, _),
            stranger() as endpoint,
            trio.open_nursery() as nursery,
        ):
            with udp_socket("127.0.0.1") as sink:
                sink.setblocking(False)
                packets = trio.socket.from_stdlib_socket(sink)
                node, _, place = address.partition("@")
                there = f"{node}@127.0.0.1:{sink.getsockname()[1]}"
                for number in range(HANDSHAKES_PER_HOST_MAX // 2 + 2):
                    nursery.start_soon(finished, endpoint.connect(where(there), b"dinemic/1"))
                    packet = await packets.recv(2000)
                    with udp_socket(f"127.0.0.{10 + number}") as liar:
                        liar.sendto(packet, ("127.0.0.1", int(place.rpartition(":")[2])))
                    await wait_all_tasks_blocked(IDLE_SECONDS)
                nursery.cancel_scope.cancel()
            assert other._door.handshakes == HANDSHAKES_PER_HOST_MAX // 2
            assert other.refused == 0

    trio.run(main)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1200, b"\xff" * 1200, b""])
def test_garbage_on_the_port_changes_nothing(garbage: bytes) -> None:
    async def main() -> None:
        other = iroh_transport(2)
        async with serving(other) as (address, accepted, _):
            host, port = address.partition("@")[2].split(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                for _ in range(20):
                    udp.sendto(garbage, (host, int(port)))
            await assert_still_serves("iroh", address, accepted)

    run(main)


# -- a member that misbehaves on the stream -----------------------------------------------------


@pytest.mark.parametrize(
    ("said", "frames", "reason"),
    [
        (b"\0\0\0\1a\xff\xff\xff\xff", [b"a"], "a frame of 4294967295 bytes"),
        (b"\0\0\0\5abc", [], "middle of a frame"),
    ],
)
def test_what_is_no_frame_ends_the_link(said: bytes, frames: list[bytes], reason: str) -> None:
    async def main() -> None:
        one, other = iroh_transport(1), iroh_transport(2)
        async with serving(one), serving(other) as (address, accepted, _):
            link = await one.dial(address)
            assert isinstance(link, StreamLink)
            assert isinstance(link._stream, IrohStream)
            theirs = await accepted.receive()
            await link._stream.write(said)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.close)
                for frame in frames:
                    assert await theirs.recv() == frame
                with pytest.raises(TransportError, match=reason):
                    await theirs.recv()

    run(main)


# -- where and whom -----------------------------------------------------------------------------


def test_a_node_that_listens_on_loopback_listens_nowhere_else() -> None:
    async def main() -> None:
        one = iroh_transport(1)
        async with serving(one) as (address, _, _):
            assert one._endpoint is not None
            bound = one._endpoint.bound_sockets()
            assert address.partition("@")[2] in bound
            assert {socket.rpartition(":")[0] for socket in bound} <= {"127.0.0.1", "[::1]"}

    run(main)


def test_a_place_without_a_node_id_is_dialled_only_where_the_node_is_known() -> None:
    async def main() -> None:
        one, other = iroh_transport(1), iroh_transport(2)
        async with serving(one), serving(other) as (address, _, _):
            place = address.partition("@")[2]
            link = await one.dial(place, other.node_id)
            assert (link.peer, link.address, link.remote) == (other.node_id, place, place)
            with pytest.raises(UsageError, match="node@host:port"):
                await one.dial(place)
            with pytest.raises(TransportError, match="expected node"):
                await one.dial(address, b"\7" * 32)

    run(main)


def test_a_host_may_be_a_name() -> None:
    async def main() -> None:
        one, other = iroh_transport(1), iroh_transport(2)
        async with serving(one), serving(other) as (address, _, _):
            link = await one.dial(address.replace("127.0.0.1", "localhost"))
            assert link.peer == other.node_id
            with pytest.raises(TransportError, match=r"host\.invalid:7: .*\w"):
                await one.dial(f"{ids.to_text(other.node_id)}@host.invalid:7")

    run(main)


def test_a_node_id_alone_needs_a_relay() -> None:
    node = ids.to_text(b"\2" * 32)
    with pytest.raises(UsageError, match="iroh_relay"):
        iroh_transport(1).check_address_untrusted(node)
    iroh_transport(1, relay="n0").check_address_untrusted(node)


def test_impossible_options_are_usage_errors() -> None:
    for options in (
        {"node_seed": b"short"},
        {"node_seed": bytes(32), "cluster_key": b""},
        {"node_seed": bytes(32), "listen": "nowhere"},
        {"node_seed": bytes(32), "listen": "localhost:0"},
        {"node_seed": bytes(32), "relay": "no url"},
    ):
        with pytest.raises(UsageError):
            IrohTransport(**options)


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            taken = f"127.0.0.1:{udp.getsockname()[1]}"
            transport = IrohTransport(bytes(32), listen=taken)
            with pytest.raises(TransportError, match=f"cannot listen on {taken}"):
                await transport.serve(keep, lambda addresses: None)

    run(main)


def test_a_relay_that_is_named_is_connected_to() -> None:
    """That is as far as it can be tried without one."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(server))
            async with serving(iroh_transport(2, relay=url)):
                knock = await listener.accept()
                assert (await knock.receive_some(1000)).startswith(b"GET /")
                await knock.aclose()

    trio.run(main)


def test_without_a_relay_none_is_known() -> None:
    assert iroh_transport(1)._listening.relay_mode.relay_map().is_empty()
