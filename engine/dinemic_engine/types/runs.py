"""What ops inserted into a list, in blocks of 64 elements: where each lies, which are deleted.

All the elements of one LIST_INSERT are a *run*; it is named by the place of its event in the log
and the op: chain, seq, op. A run is kept in blocks of 64 elements, one row each, so that what
happens to a few elements of a long run writes little:

    run of 150     | block 0: 0..63 | block 1: 64..127 | block 2: 128..149 |
    its pieces     | 0..63          | 64..99 | 100..127| 128..149          |   cut before 100

A *piece* never reaches over the edge of a block, and is cut where something was inserted into the
middle of it (`fugue`). A block says in which leaf of the tree (`counted_tree`) each of its pieces
lies, which elements effective deletions name and how often, and holds the values, so that reading
one reads neither the whole run nor its event. Values of more than `_COPIED_MAX` bytes a block are
left in the event.

Whether an element lives follows from two things that are kept apart, as they come and go in any
order: the insert has effect (a flag of its pieces), and no effective deletion names it (here).

Row of a block (keyspace ``b``):

    flags 1, elements of the run 4, parent of the run 16, deleted 8 (bit i: element i of the block),
    pieces 1, times deleted 1, then: (first element 1, leaf 4) of each piece; (element 1, count 4)
    of each that more than one deletion names, count being those beyond the first; values
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple, cast

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Element, ListInsert
from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.limits import RUN_MAX, T_US_MAX
from dinemic_engine.log import event_at
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import AUTHORIZED, Place
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import counted_tree
from dinemic_engine.types.counted_tree import Piece, Spot

BLOCK: Final = 64
"""Elements of a block: as many as there are bits in `Block.deleted`."""
ALL: Final = (1 << BLOCK) - 1
_COPIED_MAX: Final = 4096
"""Bytes of values that the row of a block holds; it is written again when its elements change."""

# -- names of elements ----------------------------------------------------------------------------
#
# In rows an element is its run (chain 4, seq 8, op 2) and its index 2, which sorts and takes half
# of an id. Drafts are ops of an event that is not made yet: they have a chain of their own.

DRAFT_CHAIN: Final = 0xFFFFFFFE
ROOT: Final = b"\xff" * 16
"""The element all others descend from."""

_RUN: Final = Struct(">IQH")
_ELEMENT: Final = Struct(">14sH")

DRAFT: Final = Event(
    EventId(bytes(32)), ObjectId(bytes(32)), AuthorId(bytes(32)), T_US_MAX, (), (), b""
)
"""Stands for the event that drafts will be ops of."""


def draft_place(no: int) -> Place:
    """Where drafts lie in the log of object number `no`: nowhere, after everything."""
    return Place(no, T_US_MAX, DRAFT_CHAIN, 1, 0, AUTHORIZED)


class Keys(NamedTuple):
    """What the keys of one list begin with."""

    no: int
    stored: bytes
    nodes: bytes
    blocks: bytes
    siblings: bytes


@lru_cache(maxsize=1024)
def keys_of(no: int, stored: bytes) -> Keys:
    """The keys of a list, by its stored key; remembered, as every op begins with them."""
    return Keys(
        no,
        stored,
        keyspace.list_prefix(b"d", no, stored),
        keyspace.list_prefix(b"b", no, stored),
        keyspace.list_prefix(b"i", no, stored),
    )


def run_of(place: Place, op: int) -> bytes:
    """The name of the run that an op inserts."""
    return _RUN.pack(place.chain, place.seq, op)


def place_in(run: bytes) -> tuple[int, int]:
    """(chain, seq) of the event that inserted a run."""
    chain, seq, _ = _RUN.unpack(run)
    return chain, seq


def target_run(rows: Readable, place: Place, element: Element) -> bytes:
    """The run of an element that an admitted op at `place` names."""
    if not element.event:
        return _RUN.pack(place.chain, place.seq, element.op)
    run = find_run(rows, element)
    if run is None:
        raise StoreCorrupt(f"event {short(element.event)} has rows and no place")
    return run


def pack_element(run: bytes, at: int) -> bytes:
    """The name of an element in rows."""
    return _ELEMENT.pack(run, at)


def unpack_element(name: bytes) -> tuple[bytes, int]:
    """The inverse of `pack_element`."""
    run, at = _ELEMENT.unpack(name)
    return run, at


def event_of(rows: Readable, no: int, run: bytes) -> tuple[int, bytes]:
    """(t, id) of the event that inserted a run; of drafts those of `DRAFT`."""
    chain, seq, _ = _RUN.unpack(run)
    if chain == DRAFT_CHAIN:
        return DRAFT.t, DRAFT.id
    value = rows.get(keyspace.chain_key(no, chain, seq))
    if value is None:
        raise StoreCorrupt(f"event {seq} of chain {chain} has rows and is not there")
    return layout.unpack_order(value)


def element_of(rows: Readable, no: int, run: bytes, at: int) -> Element:
    """An element as ops name it; one that a draft inserts is of the event with no id yet."""
    chain, _, op = _RUN.unpack(run)
    return Element(b"" if chain == DRAFT_CHAIN else event_of(rows, no, run)[1], op, at)


def find_run(rows: Readable, element: Element) -> bytes | None:
    """The run of an element that a reader names; None if its event is not admitted."""
    if not element.event:
        return _RUN.pack(DRAFT_CHAIN, 1, element.op)
    value = rows.get(keyspace.place_key(element.event))
    if value is None:
        return None
    return keyspace.chain_and_seq(value) + element.op.to_bytes(2, "big")


# -- blocks ---------------------------------------------------------------------------------------

SEALED: Final = 1
"""Flag of a block: the values of its run are sealed together; block 0 holds them for all."""
ELSEWHERE: Final = 2
"""Flag of a block: its values were too large to copy; they are in the event."""
WRITTEN: Final = 4
"""Flag of a block: a LIST_SET names an element of it, effective or not."""

_BLOCK: Final = Struct(">BI16sQBB")
_PAIR: Final = Struct(">BI")
_WHOLE: Final = Struct(_BLOCK.format + _PAIR.format[1:])
"""A block in one piece."""
_LEAF_AT: Final = _BLOCK.size + 1
_NUMBERS: Final = [number.to_bytes(2, "big") for number in range(RUN_MAX // BLOCK)]
_DELETED_AT: Final = _BLOCK.size - 10
_PIECES_AT: Final = _BLOCK.size - 2
_U32: Final = Struct(">I")


class Block(NamedTuple):
    """Up to 64 elements of a run."""

    flags: int
    size: int
    """Elements of the run."""
    parent: bytes
    """Of the run's first element: `ROOT` or an element's name."""
    deleted: int
    pieces: tuple[tuple[int, int], ...]
    """(first element in the block, leaf), ascending."""
    again: tuple[tuple[int, int], ...]
    """(element in the block, effective deletions beyond the first), ascending."""
    values: bytes

    def pack(self) -> bytes:
        """The value of a ``b`` row."""
        flags, size, parent, deleted, pieces, again, values = self
        fixed = _BLOCK.pack(flags, size, parent, deleted, len(pieces), len(again))
        return b"".join([fixed, *[_PAIR.pack(*pair) for pair in pieces + again], values])


def unpack_block(value: bytes) -> Block:
    """The inverse of `Block.pack`."""
    flags, size, parent, deleted, pieces, again = _BLOCK.unpack_from(value)
    middle = _BLOCK.size + pieces * _PAIR.size
    end = middle + again * _PAIR.size
    return Block(
        flags,
        size,
        parent,
        deleted,
        tuple(_PAIR.iter_unpack(value[_BLOCK.size : middle])),
        tuple(_PAIR.iter_unpack(value[middle:end])) if again else (),
        value[end:],
    )


def size_in(value: bytes) -> int:
    """How many elements the run has, of the row of one of its blocks."""
    return int.from_bytes(value[1:5], "big")


def block_key(keys: Keys, run: bytes, number: int) -> bytes:
    """The ``b`` key of a block."""
    return keys.blocks + run + _NUMBERS[number]


def size_of(rows: Readable, keys: Keys, run: bytes) -> int:
    """How many elements a run has."""
    return size_in(_row(rows, keys, run, 0))


def block_of(rows: Readable, keys: Keys, run: bytes, at: int) -> Block:
    """The block that holds element `at` of a run.

    Raises:
        StoreCorrupt: something leads to it, and it is not there.
    """
    return unpack_block(_row(rows, keys, run, at))


def _piece_in(value: bytes, at: int) -> tuple[int, int]:
    """(first element in the block, leaf) of the piece with element `at`, from a block's row."""
    pieces = value[_PIECES_AT]
    if pieces == 1:
        return 0, _U32.unpack_from(value, _LEAF_AT)[0]
    number = bisect_right(_firsts(value, pieces), at % BLOCK) - 1
    first, leaf = _PAIR.unpack_from(value, _BLOCK.size + number * _PAIR.size)
    return first, leaf


