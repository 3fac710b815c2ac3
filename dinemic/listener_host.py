"""A node as its listeners see it: rows for their queues, and values opened where a key does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from dinemic.gate import Gate
from dinemic.guarding import Guarding
from dinemic.keyring import Keys, ObjectKeys
from dinemic.sealer import Sealer
from dinemic_engine.canonical import Sealed, Value, decode_untrusted
from dinemic_engine.errors import Unreadable
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, ObjectId, db_id, to_text
from dinemic_engine.ops import READ
from dinemic_engine.state import ROLE_LISTS
from dinemic_engine.store import Rows, Store


class NodeHost:
    """The `ListenerHost` of a node."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        keyring: Keys,
        sealer: Sealer,
    ) -> None:
        self._store = store
        self._gate = gate
        self._view = gate.view
        self._keyring = keyring
        self._sealer = sealer
        self.guarding: Guarding
        """Set once, by the node."""

    def judge(self, object_id: bytes) -> None:
        """Ask the guards about the object's events that wait for them; called on a worker."""
        self.guarding.judge(object_id)

    def resume(self) -> None:
        """Wake every object with such events: other guards are applied than before."""
        self.guarding.resume()

    def write_rows(self, rows: Rows) -> None:
        """Write a batch, under the lock that guards all writing."""
        with self._gate.lock:
            self._store.write(rows)
        self._gate.wake.set()

    def scan_rows(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The store's rows with ``start <= key < end``, in key order."""
        return self._store.scan(start, end)

    def event(self, event_id: bytes) -> tuple[str, Event]:
        """The model and the event of that id, which was admitted here."""
        event = self._view.event(event_id)
        return self._view.need(event.object)[1].model, event

    def open_value(self, object_id: bytes, stored: str, element: str, value: bytes) -> Value:
        """An encoded value of a `Change`, made anew each time it is asked for."""
        found = decode_untrusted(value)
        if stored in ROLE_LISTS.values() and isinstance(found, bytes):
            return self._name(found)
        if isinstance(found, Sealed):
            path = f"{stored}/{element}" if stored.startswith("dict_") else stored
            return self._open(ObjectId(object_id), path, found)
        if isinstance(found, list) and found and isinstance(found[0], Sealed):
            run, at = cast("tuple[Sealed, int]", found)  # one of many sealed together
            values = self._open(ObjectId(object_id), stored, run)
            return values[at] if isinstance(values, list) and at < len(values) else run
        return found

    def _open(self, object_id: ObjectId, path: str, value: Sealed) -> Value:
        """The value inside, or `value` itself where no key here opens it."""
        mine = list(self._reading_keys(object_id))
        for keys in mine:
            with suppress(Unreadable):
                return self._sealer.open(object_id, path, value, keys)
        if mine:
            with suppress(Unreadable):
                return self._sealer.open_made(object_id, path, value)
        return value

    def _reading_keys(self, object_id: ObjectId) -> Iterator[ObjectKeys]:
        """The keys on this node that may open values of an object, its own first."""
        own = self._keyring.get(object_id)
        if own is not None:
            yield own
        for holder in self._view.holders(object_id, READ):
            keys = self._keyring.get(holder.subject)
            if keys is not None:
                yield keys

    def _name(self, object_id: bytes) -> str:
        found = self._view.find(object_id)
        return to_text(object_id) if found is None else db_id(found[1].model, ObjectId(object_id))

    def owned(self, object_id: bytes) -> bool:
        """Whether the object's private key is here."""
        return ObjectId(object_id) in self._keyring

    def caller_of(self, object_id: bytes, author: bytes) -> str | None:
        """The full id of the object whose key `author` is, if known."""
        found = self._view.find(object_id)
        if found is None:
            return None
        if author == found[1].owner:
            return self._name(object_id)
        grants = self._view.grants_to(object_id, AuthorId(author))
        return self._name(grants[0].subject) if grants else None
