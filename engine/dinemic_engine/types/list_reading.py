"""What readers and authors ask of a list: elements by index, indexes of elements, places.

Everything here reads several rows that belong together: over a snapshot, or a batch in the making,
not over a store somebody writes to meanwhile.

`place_for_insert` and `spans_for` tell what an author puts into ops. Where several ops become one
event, each is made in view of those before it (`dinemic_engine.draft`); what those insert is named
with an empty event, as in ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Element, Span
from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.ids import EventId
from dinemic_engine.store import keyspace
from dinemic_engine.store.layout import Written
from dinemic_engine.store.overlay import Readable
from dinemic_engine.types import counted_tree, fugue, last_write, runs
from dinemic_engine.types.counted_tree import AUTHORIZED, Piece, Spot
from dinemic_engine.types.last_write import Slot
from dinemic_engine.types.runs import BLOCK, DRAFT, SEALED, WRITTEN, Keys, Reader


class Item(NamedTuple):
    """One element of a list as a reader sees it."""

    element: Element
    """Its event is empty if a draft inserts it."""
    value: Value
    """What it is; or, with a `position`, the sealed array in which it is."""
    position: int | None
    event: EventId
    """The event that gave it its value, by an insert or a LIST_SET; of a draft 32 zero bytes."""
    op: int
    t: int
    authorized: bool


Opened: TypeAlias = Callable[[bytes, int], Sequence[Value] | None]
"""Tells the values that op number so and so of an event inserted sealed, if they are open."""


def length(rows: Readable, no: int, stored: bytes) -> int:
    """How many elements a list has."""
    return counted_tree.length(rows, runs.keys_of(no, stored).nodes)


def at(
    rows: Readable, no: int, stored: bytes, index: int, opened: Opened | None = None
) -> Item | None:
    """The element at an index from 0; None if there is none.

    What was sealed is plain in the answer where `opened` tells it: its run need not be read.
    """
    keys = runs.keys_of(no, stored)
    try:
        _, piece, place = counted_tree.select(rows, keys.nodes, index)
    except IndexError:
        return None
    block = runs.block_of(rows, keys, piece.run, piece.first)
    number = _nth(block, piece, place)
    return _item(rows, keys, Reader(rows, keys), piece, block, number, opened)


def items(
    rows: Readable, no: int, stored: bytes, start: int = 0, stop: int | None = None
) -> Iterator[Item]:
    """The elements from index `start` to before `stop`, in order."""
    keys = runs.keys_of(no, stored)
    reader = Reader(rows, keys)
    for piece, block, mask in _alive(rows, keys, start, stop):
        low = piece.first - piece.first % BLOCK
        for place in runs.ones(mask):
            yield _item(rows, keys, reader, piece, block, low + place)


def spans_for(rows: Readable, no: int, stored: bytes, start: int, stop: int) -> tuple[Span, ...]:
    """The elements from index `start` to before `stop`, as a LIST_DELETE names them."""
    keys = runs.keys_of(no, stored)
    return tuple(
        [
            Span(runs.element_of(rows, no, run, first), count)
            for run, first, count in _stretches(rows, keys, start, stop)
        ]
    )


def _alive(
    rows: Readable, keys: Keys, start: int, stop: int | None
) -> Iterator[tuple[Piece, runs.Block, int]]:
    """(piece, its block, mask in the block) of the living elements of a range of indexes."""
    total = counted_tree.length(rows, keys.nodes)
    left = (total if stop is None else min(stop, total)) - start
    if start < 0 or left <= 0:
        return
    spot, _, skipped = counted_tree.select(rows, keys.nodes, start)
    for _, piece in counted_tree.pieces_from(rows, keys.nodes, spot):
        if not piece.live:
            continue
        block = runs.block_of(rows, keys, piece.run, piece.first)
        mask = runs.alive_in(block, piece)
        for _ in range(skipped):
            mask &= mask - 1
        skipped = 0
        count = mask.bit_count()
        while count > left:
            mask ^= 1 << (mask.bit_length() - 1)
            count -= 1
        yield piece, block, mask
        left -= count
        if not left:
            return


def _stretches(
    rows: Readable, keys: Keys, start: int, stop: int | None
) -> Iterator[tuple[bytes, int, int]]:
    """(run, first, count) of living elements inserted together that stand side by side."""
    run, first, count = b"", 0, 0
    for piece, _, mask in _alive(rows, keys, start, stop):
        low = piece.first - piece.first % BLOCK
        while mask:
            begins = (mask & -mask).bit_length() - 1
            filled = mask >> begins
            long = (~filled & (filled + 1)).bit_length() - 1
            mask &= ~runs.bits(begins, long)
            if piece.run == run and low + begins == first + count:
                count += long
                continue
            if count:
                yield run, first, count
            run, first, count = piece.run, low + begins, long
    if count:
        yield run, first, count


def _nth(block: runs.Block, piece: Piece, place: int) -> int:
    """The index in its run of the living element of a piece that `place` others come before."""
    if piece.live == piece.length:
        return piece.first + place
    mask = runs.alive_in(block, piece)
    for _ in range(place):
        mask &= mask - 1
    if not mask:
        raise StoreCorrupt("fewer elements of a list live than are counted")
    return piece.first - piece.first % BLOCK + (mask & -mask).bit_length() - 1


def _item(
    rows: Readable,
    keys: Keys,
    reader: Reader,
    piece: Piece,
    block: runs.Block,
    at: int,
    opened: Opened | None = None,
) -> Item:
    """Element `at` of a run, which `piece` and `block` hold."""
    t, event_id = runs.event_of(rows, keys.no, piece.run)
    op = int.from_bytes(piece.run[12:], "big")
    element = Element(b"" if event_id == DRAFT.id else event_id, op, at)
    if block.flags & WRITTEN:
        written = last_write.read(rows, slot_of(keys, event_id, op, at))
        if written is not None:
            return _written(element, written)
    authorized = bool(piece.flags & AUTHORIZED)
    if opened is not None and block.flags & SEALED:
        values = opened(event_id, op)
        if values is not None and at < len(values) and not isinstance(values[at], Sealed):
            return Item(element, values[at], None, EventId(event_id), op, t, authorized)
    value, position = reader.value(piece.run, at, block)
    return Item(element, value, position, EventId(event_id), op, t, authorized)


def _written(element: Element, written: Written) -> Item:
    value = canonical.decode_untrusted(written.value)
    return Item(
        element, value, None, EventId(written.id), written.op, written.t, written.authorized
    )


def place_for_insert(
    rows: Readable, no: int, stored: bytes, index: int | None
) -> tuple[Element | None, bool]:
    """(parent, right) of a LIST_INSERT whose first value is to have that index; None is the end.

    Raises:
        IndexError: the list is shorter than `index`, or that is negative.
    """
    keys = runs.keys_of(no, stored)
    before: tuple[Spot, Piece, int] | None = None
    if index is None:
        index = counted_tree.length(rows, keys.nodes)
    if index:
        spot, piece, place = counted_tree.select(rows, keys.nodes, index - 1)
        at = piece.first + place
        if piece.live < piece.length:
            at = _nth(runs.block_of(rows, keys, piece.run, piece.first), piece, place)
        before = spot, piece, at
    parent = fugue.place_after(rows, keys, before)
    if parent is None:
        return None, True
    return runs.element_of(rows, no, *parent[:2]), parent[2]


# -- LIST_SET -------------------------------------------------------------------------------------


def slot_of(keys: Keys, event_id: bytes, op: int, at: int) -> Slot:
    """Where the LIST_SETs of an element are kept, and what it is called."""
    tail = keyspace.element_tail(event_id, op, at)
    return Slot(
        keyspace.list_prefix(b"e", keys.no, keys.stored) + tail,
        keyspace.list_prefix(b"h", keys.no, keys.stored) + tail,
        keys.stored.decode(),
        Element(event_id, op, at).text(),
    )


def writes(
    rows: Readable, no: int, stored: bytes, element: Element
) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of every effective LIST_SET of an element, the winner first."""
    return last_write.writes(rows, slot_of(runs.keys_of(no, stored), *element))


def conflicts(
    rows: Readable, no: int, stored: bytes, element: Element
) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of the LIST_SETs that are in the past of no other, the winner first (ORD-6)."""
    return last_write.conflicts(rows, slot_of(runs.keys_of(no, stored), *element))


# -- the whole list -------------------------------------------------------------------------------


def told(rows: Readable, no: int, stored: bytes) -> Iterator[Value]:
    """A list as the shared digest covers it: see `sequence.digest_items`."""
    keys = runs.keys_of(no, stored)
    for run, first, count in _stretches(rows, keys, 0, None):
        _, event_id = runs.event_of(rows, no, run)
        op = int.from_bytes(run[12:], "big")
        yield [stored, event_id, op, first, count]
        for low in range(first - first % BLOCK, first + count, BLOCK):
            if not runs.block_of(rows, keys, run, low).flags & WRITTEN:
                continue
            for at in range(max(first, low), min(first + count, low + BLOCK)):
                written = last_write.read(rows, slot_of(keys, event_id, op, at))
                if written is not None:
                    yield [event_id, op, at, written.id, written.op]
