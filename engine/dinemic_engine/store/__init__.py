"""What the engine asks of a place to keep rows: ordered bytes, atomic batches, nothing else.

One conformance test (`dinemic_engine.store.conformance`) holds every implementation to this text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

Rows = Mapping[bytes, bytes | None]
"""A write batch: key to value, or to None for a deletion."""


class Snapshot(Protocol):
    """The rows of one moment, whatever is written after it. Any thread may read.

    For one read of several rows, or for one transaction: while it lives, what it shows takes room
    on the disk. After `close`, and after that of its store, every call raises `StoreError`.
    """

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows as `Store.scan` would have given them, but perhaps without those deleted since."""

    def close(self) -> None:
        """Let go of the rows. Idempotent."""


class Store(Protocol):
    """An ordered map of bytes to bytes.

    Keys are 1..1024 bytes and sort bytewise; values are 0..2 MiB. Reads may come from any
    thread at any time; writes come from one thread at a time (the caller holds its own lock).
    Errors are `StoreError` and its kinds. After `close` every call raises `StoreError`.
    """

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One answer per key, in the order asked."""

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``start <= key < end`` in key order, or backwards.

        The rows are those of the moment of the call, whatever is written while iterating.

        Raises:
            StoreCorrupt: a block cannot be read. A scan never ends early in silence.
        """

    def snapshot(self) -> Snapshot:
        """The rows of this moment."""

    def write(self, rows: Rows) -> None:
        """Apply a whole batch or nothing. On return it is visible and survives kill -9.

        Raises:
            StoreFull: no room; the batch did not happen.
        """

    def flush(self) -> None:
        """On return everything written before the call survives a power cut."""

    def close(self) -> None:
        """Release the files and the lock. Idempotent."""
