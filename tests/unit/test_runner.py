"""Runners on a network in memory, in virtual time: they converge, tell, fail and stop."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from dinemic.testing.network import MemoryNetwork
from dinemic_engine.errors import StoreError, UsageError
from dinemic_transport.runner import (
    ANNOUNCED_EVENTS_MAX,
    GATHER_SECONDS,
    HURRY_SECONDS,
    HURRY_TIMES,
    Runner,
)
from support.cluster import CLUSTER, Host, all_synced, cluster, inline, run, stranger, until
from support.dict_replica import MODEL, DictReplica, made_event, made_events


@pytest.mark.parametrize(
    ("one", "two", "three"),
    [(10_000, 0, 0), (0, 0, 10_000), (4000, 4000, 4000), (1, 0, 0), (0, 0, 0)],
)
def test_three_nodes_converge_from_any_start(one: int, two: int, three: int) -> None:
    async def main() -> None:
        async with cluster(
            made_events(one, filler=b"1"),
            made_events(two, filler=b"2"),
            made_events(three, filler=b"3"),
        ) as (_, hosts):
            await all_synced(hosts, one + two + three)
            for host in hosts:
                status = host.runner.status()
                assert status.synced
                assert len(status.peers) == 2
                assert all(peer.counters.refused == 0 for peer in status.peers)

    run(main)


def test_news_reaches_everybody_within_a_network_delay_and_equality_is_known_soon_after() -> None:
    async def main() -> None:
        async with cluster([], [], [], delay=0.01) as (_, hosts):
            await all_synced(hosts, 0)
            for number, host in enumerate(hosts):
                start = trio.current_time()
                host.replica.author([made_event(1000 + number)])
                assert not host.runner.synced
                await until(lambda: len({x.replica.ids for x in hosts}) == 1, every=0.001)
                assert len(host.replica.ids) == number + 1
                assert trio.current_time() - start < 0.015
                await all_synced(hosts, number + 1)
                assert trio.current_time() - start < 0.2

    run(main)


def test_news_crosses_a_chain_of_nodes_of_which_the_ends_are_not_linked() -> None:
    async def main() -> None:
        async with cluster([], [], [], [], links=lambda one, other: other == one - 1) as (_, hosts):
            await all_synced(hosts, 0)
            start = trio.current_time()
            hosts[0].replica.author(made_events(100))
            await until(lambda: len(hosts[3].replica.ids) == 100, every=0.001)
            assert trio.current_time() - start < 0.01
            await all_synced(hosts, 100)
            for host in hosts[1:]:
                came = [raw for _, batch in host.replica.ingested for raw in batch]
                assert len(came) == 100  # each once, and none back to where it came from

    run(main)


def test_a_catch_up_goes_on_through_a_chain_and_is_not_pushed_to_who_has_it() -> None:
    async def main() -> None:
        async with cluster(
            made_events(3000), [], [], links=lambda one, other: other == one - 1
        ) as (_, hosts):
            await all_synced(hosts, 3000)
            came = sum(len(batch) for _, batch in hosts[2].replica.ingested)
            assert came == 3000

    run(main)


def test_the_first_of_many_news_leaves_at_once_and_the_rest_gathered() -> None:
    async def main() -> None:
        async with cluster([], [], delay=0.0) as (_, hosts):
            await all_synced(hosts, 0)
            one, other = (host.replica for host in hosts)
            begin = trio.current_time()
            for number in range(500):
                one.author([made_event(1000 + number)])
                await trio.sleep(0.0001)
                if not number:
                    assert len(other.ids) == 1
            await all_synced(hosts, 500)
            took = trio.current_time() - begin
            assert len(other.ingested) <= 2 + took / GATHER_SECONDS

    run(main)


def test_who_goes_on_writing_in_a_hurry_wakes_the_others_seldom() -> None:
    async def main() -> None:
        async with cluster([], [], delay=0.0) as (_, hosts):
            await all_synced(hosts, 0)
            one, other = (host.replica for host in hosts)
            begin = trio.current_time()
            for number in range(5000):
                one.author([made_event(1000 + number)])
                await trio.sleep(0.0001)
            took = trio.current_time() - begin
            await all_synced(hosts, 5000)
            assert len(other.ingested) <= 2 * HURRY_TIMES + 1.1 * took / HURRY_SECONDS
            one.author([made_event(1)])
            await trio.sleep(GATHER_SECONDS)
            assert len(other.ids) == 5001  # and soon the first leaves at once again

    run(main)


def test_a_burst_of_own_events_from_a_thread_that_never_waits_arrives_whole() -> None:
    async def main() -> None:
        async with cluster([], []) as (_, hosts):
            await all_synced(hosts, 0)
            hosts[0].replica.author(made_events(ANNOUNCED_EVENTS_MAX + 5000))
            assert not hosts[0].runner.synced
            await all_synced(hosts, ANNOUNCED_EVENTS_MAX + 5000)

    run(main)


def test_two_writers_at_once_converge_and_end_in_sync() -> None:
    async def main() -> None:
        async with cluster([], [], [], delay=0.02) as (_, hosts):
            await all_synced(hosts, 0)
            for number in range(300):
                for host in hosts:
                    host.replica.author([made_event(number, host.node_id)])
                await trio.sleep(0.01)
            await all_synced(hosts, 900, seconds=5)

    run(main)


def test_a_node_without_peers_is_never_in_sync() -> None:
    async def main() -> None:
        async with cluster(made_events(5)) as (_, (host,)):
            with trio.move_on_after(3600) as scope:
                await host.runner.wait_synced()
            assert scope.cancelled_caught
            assert not host.runner.status().synced

    run(main)


def test_a_slow_listener_does_not_stall_heartbeats_or_other_peers() -> None:
    async def slowly(call: Callable[..., Any], *args: Any) -> Any:
        if type(getattr(call, "__self__", None)).__name__ == "IngestJob":
            await trio.sleep(100)
        return await inline(call, *args)

    async def main() -> None:
        network = MemoryNetwork()
        slow = Host(network, 1, DictReplica(), [])
        slow.offload = slowly
        one, two = (Host(network, n, DictReplica(), ["host-1:1", "host-2:1"]) for n in (2, 3))
        one.peers = ("host-1:1",)
        async with trio.open_nursery() as nursery:
            for host in (slow, one, two):
                await host.start(nursery)
            await all_synced([slow, one, two], 0)
            links = len(network.links)
            one.replica.author([made_event(1), made_event(2)])
            await until(lambda: len(two.replica.ids) == 2, seconds=1)
            await trio.sleep(90)
            assert len(slow.replica.ids) == 0
            await all_synced([slow, one, two], 2, seconds=400)
            assert len(network.links) == links  # nobody took anybody for dead
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize("error", [StoreError("disk full"), ZeroDivisionError("a bug")])
def test_a_node_that_cannot_ingest_says_so_and_lives_on(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with cluster(made_events(5), []) as (_, hosts):
            failing = hosts[1].replica
            failing.ingest = fail  # type: ignore[method-assign]
            await trio.sleep(100)
            assert len(failing.ids) == 0
            del failing.ingest
            await all_synced(hosts, 5, seconds=200)

    def fail(source: bytes, events: object) -> Any:
        raise error

    run(main)
    assert str(error) in caplog.text
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_a_store_that_cannot_be_read_ends_the_runner() -> None:
    async def main() -> None:
        async with cluster([], []) as (_, hosts):
            await all_synced(hosts, 0)

            def fail() -> tuple[str, ...]:
                raise StoreError("no such disk")

            hosts[0].replica.model_names = fail  # type: ignore[method-assign]
            await trio.sleep(3600)

    with pytest.RaisesGroup(
        pytest.RaisesExc(StoreError, match="no such disk"), flatten_subgroups=True
    ):
        run(main)


def test_stopping_with_links_open_is_quick_and_the_peers_notice() -> None:
    async def main() -> None:
        async with cluster([], [], []) as (_, hosts):
            await all_synced(hosts, 0)
            hosts[0].runner.stop()
            await until(lambda: len(hosts[1].runner.status().peers) == 1, seconds=0.1, every=0.01)
            await all_synced(hosts[1:], 0)

    run(main)


def test_stopping_does_not_wait_for_a_peer_that_does_not_read() -> None:
    async def main() -> None:
        network = MemoryNetwork(queue_bytes_max=256 << 10)
        host = Host(network, 1, DictReplica(), [])
        async with trio.open_nursery() as nursery:
            await host.start(nursery)
            link = await stranger(network, host)
            host.replica.author([made_event(number, b"x" * 50_000) for number in range(20)])
            await trio.sleep(1)
            assert len(host.runner.status().peers) == 1
            start = trio.current_time()
            host.runner.stop()
        assert trio.current_time() - start <= 1.0
        assert link is not None

    run(main)


def test_announcing_before_and_after_a_run_is_harmless() -> None:
    network = MemoryNetwork()
    host = Host(network, 1, DictReplica(), [])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await host.start(nursery)
            host.runner.stop()

    run(main)
    host.runner.announce(MODEL, made_events(3))
    host.runner.stop()


def test_events_admitted_before_the_network_ran_are_told_once_it_does() -> None:
    async def main() -> None:
        network = MemoryNetwork()
        one, two = (Host(network, n, DictReplica(), ["host-1:1"][: n - 1]) for n in (1, 2))
        async with trio.open_nursery() as nursery:
            await one.start(nursery)
            runner = Runner(
                two.replica,
                network.transport(two.node_id, two.address),
                node_id=two.node_id,
                cluster=CLUSTER,
                rand=lambda: 0.5,
                peers=["host-1:1"],
                offload=inline,
                identify=lambda raw: raw[:32],
            )
            two.replica.announce = runner.announce
            two.replica.author(made_events(5))
            await nursery.start(begin, runner)
            with trio.fail_after(10):
                await runner.wait_synced()
            assert len(one.replica.ids) == 5
            nursery.cancel_scope.cancel()

    async def begin(runner: Runner, task_status: trio.TaskStatus[Any]) -> None:
        await runner.run(task_status=task_status)

    run(main)


def test_impossible_subscriptions_are_refused_before_anything_runs() -> None:
    network = MemoryNetwork()
    with pytest.raises(UsageError, match="not a model name"):
        Runner(
            DictReplica(models=("no name",)),
            network.transport(b"\1" * 32),
            node_id=b"\1" * 32,
            cluster=CLUSTER,
            rand=lambda: 0.5,
        )
