"""Two nodes talking without a network: sessions, gossip and replicas on a clock a test turns.

Messages travel at once and in order, encoded and decoded; jobs run here. ``pair.run(seconds)`` lets
everything happen that happens in that time. The replicas are dicts, or real nodes (`nodes.Linked`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from dinemic_transport.gossip import Gossip
from dinemic_transport.jobs import summarise
from dinemic_transport.messages import Message, cluster_hash
from dinemic_transport.replica import Replica
from dinemic_transport.session import Session
from dinemic_transport.wire import decode_untrusted, encode
from support.dict_replica import identify

SMALL = b"\1" * 32
LARGE = b"\2" * 32
CLUSTER = cluster_hash("tests")


def make_session(
    *,
    me: bytes = SMALL,
    peer: bytes = LARGE,
    models: Sequence[str] = ("*",),
    cluster: bytes = CLUSTER,
    now: float = 0.0,
) -> Session:
    return Session(
        me, peer, cluster=cluster, models=models, now=now, rand=lambda: 0.5, identify=identify
    )


class Announcing(Replica, Protocol):
    """A replica that says what it has admitted to whom it is told to."""

    announce: Callable[[str, Sequence[bytes]], None]

    @property
    def ids(self) -> frozenset[bytes]:
        """Ids of the events it would send to an empty peer."""


Small = TypeVar("Small", bound=Announcing)
Large = TypeVar("Large", bound=Announcing)


class Node(Generic[Small]):
    """One end: `sent` holds every message in order."""

    def __init__(
        self, me: bytes, peer: bytes, replica: Small, identify: Callable[[bytes], bytes] = identify
    ) -> None:
        self.me = me
        self.peer = peer
        self.replica = replica
        self.gossip = Gossip(identify)
        self._identify = identify
        self.sent: list[Message] = []
        self.frames: deque[bytes] = deque()
        self.sent_bytes = 0
        self.now = 0.0
        replica.announce = lambda model, events: self.gossip.announce(model, events, self.now)
        self.session = self._greet()

    def reconnect(self) -> None:
        """A new session; whatever the old one was doing is over."""
        self.session.lost_link("cut")
        self.gossip.remove(self.session)
        self.frames.clear()
        self.session = self._greet()

    def _greet(self) -> Session:
        session = Session(
            self.me,
            self.peer,
            cluster=CLUSTER,
            models=self.replica.models(),
            now=self.now,
            rand=lambda: 0.5,
            identify=self._identify,
            heard=self.gossip.heard,
        )
        self.gossip.add(session)
        return session

    def step(self) -> bool:
        """Do one thing that can be done now; False if there is none."""
        self.gossip.tick(self.now)
        refresh = self.gossip.take_due(self.now)
        if refresh is not None:
            self.gossip.refreshed(refresh, summarise(self.replica, refresh.models), self.now)
            return True
        job = self.session.next_job(self.now)
        if job is not None:
            self.session.completed(job, job.run(self.replica), self.now)
            return True
        message = self.session.next_message()
        if message is not None:
            frame = encode(message)
            self.sent.append(message)
            self.sent_bytes += len(frame)
            self.frames.append(frame)
            return True
        if self.session.deadline() <= self.now:
            self.session.tick(self.now)
            return True
        return False

    def deadline(self) -> float:
        return min(self.session.deadline(), self.gossip.deadline())


class Pair(Generic[Small, Large]):
    """Two nodes and the time. `small` has the smaller id and drives catch-ups."""

    def __init__(
        self, small: Small, large: Large, identify: Callable[[bytes], bytes] = identify
    ) -> None:
        self.small = Node(SMALL, LARGE, small, identify)
        self.large = Node(LARGE, SMALL, large, identify)
        self.now = 0.0

    def run(self, seconds: float = 0.0, *, steps: int = 1_000_000) -> int:
        """Let `seconds` pass, or `steps` happen if that is earlier; how many did."""
        until, done = self.now + seconds, 0
        while done < steps:
            if self._step():
                done += 1
                continue
            due = min(self.small.deadline(), self.large.deadline())
            assert due > self.now, "nothing to do, and something due"
            self.now = self.small.now = self.large.now = min(due, until)
            if due > until:
                break
        return done

    def _step(self) -> bool:
        worked = False
        for step, frames, other in (
            (self.small.step, self.small.frames, self.large.session),
            (self.large.step, self.large.frames, self.small.session),
        ):
            worked = step() or worked
            if frames:
                other.receive_untrusted(decode_untrusted(frames.popleft()), self.now)
                worked = True
        return worked

    def cut(self) -> None:
        """Break the link and make another."""
        self.small.reconnect()
        self.large.reconnect()

    @property
    def synced(self) -> bool:
        return self.small.gossip.synced and self.large.gossip.synced

    @property
    def equal(self) -> bool:
        return self.small.replica.ids == self.large.replica.ids


def drain(session: Session, now: float = 0.0) -> list[Message]:
    """Everything a session has to say."""
    said: list[Message] = []
    while (message := session.next_message()) is not None:
        said.append(message)
    return said
