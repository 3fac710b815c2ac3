"""Lists for tests: authors that edit one on logs of their own, and what must hold of its rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from struct import unpack

from dinemic_engine.canonical import Value
from dinemic_engine.edits import Edit, ListDelete, ListInsert, ListSet, stored_key
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import EventId
from dinemic_engine.log import heads
from dinemic_engine.ops import UPDATE
from dinemic_engine.store import keyspace
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import counted_tree, list_reading, runs, sequence
from dinemic_engine.types.counted_tree import Spot
from dinemic_engine.types.list_reading import Item
from support.graphs import CHIEF, CLERK, OWNER, Actor, Site, genesis

STORED = b"list_a"
WRITERS = (OWNER, CHIEF, CLERK)


def beginning() -> Event:
    """An object that all `WRITERS` may write to."""
    return genesis(CHIEF.grant(UPDATE), CLERK.grant(UPDATE))


@dataclass
class Author:
    """Somebody who edits the list ``a`` of one object, on a log of his own."""

    who: Actor
    site: Site = field(default_factory=Site)
    made: list[Event] = field(default_factory=list)

    def hears(self, events: Sequence[Event]) -> None:
        """Admit events of others."""
        self.site.ingest(list(events))

    @property
    def rows(self) -> Readable:
        """What he sees."""
        return self.site.store

    def items(self) -> list[Item]:
        """The list as he sees it."""
        return list(list_reading.items(self.rows, 0, STORED))

    def values(self) -> list[Value]:
        """Its values."""
        return [item.value for item in self.items()]

    def writes(self, *edits: Callable[[Readable], Edit]) -> Event:
        """One event of several edits, each made in view of those before it; admitted here."""
        seen = Overlay(self.rows)
        ops: list[Edit] = []
        for index, make in enumerate(edits):
            op = make(seen)
            ops.append(op)
            if isinstance(op, ListInsert | ListSet | ListDelete):
                sequence.draft(seen, 0, index, op)
        tops = heads(self.rows, 0)
        t = 1 + max(head.t for head in tops)
        parents = sorted(EventId(head.id) for head in tops)
        event = sign_event(self.who.key, self.site.events()[0].object, t, parents, ops)
        self.site.admit(event)
        self.made.append(event)
        return event

    def inserts(self, index: int, *values: Value) -> Event:
        """One event that inserts values at an index."""
        return self.writes(insert(index, *values))


def insert(index: int, *values: Value) -> Callable[[Readable], Edit]:
    """An edit that inserts values at an index."""

    def make(rows: Readable) -> Edit:
        parent, right = list_reading.place_for_insert(rows, 0, STORED, index)
        return ListInsert("a", parent, right, len(values), list(values))

    return make


def append(*values: Value) -> Callable[[Readable], Edit]:
    """An edit that appends values."""
    return lambda rows: insert(list_reading.length(rows, 0, STORED), *values)(rows)


def delete(start: int, stop: int) -> Callable[[Readable], Edit]:
    """An edit that deletes a range of indexes."""
    return lambda rows: ListDelete("a", list_reading.spans_for(rows, 0, STORED, start, stop))


def put(index: int, value: Value) -> Callable[[Readable], Edit]:
    """An edit that gives the element at an index another value."""

    def make(rows: Readable) -> Edit:
        item = list_reading.at(rows, 0, STORED, index)
        assert item is not None
        return ListSet("a", item.element, value)

    return make


def any_edit(rng: random.Random, run_max: int = 5) -> Callable[[Readable], Edit]:
    """An edit that fits whatever there is, mostly an insert."""

    def make(rows: Readable) -> Edit:
        size = list_reading.length(rows, 0, STORED)
        kind = rng.randrange(8) if size else 0
        if kind < 5:
            count = rng.choice((1, 1, 1, 2, run_max))
            place = rng.choice((0, size, rng.randint(0, size), min(size, 3)))
            return insert(place, *[rng.randrange(1000) for _ in range(count)])(rows)
        start = rng.randrange(size)
        if kind < 7:
            return delete(start, min(size, start + rng.choice((1, 1, 2, 7))))(rows)
        return put(start, rng.randrange(1000))(rows)

    return make


def history(rng: random.Random, count: int, run_max: int = 5) -> list[Event]:
    """A genesis and `count` events of several authors who hear of each other now and then."""
    first = beginning()
    authors = [Author(who) for who in WRITERS]
    for author in authors:
        author.hears([first])
    for _ in range(count):
        author = rng.choice(authors)
        author.writes(*[any_edit(rng, run_max) for _ in range(rng.choice((1, 1, 1, 3)))])
        if rng.randrange(4) == 0:
            rng.choice(authors).hears(rng.choice(authors).site.events())
    return [first, *[event for author in authors for event in author.made]]


def seen_by(rows: Readable) -> list[tuple[object, object]]:
    """(element, value) of the list ``a`` of the first object."""
    return [(item.element, item.value) for item in list_reading.items(rows, 0, STORED)]


def everything(rows: Readable, no: int, stored: bytes) -> list[tuple[bytes, int, int, bool]]:
    """(event, op, index, whether it has effect) of all elements ever inserted, in order."""
    keys = runs.keys_of(no, stored)
    found: list[tuple[bytes, int, int, bool]] = []
    first = counted_tree.edge(rows, keys.nodes)
    for _, piece in counted_tree.pieces_from(rows, keys.nodes, first):
        event = runs.event_of(rows, no, piece.run)[1]
        op = int.from_bytes(piece.run[12:], "big")
        effective = bool(piece.flags & counted_tree.EFFECTIVE)
        found += [(event, op, piece.first + at, effective) for at in range(piece.length)]
    return found


def check_rows(rows: Readable, no: int = 0, stored: bytes = STORED) -> int:
    """Fail unless the rows of a list keep the invariants of its tree; its depth."""
    keys = runs.keys_of(no, stored)
    head = rows.get(keys.nodes)
    if head is None:
        return 0
    root, fresh, live = unpack(">IIQ", head)
    used: set[int] = set()
    depths: set[int] = set()

    def below(number: int, parent: int, depth: int) -> int:
        used.add(number)
        value = counted_tree.node(rows, keys.nodes, number)
        assert int.from_bytes(value[1:5], "big") == parent
        if value[0] == 0:
            depths.add(depth)
            assert 1 <= counted_tree.slots_in(value) <= counted_tree.WIDTH
            return sum(_check_piece(rows, keys, number, slot) for slot in _slots(value))
        children = [unpack(">II", value[at : at + 8]) for at in range(5, len(value), 8)]
        assert 1 <= len(children) <= counted_tree.WIDTH
        counts = [below(child, number, depth + 1) for child, _ in children]
        assert counts == [count for _, count in children]
        return sum(counts)

    assert below(root, 0xFFFFFFFF, 1) == live
    assert used == set(range(fresh))
    assert len(depths) == 1
    return depths.pop()


def _slots(leaf: bytes) -> range:
    return range(counted_tree.slots_in(leaf))


def _check_piece(rows: Readable, keys: runs.Keys, number: int, slot: int) -> int:
    """Fail unless a piece is what its block says; how many live in it."""
    spot = Spot(number, slot)
    piece = counted_tree.piece_at(rows, keys.nodes, spot)
    assert runs.locate(rows, keys, piece.run, piece.first) == (spot, piece)
    block = runs.block_of(rows, keys, piece.run, piece.first)
    assert piece.first // 64 == (piece.first + piece.length - 1) // 64
    effective = piece.flags & counted_tree.EFFECTIVE
    alive = runs.bits(piece.first % 64, piece.length) & ~block.deleted if effective else 0
    assert piece.live == alive.bit_count()
    return piece.live


def list_rows(rows: Readable) -> dict[bytes, bytes]:
    """All rows that lists made."""
    found: dict[bytes, bytes] = {}
    for letter in (b"d", b"b", b"i", b"e", b"h"):
        found.update(rows.scan(letter, keyspace.after(letter)))
    return found


def stored_of(edit: Edit) -> bytes:
    """The stored key an edit changes."""
    return stored_key(edit).encode()
