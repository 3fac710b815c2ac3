"""A peer that means ill, or does nothing, ends or delays its own link and no other."""

from collections.abc import Callable
from typing import Any

import trio

from dinemic_transport.allowance import UNPROVEN_EVENTS
from dinemic_transport.jobs import IngestJob
from dinemic_transport.link import CLOSE_SECONDS
from dinemic_transport.liveness import HELLO_SECONDS, SILENCE_SECONDS
from dinemic_transport.messages import Bye, Events
from dinemic_transport.peers import BACKOFF_SECONDS, BAN_SECONDS
from dinemic_transport.states import State
from dinemic_transport.wire import decode_untrusted, encode
from support.cluster import STRANGER, all_synced, cluster, run, stranger, until
from support.dict_replica import BAD_BYTES, MODEL, made_event, made_events


def test_a_peer_that_breaks_the_rules_is_told_closed_and_kept_away_for_a_while() -> None:
    async def main() -> None:
        async with cluster([], []) as (network, hosts):
            await all_synced(hosts, 0)
            link = await stranger(network, hosts[0])
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
            link = await stranger(network, hosts[0])
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
            stalled = await stranger(network, hosts[0])
            start = trio.current_time()
            for number in range(400):
                hosts[0].replica.author([made_event(number, b"x" * 50_000)])
                await trio.sleep(0.01)
            await until(lambda: len(hosts[1].replica.ids) == 400)
            assert trio.current_time() - start < 6
            held = hosts[0].runner._connections[STRANGER].session._outbox.size
            assert held < 6 << 20
            await trio.sleep(SILENCE_SECONDS)
            assert len(hosts[0].runner.status().peers) == 1
            assert stalled is not None

    run(main)


def test_a_peer_is_not_cut_off_for_what_it_said_while_nobody_listened() -> None:
    async def main() -> None:
        async with cluster([], []) as (_, hosts), trio.open_nursery() as nursery:
            await all_synced(hosts, 0)
            slow = hosts[0]
            slow.stop()
            slow.offload = at_leisure
            await slow.start(nursery)
            await all_synced(hosts, 0)
            session = hosts[1].runner._connections[slow.node_id].session
            hosts[1].replica.author(made_events(3 * UNPROVEN_EVENTS))
            await until(lambda: len(slow.replica.ids) == 3 * UNPROVEN_EVENTS, 3600)
            assert session.state is State.OPEN
            nursery.cancel_scope.cancel()

    async def at_leisure(call: Callable[..., Any], *args: Any) -> Any:
        if isinstance(getattr(call, "__self__", None), IngestJob):
            await trio.sleep(1.5 * SILENCE_SECONDS)
        return call(*args)

    run(main)


def test_a_peer_that_never_greets_is_closed() -> None:
    async def main() -> None:
        async with cluster([]) as (network, hosts):
            link = await stranger(network, hosts[0], greets=False)
            start = trio.current_time()
            while await link.recv() is not None:
                pass
            assert trio.current_time() - start <= HELLO_SECONDS + 2 * CLOSE_SECONDS

    run(main)


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
