r"""The order of a list: where in it a run belongs, whatever arrived before.

The elements of a list form a tree, and the list is the tree read in order: first what is to the
left of an element, then the element, then what is to its right.

            b                 an element has children on its left and on its right side; of those
         /     \              on one side the one with the smaller (event id, op) comes first
      a,x       c             order: a.. x.. b c..
                              The root has children on its right only.

All of a run hang together: each element is the right child of the one before. Who inserts between
two elements makes a right child of the one before if that has none, else a left child of the one
after (which has none then). So what one author types at one place stays together, forwards as
backwards, and what others typed there meanwhile comes before it or after it as a whole.

That place is unique: *an author never gives an element a second child on a side where it has seen
one*. It is a rule and not a habit (TYPE-1, checked in `check_insert`): siblings are concurrent, or
their author went around the rule, and then no node admits the event. Two things follow. Right
children hang on the last element of a run only, so a run is cut only where something was inserted
to the left of an element. And one event cannot make the search below walk the same way twice.

Finding the spot. Where an element has no child on that side yet, the new one lies directly after or
before it: nothing is searched. Else its children are told by a row (keyspace ``i``), written when
the second comes, and the new run comes

    right side   after all that descends from the sibling before it; with none, after the parent
    left side    before all that descends from the sibling after it; with none, before the parent

The end of what descends from a run is found by going from last right child to last right child. So
merging what two authors appended while apart walks once along what the first appended, and only
with the first op of the second. The one child that has no row yet is found from its neighbour: the
element next to the parent descends from it, and its parents lead there.

Invariant: the pieces in the tree of `counted_tree` lie in the order of this tree, of all runs that
were kept, effective or not. It is a function of the kept runs alone (I-01).

Source: Weidner and Kleppmann, "The Art of the Fugue: Minimizing Interleaving in Collaborative Text
Editing" (2023), algorithm 1.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

from dinemic_engine import log
from dinemic_engine.edits import Element, ListInsert
from dinemic_engine.errors import BrokenChain, Reason, StoreCorrupt
from dinemic_engine.event import Event
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Place
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import counted_tree, runs
from dinemic_engine.types.counted_tree import LEFT, RIGHT, Piece, Spot
from dinemic_engine.types.runs import BLOCK, ROOT, Keys

_CHILD_BYTES: Final = 46
"""Of an ``i`` row: event id 32, run 14, so that children sort as siblings do."""


class _Side(NamedTuple):
    """One side of an element."""

    element: bytes
    """`ROOT` or an element's name."""
    right: bool


# -- T1 -------------------------------------------------------------------------------------------


def check_element(
    rows: Readable, keys: Keys, place: Place, event: Event, index: int, element: Element, count: int
) -> tuple[bytes, int]:
    """The run that `count` elements from `element` on are of, all in the past, and its length.

    `index` is the op that names them, and `place` that of its event.

    Raises:
        BrokenChain: they were not inserted into this field, not by then, or are more than the run.
    """
    if not element.event:
        run = runs.run_of(place, element.op)
        op = event.ops[element.op] if element.op < index else None
        length = op.count if isinstance(op, ListInsert) and _stored(op) == keys.stored else 0
    else:
        value = rows.get(keyspace.place_key(element.event))
        inserted = None if value is None else layout.unpack_place(value)
        if (
            inserted is None
            or inserted.no != place.no
            or not log.covers(rows, place, inserted.chain, inserted.seq)
        ):
            raise BrokenChain(Reason.TARGET, "an element of an event that is not in the past")
        run = runs.run_of(inserted, element.op)
        first = rows.get(runs.block_key(keys, run, 0))
        length = 0 if first is None else runs.size_in(first)
    if element.at + count > length:
        raise BrokenChain(Reason.TARGET, "an element that was not inserted into this list")
    return run, length


def _stored(op: ListInsert) -> bytes:
    return b"list_" + op.field.encode("ascii")


def check_insert(
    rows: Readable, keys: Keys, place: Place, event: Event, index: int, op: ListInsert
) -> None:
    """Return if the parent is in the past, and its author saw no child on that side.

    Raises:
        BrokenChain: no node ever admits the event.
    """
    if len(event.ops) > 1 and index == _first(event):
        _check_one_child_each(event)
    if op.parent is None:
        side = _Side(ROOT, right=True)
        taken = counted_tree.edge(rows, keys.nodes) is not None
    else:
        run, length = check_element(rows, keys, place, event, index, op.parent, 1)
        if op.right and op.parent.at + 1 < length:
            raise BrokenChain(Reason.TARGET, "the run goes on to the right of that element")
        if not op.parent.event:
            return  # a run of this very event: only its ops can have put a child there
        at = op.parent.at
        if not op.right and not runs.begins_piece(rows, keys, run, at):
            return  # something to the left of an element cuts a piece before it
        side = _Side(runs.pack_element(run, at), op.right)
        taken = _is_taken(runs.locate(rows, keys, run, at)[1], at, right=op.right)
    if taken and any(
        log.covers(rows, place, *runs.place_in(child)) for child in children(rows, keys, side)
    ):
        raise BrokenChain(Reason.TARGET, "a second child on a side where its author saw one")


