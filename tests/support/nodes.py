"""Nodes for tests: several in one process, on memory or on disk, exchanging events by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from dinemic.config import Config
from dinemic.models import DModel
from dinemic.net import Network
from dinemic.node import Node
from dinemic.running import acting as acting
from dinemic_engine.errors import StoreError
from dinemic_engine.event import open_envelope_untrusted, open_event_untrusted, sign_event
from dinemic_engine.ids import EventId, ObjectId, parse_db_id_untrusted
from dinemic_engine.keys import SigningKey
from dinemic_engine.ops import Op
from dinemic_engine.outcomes import Ingested
from dinemic_engine.ranges import HIGHEST, LOWEST
from dinemic_engine.store.memory import MemoryStore

EVERYTHING = 1 << 30
QUIET: Final[dict[str, Any]] = {"listen": "127.0.0.1:0", "discover": False}
"""Options of a node that listens on this host only, and looks for nobody."""


def open_node(home: Path, store: str = "memory", **options: object) -> Node:
    """A node without a network; close it, or use `opened`."""
    return Node.open(Config.load({"home": home, "store": store, **options}, {}))


@contextmanager
def opened(home: Path, store: str = "memory", **options: object) -> Iterator[Node]:
    """A node without a network, which objects made in the block belong to."""
    node = open_node(home, store, **options)
    try:
        with acting(node):
            yield node
    finally:
        node.close()


def raw_events(node: Node) -> list[bytes]:
    """Every event of a node, by model and (t, id): what it would send to an empty peer."""
    found: list[bytes] = []
    for model in node.model_names():
        ids = [key[1] for key in node.keys(model, LOWEST, HIGHEST, EVERYTHING)]
        found += [event[1] for event in node.events(ids) if event is not None]
    return found


def send(source: Node, *targets: Node) -> list[Ingested]:
    """Everything from one node to others, in one batch each."""
    events = raw_events(source)
    return [target.ingest(source.node_id, events) for target in targets]


def exchange(*nodes: Node) -> None:
    """Everything from each node to each other one."""
    for source, target in itertools.permutations(nodes, 2):
        send(source, target)


def trace(node: Node) -> tuple[object, ...]:
    """What an event that was never made leaves as it was: the tip and every digest."""
    return node.view.tip(), node.view.digest_all()


def object_id(handle: DModel) -> ObjectId:
    """The raw id of a handle's object."""
    return parse_db_id_untrusted(handle.get_db_id())[1]


def forge(key: SigningKey, target: ObjectId, parents: list[EventId], t: int, *ops: Op) -> bytes:
    """The bytes of an event as anybody with a key can make them."""
    return sign_event(key, target, t, parents, ops).raw


def t_of(raw: bytes) -> int:
    """The time an event carries, in microseconds."""
    return open_event_untrusted(raw).t


class Linked:
    """A node without a network as one end of a `session_pair.Pair`: its replica and its network."""

    def __init__(self, node: Node) -> None:
        self.announce: Callable[[str, Sequence[bytes]], None] = lambda model, events: None
        self.refused: dict[bytes, str] = {}
        """Reason by event id of what it refused, and so blamed its peer for."""
        self.models = node.models
        self.model_names = node.model_names
        self.totals = node.totals
        self.fingerprint = node.fingerprint
        self.keys = node.keys
        self.events = node.events
        self.forget = node.forget
        self.clock_behind_us: int | None = None
        self._node = node
        node.network = cast("Network", self)

    @property
    def ids(self) -> frozenset[bytes]:
        """Ids of the events it would send to an empty peer."""
        names = self.model_names()
        return frozenset(
            key[1] for name in names for key in self.keys(name, LOWEST, HIGHEST, EVERYTHING)
        )

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        """As the node does."""
        outcome = self._node.ingest(source, events)
        for position, reason in outcome.invalid:
            self.refused[open_envelope_untrusted(events[position]).id] = reason
        return outcome

    def stop(self) -> None:
        """The node closes; links end with the test."""


class Ear:
    """A network without peers, for a node: it hears what the node announces."""

    def __init__(self, node: Node) -> None:
        self.heard: list[bytes] = []
        self.models: list[str] = []
        """Of each event heard."""
        self.stopped = 0
        self.clock_behind_us: int | None = None
        node.network = cast("Network", self)

    def announce(self, model: str, events: Sequence[bytes]) -> None:
        """To nobody."""
        self.heard += events
        self.models += [model] * len(events)

    def stop(self) -> None:
        """The node closes."""
        self.stopped += 1

    def status(self) -> None:
        """There is nothing to tell."""


class FailingStore(MemoryStore):
    """A memory store that raises on demand: `failing` says at what."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: dict[str, StoreError] = {}
        self.flushes = 0

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """As `MemoryStore.write`, or nothing and an error."""
        if "write" in self.failing:
            raise self.failing["write"]
        super().write(rows)

    def flush(self) -> None:
        """As `MemoryStore.flush`, or an error."""
        self.flushes += 1
        if "flush" in self.failing:
            raise self.failing["flush"]
        super().flush()
