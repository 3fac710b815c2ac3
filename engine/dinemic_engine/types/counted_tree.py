r"""Pieces of a list in their order, found by how many living elements come before: a B+-tree.

A list is cut into *pieces*: up to 64 elements that one op inserted and that lie side by side. The
leaves hold the pieces in the order of the list, the inner nodes what is below them and how many
elements there live:

    inner   a | 31 | b | 4 ...          number of a child, living elements below it
             /        \
    leaf    [p p p]  [q q] ...          piece, length, how many of it live, flags

Each node is a row, so an insert or a deletion writes one leaf and one node of each level above it,
some 1 KiB each, and reading the element at an index reads the same. A node knows its parent; a
piece knows its leaf (`runs`), so the way from an element to its index goes up, and is as short.

Invariants: a count is the sum of what is below it; every leaf is as deep as every other; a node but
the root holds 1 to `WIDTH` entries. The *shape* (which piece lies in which node) depends on the
order in which pieces were inserted and on nothing else: that an element dies or lives again changes
counts and flags in place. Nodes are never joined, as pieces never go away.

Where a full node must be cut, one that grows at its end stays as it is and the new comes into a
node of its own: who appends leaves full nodes behind, and moves nothing.

Rows (keyspace ``d``, all below one prefix, here `nodes`):

    prefix             root 4, number of the next new node 4, living elements 8
    prefix, number 4   kind 1 (0 leaf, 1 inner), parent 4, then pieces of 19 or children of 8 bytes

Source: B+-trees as in Comer, "The Ubiquitous B-Tree" (1979); counting children instead of comparing
keys as in Boehm, Atkinson, Plass, "Ropes" (1995).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from struct import Struct
from typing import Final, NamedTuple

from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.store.overlay import Overlay, Readable

WIDTH: Final = 48
"""Entries of a node: a leaf of 48 pieces takes 917 bytes, four levels hold millions of pieces."""
_FILL: Final = 36
"""Entries of the nodes that a node too full is cut into."""

PIECE_BYTES: Final = 16
"""What names a piece: chain 4, seq 8, op 2 of what inserted it, index of its first element 2."""

EFFECTIVE: Final = 1
"""Flag of a piece: the op that inserted it has effect."""
LEFT: Final = 2
"""Flag of a piece: its first element has left children."""
RIGHT: Final = 4
"""Flag of a piece: its last element is the last of its op, and has right children."""
AUTHORIZED: Final = 8
"""Flag of a piece that has effect: its author held the role for it (AUTH-5)."""

_HEAD: Final = Struct(">IIQ")
_RECORD: Final = Struct(">16sBBB")
_CHILD: Final = Struct(">II")
_U32: Final = Struct(">I")
_START: Final = 5
_LEAF: Final = b"\0"
_INNER: Final = b"\1"
_NO_PARENT: Final = b"\xff" * 4
_RECORD_BYTES: Final = _RECORD.size
_CHILD_BYTES: Final = _CHILD.size
_LIVE_AT: Final = 17


class Piece(NamedTuple):
    """Elements that one op inserted, side by side."""

    id: bytes
    """`PIECE_BYTES`."""
    length: int
    live: int
    """How many of them a reader sees."""
    flags: int

    @property
    def run(self) -> bytes:
        """The op that inserted it: chain 4, seq 8, op 2."""
        return self.id[:14]

    @property
    def first(self) -> int:
        """The index of its first element in that op."""
        return int.from_bytes(self.id[14:], "big")

    def pack(self) -> bytes:
        """An entry of a leaf."""
        return pack_piece(*self)


pack_piece: Final = _RECORD.pack
"""As `Piece.pack`, of the same four."""


class Spot(NamedTuple):
    """Where a piece lies: slot 0 is the first of its leaf."""

    leaf: int
    slot: int


# -- reading --------------------------------------------------------------------------------------


def length(rows: Readable, nodes: bytes) -> int:
    """How many elements live."""
    value = rows.get(nodes)
    return 0 if value is None else int(_HEAD.unpack(value)[2])


def node(rows: Readable, nodes: bytes, number: int) -> bytes:
    """The row of a node.

    Raises:
        StoreCorrupt: something leads to it, and it is not there.
    """
    value = rows.get(nodes + _U32.pack(number))
    if value is None:
        raise StoreCorrupt(f"node {number} of a list is not there")
    return value


def slot_of(leaf: bytes, piece: bytes) -> int:
    """The slot of a piece in the row of its leaf.

    Raises:
        StoreCorrupt: it is not there.
    """
    return _entry(leaf, piece, _RECORD_BYTES)


def _entry(value: bytes, begins: bytes, size: int) -> int:
    """The number of the entry that begins with `begins`, in a row of entries of `size` bytes."""
    at = value.find(begins, _START)
    while at >= 0 and (at - _START) % size:
        at = value.find(begins, at + 1)
    if at < 0:
        raise StoreCorrupt("a node of a list does not hold what leads to it")
    return (at - _START) // size


def piece_in(leaf: bytes, slot: int) -> Piece:
    """The piece in a slot of the row of a leaf."""
    return Piece(*_RECORD.unpack_from(leaf, _START + slot * _RECORD_BYTES))


def piece_at(rows: Readable, nodes: bytes, spot: Spot) -> Piece:
    """The piece at a spot."""
    return piece_in(node(rows, nodes, spot.leaf), spot.slot)


def slots_in(leaf: bytes) -> int:
    """How many pieces the row of a leaf holds."""
    return (len(leaf) - _START) // _RECORD_BYTES


def select(rows: Readable, nodes: bytes, index: int) -> tuple[Spot, Piece, int]:
    """Where the living element at `index` is: spot, piece, and its place among the living there.

    Raises:
        IndexError: fewer elements live, or `index` is negative.
    """
    head = rows.get(nodes)
    number, _, live = (0, 0, 0) if head is None else _HEAD.unpack(head)
    if not 0 <= index < live:
        raise IndexError(f"no element {index} in a list of {live}")
    value = node(rows, nodes, number)
    while value[:1] == _INNER:
        number, below = _CHILD.unpack_from(value, len(value) - _CHILD_BYTES)
        if index >= live - below:  # the last, where most is written
            index -= live - below
        else:
            for number, below in _CHILD.iter_unpack(value[_START:]):  # noqa: B007  used below
                if index < below:
                    break
                index -= below
        live = below
        value = node(rows, nodes, number)
    alive = value[_START + _LIVE_AT :: _RECORD_BYTES]
    if alive and live > index >= live - alive[-1]:
        slot = len(alive) - 1
        return Spot(number, slot), piece_in(value, slot), index - live + alive[-1]
    upto = list(accumulate(alive))
    slot = bisect_right(upto, index)
    if slot == len(upto):
        raise StoreCorrupt("the counts of a list do not add up")
    return Spot(number, slot), piece_in(value, slot), index - upto[slot] + alive[slot]


def edge(rows: Readable, nodes: bytes, *, last: bool = False) -> Spot | None:
    """Where the first piece lies, or the last; None in a list of nothing."""
    head = rows.get(nodes)
    if head is None:
        return None
    return _edge_below(rows, nodes, _HEAD.unpack(head)[0], last=last)


def _edge_below(rows: Readable, nodes: bytes, number: int, *, last: bool) -> Spot:
    value = node(rows, nodes, number)
    while value[:1] == _INNER:
        number = _U32.unpack_from(value, len(value) - _CHILD_BYTES if last else _START)[0]
        value = node(rows, nodes, number)
    return Spot(number, slots_in(value) - 1 if last else 0)


def beside(rows: Readable, nodes: bytes, spot: Spot, *, before: bool = False) -> Spot | None:
    """Where the next piece lies, or the one before; None at the end."""
    number, slot = spot
    value = node(rows, nodes, number)
    if before and slot > 0:
        return Spot(number, slot - 1)
    if not before and slot + 1 < slots_in(value):
        return Spot(number, slot + 1)
    while value[1:_START] != _NO_PARENT:
        parent = _U32.unpack_from(value, 1)[0]
        value = node(rows, nodes, parent)
        at = _START + _entry(value, _U32.pack(number), _CHILD_BYTES) * _CHILD_BYTES
        at += -_CHILD_BYTES if before else _CHILD_BYTES
        if _START <= at < len(value):
            return _edge_below(rows, nodes, _U32.unpack_from(value, at)[0], last=before)
        number = parent
    return None


def pieces_from(rows: Readable, nodes: bytes, spot: Spot | None) -> Iterator[tuple[Spot, Piece]]:
    """The pieces from a spot on, in the order of the list."""
    while spot is not None:
        number, slot = spot
        value = node(rows, nodes, number)
        for fields in _RECORD.iter_unpack(value[_START + slot * _RECORD_BYTES :]):
            yield Spot(number, slot), Piece(*fields)
            slot += 1
        spot = beside(rows, nodes, Spot(number, slot - 1))


# -- writing --------------------------------------------------------------------------------------


def change(
    rows: Overlay,
    nodes: bytes,
    number: int,
    changes: Sequence[tuple[bytes, int, int]],
    *,
    sets: int = 0,
) -> None:
    """Let (piece id, live, flags) be so in one leaf, and correct the counts above.

    Of the flags only those in `sets` change.
    """
    key = nodes + _U32.pack(number)
    value = leaf = node(rows, nodes, number)
    delta = 0
    for piece, live, flags in changes:
        at = _START + _entry(leaf, piece, _RECORD_BYTES) * _RECORD_BYTES + _LIVE_AT
        delta += live - leaf[at]
        flags |= leaf[at + 1] & ~sets
        value = b"%b%c%c%b" % (value[:at], live, flags, value[at + 2 :])
    rows.rows[key] = value
    if delta:
        _count(rows, nodes, number, leaf, delta)


def _count(rows: Overlay, nodes: bytes, number: int, value: bytes, delta: int) -> None:
    """Add to the counts of all above the node `number`, whose row is `value`."""
    child = _U32.pack(number)
    while (parent := value[1:_START]) != _NO_PARENT:
        key = nodes + parent
        above = rows.get(key)
        if above is None:
            raise StoreCorrupt("a node of a list has no parent")
        value = above
        at = _START + _entry(value, child, _CHILD_BYTES) * _CHILD_BYTES + 4
        below = _U32.unpack_from(value, at)[0] + delta
        rows.rows[key] = b"%b%b%b" % (value[:at], _U32.pack(below), value[at + 4 :])
        child = parent
    head = rows.get(nodes)
    assert head is not None, "a list with nodes has a head"
    root, fresh, live = _HEAD.unpack(head)
    rows.rows[nodes] = _HEAD.pack(root, fresh, live + delta)


def splice(
    rows: Overlay,
    nodes: bytes,
    spot: Spot | None,
    drop: int,
    fresh: Sequence[bytes],
    delta: int = 0,
) -> dict[bytes, int]:
    """Put packed pieces in the place of `drop` pieces from a spot on; None is a list of nothing.

    `delta` more elements live in the one than in the other. The answer is where pieces now lie that
    do not lie in `spot.leaf`, by their ids: new ones, and old ones that had to move.
    """
    if spot is None:
        rows.rows[nodes] = _HEAD.pack(0, 1, 0)
        rows.rows[nodes + _U32.pack(0)] = _LEAF + _NO_PARENT
        spot = Spot(0, 0)
    key = nodes + _U32.pack(spot.leaf)
    old = node(rows, nodes, spot.leaf)
    at = _START + spot.slot * _RECORD_BYTES
    after = old[at + drop * _RECORD_BYTES :]
    value = rows.rows[key] = b"".join([old[:at], *fresh, after])
    if delta:
        _count(rows, nodes, spot.leaf, value, delta)
    if len(value) <= _START + WIDTH * _RECORD_BYTES:
        return {}
    records = [record for (record,) in _ONE_RECORD.iter_unpack(value[_START:])]
    stays = 0
    if not after:
        groups = [records[:WIDTH], *_cut(records[WIDTH:])]
    elif not spot.slot:
        groups = [*_cut(records[:-WIDTH]), records[-WIDTH:]]
        stays = len(groups) - 1
    else:
        groups = _cut(records)
    return _spread(rows, nodes, spot.leaf, value, groups, stays)


_ONE_RECORD: Final = Struct(f">{_RECORD_BYTES}s")
_ONE_CHILD: Final = Struct(f">{_CHILD_BYTES}s")


def _cut(entries: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Entries in groups of about equal size, none above `_FILL`."""
    count = -(-len(entries) // _FILL)
    edges = [len(entries) * number // count for number in range(count + 1)]
    return [entries[low:high] for low, high in pairwise(edges)]


def _spread(
    rows: Overlay,
    nodes: bytes,
    number: int,
    value: bytes,
    groups: Sequence[Sequence[bytes]],
    stays: int,
) -> dict[bytes, int]:
    """Write the pieces of leaf `number` into several leaves; group `stays` keeps the number."""
    numbers = _numbers(rows, nodes, number, len(groups), stays)
    moved: dict[bytes, int] = {}
    children: list[bytes] = []
    for each, group in zip(numbers, groups, strict=True):
        rows.rows[nodes + _U32.pack(each)] = value[:_START] + b"".join(group)
        children.append(_CHILD.pack(each, sum([record[_LIVE_AT] for record in group])))
        if each != number:
            for record in group:
                moved[record[:PIECE_BYTES]] = each
    _replace(rows, nodes, number, children)
    return moved


def _numbers(rows: Overlay, nodes: bytes, number: int, count: int, stays: int) -> list[int]:
    """`count` numbers of nodes, all new but the one at `stays`, which is `number`."""
    head = rows.get(nodes)
    assert head is not None, "a list with nodes has a head"
    root, fresh, live = _HEAD.unpack(head)
    rows.rows[nodes] = _HEAD.pack(root, fresh + count - 1, live)
    numbers = list(range(fresh, fresh + count - 1))
    numbers.insert(stays, number)
    return numbers


def _replace(rows: Overlay, nodes: bytes, number: int, children: Sequence[bytes]) -> None:
    """Put several children in the place of the child `number`; their rows name its parent."""
    above = node(rows, nodes, number)[1:_START]
    if above == _NO_PARENT:
        _raise(rows, nodes, children)
        return
    key = nodes + above
    value = rows.get(key)
    if value is None:
        raise StoreCorrupt("a node of a list has no parent")
    at = _START + _entry(value, _U32.pack(number), _CHILD_BYTES) * _CHILD_BYTES
    low, high = value[:at], value[at + _CHILD_BYTES :]
    value = low + b"".join(children) + high
    rows.rows[key] = value
    if len(value) <= _START + WIDTH * _CHILD_BYTES:
        return
    entries = [child for (child,) in _ONE_CHILD.iter_unpack(value[_START:])]
    groups: list[Sequence[bytes]] = (
        _cut(entries) if high else [entries[:WIDTH], *_cut(entries[WIDTH:])]
    )
    parent = _U32.unpack(above)[0]
    numbers = _numbers(rows, nodes, parent, len(groups), 0)
    fresh: list[bytes] = []
    for each, group in zip(numbers, groups, strict=True):
        rows.rows[nodes + _U32.pack(each)] = value[:_START] + b"".join(group)
        fresh.append(_CHILD.pack(each, sum([_CHILD.unpack(child)[1] for child in group])))
        if each != parent:
            _adopt(rows, nodes, each, group)
    _replace(rows, nodes, parent, fresh)


def _raise(rows: Overlay, nodes: bytes, children: Sequence[bytes]) -> None:
    """Put a new root above what was cut."""
    head = rows.get(nodes)
    assert head is not None, "a list with nodes has a head"
    _, fresh, live = _HEAD.unpack(head)
    rows.rows[nodes] = _HEAD.pack(fresh, fresh + 1, live)
    rows.rows[nodes + _U32.pack(fresh)] = _INNER + _NO_PARENT + b"".join(children)
    _adopt(rows, nodes, fresh, children)


def _adopt(rows: Overlay, nodes: bytes, parent: int, children: Sequence[bytes]) -> None:
    """Write into the rows of children whose they are."""
    number = _U32.pack(parent)
    for child in children:
        key = nodes + child[:4]
        value = rows.get(key)
        if value is None:
            raise StoreCorrupt("a node of a list is not there")
        rows.rows[key] = value[:1] + number + value[_START:]
