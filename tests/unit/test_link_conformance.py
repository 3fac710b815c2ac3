"""Every kind of link keeps the promises of dinemic_transport.link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dinemic_engine.errors import TransportError, UsageError
from dinemic_engine.limits import FRAME_BYTES_MAX
from dinemic_transport.link import Link
from support.link_pairs import (
    IDLE_SECONDS,
    KINDS,
    Kind,
    Pair,
    break_link,
    connected,
    serving,
    to_dial,
    two_transports,
)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of link under test."""
    kind: Kind = request.param
    return kind


def with_pair(
    kind: Kind, test: Callable[[Pair], Awaitable[None]], clock: MockClock | None = None
) -> None:
    """Run `test` on a connected pair, on a clock that stands still unless moved."""

    async def main() -> None:
        async with connected(kind) as pair:
            await test(pair)

    trio.run(main, clock=clock or MockClock())


async def collect(link: Link, count: int) -> list[bytes | None]:
    return [await link.recv() for _ in range(count)]


async def fill_up(link: Link) -> int:
    """Offer numbered frames until neither end has room; how many were taken."""
    frame = b"f" * 60_000
    count = 0
    while True:
        before = count
        while link.offer(count.to_bytes(4, "big") + frame):
            count += 1
            assert count < 10_000, "the queue is not bounded"
        await wait_all_tasks_blocked(IDLE_SECONDS)
        if count == before:
            return count


def test_frames_arrive_whole_and_in_order_both_ways(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        frames = [b"a", b"x" * FRAME_BYTES_MAX, b"b" * 17_000, *(b"%d" % n for n in range(500))]

        async def send_all(link: Link) -> None:
            for number, frame in enumerate(frames):
                if number % 2 or not link.offer(frame):
                    await link.send(frame)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, pair.ours)
            nursery.start_soon(send_all, pair.theirs)
            assert await collect(pair.theirs, len(frames)) == frames
            assert await collect(pair.ours, len(frames)) == frames

    with_pair(kind, test)


