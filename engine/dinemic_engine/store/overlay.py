"""Rows not yet written, over a store: what a batch of events reads while it is being judged."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol


class Readable(Protocol):
    """The reading half of a store: what an overlay lies over, another overlay included."""

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows of ``start <= key < end`` in key order, or backwards."""


@dataclass(slots=True)
class Overlay:
    """Reads see the overlay's own rows first, then the store's. Nothing reaches the store here.

    `rows` is written to directly; a key never leaves it, a deletion is a None.
    """

    store: Readable
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    _sorted: dict[bytes, list[bytes]] = field(default_factory=dict)
    """The first `_sorted_count` keys of `rows` by their first letter: what a scan reads."""
    _sorted_count: int = 0

    def get(self, key: bytes) -> bytes | None:
        """The value at `key` as the finished batch would show it."""
        try:
            return self.rows[key]
        except KeyError:
            return self.store.get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows of ``start <= key < end`` as the finished batch would show them."""
        own = self._own(start, end)
        if not own:
            yield from self.store.scan(start, end, reverse=reverse)
            return
        if reverse:
            own.reverse()
        position = 0
        for key, value in self.store.scan(start, end, reverse=reverse):
            while position < len(own) and (own[position] > key if reverse else own[position] < key):
                mine = self.rows[own[position]]
                if mine is not None:
                    yield own[position], mine
                position += 1
            if position < len(own) and own[position] == key:
                continue  # ours comes in the loop above or below
            yield key, value
        for key in own[position:]:
            mine = self.rows[key]
            if mine is not None:
                yield key, mine

    def _own(self, start: bytes, end: bytes) -> list[bytes]:
        """Our keys in the range, ascending. Keys that came since the last call are sorted in.

        So judging a batch costs the logarithm of its size per scan, and nothing where none is made.
        """
        fresh = len(self.rows) - self._sorted_count
        for key in islice(reversed(self.rows), fresh):
            insort(self._sorted.setdefault(key[:1], []), key)
        self._sorted_count = len(self.rows)
        found: list[bytes] = []
        for letter, keys in self._sorted.items():
            if start[:1] <= letter <= end[:1]:
                found += keys[bisect_left(keys, start) : bisect_left(keys, end)]
        found.sort()
        return found
