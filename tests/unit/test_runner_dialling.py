"""Runners find each other and come back, and between two of them one link stays."""

from collections.abc import Callable

import pytest
import trio

from dinemic.testing.network import MemoryNetwork
from dinemic_engine.ids import from_text_untrusted
from dinemic_transport.liveness import SILENCE_SECONDS
from dinemic_transport.peers import BACKOFF_SECONDS
from support.cluster import Host, all_synced, cluster, run
from support.dict_replica import DictReplica, made_event, made_events


@pytest.mark.parametrize("cut_after", [0.003, 0.01, 0.02, 0.05, 0.1])
def test_a_link_cut_in_the_middle_is_made_again_and_the_rest_arrives(cut_after: float) -> None:
    async def main() -> None:
        async with cluster(made_events(6000, filler=b"1"), made_events(6000)) as (network, hosts):
            one, two = hosts
            await trio.sleep(cut_after)
            network.cut(one.node_id, two.node_id)
            await trio.sleep(30)
            assert one.runner.status().peers == ()
            assert not one.runner.synced
            had = len(one.replica.ids), len(two.replica.ids)
            network.heal(one.node_id, two.node_id)
            await all_synced(hosts, 12_000, seconds=2 * BACKOFF_SECONDS[1])
            if cut_after >= 0.05:
                assert min(had) > 6000  # what had come was kept
            sent = sum(len(batch) for host in hosts for _, batch in host.replica.ingested)
            assert sent <= 12_000 + 2 * 600  # and at most a window came twice

    run(main)


def test_a_node_that_restarts_comes_back_and_gets_what_it_missed() -> None:
    async def main() -> None:
        async with (
            cluster(made_events(50), [], []) as (_, hosts),
            trio.open_nursery() as nursery,
        ):
            await all_synced(hosts, 50)
            for number, host in enumerate(hosts):
                host.stop()
                await trio.sleep(0.01)
                others = [other for other in hosts if other is not host]
                others[0].replica.author(made_events(700, filler=host.node_id))
                await all_synced(others, 50 + 700 * (number + 1))
                await host.start(nursery)
                await all_synced(hosts, 50 + 700 * (number + 1), seconds=5)
            nursery.cancel_scope.cancel()

    run(main)


class Hints:
    """A discovery that finds what a test tells it."""

    def __init__(self) -> None:
        self.hints: list[tuple[str, bytes | None]] = []

    async def run(self, found: Callable[[str, bytes | None], None]) -> None:
        while True:
            for address, node_id in self.hints:
                found(address, node_id)
            await trio.sleep(1)


def test_nodes_that_discover_each_other_end_with_one_link_dialled_by_the_smaller_id() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.3)
        hosts = [Host(network, number, DictReplica(), []) for number in (1, 2, 3)]
        async with trio.open_nursery() as nursery:
            for host in hosts:
                hints = Hints()
                hints.hints = [(other.address, other.node_id) for other in hosts]
                hints.hints.append((host.address, None))
                host.discoveries = [hints]
                await host.start(nursery)
            hosts[0].replica.author(made_events(10))
            await all_synced(hosts, 10)
            await trio.sleep(60)
            for host in hosts:
                for peer in host.runner.status().peers:
                    assert peer.state == "open"
                    assert peer.dialled == (host.node_id < from_text_untrusted(peer.node_id))
            nursery.cancel_scope.cancel()

    run(main)


def test_two_nodes_that_dial_each_other_at_once_keep_one_link() -> None:
    async def main() -> None:
        for delay in (0.0, 0.001, 0.2):
            async with cluster([], made_events(5), delay=delay, links=lambda a, b: a != b) as (
                network,
                hosts,
            ):
                await all_synced(hosts, 5)
                await trio.sleep(30)
                await all_synced(hosts, 5)
                assert len(network.links) <= 3
                assert [peer.dialled for host in hosts for peer in host.runner.status().peers] in (
                    [True, False],
                    [False, True],
                )

    run(main)


def test_a_link_to_a_dead_peer_gives_way_when_the_peer_is_back() -> None:
    async def main() -> None:
        async with (
            cluster(made_events(5), [], links=lambda one, other: one != other) as (network, hosts),
            trio.open_nursery() as nursery,
        ):
            await all_synced(hosts, 5)
            dead = hosts[1]
            await cut_power(network, dead)
            await dead.start(nursery)
            start = trio.current_time()
            hosts[0].replica.author([made_event(77)])
            await all_synced(hosts, 6, seconds=SILENCE_SECONDS)
            assert trio.current_time() - start < 20
            nursery.cancel_scope.cancel()

    async def cut_power(network: MemoryNetwork, dead: Host) -> None:
        for end in (end for pair in network.links for end in pair):  # nobody says goodbye
            end.break_ = lambda reason="": None  # type: ignore[method-assign]
            end.close = trio.lowlevel.checkpoint  # type: ignore[method-assign]
        dead.stop()
        await trio.sleep(0.01)

    run(main)


def test_another_cluster_on_the_same_network_is_left_alone() -> None:
    async def main() -> None:
        network = MemoryNetwork()
        one = Host(network, 1, DictReplica(made_events(5)), ["host-2:1"])
        two = Host(network, 2, DictReplica(made_events(6)), [])
        two.cluster = "other"
        async with trio.open_nursery() as nursery:
            await two.start(nursery)
            await one.start(nursery)
            await trio.sleep(300)
            assert not one.runner.synced
            assert (len(one.replica.ids), len(two.replica.ids)) == (5, 6)
            assert 2 <= len(network.links) <= 12
            nursery.cancel_scope.cancel()

    run(main)