def test_each_end_knows_the_other(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        assert (pair.ours.peer, pair.ours.dialled) == (pair.their_id, True)
        assert (pair.theirs.peer, pair.theirs.dialled) == (pair.our_id, False)
        assert pair.ours.address == pair.their_address
        assert pair.ours.remote == pair.their_address.rpartition("@")[2]
        assert pair.theirs.remote == pair.theirs.address
        assert pair.theirs.address.rpartition(":")[1] == ":"

    with_pair(kind, test)


def test_what_was_queued_before_a_close_arrives_and_then_the_end(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        for number in range(50):
            assert pair.ours.offer(b"%d" % number)
        await pair.ours.close()
        assert await collect(pair.theirs, 50) == [b"%d" % number for number in range(50)]
        assert await collect(pair.theirs, 2) == [None, None]

    with_pair(kind, test)


def test_a_close_is_orderly_though_frames_were_left_unread(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        for _ in range(20):
            await pair.ours.send(b"x" * 10_000)
        assert await pair.theirs.recv() == b"x" * 10_000
        await wait_all_tasks_blocked(IDLE_SECONDS)
        await pair.theirs.send(b"enough")
        await pair.theirs.close()
        assert await collect(pair.ours, 2) == [b"enough", None]

    with_pair(kind, test)


def test_the_last_words_of_a_peer_arrive_though_we_still_write_to_it(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        await pair.theirs.send(b"goodbye")
        await pair.theirs.close()
        for _ in range(20):
            pair.ours.offer(b"x" * 10_000)
            await wait_all_tasks_blocked()
        assert await collect(pair.ours, 2) == [b"goodbye", None]

    with_pair(kind, test)


def test_a_closed_link_takes_and_gives_nothing(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        await pair.theirs.send(b"unread")
        await wait_all_tasks_blocked(IDLE_SECONDS)
        await pair.ours.close()
        assert pair.ours.offer(b"x") is False
        with pytest.raises(TransportError, match="closed"):
            await pair.ours.send(b"x")
        with pytest.raises(TransportError, match="closed"):
            await pair.ours.recv()

    with_pair(kind, test)


def test_closing_twice_or_from_both_ends_at_once_is_harmless(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        async with trio.open_nursery() as nursery:
            for link in (pair.ours, pair.ours, pair.theirs, pair.theirs):
                nursery.start_soon(link.close)
        await pair.ours.close()

    with_pair(kind, test)


def test_closing_wakes_our_own_receiver_and_our_waiting_senders(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        await fill_up(pair.ours)
        woken = []

        async def must_fail(operation: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(TransportError, match="closed"):
                await operation()
            woken.append(operation)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(must_fail, pair.ours.recv)
            nursery.start_soon(must_fail, lambda: pair.ours.send(b"x" * 60_000))
            nursery.start_soon(must_fail, lambda: pair.ours.send(b"y" * 60_000))
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await pair.ours.close()
        assert len(woken) == 3

    with_pair(kind, test)


def test_a_cancelled_close_has_closed(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await pair.ours.close()
        assert pair.ours.offer(b"x") is False
        with pytest.raises(TransportError):
            await pair.ours.send(b"x")

    with_pair(kind, test)


def test_a_break_is_an_error_at_both_ends_and_names_the_address(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        await pair.theirs.send(b"hello")
        assert await pair.ours.recv() == b"hello"
        break_link(pair.theirs)
        for link in (pair.ours, pair.theirs):
            for _ in range(2):
                with pytest.raises(TransportError, match=link.address):
                    await link.recv()
            with pytest.raises(TransportError, match=link.address):
                await link.send(b"x")
            assert link.offer(b"x") is False
            await link.close()

    with_pair(kind, test)


def test_offer_says_no_when_full_and_loses_nothing_it_took(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        count = await fill_up(pair.ours)
        assert count * 60_004 > 3 << 20
        numbers = [(await pair.theirs.recv() or b"")[:4] for _ in range(count)]
        assert numbers == [number.to_bytes(4, "big") for number in range(count)]
        assert pair.ours.offer(b"room again")
        assert await pair.theirs.recv() == b"room again"

    with_pair(kind, test)


def test_send_waits_for_room_and_does_not_overtake(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        count = await fill_up(pair.ours)

        async def send_two() -> None:
            await pair.ours.send(b"1" * 60_000)
            await pair.ours.send(b"2" * 60_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_two)
            await wait_all_tasks_blocked(IDLE_SECONDS)
            assert pair.ours.offer(b"f" * 60_004) is False
            await collect(pair.theirs, count)
            assert await collect(pair.theirs, 2) == [b"1" * 60_000, b"2" * 60_000]

    with_pair(kind, test)


def test_a_cancelled_send_queues_nothing_and_a_cancelled_recv_loses_nothing(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        count = await fill_up(pair.ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.ours.send, b"never" * 12_000)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        received = 0
        while received < count:
            with trio.CancelScope() as scope:
                scope.cancel()
                await pair.theirs.recv()
            await pair.theirs.recv()
            received += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.theirs.recv)
            await wait_all_tasks_blocked(IDLE_SECONDS)
            nursery.cancel_scope.cancel()
        await pair.ours.send(b"after")
        assert await pair.theirs.recv() == b"after"

    with_pair(kind, test)


def test_a_peer_that_takes_no_bytes_for_20_seconds_loses_its_link(kind: Kind) -> None:
    clock = MockClock()

    async def test(pair: Pair) -> None:
        await fill_up(pair.ours)
        async with trio.open_nursery() as nursery:

            async def must_fail() -> None:
                with pytest.raises(TransportError, match="no bytes for 20 s"):
                    await pair.ours.send(b"f" * 60_000)

            nursery.start_soon(must_fail)
            await wait_all_tasks_blocked(IDLE_SECONDS)
            clock.jump(21)
        with pytest.raises(TransportError, match="no bytes for 20 s"):
            await pair.ours.recv()

    with_pair(kind, test, clock)


def test_only_one_task_receives(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.ours.recv)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await pair.ours.recv()
            nursery.cancel_scope.cancel()

    with_pair(kind, test)


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1])
def test_what_is_no_frame_is_refused_before_it_is_queued(kind: Kind, size: int) -> None:
    async def test(pair: Pair) -> None:
        with pytest.raises(UsageError):
            await pair.ours.send(bytes(size))
        with pytest.raises(UsageError):
            pair.ours.offer(bytes(size))
        await pair.ours.send(b"still fine")
        assert await pair.theirs.recv() == b"still fine"

    with_pair(kind, test)


def test_dialling_a_node_id_reaches_that_node_only(kind: Kind) -> None:
    async def test(pair: Pair) -> None:
        link = await pair.our_transport.dial(pair.their_address, pair.their_id)
        assert link.peer == pair.their_id
        await link.close()
        with pytest.raises(TransportError, match=pair.their_address):
            await pair.our_transport.dial(pair.their_address, b"\7" * 32)

    with_pair(kind, test)


def test_dialling_ourselves_or_nobody_fails(kind: Kind) -> None:
    clock = MockClock()

    async def main() -> None:
        one, _, other, _ = two_transports(kind)
        async with serving(one) as (address, _, _):
            with pytest.raises(TransportError, match="own address"):
                await one.dial(address)
            async with serving(other) as (gone, _, _):
                pass
            clock.autojump_threshold = IDLE_SECONDS  # nothing says that a UDP port is closed
            with pytest.raises(TransportError, match=gone):
                await one.dial(gone)

    trio.run(main, clock=clock)


def test_dialling_waits_until_we_serve(kind: Kind) -> None:
    async def main() -> None:
        one, _, other, _ = two_transports(kind)
        links: list[Link] = []
        async with serving(other) as (address, _, _), trio.open_nursery() as nursery:

            async def dial() -> None:
                links.append(await one.dial(address))

            nursery.start_soon(dial)
            await wait_all_tasks_blocked(IDLE_SECONDS)
            assert not links
            async with serving(one):
                while not links:
                    await wait_all_tasks_blocked()
        assert len(links) == 1

    trio.run(main, clock=MockClock())


def test_when_serve_ends_its_links_are_over_at_both_ends(kind: Kind) -> None:
    async def main() -> None:
        one, _, other, _ = two_transports(kind)
        async with serving(other) as (address, accepted, _):
            async with serving(one) as (_, _, scope):
                ours = await one.dial(address)
                theirs = await accepted.receive()
                await ours.send(b"x")
                assert await theirs.recv() == b"x"
                scope.cancel()
            with pytest.raises(TransportError):
                await ours.recv()
            with pytest.raises(TransportError):
                await theirs.recv()
            async with serving(one):
                again = await one.dial(address)
                assert again.peer == ours.peer

    trio.run(main, clock=MockClock())


def test_a_handler_whose_link_breaks_leaves_the_others_alone(kind: Kind) -> None:
    async def main() -> None:
        one, _, other, _ = two_transports(kind)
        addresses: list[str] = []

        async def echo(link: Link) -> None:
            while (frame := await link.recv()) is not None:
                await link.send(frame)

        async with serving(one), trio.open_nursery() as nursery:
            nursery.start_soon(other.serve, echo, addresses.extend)
            while not addresses:
                await wait_all_tasks_blocked()
            address = to_dial(other, addresses[0])
            first, second = await one.dial(address), await one.dial(address)
            for link in (first, second):
                await link.send(b"ping")
                assert await link.recv() == b"ping"
            break_link(first)
            await second.send(b"still here")
            assert await second.recv() == b"still here"
            await second.close()
            third = await one.dial(address)
            await third.send(b"new")
            assert await third.recv() == b"new"
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock())


def test_a_link_closes_when_its_handler_returns(kind: Kind) -> None:
    async def main() -> None:
        one, _, other, _ = two_transports(kind)
        addresses: list[str] = []

        async def say_and_leave(link: Link) -> None:
            await link.send(b"that is all")

        async with serving(one), trio.open_nursery() as nursery:
            nursery.start_soon(other.serve, say_and_leave, addresses.extend)
            while not addresses:
                await wait_all_tasks_blocked()
            link = await one.dial(to_dial(other, addresses[0]))
            assert await collect(link, 2) == [b"that is all", None]
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock())
