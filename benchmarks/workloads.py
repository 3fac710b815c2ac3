"""What the benchmarks work on: homes that vanish, events that are the same in every run.

Two kinds of work. Events of a `Writer` are made from a seed and dated in the past, so their ids,
and every digest over them, are the same everywhere. What goes through the public API gets fresh
keys and the clock's time; `retold` hashes such an object without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

import dinemic
from dinemic.config import Config
from dinemic.node import Node
from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.edits import Set
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId, parse_db_id_untrusted
from dinemic_engine.keys import SealingKey, SigningKey, verify
from dinemic_engine.ops import SUITE_X25519, UPDATE, Create, Grant, Op, Policy

BEGINNING_US = 1_750_000_000_000_000
"""When the events of a `Writer` begin: long past, so no node holds them back."""


class Person(dinemic.DModel):
    """The model that is written to."""

    name = dinemic.DField("name")
    salary = dinemic.DField("salary", is_encrypted=True)


class Writer:
    """An object and who writes to it, told by `seed`; each call to `write` adds to the log.

    The writer is the owner, or with `granted` somebody who holds an update grant.
    """

    def __init__(
        self,
        seed: int,
        *,
        granted: bool = False,
        at_us: int = BEGINNING_US,
        spacing_us: int = 1,
    ) -> None:
        self._spacing_us = spacing_us
        self._key = owner = SigningKey(drawn("signing", seed))
        sealing = SealingKey(drawn("sealing", seed)).public
        ops: list[Op] = [Create("Person", SUITE_X25519, sealing, Policy())]
        if granted:
            self._key = SigningKey(drawn("granted", seed))
            subject, author = ObjectId(drawn("subject", seed)), AuthorId(self._key.public)
            ops.append(Grant(UPDATE, subject, author, SUITE_X25519, sealing))
        genesis = sign_event(owner, None, at_us, (), ops)
        self.object: ObjectId = genesis.object
        self.events = [genesis]

    def write(self, count: int) -> list[Event]:
        """The next `count` events, each giving the field ``name`` a value."""
        for _ in range(count):
            last = self.events[-1]
            op = Set("name", f"name {len(self.events)}")
            t = last.t + self._spacing_us
            self.events.append(sign_event(self._key, self.object, t, [last.id], [op]))
        return self.events[-count:]


def drawn(what: str, seed: int) -> bytes:
    """32 bytes that are the same in every run: a private key, an id."""
    return hashlib.sha256(f"dinemic/benchmark {what} {seed}".encode()).digest()


def raw(events: Iterable[Event]) -> list[bytes]:
    """The signed bytes of `events`, as a peer sends them."""
    return [event.raw for event in events]


def in_batches(events: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    """`events` in order, up to `size` at a time."""
    for begin in range(0, len(events), size):
        yield events[begin : begin + size]


def verifying(count: int) -> Callable[[], None]:
    """Check the signatures of `count` events on one thread: what every rate is compared with.

    Only the check: no bytes are decoded and nothing is kept.
    """
    key = SigningKey(drawn("verifying", 0))
    # As long as what is signed of an event that sets one short text.
    signed = [hashlib.sha256(bytes((i % 256, i // 256))).digest() * 5 for i in range(count)]
    signatures = [key.sign(data) for data in signed]

    def run() -> None:
        for signature, data in zip(signatures, signed, strict=True):
            verify(key.public, signature, data)

    return run


@contextlib.asynccontextmanager
async def fresh_node() -> AsyncIterator[Node]:
    """A node on RocksDB in a home that vanishes afterwards, with group commit and no network."""
    with tempfile.TemporaryDirectory(prefix="dinemic-benchmark-") as home:
        async with dinemic.open_node(
            home, network=False, store="rocksdb", durability="group"
        ) as node:
            yield node


@contextlib.contextmanager
def fresh_home() -> Iterator[Config]:
    """The same for nodes opened and closed by hand."""
    with tempfile.TemporaryDirectory(prefix="dinemic-benchmark-") as home:
        yield Config.load({"home": Path(home), "store": "rocksdb", "durability": "group"}, {})


def hash_of(*parts: Value) -> str:
    """A short hash of what a benchmark left behind."""
    return hashlib.sha256(canonical.encode(list(parts))).hexdigest()[:16]


def retold(node: Node, *people: Person) -> str:
    """A hash of objects without their keys and times: equal in every run of the same work."""
    digest = hashlib.sha256()
    for person in people:
        position: dict[EventId, int] = {}
        object_id = parse_db_id_untrusted(person.get_db_id())[1]
        for logged in node.view.history(object_id):
            event = logged.event
            position[event.id] = len(position)
            ops: list[Value] = [_told(op) for op in event.ops]
            told: Value = [sorted(position[parent] for parent in event.parents), ops]
            digest.update(canonical.encode(told))
        values = {field: person.get(field) for field in person.keys()}  # noqa: SIM118
        digest.update(canonical.encode(values))
    return digest.hexdigest()[:16]


def _told(op: object) -> Value:
    match op:
        case Set(field=field, value=value):
            return [field, None if isinstance(value, canonical.Sealed) else value]
        case _:
            return type(op).__name__
