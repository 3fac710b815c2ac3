"""Pairs of connected links of every kind, for tests that hold them all to one contract."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import trio

from dinemic_transport.channel import TcpTransport
from dinemic_transport.link import Link, Transport
from dinemic_transport.tls_link import TcpLink
from support.memory_link import MemoryLink, MemoryNetwork

Kind = Literal["memory", "tcp"]


@dataclass
class Pair:
    """The two ends of one link and what it hangs on."""

    ours: Link
    theirs: Link
    our_id: bytes
    their_id: bytes
    our_transport: Transport
    their_transport: Transport
    their_address: str


def tcp_transport(number: int, **options: object) -> TcpTransport:
    """A node on loopback whose key follows from a number."""
    return TcpTransport(number.to_bytes(32, "big"), listen="127.0.0.1:0", **options)  # type: ignore[arg-type]


def two_transports(kind: Kind) -> tuple[Transport, bytes, Transport, bytes]:
    """Two transports of one kind that can reach each other, each with its node id."""
    if kind == "tcp":
        one, other = tcp_transport(1), tcp_transport(2)
        return one, one.node_id, other, other.node_id
    network = MemoryNetwork()
    first, second = network.transport(b"\1" * 32), network.transport(b"\2" * 32)
    return first, first.node_id, second, second.node_id


@contextlib.asynccontextmanager
async def serving(
    transport: Transport,
) -> AsyncIterator[tuple[str, trio.MemoryReceiveChannel[Link], trio.CancelScope]]:
    """A transport that serves: its address, the links it accepts, and the scope that ends it.

    An accepted link stays open until `serve` ends.
    """
    accepted_in, accepted_out = trio.open_memory_channel[Link](100)
    addresses: list[str] = []
    listening = trio.Event()

    def started(found: list[str]) -> None:
        addresses.extend(found)
        listening.set()

    async def handler(link: Link) -> None:
        accepted_in.send_nowait(link)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def serve() -> None:
            with scope:
                await transport.serve(handler, started)

        nursery.start_soon(serve)
        await listening.wait()
        yield addresses[0], accepted_out, scope
        scope.cancel()


@contextlib.asynccontextmanager
async def connected(kind: Kind) -> AsyncIterator[Pair]:
    """Two serving transports and one link between them."""
    one, one_id, other, other_id = two_transports(kind)
    async with serving(one), serving(other) as (address, accepted, _):
        ours = await one.dial(address)
        theirs = await accepted.receive()
        yield Pair(ours, theirs, one_id, other_id, one, other, address)


def break_link(link: Link) -> None:
    """End a link as a pulled cable or a killed process would."""
    if isinstance(link, TcpLink):
        link.abort("cut by the test")
    else:
        assert isinstance(link, MemoryLink)
        link.break_("cut by the test")
