"""Peers learned from peers: what a node tells each of its peers about the others (CHAN-5).

::

    A --dialled--> B <--dialled-- C         A and C were told of B alone
         A says: I listen on 7000
                   B tells C: node A is at <host A's link comes from>:7000
    A <---------------------------- C       C dials A, and the mesh is full

Invariant: a node tells of another only while it holds an open link to it, only if that node said
that it listens, and only the address it dialled it at or, if it was dialled, the one the link
comes from with the port that was said. It never tells a node of itself, nor the same twice in one
session. 127.0.0.1 is another machine for everybody, so loopback addresses are told over loopback
links and no others are: also, who keeps a node to loopback does not want it drawn out of there.

What is heard is a hint: a claim about somebody else that only a handshake can prove. How much of
it a peer may say is bounded here, what becomes of it in peers.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Final

from dinemic_engine.errors import UsageError
from dinemic_transport.addresses import Ip, join, literal_untrusted, split_untrusted
from dinemic_transport.budget import Budget
from dinemic_transport.messages import NEIGHBOURS_PER_MESSAGE_MAX, Neighbour, Peers
from dinemic_transport.news import Recent
from dinemic_transport.session import Session
from dinemic_transport.states import State

HINTS_MAX: Final = 64
HINT_SECONDS: Final = 60 / 16
"""Addresses one session may tell us of at once, and how often one more; others are not heard."""

ALONE: Final = 3
"""A peer that was told of fewer others is not sent away, however many links there are."""


class _Place:
    """Where the node at the other end of a session is, and what was said to it and by it."""

    def __init__(self, remote: str, *, dialled: bool) -> None:
        self.ip: Ip | None = None
        """None if it is nothing to tell others: a name, or an address that needs a scope."""
        self.port = 0
        self.dialled = dialled
        try:
            self.ip, self.port = literal_untrusted(remote)
        except UsageError:
            self.port = 0
        self.address: str | None = None
        """Where others can dial it; None until it says that it listens."""
        self.said = Recent()
        self.told = 0
        """How many nodes it was told of."""
        self.hints = Budget(HINTS_MAX, HINT_SECONDS)

    @property
    def is_loopback(self) -> bool:
        return self.ip is not None and self.ip.is_loopback


class Exchange:
    """All sessions of one node, and where their peers are. `rand()` is a number in 0..1."""

    def __init__(self, me: bytes, rand: Callable[[], float]) -> None:
        self._me = me
        self._rand = rand
        self._listening: list[tuple[Ip, int]] | None = None
        self._places: dict[Session, _Place] = {}

    def listen(self, addresses: Sequence[str]) -> None:
        """Take part: say that we listen on these, ``ip:port`` each, and hear of others.

        A node of which this is never called is not looking for peers and not to be found. It
        introduces those that are to each other all the same.
        """
        self._listening = []
        for address in addresses:
            host, port = split_untrusted(address)
            try:
                self._listening.append((ipaddress.ip_address(host), port))
            except ValueError:
                continue  # a name stands for no socket: this is no transport over IP

    # -- sessions --

    def add(self, session: Session, remote: str, *, dialled: bool) -> None:
        """A new session over a link with that remote ``ip:port``, which we dialled or not."""
        self._places[session] = _Place(remote, dialled=dialled)

    def remove(self, session: Session) -> None:
        """The session is over. Idempotent."""
        self._places.pop(session, None)

    def may_shed(self, session: Session) -> bool:
        """Whether the peer has others to turn to: it takes part, and was told of some."""
        place = self._places[session]
        return place.address is not None and place.told >= ALONE

    def opened(self, session: Session) -> None:
        """The session is open: tell the peer our port, and where some of the others are."""
        known = [told for other in self._places if (told := self._news(other, session))]
        known.sort(key=lambda _: self._rand())
        self._tell(session, known[:NEIGHBOURS_PER_MESSAGE_MAX])

    # -- what is heard --

    def introduce_untrusted(self, session: Session, port: int) -> None:
        """The peer says it listens on `port`: tell the others of it, once."""
        place = self._places[session]
        if place.ip is None or port == 0 or place.address is not None:
            return
        place.address = join(str(place.ip), place.port if place.dialled else port)
        to = [(other, told) for other in self._places if (told := self._news(session, other))]
        for other, told in to:
            self._tell(other, [told])

    def hints_untrusted(self, session: Session, peers: Peers, now: float) -> list[Neighbour]:
        """Those of the nodes told of that are worth a try."""
        if self._listening is None:
            return []
        place = self._places[session]
        return [
            told
            for told in peers.neighbours
            if told.node_id not in (self._me, session.peer)
            and literal_untrusted(told.address)[0].is_loopback == place.is_loopback
            and place.hints.take(now)
        ]

    # -- what is told --

    def _news(self, about: Session, to: Session) -> Neighbour | None:
        """The peer of one session, if that of another is to be told of it."""
        place, there = self._places[about], self._places[to]
        if (
            place.address is None
            or about.peer == to.peer
            or about.state is not State.OPEN
            or to.state is not State.OPEN
            or place.is_loopback != there.is_loopback
            or _key(about.peer, place.address) in there.said
        ):
            return None
        return Neighbour(about.peer, place.address)

    def _tell(self, session: Session, neighbours: Sequence[Neighbour]) -> None:
        place = self._places[session]
        place.told += len(neighbours)
        port = self._port_for(place.ip)
        for told in neighbours:
            place.said.add(_key(told.node_id, told.address))
        if port or neighbours:
            session.tell(Peers(port, tuple(neighbours)))

    def _port_for(self, ip: Ip | None) -> int:
        """The port at which others can dial us where `ip` sees us; 0 if there is none."""
        for ours, port in self._listening or ():
            if (
                ip is not None
                and ours.version == ip.version
                and (ours.is_unspecified or ours.is_loopback == ip.is_loopback)
            ):
                return port
        return 0


def _key(node_id: bytes, address: str) -> bytes:
    return node_id + address.encode()
