"""What the rows of lists stand for, and what must hold of them."""

from __future__ import annotations

from struct import unpack
from typing import NamedTuple

from dinemic_engine.edits import Element
from dinemic_engine.store import keyspace
from dinemic_engine.store.overlay import Readable
from dinemic_engine.types import counted_tree, list_reading, runs
from dinemic_engine.types.counted_tree import Spot


class Told(NamedTuple):
    """An element that was ever inserted, alive or not."""

    event: bytes
    op: int
    at: int
    effective: bool
    deletions: int
    """How many that have effect name it."""


def everything(rows: Readable, no: int, stored: bytes) -> list[Told]:
    """All elements of a list, in its order."""
    keys = runs.keys_of(no, stored)
    found: list[Told] = []
    first = counted_tree.edge(rows, keys.nodes)
    for _, piece in counted_tree.pieces_from(rows, keys.nodes, first):
        event = runs.event_of(rows, no, piece.run)[1]
        op = int.from_bytes(piece.run[12:], "big")
        effective = bool(piece.flags & counted_tree.EFFECTIVE)
        block = runs.block_of(rows, keys, piece.run, piece.first)
        for at in range(piece.first, piece.first + piece.length):
            deletions = (block.deleted >> at % 64 & 1) + dict(block.again).get(at % 64, 0)
            found.append(Told(event, op, at, effective, deletions))
    return found


def check_rows(rows: Readable, no: int = 0, stored: bytes = b"list_a") -> int:
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
    if piece.flags & counted_tree.RIGHT:
        assert piece.first + piece.length == block.size
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


def seen_by(rows: Readable, no: int = 0, stored: bytes = b"list_a") -> list[tuple[Element, object]]:
    """(element, value) of a list; of what is sealed as a whole that and the position in it."""
    return [
        (item.element, item.value if item.position is None else (item.value, item.position))
        for item in list_reading.items(rows, no, stored)
    ]
