"""What a runner tells of its links, while they are and after them."""

from __future__ import annotations

from dinemic_engine.ids import to_text
from dinemic_transport.status import Counters, NetworkStatus
from support.cluster import Host, cluster, run, until
from support.dict_replica import MODEL, made_events


def statuses(hosts: list[Host]) -> list[NetworkStatus]:
    return [host.runner.status() for host in hosts]


def test_ids_are_text_as_everywhere_else() -> None:
    async def main() -> None:
        async with cluster([], []) as (_, hosts):
            await until(lambda: all(len(status.peers) == 1 for status in statuses(hosts)))
            one, two = statuses(hosts)
            assert (one.node_id, two.node_id) == tuple(to_text(each.node_id) for each in hosts)
            assert (one.peers[0].node_id, two.peers[0].node_id) == (two.node_id, one.node_id)

    run(main)


def test_counters_of_all_links_outlast_the_links() -> None:
    async def main() -> None:
        async with cluster(made_events(300), []) as (network, hosts):
            one, two = hosts
            await two.synced()
            before = statuses(hosts)
            for status in before:
                (peer,) = status.peers
                assert status.counters == peer.counters
            assert (before[0].counters.sent, before[1].counters.admitted) == (300, 300)

            network.cut(one.node_id, two.node_id)
            await until(lambda: not any(status.peers for status in statuses(hosts)))
            assert [each.counters for each in statuses(hosts)] == [each.counters for each in before]
            network.heal(one.node_id, two.node_id)
            one.replica.author(made_events(1, filler=b"n"))
            await until(lambda: len(two.replica.ids) == 301, 120)
            assert [each.counters.admitted for each in statuses(hosts)] == [0, 301]

    run(main)


def test_a_node_knows_how_far_it_is_behind_a_peer_and_for_how_long() -> None:
    async def main() -> None:
        events = made_events(30)
        async with cluster(events, events[:5], delay=4.0) as (_, hosts):  # a catch-up takes long
            await until(lambda: all(status.peers for status in statuses(hosts)))
            await until(lambda: statuses(hosts)[1].peers[0].lag_seconds > 2)
            one, two = (status.peers[0] for status in statuses(hosts))
            assert (one.behind, two.behind) == (0, 25)
            (model,) = two.models
            assert (model.model, model.equal, model.here, model.there) == (MODEL, False, 5, 30)
            assert (model.behind, model.seconds) == (25, two.lag_seconds)

    run(main)


def test_peers_that_are_equal_are_not_behind() -> None:
    async def main() -> None:
        async with cluster(made_events(30), []) as (_, hosts):
            for host in hosts:
                await host.synced()
            for status in statuses(hosts):
                assert [(peer.behind, peer.lag_seconds) for peer in status.peers] == [(0, 0.0)]

    run(main)


def test_counters_add_field_by_field() -> None:
    assert Counters(sent=1, refused=2) + Counters(sent=10) == Counters(sent=11, refused=2)