def _first(event: Event) -> int:
    """The index of the first LIST_INSERT of an event that has one."""
    return next(at for at, each in enumerate(event.ops) if type(each) is ListInsert)


def _check_one_child_each(event: Event) -> None:
    """No two ops of an event put children on one side of one element."""
    sides = [(op.field, op.parent, op.right) for op in event.ops if type(op) is ListInsert]
    if len(set(sides)) < len(sides):
        raise BrokenChain(Reason.TARGET, "two children on one side of an element")


def _is_taken(piece: Piece, at: int, *, right: bool) -> bool:
    """Whether element `at`, which `piece` holds, has a child on that side from another run."""
    if right:
        return bool(piece.flags & RIGHT)
    return bool(piece.flags & LEFT) and piece.first == at


# -- placing --------------------------------------------------------------------------------------


def place_run(
    rows: Overlay, keys: Keys, place: Place, event: Event, index: int, op: ListInsert, flags: int
) -> None:
    """Put the run of a LIST_INSERT where it belongs.

    `flags` of `counted_tree` are those of its effect; with 0 it has none, and nothing of it lives.
    """
    run, count = runs.run_of(place, index), op.count
    fresh: list[bytes] = []
    for low in range(0, count, BLOCK):
        length = min(BLOCK, count - low)
        name = runs.pack_element(run, low)
        fresh.append(counted_tree.pack_piece(name, length, length if flags else 0, flags))
    drop = 0
    if op.parent is None:
        side = _Side(ROOT, right=True)
        spot = counted_tree.edge(rows, keys.nodes)
        taken = spot is not None
    else:
        above, at = runs.target_run(rows, place, op.parent), op.parent.at
        side = _Side(runs.pack_element(above, at), op.right)
        spot, piece = runs.locate(rows, keys, above, at)
        taken = _is_taken(piece, at, right=op.right)
        if taken:
            spot = Spot(spot.leaf, spot.slot + op.right)
        else:
            fresh, drop = _beside(rows, keys, spot.leaf, piece, at, op.right, fresh), 1
    if taken:
        assert spot is not None, "a list in which something has a child holds something"
        spot = _among_siblings(rows, keys, side, event.id + run, spot)
    leaf = 0 if spot is None else spot.leaf
    blocks = runs.new_blocks(op, side.element, leaf, draft=place.chain == runs.DRAFT_CHAIN)
    for number, block in enumerate(blocks):
        rows.rows[runs.block_key(keys, run, number)] = block
    delta = count if flags else 0
    moved = counted_tree.splice(rows, keys.nodes, spot, drop, fresh, delta)
    if moved:
        runs.move(rows, keys, moved)


def _beside(
    rows: Overlay,
    keys: Keys,
    leaf: int,
    piece: Piece,
    at: int,
    right: bool,
    fresh: list[bytes],
) -> list[bytes]:
    """What comes in the place of a piece in `leaf` when its element `at` gets a first child.

    Left of an element in its middle the piece is cut, and its block told so.
    """
    pack = counted_tree.pack_piece
    if right:
        name, length, live, flags = piece
        return [pack(name, length, live, flags | RIGHT), *fresh]
    if at == piece.first:
        name, length, live, flags = piece
        return [*fresh, pack(name, length, live, flags | LEFT)]
    lower, upper = runs.cut(rows, keys, piece, leaf, at)
    flags = piece.flags
    return [
        pack(lower.id, lower.length, lower.live, flags & ~RIGHT),
        *fresh,
        pack(upper.id, upper.length, upper.live, flags | LEFT),
    ]


def _among_siblings(rows: Overlay, keys: Keys, side: _Side, child: bytes, beside: Spot) -> Spot:
    """The spot of a run on a side that has children, in their order; they are noted with it.

    `child` is its entry in the ``i`` row, `beside` where it would lie as the one next to the
    parent.
    """
    key = _siblings_key(keys, side)
    value = rows.get(key)
    if value is None:
        only = _only_child(rows, keys, side)
        value = runs.event_of(rows, keys.no, only)[1] + only
    entries = [value[at : at + _CHILD_BYTES] for at in range(0, len(value), _CHILD_BYTES)]
    at = bisect_left(entries, child)
    entries.insert(at, child)
    rows.rows[key] = b"".join(entries)
    if side.right:
        if at == 0:
            return beside
        last = _end(rows, keys, entries[at - 1][32:])
        return Spot(last.leaf, last.slot + 1)
    if at == len(entries) - 1:
        return beside
    return _beginning(rows, keys, entries[at + 1][32:])


