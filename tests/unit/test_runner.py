"""Runners on a network in memory, in virtual time: they find each other, converge and recover."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from dinemic.testing.network import MemoryNetwork
from dinemic_engine.errors import StoreError, UsageError
from dinemic_engine.ids import from_text_untrusted
from dinemic_transport.liveness import HELLO_SECONDS, SILENCE_SECONDS
from dinemic_transport.messages import Bye, Events, Hello, cluster_hash
from dinemic_transport.peers import BACKOFF_SECONDS, BAN_SECONDS
from dinemic_transport.runner import (
    ANNOUNCED_EVENTS_MAX,
    CLOSE_SECONDS,
    GATHER_SECONDS,
    HURRY_SECONDS,
    HURRY_TIMES,
    Runner,
)
from dinemic_transport.wire import decode_untrusted, encode
from support.cluster import CLUSTER, Host, cluster, inline, run, until
from support.dict_replica import BAD_BYTES, MODEL, DictReplica, made_event, made_events


async def all_synced(hosts: list[Host], events: int, seconds: float = 60.0) -> None:
    """Wait until every host has so many events and knows it is in sync; they then are equal."""
    with trio.fail_after(seconds):
        await until(lambda: all(len(host.replica.ids) == events for host in hosts), seconds)
        for host in hosts:
            await host.runner.wait_synced()
    assert len({host.replica.ids for host in hosts}) == 1


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


def test_a_node_without_peers_is_never_in_sync() -> None:
    async def main() -> None:
        async with cluster(made_events(5)) as (_, (host,)):
            with trio.move_on_after(3600) as scope:
                await host.runner.wait_synced()
            assert scope.cancelled_caught
            assert not host.runner.status().synced

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


async def ignore(link: object) -> None:
    await trio.sleep_forever()


async def greet(network: MemoryNetwork, to: Host, number: int = 99) -> Any:
    """A link to `to` by somebody of our own making, greeted."""
    transport = network.transport(bytes([number]) * 32, f"liar-{number}:1")

    async def serve() -> None:
        await transport.serve(ignore, lambda addresses: None)

    trio.lowlevel.spawn_system_task(serve)
    link = await transport.dial(to.address)
    await link.send(encode(Hello(cluster_hash(CLUSTER), ("*",), ())))
    assert isinstance(decode_untrusted(await link.recv() or b""), Hello)
    return link


def test_a_peer_that_breaks_the_rules_is_told_closed_and_kept_away_for_a_while() -> None:
    async def main() -> None:
        async with cluster([], []) as (network, hosts):
            await all_synced(hosts, 0)
            link = await greet(network, hosts[0])
            await link.send(encode(Events(0, MODEL, (BAD_BYTES,) * 3)))
            said = []
            while (frame := await link.recv()) is not None:
                said.append(decode_untrusted(frame))
            assert isinstance(said[-1], Bye)
            hosts[1].replica.author([made_event(5)])
            await all_synced(hosts, 1)

    run(main)


def test_garbage_in_frames_ends_its_link_only() -> None:
    async def main() -> None:
        async with cluster([], []) as (network, hosts):
            await all_synced(hosts, 0)
            link = await greet(network, hosts[0])
            await link.send(b"\xff" * 100)
            while await link.recv() is not None:
                pass
            hosts[1].replica.author([made_event(5)])
            await all_synced(hosts, 1)

    run(main)


def test_a_stalled_peer_delays_only_itself_and_memory_stays_bounded() -> None:
    async def main() -> None:
        async with cluster([], [], queue_bytes_max=256 << 10) as (network, hosts):
            await all_synced(hosts, 0)
            stalled = await greet(network, hosts[0])
            start = trio.current_time()
            for number in range(400):
                hosts[0].replica.author([made_event(number, b"x" * 50_000)])
                await trio.sleep(0.01)
            await until(lambda: len(hosts[1].replica.ids) == 400)
            assert trio.current_time() - start < 6
            held = hosts[0].runner._connections[b"\x63" * 32].session._outbox.size
            assert held < 6 << 20
            await trio.sleep(SILENCE_SECONDS)
            assert len(hosts[0].runner.status().peers) == 1
            assert stalled is not None

    run(main)


def test_a_peer_that_never_greets_is_closed() -> None:
    async def main() -> None:
        async with cluster([]) as (network, hosts):
            transport = network.transport(b"\x63" * 32, "silent:1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.serve, ignore, lambda addresses: None)
                link = await transport.dial(hosts[0].address)
                assert isinstance(decode_untrusted(await link.recv() or b""), Hello)
                start = trio.current_time()
                while await link.recv() is not None:
                    pass
                assert trio.current_time() - start <= HELLO_SECONDS + 2 * CLOSE_SECONDS
                nursery.cancel_scope.cancel()

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
            link = await greet(network, host)
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


def test_a_banned_peer_is_let_in_again_when_its_time_is_over() -> None:
    async def main() -> None:
        async with cluster([], made_events(3)) as (_, hosts):
            await all_synced(hosts, 3)
            ours = hosts[0].runner._connections[hosts[1].node_id]
            ours.session._refuse("a test says so")
            hosts[0].runner._after(ours)
            await trio.sleep(BAN_SECONDS[0] - 5)
            assert hosts[0].runner.status().peers == ()
            await all_synced(hosts, 3, seconds=3 * BACKOFF_SECONDS[1])

    run(main)
