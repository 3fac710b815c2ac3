"""The counted tree by itself: against a plain list of pieces."""

from __future__ import annotations

import random

import pytest

from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay
from dinemic_engine.types import counted_tree
from dinemic_engine.types.counted_tree import WIDTH, Piece, Spot

NODES = b"d"


class Tree:
    """A tree, and beside it the pieces as they must lie in it: [piece, leaf] in order."""

    def __init__(self) -> None:
        self.rows = Overlay(MemoryStore())
        self.pieces: list[Piece] = []
        self.leaves: dict[bytes, int] = {}
        self._made = 0

    def fresh(self, count: int) -> list[Piece]:
        """New pieces, none of which lives."""
        numbers = range(self._made, self._made + count)
        self._made += count
        # Ids full of what could be taken for the beginning of another entry.
        return [Piece(number.to_bytes(2, "big") * 8, 64, 0, 0) for number in numbers]

    def spot(self, index: int) -> Spot:
        """Where the piece at an index lies."""
        piece = self.pieces[index]
        leaf = self.leaves[piece.id]
        slot = counted_tree.slot_of(counted_tree.node(self.rows, NODES, leaf), piece.id)
        return Spot(leaf, slot)

    def insert(self, index: int, count: int = 1) -> None:
        """Put new pieces before the one at an index."""
        fresh = self.fresh(count)
        if not self.pieces:
            spot = None
        elif index:
            leaf, slot = self.spot(index - 1)
            spot = Spot(leaf, slot + 1)
        else:
            spot = self.spot(0)
        moved = counted_tree.splice(self.rows, NODES, spot, 0, [piece.pack() for piece in fresh])
        self.leaves.update({piece.id: 0 if spot is None else spot.leaf for piece in fresh})
        self.leaves.update(moved)
        self.pieces[index:index] = fresh

    def live(self, index: int, live: int) -> None:
        """Let so many live in the piece at an index."""
        piece = self.pieces[index]
        change = piece.id, live, counted_tree.EFFECTIVE
        counted_tree.change(self.rows, NODES, self.leaves[piece.id], [change])
        flags = piece.flags | counted_tree.EFFECTIVE
        self.pieces[index] = piece._replace(live=live, flags=flags)

    def depth(self) -> int:
        """How many nodes are on the way from a leaf to the root."""
        number, depth = self.spot(0).leaf, 1
        while (above := counted_tree.node(self.rows, NODES, number)[1:5]) != b"\xff" * 4:
            number, depth = int.from_bytes(above, "big"), depth + 1
        return depth

    def check(self) -> None:
        """Fail unless the tree holds what it must, and finds it."""
        first = counted_tree.edge(self.rows, NODES)
        found = list(counted_tree.pieces_from(self.rows, NODES, first))
        assert [piece for _, piece in found] == self.pieces
        assert {piece.id: spot.leaf for spot, piece in found} == self.leaves
        last = counted_tree.edge(self.rows, NODES, last=True)
        backwards = []
        while last is not None:
            backwards.append(counted_tree.piece_at(self.rows, NODES, last))
            last = counted_tree.beside(self.rows, NODES, last, before=True)
        assert backwards[::-1] == self.pieces
        before = 0
        for spot, piece in found:
            for place in (0, piece.live - 1) if piece.live else ():
                answer = counted_tree.select(self.rows, NODES, before + place)
                assert answer == (spot, piece, place)
            before += piece.live
        assert counted_tree.length(self.rows, NODES) == before
        for index in (-1, before):
            with pytest.raises(IndexError):
                counted_tree.select(self.rows, NODES, index)


def test_pieces_lie_where_they_were_put_and_are_counted(rng: random.Random) -> None:
    tree = Tree()
    for _ in range(1500):
        if tree.pieces and rng.randrange(3) == 0:
            tree.live(rng.randrange(len(tree.pieces)), rng.randrange(65))
        else:
            size = len(tree.pieces)
            index = rng.choice((0, size, rng.randint(0, size), min(size, 70)))
            tree.insert(index, rng.choice((1, 1, 1, 1, 2, 150)))
    assert tree.depth() == 3
    tree.check()


@pytest.mark.parametrize("end", ["last", "first"])
def test_who_inserts_at_an_end_leaves_full_leaves_behind_and_moves_nothing(end: str) -> None:
    tree = Tree()
    for count in range(3 * WIDTH):
        before = dict(tree.leaves)
        tree.insert(count if end == "last" else 0)
        assert before.items() <= tree.leaves.items()
    tree.check()
    assert len(set(tree.leaves.values())) == 3


def test_a_long_run_into_a_list_of_nothing_fills_leaves_evenly() -> None:
    tree = Tree()
    tree.insert(0, 1024)
    tree.check()
    assert tree.depth() == 2
    tree.insert(500, 1024)
    tree.check()


def test_a_hundred_thousand_pieces_are_four_nodes_deep_at_most() -> None:
    tree = Tree()
    for count in range(0, 60_000, 1000):
        tree.insert(count // 2, 1000)
    assert tree.depth() <= 4
    assert len(tree.rows.rows) < 60_000 // 12


def test_a_list_of_nothing_has_no_rows_and_no_end() -> None:
    rows = Overlay(MemoryStore())
    assert counted_tree.length(rows, NODES) == 0
    assert counted_tree.edge(rows, NODES) is None
    assert list(counted_tree.pieces_from(rows, NODES, None)) == []
    with pytest.raises(IndexError):
        counted_tree.select(rows, NODES, 0)


def test_a_node_that_is_gone_is_no_shorter_list() -> None:
    tree = Tree()
    tree.insert(0, 100)
    for index in range(100):
        tree.live(index, 64)
    for key in [key for key in tree.rows.rows if key != NODES]:
        damaged = Overlay(MemoryStore(), {**tree.rows.rows, key: None})
        with pytest.raises(StoreCorrupt):
            _every_element(damaged)


def _every_element(rows: Overlay) -> None:
    for index in range(6400):
        counted_tree.select(rows, NODES, index)
