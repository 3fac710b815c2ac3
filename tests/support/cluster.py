"""Some nodes on a `MemoryNetwork` in virtual time: real runners, replicas in dicts, no threads."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock

from dinemic.testing.network import MemoryNetwork
from dinemic_transport.link import Discovery, Link
from dinemic_transport.messages import Hello, cluster_hash
from dinemic_transport.runner import Runner
from dinemic_transport.turns import Offload
from dinemic_transport.wire import decode_untrusted, encode
from support.dict_replica import DictReplica, identify

CLUSTER = "tests"
STRANGER = b"\x63" * 32


async def inline(call: Callable[..., Any], *args: Any) -> Any:
    """An `Offload` that calls here: threads and a mock clock do not go together."""
    await trio.lowlevel.checkpoint()
    return call(*args)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` in virtual time: waiting costs nothing, and every wait has an end."""

    async def bounded() -> None:
        with trio.fail_after(7 * 24 * 3600):
            await main()

    trio.run(bounded, clock=MockClock(autojump_threshold=0))


async def until(holds: Callable[[], bool], seconds: float = 60.0, *, every: float = 0.05) -> None:
    """Wait in virtual time until something holds that no event announces."""
    with trio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(every)


class Host:
    """One node that can be started, stopped and started again with what it has."""

    def __init__(
        self, network: MemoryNetwork, number: int, replica: DictReplica, peers: Sequence[str]
    ) -> None:
        self.node_id = bytes([number]) * 32
        self.address = f"host-{number}:1"
        self.replica = replica
        self.cluster = CLUSTER
        self.peers = tuple(peers)
        self.discoveries: list[Discovery] = []
        self.exchange = True
        self.offload: Offload = inline
        self.now_us: Callable[[], int] = lambda: 0  # it does not say
        self.runner: Runner
        self._network = network
        self._number = number
        self._scope: trio.CancelScope | None = None

    async def start(self, nursery: trio.Nursery) -> None:
        self.runner = Runner(
            self.replica,
            self._network.transport(self.node_id, self.address),
            node_id=self.node_id,
            cluster=self.cluster,
            rand=random.Random(self._number).random,
            peers=self.peers,
            discover=lambda addresses: self.discoveries,
            exchange=self.exchange,
            offload=self.offload,
            identify=identify,
            now_us=self.now_us,
        )
        self.replica.announce = self.runner.announce
        await nursery.start(self._run)

    async def _run(self, task_status: trio.TaskStatus[object]) -> None:
        with trio.CancelScope() as self._scope:
            await self.runner.run(task_status=task_status)

    def stop(self) -> None:
        assert self._scope is not None
        self._scope.cancel()

    async def synced(self, seconds: float = 60.0) -> None:
        with trio.fail_after(seconds):
            await self.runner.wait_synced()


@asynccontextmanager
async def cluster(
    *sets: Sequence[bytes],
    delay: float = 0.001,
    queue_bytes_max: int = 4 << 20,
    links: Callable[[int, int], bool] = lambda one, other: other < one,
) -> AsyncIterator[tuple[MemoryNetwork, list[Host]]]:
    """Hosts 1, 2, ... with these events; host `one` has `other` as a peer if `links` says so."""
    network = MemoryNetwork(delay=delay, queue_bytes_max=queue_bytes_max)
    count = len(sets)
    hosts = [
        Host(
            network,
            one,
            DictReplica(events),
            [f"host-{other}:1" for other in range(1, count + 1) if links(one, other)],
        )
        for one, events in enumerate(sets, 1)
    ]
    async with trio.open_nursery() as nursery:
        for host in hosts:
            await host.start(nursery)
        yield network, hosts
        nursery.cancel_scope.cancel()


async def stranger(
    network: MemoryNetwork, to: Host, address: str = "stranger:1", *, greets: bool = True
) -> Link:
    """A link to `to` by a node `STRANGER`, which says what the test says, after a greeting."""
    transport = network.transport(STRANGER, address)

    async def keep(link: Link) -> None:
        await trio.sleep_forever()

    async def serve() -> None:
        await transport.serve(keep, lambda addresses: None)

    trio.lowlevel.spawn_system_task(serve)
    link = await transport.dial(to.address)
    if greets:
        await link.send(encode(Hello(cluster_hash(CLUSTER), ("*",), ())))
    assert isinstance(decode_untrusted(await link.recv() or b""), Hello)
    return link


async def all_synced(hosts: list[Host], events: int, seconds: float = 60.0) -> None:
    """Wait until every host has so many events and knows it is in sync; they then are equal."""
    with trio.fail_after(seconds):
        await until(lambda: all(len(host.replica.ids) == events for host in hosts), seconds)
        for host in hosts:
            await host.runner.wait_synced()
    assert len({host.replica.ids for host in hosts}) == 1
