"""A model's reconciled set in a dict, beside the tree of sums that is kept over it."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice

from dinemic_engine.blocks import Blocks, sum_of
from dinemic_engine.recount import Recount
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay

MODEL_NO = 0

Change = tuple[str, int, int]
"""What happens, the time or place it happens at, and how much of it."""


class CountedSet:
    """A model's reconciled set in a dict, and the store it is counted into."""

    def __init__(self) -> None:
        self.store: Store = MemoryStore()
        self.effective: dict[bytes, bool] = {}
        self._made = 0

    def apply(self, batch: Sequence[Change]) -> None:
        recount, rows = Recount(), Overlay(self.store)
        for kind, at, count in batch:
            for step in range(count):
                if kind == "add":
                    self._add(recount, at + step)
                elif self.effective:
                    self._change(recount, kind, at)
        recount.write(rows)
        self.store.write(rows.rows)

    def _add(self, recount: Recount, t: int) -> None:
        self._made += 1
        order = layout.pack_order(t, hashlib.sha256(self._made.to_bytes(4, "big")).digest())
        self.effective[order] = stands = self._made % 4 != 0
        recount.admit(MODEL_NO, 0, order, effective=stands)

    def _change(self, recount: Recount, kind: str, at: int) -> None:
        """The first event from a time on leaves the set, or gains or loses effect."""
        orders = sorted(self.effective)
        order = orders[min(bisect_left(orders, at.to_bytes(8, "big")), len(orders) - 1)]
        stands = self.effective[order]
        if kind == "turn":
            self.effective[order] = not stands
            recount.change(MODEL_NO, 0, order, 0, -1 if stands else +1)
        else:
            del self.effective[order]
            recount.change(MODEL_NO, 0, order, -1, -1 if stands else 0)

    def between(self, lower: bytes, upper: bytes) -> list[bytes]:
        orders = sorted(self.effective)
        return orders[bisect_left(orders, lower) : bisect_left(orders, upper)]

    def bounds(self) -> list[bytes]:
        """Where the blocks of any level end."""
        prefix = len(keyspace.blocks_prefix(MODEL_NO, 1))
        return [key[prefix:] for key, _ in self.store.scan(b"f", b"g")]


def check_range(model: CountedSet, lower: bytes, upper: bytes, skip: int) -> None:
    """I-10: what the tree says of a range, and where it leads, is what its events say."""
    tree, inside = Blocks(model.store, MODEL_NO), model.between(lower, upper)
    expected = sum_of((order, model.effective[order]) for order in inside)
    assert tree.sums(lower, upper).pack() == expected.pack()
    for effective in (False, True):
        left = [order for order in inside if model.effective[order] or not effective][skip:]
        found = tree.orders_after(lower, upper, skip, effective=effective)
        assert list(islice(found, 3)) == left[:3]
