"""Budgets, clocks and what is forgotten, in runners: a flood is held up, an honest burst is not."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio

import dinemic
from dinemic.node import Node
from dinemic.testing.network import MemoryNetwork
from dinemic_engine.errors import ClockOff
from dinemic_engine.event import open_event_untrusted
from dinemic_transport.allowance import NEWS_BURST, NEWS_PER_SECOND
from dinemic_transport.jobs import IngestJob
from dinemic_transport.peers import ACTIVE
from dinemic_transport.replica import Ingested
from support.cluster import Host, cluster, run, until
from support.dict_replica import MODEL, DictReplica, made_event, made_events
from support.nodes import Linked, acting, raw_events, send, trace

PEER = b"p" * 32
NOON = 1_700_000_000_000_000


class Useless(DictReplica):
    """Every event it is sent waits for a parent that never comes."""

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        self.ingested.append((source, tuple(events)))
        return Ingested(0, 0, len(events), ())


def count(replica: DictReplica) -> int:
    return sum(len(batch) for _, batch in replica.ingested)


def test_a_flood_of_news_of_no_use_is_read_slowly_and_the_link_stays() -> None:
    async def main() -> None:
        async with cluster([], []) as (_, hosts):
            victim, sender = hosts
            useless = Useless()
            victim.replica.ingest = useless.ingest  # type: ignore[method-assign]
            await until(lambda: sender.runner.synced and victim.runner.synced)
            began = trio.current_time()
            flood = made_events(20_000, filler=b"x" * 50)
            sender.runner.announce(MODEL, flood[:8000])
            await trio.sleep(5)
            passed = trio.current_time() - began
            assert count(useless) <= NEWS_BURST + passed * NEWS_PER_SECOND + 256
            assert count(useless) >= NEWS_BURST
            (peer,) = victim.runner.status().peers
            assert peer.state == "open"
            assert peer.score == 0

    run(main)


class OneCore:
    """An offload on which one call runs at a time, and an event takes a millisecond to judge."""

    def __init__(self) -> None:
        self._free = trio.Lock()

    async def __call__(self, call: Callable[..., Any], *args: Any) -> Any:
        async with self._free:
            job = getattr(call, "__self__", None)
            await trio.sleep(0.001 * len(job.events) if isinstance(job, IngestJob) else 0.0)
            return call(*args)


@pytest.mark.parametrize("answer", [Ingested(0, 0, 256, ()), Ingested(0, 0, 0, ())])
def test_a_flood_over_many_links_delays_a_peer_of_use_by_less_than_a_small_batch(
    answer: Ingested,
) -> None:
    """Whether what they send waits for parents, or is of models that nobody asked for."""

    async def main() -> None:
        network = MemoryNetwork(delay=0.001)
        victim, friend, *flooders = (
            Host(network, number, DictReplica(), ["host-1:1"] if number > 1 else [])
            for number in range(1, 8)
        )
        victim.offload = OneCore()
        judge = victim.replica.ingest
        victim.replica.ingest = lambda source, events: (  # type: ignore[method-assign]
            judge(source, events) if source == friend.node_id else answer
        )
        async with trio.open_nursery() as nursery:
            for host in (victim, friend, *flooders):
                host.exchange = False
                await host.start(nursery)
            friend.replica.author([made_event(1)])
            await until(lambda: len(victim.replica.ids) == 1)
            for number, host in enumerate(flooders, 1):
                host.runner.announce(MODEL, made_events(2000, filler=b"%d" % number))
            late = []
            for number in range(100):
                began = trio.current_time()
                friend.replica.author([made_event(10 + number)])
                await until(lambda: len(victim.replica.ids) == 2 + number, every=0.0005)  # noqa: B023
                late.append(trio.current_time() - began)
                await trio.sleep(0.01)
            assert max(late) < 0.02
            nursery.cancel_scope.cancel()

    run(main)


def test_an_honest_burst_is_taken_as_fast_as_it_is_judged() -> None:
    async def main() -> None:
        async with cluster([], [], delay=0.005) as (_, hosts):
            reader, writer = hosts
            await until(lambda: writer.runner.synced and reader.runner.synced)
            began = trio.current_time()
            for start in range(0, 15_000, 100):
                writer.replica.author(made_events(100, start=1_000_000 + 1000 * start))
            await until(lambda: len(reader.replica.ids) == 15_000, 10, every=0.005)
            assert trio.current_time() - began < 0.5
            assert reader.runner.status().peers[0].counters.catchups == 0
            assert writer.runner.status().peers[0].counters.catchups == 0

    run(main)


def test_what_a_peer_sent_that_waits_is_forgotten_when_it_is_gone() -> None:
    async def main() -> None:
        async with cluster([], []) as (_, hosts):
            one, two = hosts
            await until(lambda: one.runner.synced)
            assert one.replica.forgotten == []
            two.stop()
            await until(lambda: one.replica.forgotten == [two.node_id])

    run(main)


def test_a_chain_of_sixteen_nodes_ends_with_few_links_each_and_all_events_everywhere() -> None:
    async def main() -> None:
        network = MemoryNetwork(delay=0.005)
        hosts = []
        for number in range(1, 17):
            replica = DictReplica([made_event(1000 + number)])
            host = Host(network, number, replica, [f"10.0.0.{number - 1}:1"] if number > 1 else [])
            host.address = f"10.0.0.{number}:1"
            hosts.append(host)
        async with trio.open_nursery() as nursery:
            for host in hosts:
                await host.start(nursery)
            await until(lambda: all(len(host.replica.ids) == 16 for host in hosts), 120)
            await trio.sleep(30)
            links = [len(host.runner.status().peers) for host in hosts]
            assert max(links) <= ACTIVE + 4
            assert min(links) >= 3
            hosts[0].replica.author([made_event(9000)])
            await until(lambda: all(len(host.replica.ids) == 17 for host in hosts), 2)
            nursery.cancel_scope.cancel()

    run(main)


# -- the clock (ORD-5) --


def clock(host: Host, offset_s: float) -> None:
    def now_us() -> int:
        return NOON + int((trio.current_time() + offset_s) * 1_000_000)

    host.now_us = now_us


def test_a_node_whose_clock_is_off_says_so_once_and_when_it_is_right_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        network = MemoryNetwork(delay=0.001)
        hosts = [
            Host(network, number, DictReplica(), [f"host-{other}:1" for other in range(1, number)])
            for number in range(1, 5)
        ]
        for host in hosts:
            clock(host, 100.0 if host is hosts[0] else 0.0)
        async with trio.open_nursery() as nursery:
            for host in hosts:
                await host.start(nursery)
            await until(lambda: hosts[0].runner.clock_behind_us is not None)
            behind = hosts[0].runner.status().clock_behind_us
            assert behind is not None
            assert behind == pytest.approx(-100e6, abs=1e5)
            assert abs(hosts[1].runner.clock_behind_us or 0) < 1e5
            warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
            assert len(warnings) == 1
            assert warnings[0].getMessage().startswith("this host's clock is 100 s ahead of")
            clock(hosts[0], 0.0)
            hosts[0].runner._now_us = hosts[0].now_us
            await until(lambda: abs(hosts[0].runner.clock_behind_us or 0) < 1e5, 40)
            assert "about that of the peers again" in caplog.text
            nursery.cancel_scope.cancel()

    run(main)


class Person(dinemic.DModel):
    name = dinemic.DField("name")


@pytest.mark.parametrize("seconds", [31, -31])
def test_a_node_whose_clock_is_off_makes_nothing_and_still_reads_and_receives(
    seconds: int, two: tuple[Node, Node]
) -> None:
    node, other = two
    with acting(other):
        theirs = Person([])
        theirs.name.set("Ada")
    with acting(node):
        ours = Person([])
        ours.name.set("Grace")
        friend = Person([]).get_db_id()
        linked = Linked(node)
        linked.clock_behind_us = seconds * 1_000_000
        before = trace(node)
        for write in (
            lambda: ours.name.set("lost"),
            lambda: Person([]),
            ours.remove,
            lambda: ours.append_read_authorized(friend),
        ):
            with pytest.raises(ClockOff, match="31 s") as caught:
                write()
            assert caught.value.by == "ORD-5"
            assert caught.value.behind_us == seconds * 1_000_000
        assert trace(node) == before
        assert ours.name.get() == "Grace"
        send(other, node)
        assert Person(theirs.get_db_id()).name.get() == "Ada"
        linked.clock_behind_us = 29_000_000
        ours.name.set("Grace Hopper")
        assert ours.name.get() == "Grace Hopper"


def test_what_waits_names_the_parents_it_lacks_and_is_forgotten_with_its_source(
    two: tuple[Node, Node],
) -> None:
    node, other = two
    with acting(other):
        theirs = Person([])
        theirs.name.set("Ada")
        theirs.name.set("Ada Lovelace")
    genesis, first, second = raw_events(other)
    got = node.ingest(PEER, [second, first])
    assert got.waiting == 2
    assert got.missing == (open_event_untrusted(genesis).id,)
    assert node.status().waiting == 2
    node.forget(b"o" * 32)
    assert node.status().waiting == 2
    node.forget(PEER)
    assert node.status().waiting == 0
    got = node.ingest(PEER, [second])
    assert got.missing == (open_event_untrusted(first).id,)
    assert node.ingest(PEER, [genesis, first]).missing == ()
    assert node.status().waiting == 0
