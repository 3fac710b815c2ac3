"""What a batch of events reads while it is being judged.

The rows of the batch first (`Overlay`), then those lately used (`Recent`), then the store.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, Protocol

from dinemic_engine.store import Rows, Store

_GENERATION_BYTES: Final = 4 << 20
"""How much each of the two generations of `Recent` holds: the rows of some 3,000 events."""
_ROW_BYTES: Final = 150
"""What a row in memory costs beside its value: the key, and Python's two objects and entry."""
_READ_AGAIN: Final = frozenset(b"mMFoOIHCJNVRSDUrtxdbie")
"""First letters of the rows that judging an event reads; the others are written for later."""
_SELDOM: Final = b"A"[0]
"""First letter of the rows that every sealed value looks for and hardly any object has."""
_EMPTY_REMEMBERED: Final = 4096

_ABSENT: Final[Any] = object()
"""Not in this layer. None is another thing: it is in this layer that the row is deleted."""


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
        value: bytes | None = self.rows.get(key, _ABSENT)
        return self.store.get(key) if value is _ABSENT else value

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


class Recent:
    """A store of which this is the only writer, with the rows used lately in memory before it.

    An object that was just changed is mostly changed again, and then nothing is read from the store
    at all. Rows live in two generations: a full young one becomes the old one, of which what is
    read again is young again. Not thread-safe, as the `Ledger` that owns it is not.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._size = 0
        self._empty: set[tuple[bytes, bytes]] = set()
        """Ranges without a row, of those where that is the rule."""

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        value: bytes | None = self._young.get(key, _ABSENT)
        if value is _ABSENT:
            value = self._old.get(key, _ABSENT)
            if value is _ABSENT:
                value = self._store.get(key)
            if value is not None and key[0] in _READ_AGAIN:
                self._young[key] = value
                self._grow(_ROW_BYTES + len(value))
        return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The store's rows of ``start <= key < end``."""
        if start[0] != _SELDOM:
            return self._store.scan(start, end, reverse=reverse)
        if (start, end) in self._empty:
            return iter(())
        found = self._store.scan(start, end, reverse=reverse)
        first = next(found, None)
        if first is not None:
            return chain((first,), found)
        if len(self._empty) >= _EMPTY_REMEMBERED:
            self._empty.clear()
        self._empty.add((start, end))
        return iter(())

    def write(self, rows: Rows) -> None:
        """Write a batch to the store; only when that succeeded it is seen here.

        Raises:
            StoreError: nothing was written.
        """
        self._store.write(rows)
        young, size = self._young, 0
        for key, value in rows.items():
            if key[0] in _READ_AGAIN:
                young[key] = value
                size += _ROW_BYTES + len(value or b"")
            elif key[0] == _SELDOM:
                self._empty.clear()
        self._grow(size)

    def _grow(self, size: int) -> None:
        """The young generation grew by `size` bytes; begin another if it is full."""
        self._size += size
        if self._size > _GENERATION_BYTES:
            self._old, self._young, self._size = self._young, {}, 0
