"""One simulated node: a real `Node` and `Runner` on a disk, a clock and a network made of memory.

What runs on threads elsewhere are tasks here, on virtual time::

    runner ---- jobs ----> Rough ----> Node ----> DiskStore
                           shuffles     |
    _keep  ---- group commit, held -----+
    _call  ---- guards, listeners ------'

`attend` is called between ticks and wakes the two tasks when the node has something for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import trio

from dinemic import running
from dinemic.actions import DAction
from dinemic.config import Config
from dinemic.keeper import GROUP_COMMIT_S
from dinemic.models import DModel
from dinemic.node import Node
from dinemic.outside import Outside
from dinemic.testing.determinism import Watched
from dinemic.testing.disk import Disk, DiskKeys
from dinemic.testing.hpke import encrypt_with
from dinemic.testing.network import MemoryNetwork
from dinemic.testing.telling import Told
from dinemic.testing.trace import Trace
from dinemic.testing.virtual_time import VirtualTime
from dinemic_engine.errors import NotLaunched, StoreError
from dinemic_engine.event import open_envelope_untrusted
from dinemic_engine.store import keyspace, layout
from dinemic_transport.replica import Ingested, Replica
from dinemic_transport.runner import Runner
from dinemic_transport.status import NetworkStatus

if TYPE_CHECKING:
    from dinemic.net import Network


START_US: Final = 1_800_000_000_000_000
"""What every clock of a world shows in the beginning, in microseconds since the Unix epoch."""

_Model = TypeVar("_Model", bound=DModel)

Listening = tuple[Callable[[], DAction], str]
"""What makes a listener, and the filter it is applied under."""


@dataclass
class Pace:
    """How a site works: seconds are drawn up to these bounds, chances are for each batch."""

    job_s: float = 0.002
    """What a job of the network takes, from peer to node."""
    callback_s: float = 0.01
    """Until a guard or a listener is called."""
    reorder: float = 0.0
    duplicate: float = 0.0


@dataclass
class Ground:
    """What all sites of a world stand on."""

    time: VirtualTime
    network: MemoryNetwork
    trace: Trace
    cluster: str
    pace: Pace = field(default_factory=Pace)
    watch_guards: bool = False

    def fault(self, kind: str, what: str = "") -> None:
        """A fault is injected now."""
        self.trace.fault(self.time.now(), kind, what)


class Site:
    """One node of a world. As a context, objects made and opened in it belong to this node."""

    def __init__(
        self,
        ground: Ground,
        number: int,
        seed: str,
        peers: Sequence[str],
        listeners: Sequence[Listening],
        *,
        replica: Callable[[Rough], Replica] = lambda rough: cast(Replica, rough),
        identify: Callable[[bytes], bytes] = lambda raw: open_envelope_untrusted(raw).id,
    ) -> None:
        self.number: Final = number
        self.address: Final = f"node-{number}:1"
        self.disk: Final = Disk()
        self.skew_s = 0.0
        """How far its clock is off."""
        self.synced: set[bytes] = set()
        """Ids of the events that it had on disk at some time (I-13)."""
        self.listeners: Final[list[DAction]] = []
        """Its listeners, since it was started last."""
        self.watched: Final[list[Watched]] = []
        """What was seen of their guards, if the world watches them."""
        self.told: Final[list[Told]] = []
        """What they were told, since it was started last."""
        self._ground = ground
        self._rng = Random(f"{seed}/{number}")
        self._keys = DiskKeys(self._rng.randbytes)
        self._peers = tuple(peers)
        self._given = tuple(listeners)
        self._replica = replica
        self._identify = identify
        self._node: Node | None = None
        self._runner: Runner | None = None
        self._scope = trio.CancelScope()
        self._kept = trio.lowlevel.ParkingLot()
        self._called = trio.lowlevel.ParkingLot()
        self._acting: list[Any] = []
        self._synced_seq = 0
        self._seq_before = 0
        self._flushing = False
        self.since = 0.0
        """When it was started last."""
        self.disk.flushed = self._note_synced

    def __repr__(self) -> str:
        return f"<node {self.number}{'' if self.is_up else ', down'}>"

    # -- for whoever plays a part ---------------------------------------------------------------

    @property
    def admitted(self) -> int:
        """Events let in since it was started last."""
        return self.node.view.tip().seq - self._seq_before

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._node is not None

    @property
    def node(self) -> Node:
        """The real node.

        Raises:
            NotLaunched: it is down.
        """
        if self._node is None:
            raise NotLaunched(f"node {self.number} of this world is down")
        return self._node

    @property
    def runner(self) -> Runner:
        """Its network."""
        assert self._runner is not None
        return self._runner

    @property
    def node_id(self) -> bytes:
        """What its peers know it by."""
        return self._keys.node_key.public

    def now_us(self) -> int:
        """Its clock, in microseconds since the Unix epoch."""
        return START_US + int((self._ground.time.now() + self.skew_s) * 1e6)

    def __enter__(self) -> Site:
        block = running.acting(self.node)
        block.__enter__()
        self._acting.append(block)
        return self

    def __exit__(self, *error: Any) -> None:
        self._acting.pop().__exit__(*error)

    def create(self, model: type[_Model], granted: Sequence[str] = (), **fields: Any) -> _Model:
        """A new object of this node; fields by the name of their attribute."""
        with self:
            made = model(list(granted))
            for name, value in fields.items():
                getattr(made, name).set(value)
        return made

    def handle(self, model: type[_Model], of: str | DModel, caller: str | DModel = "") -> _Model:
        """A handle of this node on an object: its full id, or a handle of any node."""
        with self:
            return model(_id(of), _id(caller))

    def apply(self, listener: Callable[[], DAction], filter: str) -> DAction:
        """Apply a listener made for this node, until it goes down."""
        if self._ground.watch_guards:
            self.watched.append(Watched(listener))
            made = self.watched[-1].listener
        else:
            made = listener()
        self.told.append(Told(made))
        with self:
            made.apply(filter)
        self.listeners.append(made)
        return made

    def events(self) -> Iterator[tuple[str, bytes]]:
        """(model, signed bytes) of every event here, in order of arrival."""
        view = self.node.view
        for event_id in self._arrived(1):
            found = view.raw(event_id)
            assert found is not None, "an arrival without its event"
            yield found

    def flush(self) -> None:
        """As `Node.flush`: what this node holds now survives a power cut."""
        self.node.flush()

    # -- up and down ----------------------------------------------------------------------------

    def start(self) -> None:
        """Open the node on what its disk holds, and connect it.

        Raises:
            StoreFull: its disk takes nothing, and it is down as before.
        """
        assert self._node is None, "it runs already"
        config = Config(
            Path(f"/simulated/{self.number}"), cluster=self._ground.cluster, store="memory"
        )
        random = self._rng.randbytes
        outside = Outside(self.now_us, random, encrypt_with(random), threads=False)
        store = self.disk.open()
        try:
            self._node = node = Node(config, store, self._keys, outside)
        except BaseException:
            store.close()
            raise
        self._seq_before, self.since = node.view.tip().seq, self._ground.time.now()
        self.listeners.clear()
        self.watched.clear()
        self.told.clear()
        try:
            for listener, filter in self._given:
                self.apply(listener, filter)
        except BaseException:
            self.go_down()
            raise
        self._runner = Runner(
            self._replica(Rough(node, self._rng, self._ground)),
            self._ground.network.transport(self.node_id, self.address),
            node_id=self.node_id,
            cluster=self._ground.cluster,
            rand=self._rng.random,
            peers=self._peers,
            offload=self._offload,
            identify=self._identify,
            now_us=self.now_us,
        )
        node.network = cast("Network", _Wire(self._ground.time, self._runner, self.address))
        self._flushing = False
        self._scope = trio.CancelScope()
        self._ground.time.start(self._live, node, self._runner, self._scope)

    def go_down(self) -> None:
        """End the node as if its process had been killed; its disk stays as it is."""
        node = self.node
        self.disk.fail()
        self._node = None
        self._scope.cancel()
        with suppress(StoreError):  # there is nothing left to write to
            node.close()

    async def _live(self, node: Node, runner: Runner, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.run)
                nursery.start_soon(self._keep, node)
                nursery.start_soon(self._call, node)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to do here but to talk with peers."""
        node = self._node
        return node is None or not (node.keeper.is_called or self._flushing or node.listeners.busy)

    def attend(self) -> None:
        """See whether the node has something to do; called between ticks."""
        node = self._node
        if node is not None:
            if node.keeper.is_called:
                self._kept.unpark_all()
            if node.listeners.busy:
                self._called.unpark_all()

    async def _keep(self, node: Node) -> None:
        keeper = node.keeper
        while True:
            if not keeper.is_called:
                due_s = keeper.due_s()
                with trio.move_on_after(math.inf if due_s is None else due_s):
                    await self._kept.park()
            self._flushing = keeper.answer()
            if self._flushing:
                await trio.sleep(GROUP_COMMIT_S)
                keeper.flush()
                self._flushing = False
            else:
                keeper.sign_together()
            keeper.judge_held()

    async def _call(self, node: Node) -> None:
        while True:
            if not node.listeners.busy:
                await self._called.park()
            else:
                await trio.sleep(self._rng.random() * self._ground.pace.callback_s)
                node.listeners.step()

    async def _offload(self, call: Callable[..., Any], *args: Any) -> Any:
        await trio.sleep(self._rng.random() * self._ground.pace.job_s)
        return call(*args)

    # -- what was synced (I-13) -----------------------------------------------------------------

    def _arrived(self, first: int) -> Iterator[bytes]:
        rows = self.disk.rows
        for _, value in rows.scan(keyspace.arrival_key(first), keyspace.after(b"L")):
            yield layout.unpack_arrival(value)[2]

    def _note_synced(self) -> None:
        for event_id in self._arrived(self._synced_seq + 1):
            self.synced.add(event_id)
            self._synced_seq += 1


