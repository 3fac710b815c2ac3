"""Rows not yet written, over a store: what a batch of events reads while it is being judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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
    """Reads see the overlay's own rows first, then the store's. Nothing reaches the store here."""

    store: Readable
    rows: dict[bytes, bytes | None] = field(default_factory=dict)

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
        own = sorted((key for key in self.rows if start <= key < end), reverse=reverse)
        if not own:
            yield from self.store.scan(start, end, reverse=reverse)
            return
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
