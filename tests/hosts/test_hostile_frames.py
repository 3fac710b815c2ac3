"""What comes before a message is understood: connections, handshakes and frames that mean ill.

Against a real process over real sockets. The limits on time are shortened there (`Host.hurry`).
"""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from dinemic_engine.errors import TransportError
from dinemic_engine.limits import FRAME_BYTES_MAX
from dinemic_transport.door import ACCEPTED_LINKS_MAX, ACCEPTED_LINKS_PER_HOST_MAX
from dinemic_transport.frames import encode_frame
from dinemic_transport.handshakes import HANDSHAKES_MAX, HANDSHAKES_PER_HOST_MAX
from support.figures import say
from support.honest_pair import HonestPair
from support.hostile_peer import PATIENCE_SECONDS, HostilePeer, dial, is_closed

THIRD_HOST = "127.0.0.3"


@pytest.mark.parametrize(
    "length",
    [0, FRAME_BYTES_MAX + 1, 1 << 31, (1 << 32) - 1],
    ids=["0", "64KiB+1", "2^31", "2^32-1"],
)
@pytest.mark.parametrize("greeted", [False, True], ids=["first", "greeted"])
def test_a_frame_of_an_impossible_length_ends_the_link(
    pair: HonestPair, length: int, greeted: bool
) -> None:
    with HostilePeer(pair.address) as peer:
        if greeted:
            peer.greet()
        peer.send_raw(length.to_bytes(4, "big") + bytes(1000))

        assert peer.last_word() == "", "it is not waited for what cannot come"


def test_half_a_frame_and_then_silence_is_waited_out(pair: HonestPair) -> None:
    begun = (b"", b"\0", b"\0\0\1\0" + bytes(100))
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(HostilePeer(pair.address)) for _ in begun]
        greeted = [stack.enter_context(HostilePeer(pair.address)).greet() for _ in begun]
        for peers in (strangers, greeted):
            for peer, half in zip(peers, begun, strict=True):
                peer.send_raw(half)

        assert {peer.last_word() for peer in strangers} == {"no greeting in time"}
        assert {peer.last_word() for peer in greeted} == {"the peer fell silent"}


def test_a_byte_now_and_then_is_no_sign_of_life(pair: HonestPair) -> None:
    frame = encode_frame(bytes(40))
    with HostilePeer(pair.address) as peer:
        peer.greet()
        sent = 0
        while not is_closed(peer.stream, within_seconds=0.4):
            peer.send_raw(frame[sent : sent + 1])
            sent += 1
    assert 2 < sent < len(frame), "it has a link for a byte every 0.4 s"


def still_open(connections: list[socket.socket], count: int) -> list[socket.socket]:
    """Those that are left when all but `count` were refused, before these have timed out."""
    end = time.monotonic() + PATIENCE_SECONDS
    while len(connections) > count:
        assert time.monotonic() < end, f"{len(connections)} are open"
        connections = [each for each in connections if not is_closed(each)]
    assert connections
    return connections


def test_handshakes_that_never_end_leave_room_for_others(pair: HonestPair) -> None:
    with contextlib.ExitStack() as stack:
        half_open = []
        for number in range(1_000):
            half_open.append(stack.enter_context(dial(pair.address)))
            if number % 100 == 99:  # in the middle of it
                with HostilePeer(pair.address, source=THIRD_HOST) as other:
                    other.greet()
        waiting = still_open(half_open, HANDSHAKES_PER_HOST_MAX)

        pair.check()
        assert all(is_closed(connection, PATIENCE_SECONDS) for connection in waiting)


def test_handshakes_of_many_hosts_that_never_end_are_bounded_in_all(pair: HonestPair) -> None:
    with contextlib.ExitStack() as stack:
        half_open = [
            stack.enter_context(dial(pair.address, f"127.0.1.{host}"))
            for host in range(1, 2 * HANDSHAKES_MAX // HANDSHAKES_PER_HOST_MAX)
            for _ in range(HANDSHAKES_PER_HOST_MAX)
        ]
        waiting = still_open(half_open, HANDSHAKES_MAX)

        pair.check()
        assert all(is_closed(connection, PATIENCE_SECONDS) for connection in waiting)
        with HostilePeer(pair.address, source=THIRD_HOST) as other:
            other.greet()


@contextlib.contextmanager
def crowd(pair: HonestPair, hosts: int, attempts: int) -> Iterator[int]:
    """Nodes of so many hosts, each trying as often to get a link; how many got one."""
    links = 0
    with contextlib.ExitStack() as stack:
        for host in range(hosts):
            for _ in range(attempts):
                with contextlib.suppress(OSError, TransportError):
                    peer = HostilePeer(pair.address, source=f"127.0.2.{host + 1}")
                    stack.enter_context(peer).greet()
                    links += 1
        yield links


def test_one_host_gets_so_many_links_and_leaves_room_for_others(pair: HonestPair) -> None:
    with crowd(pair, 1, ACCEPTED_LINKS_PER_HOST_MAX + 40) as links:
        assert links >= ACCEPTED_LINKS_PER_HOST_MAX
        assert pair.links() <= ACCEPTED_LINKS_PER_HOST_MAX
        with HostilePeer(pair.address, source=THIRD_HOST) as other:
            other.greet()
        pair.check()


def test_five_hundred_connections_that_say_nothing_cost_nothing(pair: HonestPair) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(500):
            stack.enter_context(dial(pair.address, f"127.0.3.{number % 50 + 1}"))
        pair.check()


@pytest.mark.long
def test_ten_thousand_connections_are_bounded_and_honest_hosts_keep_theirs(
    pair: HonestPair,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 11_000:
        pytest.skip(f"at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 11_000), hard))
    try:
        with crowd(pair, 10, 100) as links, contextlib.ExitStack() as stack:
            assert links > ACCEPTED_LINKS_PER_HOST_MAX
            for number in range(9_000):
                stack.enter_context(dial(pair.address, f"127.0.3.{number % 200 + 1}"))
            assert pair.links() <= ACCEPTED_LINKS_MAX
            say(f"{links} of 10,000 got a link; {pair.growth_bytes() >> 20} MiB more")
            pair.check()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
