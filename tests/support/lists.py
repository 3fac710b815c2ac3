"""Lists for tests: authors that edit one on logs of their own, and what must hold of its rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dinemic_engine.canonical import Value
from dinemic_engine.edits import Edit, ListDelete, ListInsert, ListSet
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import EventId
from dinemic_engine.log import heads
from dinemic_engine.ops import UPDATE
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import list_reading, sequence
from dinemic_engine.types.list_reading import Item
from dinemic_engine.types.runs import DRAFT, draft_place
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
            drafted(seen, index, op)
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


def drafted(rows: Overlay, index: int, op: Edit) -> None:
    """Let `rows` show an op of an event that is not made yet."""
    assert isinstance(op, ListInsert | ListSet | ListDelete)
    sequence.keep(rows, draft_place(0), DRAFT, index, op)
    sequence.advance(rows, draft_place(0), DRAFT, index, op, None, authorized=True)


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
