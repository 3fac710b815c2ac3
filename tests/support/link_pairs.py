"""Transports and pairs of connected links of every kind, and what their tests do to them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dinemic.testing.network import MemoryLink, MemoryNetwork, MemoryTransport
from dinemic_engine import ids
from dinemic_transport.channel import TcpTransport
from dinemic_transport.link import Link, Transport
from dinemic_transport.stream_link import StreamLink

if TYPE_CHECKING:
    from dinemic_transport.iroh_transport import IrohTransport

Kind = Literal["memory", "tcp", "iroh"]
KINDS: tuple[Kind, ...] = get_args(Kind)

CLUSTER_KEY = b"a cluster key"
IDLE_SECONDS = 0.05
"""How long nothing happens before a test takes it that nothing will: sockets need a moment."""


def run(main: Callable[[], Awaitable[None]], clock: MockClock | None = None) -> None:
    """Run `main` on a clock that stands still unless moved."""
    trio.run(main, clock=clock or MockClock())


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


def iroh_transport(number: int, **options: object) -> IrohTransport:
    """As `tcp_transport`, over iroh; the test is skipped where that is not installed."""
    pytest.importorskip("iroh", reason="the extra 'iroh' is not installed")
    from dinemic_transport.iroh_transport import IrohTransport

    return IrohTransport(number.to_bytes(32, "big"), listen="127.0.0.1:0", **options)  # type: ignore[arg-type]


def real_transport(kind: Kind, number: int, **options: object) -> TcpTransport | IrohTransport:
    """A node on sockets."""
    make = iroh_transport if kind == "iroh" else tcp_transport
    return make(number, **options)


async def keep(link: Link) -> None:
    """A handler that keeps its link open."""
    await trio.sleep_forever()


async def refused_by(transport: TcpTransport | IrohTransport, count: int) -> None:
    """Wait until it has refused so many connections."""
    while transport.refused < count:
        await wait_all_tasks_blocked()


async def assert_still_serves(
    kind: Kind, address: str, accepted: trio.MemoryReceiveChannel[Link]
) -> None:
    """An honest node of the open cluster gets in and through."""
    honest = real_transport(kind, 77)
    async with serving(honest):
        link = await honest.dial(address)
        await link.send(b"hello")
        assert await (await accepted.receive()).recv() == b"hello"


def two_transports(kind: Kind) -> tuple[Transport, bytes, Transport, bytes]:
    """Two transports of one kind that can reach each other, each with its node id."""
    if kind == "tcp":
        one, other = tcp_transport(1), tcp_transport(2)
        return one, one.node_id, other, other.node_id
    if kind == "iroh":
        left, right = iroh_transport(1), iroh_transport(2)
        return left, left.node_id, right, right.node_id
    network = MemoryNetwork()
    first, second = network.transport(b"\1" * 32), network.transport(b"\2" * 32)
    return first, first.node_id, second, second.node_id


@contextlib.asynccontextmanager
async def serving(
    transport: Transport,
) -> AsyncIterator[tuple[str, trio.MemoryReceiveChannel[Link], trio.CancelScope]]:
    """A transport that serves: where to dial it, the links it accepts, and the scope that ends it.

    Nodes are dialled over iroh by id and place, over the others by place. An accepted link stays
    open until `serve` ends.
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
        yield to_dial(transport, addresses[0]), accepted_out, scope
        scope.cancel()


def to_dial(transport: Transport, place: str) -> str:
    """The address others dial to reach `transport` where it listens."""
    if isinstance(transport, TcpTransport | MemoryTransport):
        return place
    return f"{ids.to_text(transport.node_id)}@{place}"  # type: ignore[attr-defined]


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
    if isinstance(link, StreamLink):
        link.abort("cut by the test")
    else:
        assert isinstance(link, MemoryLink)
        link.break_("cut by the test")
