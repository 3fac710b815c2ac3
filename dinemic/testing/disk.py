"""The disk of a simulated node: what was flushed survives a power cut, what was not may be gone.

    write   write   flush   write   write   power cut
      a       b       |       c       d        `--> one of: ab, abc, abcd

Every batch is whole or gone, and none is there without those before it. Holes and flipped bytes are
for tests of the real store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from dinemic.keyring import ObjectKeys
from dinemic_engine.errors import StoreError, StoreFull, UsageError
from dinemic_engine.ids import short
from dinemic_engine.keys import SigningKey
from dinemic_engine.store import Rows
from dinemic_engine.store.memory import MemoryStore


class Disk:
    """Rows that outlive the store they were written by."""

    def __init__(self) -> None:
        self.is_full = False
        """While it is, every write fails and nothing of it is kept."""
        self.is_stuck = False
        """A write failed: as with RocksDB no other succeeds before the store is opened again."""
        self.flushed: Callable[[], None] = lambda: None
        """Called when everything written so far is safe."""
        self._versions = [MemoryStore().published()]
        """The rows as of the last flush, and after each write since."""
        self._open: DiskStore | None = None

    def open(self) -> DiskStore:
        """The store on this disk."""
        assert self._open is None, "one store at a time"
        self.is_stuck = False
        self._open = DiskStore(self)
        return self._open

    def release(self) -> None:
        """The store was closed."""
        self._open = None

    @property
    def rows(self) -> MemoryStore:
        """What is on it now, as a store of its own."""
        return MemoryStore(self._versions[-1])

    @property
    def unflushed(self) -> int:
        """Batches that a power cut may take."""
        return len(self._versions) - 1

    def wrote(self, store: MemoryStore) -> None:
        """Take note of what a store holds after a write."""
        self._versions.append(store.published())

    def flush(self) -> None:
        """Make safe what was written."""
        del self._versions[:-1]
        self.flushed()

    def fail(self) -> None:
        """The process dies: its store is of no use any more, and what was written stays."""
        if self._open is not None:
            self._open.is_dead = True

    def lose(self, rng: Random) -> int:
        """The power fails: some of the last batches are gone; how many."""
        self.fail()
        kept = rng.randrange(len(self._versions))
        lost = self.unflushed - kept
        self._versions = [self._versions[kept]]
        return lost


class DiskStore(MemoryStore):
    """A `Store` on a `Disk`."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.rows.published())
        self.is_dead = False
        self._disk = disk

    def write(self, rows: Rows) -> None:
        """Apply a whole batch, or nothing."""
        self._check_alive()
        if self._disk.is_full or self._disk.is_stuck:
            self._disk.is_stuck = True
            raise StoreFull("no space left on the simulated disk")
        super().write(rows)
        self._disk.wrote(self)

    def flush(self) -> None:
        """Make safe what was written."""
        self._check_alive()
        super().flush()
        self._disk.flush()

    def close(self) -> None:
        """Forget the rows, which stay on the disk. Idempotent."""
        super().close()
        self._disk.release()

    def _check_alive(self) -> None:
        if self.is_dead:
            raise StoreError("this process was killed")


class DiskKeys:
    """The `Keys` of a node: they survive whatever happens to its store."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._node_key: Final = SigningKey(entropy(32))
        self._keys: dict[bytes, ObjectKeys] = {}

    @property
    def node_key(self) -> SigningKey:
        """The key the node proves itself with to peers."""
        return self._node_key

    def owned(self) -> frozenset[bytes]:
        """The ids of all objects whose private keys are here."""
        return frozenset(self._keys)

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._keys

    def get(self, object_id: bytes) -> ObjectKeys | None:
        """The keys of an object, or None if they are not here."""
        return self._keys.get(object_id)

    def add(self, object_id: bytes, keys: ObjectKeys) -> None:
        """Keep the keys of an object."""
        self.add_all({object_id: keys})

    def add_all(self, added: Mapping[bytes, ObjectKeys]) -> None:
        """As `add`, of some objects, all or none.

        Raises:
            UsageError: other keys are kept for one of them.
        """
        for object_id, keys in added.items():
            if self._keys.get(object_id, keys) != keys:
                raise UsageError(f"other keys are kept for object {short(object_id)}")
        self._keys.update(added)
