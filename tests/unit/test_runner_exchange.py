"""Runners that were told of one node find the others through it; virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from dinemic.testing.network import MemoryNetwork, MemoryTransport
from dinemic_engine.ids import from_text_untrusted
from dinemic_transport.exchange import HINTS_MAX
from dinemic_transport.messages import Neighbour, Peers
from dinemic_transport.peers import CLAIM_FAILURES_MAX, CLAIMS_PER_PEER_MAX
from dinemic_transport.wire import decode_untrusted, encode
from support.cluster import STRANGER, Host, run, stranger, until
from support.dict_replica import DictReplica, made_event


def host(network: MemoryNetwork, number: int, *peers: int) -> Host:
    """A node at 10.0.0.`number`, which was told of some others."""
    made = Host(network, number, DictReplica(), [f"10.0.0.{peer}:1" for peer in peers])
    made.address = f"10.0.0.{number}:1"
    return made


@asynccontextmanager
async def running(hosts: Sequence[Host]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for one in hosts:
            await one.start(nursery)
        yield
        nursery.cancel_scope.cancel()


def links(one: Host) -> set[bytes]:
    """Whom a node has open links to."""
    return {
        from_text_untrusted(peer.node_id)
        for peer in one.runner.status().peers
        if peer.state == "open"
    }


def is_full_mesh(hosts: Sequence[Host]) -> bool:
    everybody = {one.node_id for one in hosts}
    return all(links(one) - {STRANGER} == everybody - {one.node_id} for one in hosts)


def test_two_nodes_that_know_a_third_find_each_other_and_stay_together_without_it() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.01)
        hosts = [host(network, 1, 2), host(network, 2), host(network, 3, 2)]
        async with running(hosts):
            await until(lambda: is_full_mesh(hosts), seconds=2)
            await trio.sleep(60)
            assert is_full_mesh(hosts)
            assert len(network.links) == 3  # the smaller id dialled, the larger did not need to
            hosts[1].stop()
            hosts[0].replica.author([made_event(1)])
            await until(lambda: len(hosts[2].replica.ids) == 1, seconds=1)

    run(main)


def test_a_link_that_came_of_a_hint_is_made_again_when_nobody_can_tell_of_it() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.01)
        hosts = [host(network, 1, 2), host(network, 2), host(network, 3, 2)]
        async with running(hosts):
            await until(lambda: is_full_mesh(hosts), seconds=2)
            await trio.sleep(60)
            hosts[1].stop()
            one, three = hosts[0].node_id, hosts[2].node_id
            network.cut(one, three)
            await trio.sleep(1800)
            network.heal(one, three)
            await until(lambda: links(hosts[0]) == {three}, seconds=200)

    run(main)


def test_a_star_becomes_a_full_mesh_also_when_nodes_come_late() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.01)
        hosts = [host(network, 1), *(host(network, number, 1) for number in range(2, 6))]
        late = [host(network, number, 5) for number in (30, 31)]
        async with running(hosts):
            await until(lambda: is_full_mesh(hosts), seconds=10)
            async with running(late):
                await until(lambda: is_full_mesh([*hosts, *late]), seconds=10)

    run(main)


def test_a_chain_of_nodes_becomes_a_full_mesh() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.01)
        hosts = [host(network, 1), *(host(network, number, number - 1) for number in range(2, 8))]
        async with running(hosts):
            await until(lambda: is_full_mesh(hosts), seconds=10)

    run(main)


def test_a_node_that_does_not_exchange_keeps_to_the_links_it_was_given() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.01)
        hosts = [host(network, number, *peers) for number, *peers in ([1, 2], [2], [3, 2], [4, 2])]
        hosts[2].exchange = False
        async with running(hosts):
            others = [hosts[0], hosts[1], hosts[3]]
            one, two, _, four = (each.node_id for each in hosts)
            await until(lambda: {two, four} <= links(hosts[0]), seconds=2)
            await trio.sleep(300)
            assert links(hosts[2]) == {two}
            assert links(hosts[0]) == {two, four}
            hosts[1].stop()
            await trio.sleep(300)
            assert links(hosts[2]) == set()
            assert links(others[2]) == {one}

    run(main)


def test_a_middle_that_does_not_exchange_still_introduces_those_that_do() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.01)
        hosts = [host(network, 1, 2), host(network, 2), host(network, 3, 2)]
        hosts[1].exchange = False
        async with running(hosts):
            await until(lambda: is_full_mesh(hosts), seconds=2)

    run(main)


class Dials(MemoryNetwork):
    """A network that counts who dialled where."""

    def __init__(self) -> None:
        super().__init__(delay=0.01)
        self.dials: Counter[tuple[bytes, str]] = Counter()

    def reachable(self, source: MemoryTransport, address: str) -> MemoryTransport:
        self.dials[source.node_id, address] += 1
        return super().reachable(source, address)


def test_a_liar_causes_few_dials_and_takes_nobody_from_us() -> None:
    async def main() -> None:
        network = Dials()
        hosts = [host(network, 1, 2), host(network, 2), host(network, 3, 2)]
        async with running(hosts[:2]):
            await until(lambda: is_full_mesh(hosts[:2]), seconds=2)
            link = await stranger(network, hosts[0], "10.0.0.99:1")
            honest = hosts[1].node_id
            for number in range(200):  # about nobody, about others' nodes and others' addresses
                lies = [
                    Neighbour(bytes([number, 9]) * 16, f"10.9.{number}.{part}:1")
                    for part in range(13)
                ]
                lies += [
                    Neighbour(honest, f"10.8.0.{number}:1"),
                    Neighbour(hosts[2].node_id, "10.0.0.2:1"),
                    Neighbour(honest, hosts[2].address),
                ]
                await link.send(encode(Peers(number + 1, tuple(lies))))
            async with running(hosts[2:]):
                await until(lambda: is_full_mesh(hosts), seconds=5)
                assert STRANGER in links(hosts[0])  # it was no fault
                await trio.sleep(3600)
                assert is_full_mesh(hosts)
            false = sum(
                count
                for (dialler, address), count in network.dials.items()
                if dialler == hosts[0].node_id and address.startswith(("10.8", "10.9"))
            )
            assert 0 < false <= CLAIM_FAILURES_MAX * HINTS_MAX
            assert len(hosts[0].runner._peers) <= 3 + CLAIMS_PER_PEER_MAX

    run(main)


def test_a_malformed_message_about_nodes_ends_the_session_as_a_fault() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.01)
        one = host(network, 1)
        async with running([one]):
            link = await stranger(network, one, "10.0.0.99:1")
            assert isinstance(decode_untrusted(await link.recv() or b""), Peers)
            frame = encode(Peers(0, (Neighbour(b"n" * 32, "10.0.0.1:1"),)))
            await link.send(frame.replace(b"10.0.0.1:1", b"a.domain:1"))
            while await link.recv() is not None:
                pass
            assert one.runner.status().peers == ()
            assert one.runner._peers.banned(STRANGER, trio.current_time())

    run(main)