def _firsts(value: bytes, pieces: int) -> bytes:
    """The first elements of the pieces of a block, from its row."""
    return value[_BLOCK.size : _BLOCK.size + pieces * _PAIR.size : _PAIR.size]


def _row(rows: Readable, keys: Keys, run: bytes, at: int) -> bytes:
    value = rows.get(block_key(keys, run, at // BLOCK))
    if value is None:
        raise StoreCorrupt("a run of a list is not there")
    return value


def begins_piece(rows: Readable, keys: Keys, run: bytes, at: int) -> bool:
    """Whether element `at` of a run is the first of its piece."""
    value = _row(rows, keys, run, at)
    return at % BLOCK in _firsts(value, value[_PIECES_AT])


def locate(rows: Readable, keys: Keys, run: bytes, at: int) -> tuple[Spot, Piece]:
    """Where the piece with element `at` of a run lies."""
    first, number = _piece_in(_row(rows, keys, run, at), at)
    leaf = counted_tree.node(rows, keys.nodes, number)
    slot = counted_tree.slot_of(leaf, _ELEMENT.pack(run, at - at % BLOCK + first))
    return Spot(number, slot), counted_tree.piece_in(leaf, slot)


def cut(rows: Overlay, keys: Keys, piece: Piece, leaf: int, at: int) -> tuple[Piece, Piece]:
    """A piece in two, the second from element `at` on; their block knows of both."""
    run, first = piece.run, piece.first
    key = block_key(keys, run, at // BLOCK)
    value = _row(rows, keys, run, at)
    pieces = value[_PIECES_AT]
    number = bisect_right(_firsts(value, pieces), at % BLOCK)
    behind = _BLOCK.size + number * _PAIR.size
    rows.rows[key] = b"%b%c%b%b%b" % (
        value[:_PIECES_AT],
        pieces + 1,
        value[_PIECES_AT + 1 : behind],
        _PAIR.pack(at % BLOCK, leaf),
        value[behind:],
    )
    length = at - first
    live = length
    if piece.live < piece.length:
        deleted = int.from_bytes(value[_DELETED_AT:_PIECES_AT], "big")
        live = (bits(first % BLOCK, length) & ~deleted).bit_count() if piece.live else 0
    return (
        Piece(piece.id, length, live, piece.flags),
        Piece(_ELEMENT.pack(run, at), piece.length - length, piece.live - live, piece.flags),
    )


def lone_leaf(value: bytes) -> int | None:
    """The leaf of a whole run that is in one piece and of which nothing is deleted, from its row.

    None of any other. Most runs are so when they take effect.
    """
    if (
        value[_PIECES_AT] == 1
        and not any(value[_DELETED_AT:_PIECES_AT])
        and size_in(value) <= BLOCK
    ):
        return int(_U32.unpack_from(value, _LEAF_AT)[0])
    return None


def move(rows: Overlay, keys: Keys, moved: dict[bytes, int]) -> None:
    """Write into the blocks in which leaves pieces lie now."""
    changed: dict[bytes, bytearray] = {}
    for piece, number in moved.items():
        run, first = unpack_element(piece)
        key = block_key(keys, run, first // BLOCK)
        value = changed.get(key)
        if value is None:
            value = changed[key] = bytearray(_row(rows, keys, run, first))
        at = _BLOCK.size
        if (pieces := value[_PIECES_AT]) > 1:
            firsts = value[at : at + pieces * _PAIR.size : _PAIR.size]
            at += firsts.index(first % BLOCK) * _PAIR.size
        _U32.pack_into(value, at + 1, number)
    for key, value in changed.items():
        rows.rows[key] = bytes(value)


def bits(low: int, length: int) -> int:
    """A mask of `length` elements of a block from `low` on."""
    return ((1 << length) - 1) << low


def alive_in(block: Block, piece: Piece) -> int:
    """The mask, within its block, of the elements of a piece that live."""
    if not piece.live:
        return 0
    return bits(piece.first % BLOCK, piece.length) & ~block.deleted


def ones(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


# -- values ---------------------------------------------------------------------------------------


def new_blocks(op: ListInsert, parent: bytes, leaf: int, *, draft: bool) -> Iterator[bytes]:
    """The rows of the blocks of a run that is inserted, all of it in `leaf`, nothing deleted."""
    flags, sealed = 0, b""
    if isinstance(op.values, Sealed):
        flags, sealed = SEALED, canonical.encode(op.values)
    for low in range(0, op.count, BLOCK):
        own = flags
        if isinstance(op.values, Sealed):
            values = b"" if low else sealed
        else:
            values = canonical.encode(op.values[low : low + BLOCK])
        if len(values) > _COPIED_MAX and not draft:
            own, values = own | ELSEWHERE, b""
        yield _WHOLE.pack(own, op.count, parent, 0, 1, 0, 0, leaf) + values


class Reader:
    """Reads inserted values, and remembers the last event or block of values it had to open."""

    def __init__(self, rows: Readable, keys: Keys) -> None:
        self._rows = rows
        self._keys = keys
        self._block: tuple[bytes, Sequence[Value]] = (b"", ())
        self._sealed: tuple[bytes, Value] = (b"", None)

    def value(self, run: bytes, at: int, block: Block) -> tuple[Value, int | None]:
        """What element `at` of a run was inserted with; `block` is the one that holds it.

        Of a run that is sealed as a whole: that, and the position of the element in it.
        """
        if block.flags & SEALED:
            if self._sealed[0] != run:
                first = block if at < BLOCK else block_of(self._rows, self._keys, run, 0)
                self._sealed = run, self._sealed_in(run, first)
            return self._sealed[1], at
        name = pack_element(run, at - at % BLOCK)
        if self._block[0] != name:
            if block.flags & ELSEWHERE:
                low = at - at % BLOCK
                values = cast("Sequence[Value]", self._op(run).values)[low : low + BLOCK]
            else:
                values = cast("list[Value]", canonical.decode(block.values))
            self._block = name, values
        return self._block[1][at % BLOCK], None

    def encoded(self, run: bytes, at: int, block: Block) -> bytes:
        """The same as encoded bytes; of a sealed run ``[sealed, position]``, which no value is."""
        value, position = self.value(run, at, block)
        return canonical.encode(value if position is None else [value, position])

    def _sealed_in(self, run: bytes, first: Block) -> Value:
        if first.flags & ELSEWHERE:
            return cast("Sealed", self._op(run).values)
        return canonical.decode(first.values)

    def _op(self, run: bytes) -> ListInsert:
        t, event_id = event_of(self._rows, self._keys.no, run)
        op = event_at(self._rows, self._keys.no, t, event_id).ops[_RUN.unpack(run)[2]]
        if not isinstance(op, ListInsert):
            raise StoreCorrupt("a run of a list is of an op that inserts nothing")
        return op
