"""A link with its session: where the tasks of a runner wait, and what it shows to people."""

from __future__ import annotations

import math
from typing import Final

import trio

from dinemic_engine.ids import to_text
from dinemic_transport.link import Link
from dinemic_transport.session import Session
from dinemic_transport.states import State
from dinemic_transport.status import PeerStatus


class Connection:
    """A link, its session, and where its four tasks wait until they have something to do."""

    def __init__(self, link: Link, session: Session) -> None:
        self.link = link
        self.session = session
        self.was_open = False
        self.watched_until = -math.inf
        """When the watcher looks again by itself."""
        self.reader, self.writer, self.worker, self.watcher = (
            trio.lowlevel.ParkingLot() for _ in range(4)
        )

    def kick(self) -> None:
        """The session has changed: wake those tasks that this concerns, for waking costs most."""
        session = self.session
        closed = session.state is State.CLOSED
        self.reader.unpark_all()
        if closed or session.has_message:
            self.writer.unpark_all()
        if closed or session.may_have_job:
            self.worker.unpark_all()
        if closed or session.deadline() < self.watched_until:
            self.watcher.unpark_all()

    def status(self, now: float) -> PeerStatus:
        """What it is doing."""
        link, session = self.link, self.session
        models = session.status(now)
        return PeerStatus(
            node_id=to_text(link.peer),
            address=link.address,
            dialled=link.dialled,
            state=_STATE_WORDS[session.state],
            synced=session.synced,
            catching_up=session.catching_up,
            behind=sum(model.behind for model in models),
            lag_seconds=max(
                (model.seconds for model in models if model.equal is False), default=0.0
            ),
            score=session.score.at(now),
            models=models,
            counters=session.counters,
        )


_STATE_WORDS: Final = {
    State.GREETING: "greeting",
    State.LISTING: "greeting",
    State.HEARD: "greeting",
    State.OPEN: "open",
    State.CLOSED: "closed",
}