def _siblings_key(keys: Keys, side: _Side) -> bytes:
    return b"%b%b%c" % (keys.siblings, side.element, side.right)


def children(rows: Readable, keys: Keys, side: _Side) -> list[bytes]:
    """The runs on a side that is taken, in the order of siblings."""
    value = rows.get(_siblings_key(keys, side))
    if value is None:
        return [_only_child(rows, keys, side)]
    return [value[at + 32 : at + _CHILD_BYTES] for at in range(0, len(value), _CHILD_BYTES)]


def right_of(run: bytes, at: int) -> _Side:
    """The right side of an element."""
    return _Side(runs.pack_element(run, at), right=True)


def _only_child(rows: Readable, keys: Keys, side: _Side) -> bytes:
    """The run on a side that is taken and has no ``i`` row.

    What lies next to the parent on that side descends from it.
    """
    spot: Spot | None
    if side.element == ROOT:
        spot = counted_tree.edge(rows, keys.nodes)
    else:
        spot, _ = runs.locate(rows, keys, *runs.unpack_element(side.element))
        spot = counted_tree.beside(rows, keys.nodes, spot, before=not side.right)
    if spot is None:
        raise StoreCorrupt("an element of a list has a child that is not there")
    run = counted_tree.piece_at(rows, keys.nodes, spot).run
    while True:
        block = runs.block_of(rows, keys, run, 0)
        if block.parent == side.element:
            return run
        if block.parent == ROOT:
            raise StoreCorrupt("a run of a list lies where it does not belong")
        run = block.parent[:14]


def _end(rows: Readable, keys: Keys, run: bytes) -> Spot:
    """Where the last piece lies of all that descends from a run."""
    while True:
        last = runs.size_of(rows, keys, run) - 1
        spot, piece = runs.locate(rows, keys, run, last)
        if not piece.flags & RIGHT:
            return spot
        run = children(rows, keys, right_of(run, last))[-1]


def _beginning(rows: Readable, keys: Keys, run: bytes) -> Spot:
    """Where the first piece lies of all that descends from a run."""
    while True:
        spot, piece = runs.locate(rows, keys, run, 0)
        if not piece.flags & LEFT:
            return spot
        run = children(rows, keys, _Side(runs.pack_element(run, 0), right=False))[0]


# -- for authors ----------------------------------------------------------------------------------


def place_after(
    rows: Readable, keys: Keys, before: tuple[Spot, Piece, int] | None
) -> tuple[bytes, int, bool] | None:
    """(run, index, whether right) of the parent of what is inserted after an element.

    `before` is that element: its spot, its piece and its index in the run; None is the beginning of
    the list. The answer None is the root. Inert elements are passed over: they are not in the past
    of what is written here (REC-1).
    """
    spot: Spot | None
    if before is None:
        spot = counted_tree.edge(rows, keys.nodes)
    else:
        spot, piece, at = before
        if at + 1 < piece.first + piece.length:
            return piece.run, at + 1, False
        goes_on = at + 1 < runs.size_of(rows, keys, piece.run)
        if not goes_on and not piece.flags & RIGHT:
            return piece.run, at, True
        spot = counted_tree.beside(rows, keys.nodes, spot)
        assert spot is not None, "what an element has on its right lies there"
        after = counted_tree.piece_at(rows, keys.nodes, spot)
        if not _is_inert(rows, keys.no, after):
            return after.run, after.first, False
        if not goes_on and not _sees_children(rows, keys, piece, at):
            return piece.run, at, True
    for _, after in counted_tree.pieces_from(rows, keys.nodes, spot):
        if not _is_inert(rows, keys.no, after):
            return after.run, after.first, False
    return None


def _sees_children(rows: Readable, keys: Keys, piece: Piece, at: int) -> bool:
    """Whether the last element of a run has right children that are not inert."""
    for child in children(rows, keys, right_of(piece.run, at)):
        _, first = runs.locate(rows, keys, child, 0)
        if not _is_inert(rows, keys.no, first):
            return True
    return False


def _is_inert(rows: Readable, no: int, piece: Piece) -> bool:
    """Whether the op that inserted a piece is in no past of anything effective (REC-1)."""
    if piece.flags & counted_tree.EFFECTIVE:
        return False
    chain, seq = runs.place_in(piece.run)
    value = rows.get(keyspace.tail_key(no, chain))
    return value is not None and int.from_bytes(value, "big") <= seq
