"""What is told to whom about whom, and what is heard of it: peers learned from peers."""

from __future__ import annotations

import pytest

from dinemic_transport.exchange import HINT_SECONDS, HINTS_MAX, Exchange
from dinemic_transport.messages import (
    NEIGHBOURS_PER_MESSAGE_MAX,
    Bye,
    Hello,
    Message,
    Neighbour,
    Peers,
)
from dinemic_transport.session import Session
from support.session_pair import CLUSTER, drain, make_session

ME = b"m" * 32


def node(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Desk:
    """An exchange and the sessions of its node, each of which can be heard and be told things."""

    def __init__(self, *listening: str) -> None:
        self.exchange = Exchange(ME, lambda: 0.5)
        if listening:
            self.exchange.listen(listening)
        self.sessions: dict[int, Session] = {}

    def link(self, number: int, remote: str, *, dialled: bool = False) -> list[Message]:
        """Open a session with a node; what it is told at once."""
        session = make_session(me=ME, peer=node(number))
        self.exchange.add(session, remote, dialled=dialled)
        session.refresh([], frozenset(), 0.0)
        session.receive_untrusted(Hello(CLUSTER, ("*",), ()), 0.0)
        drain(session)
        self.exchange.opened(session)
        self.sessions[number] = session
        return drain(session)

    def says(self, number: int, port: int) -> dict[int, list[Message]]:
        """A node says that it listens on `port`; what the others are told of it, by node."""
        self.exchange.introduce_untrusted(self.sessions[number], port)
        told = {other: drain(session) for other, session in self.sessions.items()}
        return {other: said for other, said in told.items() if said}

    def hints(self, number: int, *neighbours: Neighbour, now: float = 0.0) -> list[Neighbour]:
        session = self.sessions[number]
        return self.exchange.hints_untrusted(session, Peers(0, neighbours), now)


def test_a_node_that_dialled_in_is_told_of_at_its_host_and_the_port_it_says() -> None:
    desk = Desk("10.0.0.9:7000")
    assert desk.link(1, "10.0.0.1:51234") == [Peers(7000)]
    assert desk.says(1, 4001) == {}
    assert desk.link(2, "10.0.0.2:50001") == [Peers(7000, (Neighbour(node(1), "10.0.0.1:4001"),))]
    assert desk.says(2, 4002) == {1: [Peers(7000, (Neighbour(node(2), "10.0.0.2:4002"),))]}


def test_a_node_we_dialled_is_told_of_at_the_address_we_dialled() -> None:
    desk = Desk("[2001:db8::9]:7000")
    desk.link(1, "[2001:db8::1]:9999", dialled=True)
    desk.link(2, "[2001:db8::2]:50001")
    told = desk.says(1, 4001)  # which a router may forward to from another port
    assert told == {2: [Peers(7000, (Neighbour(node(1), "[2001:db8::1]:9999"),))]}


def test_a_node_that_does_not_listen_is_told_of_to_nobody_and_is_told_of_others() -> None:
    desk = Desk("10.0.0.9:7000")
    desk.link(1, "10.0.0.1:51234")
    assert desk.says(1, 4001) == {}
    assert desk.link(2, "10.0.0.2:1", dialled=True) == [
        Peers(7000, (Neighbour(node(1), "10.0.0.1:4001"),))
    ]
    assert desk.says(2, 0) == {}
    assert desk.link(3, "10.0.0.3:1") == [Peers(7000, (Neighbour(node(1), "10.0.0.1:4001"),))]


def test_only_nodes_with_an_open_link_are_told_of() -> None:
    desk = Desk("10.0.0.9:7000")
    desk.link(1, "10.0.0.1:51234")
    desk.link(2, "10.0.0.2:51234")
    desk.says(1, 4001)
    desk.says(2, 4002)
    desk.sessions[1].close("over")
    desk.exchange.remove(desk.sessions[2])
    assert desk.link(3, "10.0.0.3:1") == [Peers(7000)]
    assert desk.says(3, 4003) == {1: [Bye("over")]}


def test_a_node_is_told_nothing_twice_in_a_session_and_never_of_itself() -> None:
    desk = Desk("10.0.0.9:7000")
    desk.link(1, "10.0.0.1:51234")
    desk.says(1, 4001)
    desk.link(2, "10.0.0.2:51234")
    for _ in range(5):  # it comes and goes
        desk.exchange.remove(desk.sessions.pop(1))
        assert desk.link(1, "10.0.0.1:5555") == [Peers(7000)]
        assert desk.says(1, 4001) == {}
    del desk.sessions[1]
    desk.link(1, "10.0.0.1:5556")  # a second link, before the first has ended
    assert desk.says(1, 4444) == {2: [Peers(7000, (Neighbour(node(1), "10.0.0.1:4444"),))]}


def test_a_node_that_changes_its_mind_about_its_port_is_told_of_once_in_a_session() -> None:
    desk = Desk("10.0.0.9:7000")
    desk.link(1, "10.0.0.1:51234")
    desk.link(2, "10.0.0.2:51234")
    assert list(desk.says(1, 4001)) == [2]
    assert [desk.says(1, port) for port in range(5000, 5100)] == [{}] * 100


def test_loopback_addresses_are_told_over_loopback_and_no_others_are() -> None:
    desk = Desk("0.0.0.0:7000", "[::]:7000")
    remotes = ["127.0.0.1:1", "[::1]:1", "10.0.0.1:1", "[2001:db8::1]:1", "127.0.0.5:1"]
    for number, remote in enumerate(remotes):
        desk.link(number, remote)
    told: set[tuple[int, int]] = set()
    for about in range(len(remotes)):
        for to, messages in desk.says(about, 4000).items():
            assert [type(message) for message in messages] == [Peers]
            told.add((about, to))
    here, there = {0, 1, 4}, {2, 3}
    expected = {(a, b) for group in (here, there) for a in group for b in group if a != b}
    assert told == expected

    heard = [Neighbour(node(50), "127.0.0.1:5"), Neighbour(node(51), "10.0.0.5:5")]
    assert desk.hints(0, *heard) == heard[:1]
    assert desk.hints(2, *heard) == heard[1:]


@pytest.mark.parametrize(
    ("listening", "remote", "port"),
    [
        ("0.0.0.0:7000", "10.0.0.1:1", 7000),
        ("0.0.0.0:7000", "127.0.0.1:1", 7000),
        ("0.0.0.0:7000", "[2001:db8::1]:1", 0),
        ("[::]:7000", "[2001:db8::1]:1", 7000),
        ("[::]:7000", "10.0.0.1:1", 0),
        ("127.0.0.1:7000", "127.0.0.1:1", 7000),
        ("127.0.0.1:7000", "10.0.0.1:1", 0),
        ("10.0.0.9:7000", "10.0.0.1:1", 7000),
        ("10.0.0.9:7000", "127.0.0.1:1", 0),
        ("[fe80::9%eth0]:7000", "[2001:db8::1]:1", 7000),
        ("10.0.0.9:7000", "host-1:1", 0),
        ("host-9:7000", "10.0.0.1:1", 0),
    ],
)
def test_a_port_is_said_where_it_can_be_dialled(listening: str, remote: str, port: int) -> None:
    assert Desk(listening).link(1, remote) == ([Peers(port)] if port else [])


@pytest.mark.parametrize("remote", ["host-1:1", "[fe80::1%eth0]:1", "[::ffff:10.0.0.1]:1"])
def test_a_node_whose_address_means_nothing_elsewhere_is_not_told_of(remote: str) -> None:
    desk = Desk("10.0.0.9:7000")
    desk.link(1, remote)
    desk.link(2, "10.0.0.2:1")
    assert desk.says(1, 4001) == {}
    assert desk.says(2, 4002) == {1: [Peers(0, (Neighbour(node(2), "10.0.0.2:4002"),))]}


def test_a_newcomer_is_told_of_some_and_the_others_of_it() -> None:
    desk = Desk("10.0.0.9:7000")
    for number in range(1, 41):
        desk.link(number, f"10.0.0.{number}:1")
        desk.says(number, 4000)
    (told,) = desk.link(41, "10.0.0.41:1")
    assert isinstance(told, Peers)
    assert len({known.node_id for known in told.neighbours}) == NEIGHBOURS_PER_MESSAGE_MAX
    assert set(desk.says(41, 4041)) == set(range(1, 41))


def test_what_a_newcomer_is_told_of_is_drawn_by_lot() -> None:
    lots = iter(range(1000, 0, -1))
    desk = Desk("10.0.0.9:7000")
    desk.exchange = Exchange(ME, lambda: next(lots) / 1000)
    for number in range(1, 21):
        desk.link(number, f"10.0.0.{number}:1")
        desk.says(number, 4000)
    (told,) = desk.link(21, "10.0.0.21:1")
    assert isinstance(told, Peers)
    assert [known.node_id for known in told.neighbours] == [node(n) for n in range(20, 4, -1)]


def test_a_node_that_does_not_take_part_says_no_port_hears_nothing_and_introduces_others() -> None:
    desk = Desk()
    assert desk.link(1, "10.0.0.1:1") == []
    assert desk.link(2, "10.0.0.2:1") == []
    assert desk.says(1, 4001) == {2: [Peers(0, (Neighbour(node(1), "10.0.0.1:4001"),))]}
    assert desk.hints(1, Neighbour(node(5), "10.0.0.5:1")) == []


def test_hints_about_ourselves_or_the_peer_itself_are_none() -> None:
    desk = Desk("10.0.0.9:7000")
    desk.link(1, "10.0.0.1:1")
    heard = [Neighbour(number, "10.0.0.5:1") for number in (ME, node(1), node(2))]
    assert desk.hints(1, *heard) == heard[2:]


def test_a_session_has_a_budget_of_hints_and_what_is_beyond_it_is_not_heard() -> None:
    desk = Desk("10.0.0.9:7000")
    desk.link(1, "10.0.0.1:1")
    desk.link(2, "10.0.0.2:1")
    many = [Neighbour(node(1000 + number), "10.0.0.5:1") for number in range(16)]
    heard = [len(desk.hints(1, *many)) for _ in range(6)]
    assert heard == [16, 16, 16, 16, 0, 0]
    assert sum(heard) == HINTS_MAX
    assert len(desk.hints(2, *many)) == 16
    assert [len(desk.hints(1, *many, now=60.0 * minute)) for minute in (1, 2)] == [16, 16]
    assert len(desk.hints(1, *many, now=120.0 + HINT_SECONDS)) == 1
