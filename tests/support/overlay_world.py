"""Many nodes in one loop: sessions, gossip and overlays over dicts, on a clock of their own.

No sockets, tasks or threads: a heap of things to do, by time. Messages travel as objects, in order,
each link with a delay of its own. What is not simulated is trio and bytes: `cluster.py` has these.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dinemic_transport.jobs import summarise
from dinemic_transport.messages import Events, Message, cluster_hash
from dinemic_transport.overlay import Overlay
from dinemic_transport.peers import ACTIVE
from dinemic_transport.session import Session
from dinemic_transport.states import State
from support.dict_replica import DictReplica, identify, made_event

CLUSTER = cluster_hash("tests")


@dataclass(eq=False)
class End:
    """One end of a link."""

    node: Node
    session: Session
    delay: float
    other: End | None = None
    wake_at: float = float("inf")
    last_arrival: float = 0.0
    alive: bool = True


@dataclass(eq=False)
class Node:
    """One node: its overlay, what it has, and the ends of its links."""

    number: int
    world: World
    overlay: Overlay
    replica: DictReplica
    ends: dict[Session, End] = field(default_factory=dict)
    up: bool = True
    copies: Counter[bytes] = field(default_factory=Counter)
    """How often each event came as news."""
    had_at: dict[bytes, float] = field(default_factory=dict)
    keeper_at: float = float("inf")
    dialler_at: float = float("inf")

    @property
    def node_id(self) -> bytes:
        return node_id(self.number)

    @property
    def neighbours(self) -> list[Node]:
        """Nodes it has open links to."""
        return [
            end.other.node
            for end in self.ends.values()
            if end.alive and end.other is not None and end.session.state is State.OPEN
        ]


def node_id(number: int) -> bytes:
    return random.Random(number).randbytes(32)


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:7000"


class World:
    """Nodes 0, 1, ... `lose(message)` says whether a message is lost on its way."""

    def __init__(
        self, count: int, rng: random.Random, active: int = ACTIVE, knows: int = 2
    ) -> None:
        """Each node has found `knows` of those before it."""
        self.now = 0.0
        self.rng = rng
        self.lose: Callable[[Message], bool] = lambda message: False
        self.sent: Counter[str] = Counter()
        self._todo: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._nodes: dict[str, Node] = {}
        self.nodes = [self._make(number, active) for number in range(count)]
        for node in self.nodes[1:]:
            for number in rng.sample(range(node.number), min(knows, node.number)):
                self.introduce(node, self.nodes[number])

    def _make(self, number: int, active: int) -> Node:
        overlay = Overlay(
            node_id(number),
            cluster=CLUSTER,
            models=("*",),
            rand=random.Random(self.rng.random()).random,
            identify=identify,
            active=active,
        )
        overlay.addresses = (address(number),)
        overlay.exchange.listen(overlay.addresses)
        node = Node(number, self, overlay, DictReplica())
        node.replica.announce = lambda model, events: self._admitted(node, model, list(events))
        self._nodes[address(number)] = node
        return node

    # -- what a test does --

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let `seconds` pass, or less if something holds."""
        end = self.now + seconds
        while self._todo and self._todo[0][0] <= end and not until():
            self.now, _, call = heapq.heappop(self._todo)
            call()
        if not until():
            self.now = end

    def author(self, node: Node, t: int) -> bytes:
        """A new event, made by `node`; its id."""
        raw = made_event(t, node.number.to_bytes(4, "big"))
        node.replica.author([raw])
        self._work(node)
        return identify(raw)

    def introduce(self, node: Node, to: Node) -> None:
        """`node` finds another, and dials it soon."""
        node.overlay.peers.found_untrusted(address(to.number), to.node_id, self.now)
        self._dial_soon(node, self.rng.random())

    def cut(self, node: Node, end: End) -> None:
        """Break a link, for both ends."""
        for one in (end, end.other):
            if one is not None and one.alive:
                one.session.lost_link("cut")
                self._work(one.node)

    def links(self) -> Iterator[End]:
        for node in self.nodes:
            yield from [end for end in node.ends.values() if end.alive]

    def reached(self) -> int:
        """How many nodes the first that is up is connected to, over any others."""
        first = next(node for node in self.nodes if node.up)
        seen, line = {first.number}, [first]
        while line:
            for neighbour in line.pop().neighbours:
                if neighbour.number not in seen:
                    seen.add(neighbour.number)
                    line.append(neighbour)
        return len(seen)

    # -- the loop --

    def _at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._todo, (when, next(self._order), call))

    def _admitted(self, node: Node, model: str, events: list[bytes]) -> None:
        for raw in events:
            node.had_at[identify(raw)] = self.now
        node.overlay.gossip.announce(model, events, self.now)

    def _work(self, node: Node) -> None:
        """Do all that can be done now on one node."""
        now, overlay = self.now, node.overlay
        worked = True
        while worked:
            worked = False
            if overlay.deadline() <= now:
                overlay.tick(now)
                refresh = overlay.gossip.take_due(now)
                if refresh is not None:
                    rows = summarise(node.replica, refresh.models)
                    overlay.gossip.refreshed(refresh, rows, now)
            for end in list(node.ends.values()):
                worked = self._work_at(end) or worked
        self._keep_later(node)

    def _work_at(self, end: End) -> bool:
        node, session, worked = end.node, end.session, False
        while (job := session.next_job(self.now)) is not None:
            session.completed(job, job.run(node.replica), self.now)
            worked = True
        node.overlay.settle(session, self.now)
        while (message := session.next_message()) is not None:
            self._send(end, message)
            worked = True
        if session.state is State.CLOSED:
            self._ended(end)
        elif session.deadline() < end.wake_at:
            self._wake_later(end)
        return worked

    def _wake_later(self, end: End) -> None:
        at = end.wake_at = max(end.session.deadline(), self.now)

        def wake() -> None:
            if not end.alive or end.wake_at != at:
                return
            end.wake_at = float("inf")
            if end.session.deadline() <= self.now:
                end.session.tick(self.now)
                self._work(end.node)
            else:
                self._wake_later(end)

        self._at(at, wake)

    def _keep_later(self, node: Node) -> None:
        at = node.overlay.deadline()
        if at >= node.keeper_at or at == float("inf"):
            return
        node.keeper_at = max(at, self.now)

        def wake() -> None:
            node.keeper_at = float("inf")
            if node.up:
                self._work(node)

        self._at(node.keeper_at, wake)

    def _send(self, end: End, message: Message) -> None:
        self.sent[type(message).__name__] += 1
        other = end.other
        if other is None or self.lose(message):
            return
        arrival = end.last_arrival = max(end.last_arrival, self.now + end.delay)

        def arrive() -> None:
            if other.alive:
                if isinstance(message, Events) and message.ticket == 0:
                    other.node.copies.update(map(identify, message.events))
                other.session.receive_untrusted(message, self.now)
                other.node.overlay.hear(other.session, self.now)
                self._dial_soon(other.node, 0.05)
                self._work(other.node)

        self._at(arrival, arrive)

    # -- links --

    def _dial_soon(self, node: Node, seconds: float) -> None:
        if node.dialler_at < float("inf"):
            return
        node.dialler_at = self.now + seconds

        def dial() -> None:
            node.dialler_at = float("inf")
            while node.up and (found := node.overlay.peers.next_dial(self.now)) is not None:
                self._dial(node, found.address)
            due = node.overlay.peers.deadline()
            if due < float("inf"):
                self._dial_soon(node, max(due - self.now, 0.05))

        self._at(node.dialler_at, dial)

    def _dial(self, node: Node, to: str) -> None:
        delay = 0.005 + 0.045 * self.rng.random()

        def connect() -> None:
            other = self._nodes[to]
            if not (node.up and other.up):
                node.overlay.peers.failed(to, self.now)
                self._dial_soon(node, 0.05)
                return
            node.overlay.peers.reached(to, other.node_id)
            ends = []
            for one, there, dialled in ((node, other, True), (other, node, False)):
                remote = to if dialled else f"{address(there.number).split(':')[0]}:50000"
                session = one.overlay.join(there.node_id, remote, dialled=dialled, now=self.now)
                if session is not None:
                    end = one.ends[session] = End(one, session, delay)
                    ends.append(end)
            if len(ends) == 2:
                ends[0].other, ends[1].other = ends[1], ends[0]
            else:
                for end in ends:
                    end.session.lost_link("the link is not kept")
            self._work(node)
            self._work(other)

        self._at(self.now + 2 * delay, connect)

    def _ended(self, end: End) -> None:
        node = end.node
        if not end.alive:
            return
        end.alive = False
        del node.ends[end.session]
        node.overlay.leave(end.session, self.now)
        self._dial_soon(node, 0.05)
        other = end.other
        if other is not None and other.alive:

            def lost() -> None:
                other.session.lost_link("the peer closed the link")
                self._work(other.node)

            self._at(max(self.now + end.delay, end.last_arrival), lost)
