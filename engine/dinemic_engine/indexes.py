"""Which objects of a model show a value in a field: rows kept in the batch that changes the value.

An index is of one register of one model (`c` row) and answers equality only: its rows are keyed by
a hash of the encoded value, so values of any length take the same room. It follows the *changes* a
reader sees, so void and withheld writes are in it by their absence, and what a late revocation
takes back leaves it. Once begun it is kept by every process that writes to the store, whether that
declares it or not. Sealed values are as good as random here: nobody indexes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from dinemic_engine.ids import ObjectId
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import register
from dinemic_engine.types.change import Change

_BUILT_AT_ONCE: Final = 1024
_HASH_BYTES: Final = 16


class Indexes:
    """The indexes of a store. Not thread-safe, as the `Ledger` that owns it is not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fields: dict[str, frozenset[str]] = {}
        for key, _ in store.scan(b"c", b"d"):
            model, stored = key[1:].split(b"\0")
            self._add(model.decode("ascii"), stored.decode("ascii"))

    def _add(self, model: str, stored: str) -> None:
        self._fields[model] = self._fields.get(model, frozenset()) | {stored}

    def of(self, model: str) -> frozenset[str]:
        """The stored keys of a model that are indexed."""
        return self._fields.get(model, frozenset())

    def begin(self, model: str, stored: str) -> None:
        """Index a register of a model from now on, objects that are here included.

        Reads every object of the model, once.

        Raises:
            StoreError: it could not be written; it is begun anew the next time.
        """
        if stored in self.of(model):
            return
        keys = self._keys(model, stored.encode("ascii"))
        while rows := dict.fromkeys(islice(keys, _BUILT_AT_ONCE), b""):
            self._store.write(rows)
        self._store.write({keyspace.index_key(model, stored): b""})
        self._add(model, stored)

    def _keys(self, model: str, stored: bytes) -> Iterator[bytes]:
        """The keys an index of a register holds, by what the objects of the model show."""
        value = self._store.get(keyspace.model_key(model))
        if value is None:
            return
        model_no = layout.unpack_u32(value)
        prefix = b"B" + model.encode("ascii") + b"\0"
        for _, number in self._store.scan(prefix, keyspace.after(prefix)):
            no = layout.unpack_u32(number)
            written = register.read(self._store, no, stored)
            if written is not None and not written.deleted:
                yield key_of(model_no, stored, written.value, no)


def follow(
    rows: Overlay, model_no: int, no: int, indexed: frozenset[str], seen: Iterable[Change]
) -> None:
    """Bring the indexes of a model up to what a reader sees changed in an object."""
    for change in seen:
        if change.stored in indexed:
            if change.old is not None:
                rows.rows[key_of(model_no, change.stored.encode(), change.old, no)] = None
            if change.new is not None:
                rows.rows[key_of(model_no, change.stored.encode(), change.new, no)] = b""


def find(rows: Readable, model: str, stored: str, value: bytes) -> Iterator[ObjectId]:
    """The objects of a model that show an encoded value in an indexed register, by local number."""
    found = rows.get(keyspace.model_key(model))
    if found is None:
        return
    prefix = key_of(layout.unpack_u32(found), stored.encode(), value, None)
    for key, _ in rows.scan(prefix, keyspace.after(prefix)):
        row = rows.get(keyspace.object_row_key(int.from_bytes(key[-4:], "big")))
        if row is not None and (unpacked := layout.unpack_object(row)).is_there:
            yield ObjectId(unpacked.id)


def key_of(model_no: int, stored: bytes, value: bytes, no: int | None) -> bytes:
    """The ``q`` key of an encoded value that object `no` shows; None: what all begin with."""
    digest = hashlib.sha256(value).digest()[:_HASH_BYTES]
    prefix = keyspace.indexed_prefix(model_no, stored) + digest
    return prefix if no is None else prefix + layout.pack_u32(no)
