"""The links of one node, as a value: which are kept, and which make room (GOS-2, GOS-5).

::

    a link -->  join --> Session --open--> told of others; others told of it
                  |                           |
                  +- banned, or a second      +- more than ACTIVE_MAX links: one of those who have
                     link to one node            others to turn to is sent away, told to stay away

It is `Gossip` (what is told), `Peers` (whom to dial) and `Exchange` (who is told of whom) with the
sessions they are about. A small network stays a full mesh. In a large one each node makes `ACTIVE`
links and holds up to `ACTIVE_MAX`, so somebody who comes finds room everywhere; one link every ten
minutes is changed for another, so no set of neighbours, also no bad one, lasts.

Whom the user named is linked to beside all that.

Invariant: nobody is sent away who was told of too few others (`Exchange.may_shed`), nor whom the
user named; so a relay that all others are told to dial serves them all, and nobody is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final

from dinemic_transport.arrivals import event_id_untrusted
from dinemic_transport.exchange import Exchange
from dinemic_transport.gossip import Gossip
from dinemic_transport.peers import ACTIVE, Peers
from dinemic_transport.session import Session
from dinemic_transport.states import State

ACTIVE_MAX: Final = ACTIVE + 2
"""Links a node holds: two of them are others' to make, so that who comes finds room."""

ROTATE_SECONDS: Final = 600.0
"""One link gives way to another every ten minutes +- 50 %."""

CLOCKS_MIN: Final = 3
"""Fewer peers than this say nothing about our clock (ORD-5)."""


class Overlay:
    """All sessions of the node `me`, by peer, and what they have to do with each other.

    `addresses` are our own. `rand()` is a number in 0..1.
    """

    def __init__(
        self,
        me: bytes,
        *,
        cluster: bytes,
        models: Sequence[str],
        rand: Callable[[], float],
        identify: Callable[[bytes], bytes] = event_id_untrusted,
        active: int = ACTIVE,
    ) -> None:
        self.gossip = Gossip(identify)
        self.peers = Peers(me, rand, active)
        self.exchange = Exchange(me, rand)
        self.addresses: tuple[str, ...] = ()
        self._me = me
        self._cluster = cluster
        self._models = tuple(models)
        self._rand = rand
        self._identify = identify
        self._active_max = active + ACTIVE_MAX - ACTIVE
        self._sessions: dict[bytes, Session] = {}
        self._opened: set[Session] = set()
        self._rotate_at = math.inf

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    # -- links --

    def join(self, peer: bytes, remote: str, *, dialled: bool, now: float) -> Session | None:
        """A new link to `peer`, which is at `remote`: its session, or None if it is not kept.

        Of two links to one node both ends keep the same; the session of the other is closed.
        """
        if self.peers.banned(peer, now):
            return None
        old = self._sessions.get(peer)
        if old is not None:
            if not self.peers.prefers_new(peer, dialled=dialled):
                old.probe(now)
                return None
            old.close("another link to the same node is kept")
        session = Session(
            self._me,
            peer,
            cluster=self._cluster,
            models=self._models,
            now=now,
            rand=self._rand,
            identify=self._identify,
            heard=self.gossip.heard,
        )
        self._sessions[peer] = session
        self.peers.joined(peer, now, dialled=dialled, remote=remote)
        self.gossip.add(session)
        self.exchange.add(session, remote, dialled=dialled)
        return session

    def settle(self, session: Session, now: float) -> bool:
        """To be called when a session has changed: whether it has just been opened."""
        if session.state is not State.OPEN or session in self._opened:
            return False
        self._opened.add(session)
        if self._sessions.get(session.peer) is session and not session.is_of_use:
            self.peers.is_of_no_use(session.peer)
        self.exchange.opened(session)
        if self._rotate_at == math.inf:
            self._rotate_at = self._rotation(now)
        self._shed(session, now)
        return True

    def hear(self, session: Session, now: float) -> bool:
        """To be called after each frame: whether it told of nodes, or of where the peer listens."""
        told = session.take_told()
        if told is None:
            return False
        for hint in self.exchange.hints_untrusted(session, told, now):
            if hint.address not in self.addresses:
                self.peers.told_untrusted(hint.address, hint.node_id, session.peer, now)
        self.exchange.introduce_untrusted(session, told.port)
        return True

    def leave(self, session: Session, now: float) -> bool:
        """The link of a session is over; whether it was the one we kept to that node."""
        session.lost_link("this node stopped")
        self.gossip.remove(session)
        self.exchange.remove(session)
        self._opened.discard(session)
        kept = self._sessions.get(session.peer) is session
        if kept:
            del self._sessions[session.peer]
            self.peers.left(session.peer, now)
        if session.fault:
            self.peers.ban(session.peer, now)
        if session.full:
            self.peers.rest(session.peer, now)
        return kept

    # -- time --

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(self.gossip.deadline(), self._rotate_at)

    def tick(self, now: float) -> None:
        """Ask for what is missing; change a link for another when it is time."""
        self.gossip.tick(now)
        if now >= self._rotate_at:
            self._rotate_at = self._rotation(now)
            if self.peers.is_full and self.peers.has_other(now):
                self._send_away(self._victim(None, now))

    def _rotation(self, now: float) -> float:
        return now + ROTATE_SECONDS * (0.5 + self._rand())

    # -- room --

    def _shed(self, newcomer: Session, now: float) -> None:
        others = sum(
            session.state is State.OPEN and not self.peers.is_given(session.peer)
            for session in self._opened
        )
        if others > self._active_max:
            self._send_away(self._victim(newcomer, now))

    def _victim(self, newcomer: Session | None, now: float) -> Session | None:
        """Who can do without us best: at fault, of no use, one of many in its network, any."""
        return min(
            (
                session
                for session in self._opened
                if session is not newcomer
                and session.state is State.OPEN
                and self._sessions.get(session.peer) is session
                and not self.peers.is_given(session.peer)
                and self.exchange.may_shed(session)
            ),
            key=lambda session: (
                session.score.at(now) >= 0,
                session.is_of_use,
                not self.peers.is_crowded(session.peer),
                self._rand(),
            ),
            default=None,
        )

    @staticmethod
    def _send_away(session: Session | None) -> None:
        if session is not None:
            session.close("links enough; others were named", full=True)

    # -- the clock --

    def clock_behind_us(self, now: float, now_us: int) -> int | None:
        """How far our clock is behind the median of the peers', negative if it is ahead (ORD-5).

        None with fewer than `CLOCKS_MIN` that say.
        """
        clocks = [
            session.clock_ahead_us
            for session in self._opened
            if session.state is State.OPEN and session.clock_ahead_us is not None
        ]
        if len(clocks) < CLOCKS_MIN:
            return None
        return int(median(clocks)) + int(now * 1_000_000) - now_us