class Rough:
    """A node whose network delivers events in any order, and some of them twice."""

    def __init__(self, node: Node, rng: Random, ground: Ground) -> None:
        self._node = node
        self._rng = rng
        self._ground = ground

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        """As the node does."""
        rng, pace = self._rng, self._ground.pace
        order = list(range(len(events)))
        if len(order) > 1 and rng.random() < pace.reorder:
            rng.shuffle(order)
            self._ground.fault("reorder")
        again = 0
        if order and rng.random() < pace.duplicate:
            again = rng.randint(1, len(order))
            order += rng.sample(order, again)
            self._ground.fault("duplicate")
        found = self._node.ingest(source, [events[at] for at in order])
        invalid = {order[at]: reason for at, reason in found.invalid}
        repeated = min(again, found.duplicate)
        return Ingested(
            found.admitted,
            found.duplicate - repeated,
            found.waiting,
            tuple(sorted(invalid.items())),
        )


class _Wire:
    """The `Network` of a simulated node: the runner, driven by virtual time."""

    def __init__(self, time: VirtualTime, runner: Runner, address: str) -> None:
        self.addresses = (address,)
        self.announce = runner.announce
        self.clock_behind_us = None
        self._time = time
        self._runner = runner

    def status(self) -> NetworkStatus:
        """What every link is doing."""
        return self._runner.status()

    def wait_synced(self, timeout: float) -> bool:
        """Let time pass until every connected peer is known to be equal, or `timeout` is over."""
        return self._time.wait(lambda: self._runner.synced, timeout)

    def stop(self) -> None:
        """The site ends it."""


def _id(of: str | DModel) -> str:
    return of if isinstance(of, str) else of.get_db_id()
