"""The read side of lists, dicts, counters and sets, over a store or over what lies on top of one.

As in `view`: object ids are raw bytes, stored keys are text such as ``dict_notes``; an object that
is not here, or was removed, has nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dinemic_engine import canonical, log
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import CounterAdd, DictSet, Made
from dinemic_engine.ids import EventId
from dinemic_engine.store import keyspace
from dinemic_engine.store.keyspace import AUTHORIZED, Written
from dinemic_engine.store.overlay import Readable
from dinemic_engine.types import counter, mapping, members
from dinemic_engine.view import Reading


class SealedAdd(NamedTuple):
    """An add to a counter that its readers can open."""

    event: EventId
    op: int
    amount: Sealed


class MemberReading(NamedTuple):
    """A value of a set, and the adds that keep it there."""

    value: Value
    adds: tuple[Made, ...]


class Collections:
    """Reads over the rows of one store."""

    def __init__(self, rows: Readable) -> None:
        self._rows = rows

    def _no(self, object_id: bytes) -> int | None:
        """The local number of an object that is there."""
        value = self._rows.get(keyspace.object_key(object_id))
        if value is None:
            return None
        no = keyspace.unpack_u32(value)
        row = self._rows.get(keyspace.object_row_key(no))
        return no if row is not None and keyspace.unpack_object(row).is_there else None

    def fields(self, object_id: bytes) -> list[str]:
        """The stored keys of the dicts, counters and sets that have something in them, sorted."""
        no = self._no(object_id)
        if no is None:
            return []
        found: set[str] = set()
        prefix = keyspace.of_object(b"t", no)
        for key, _ in self._rows.scan(prefix, keyspace.after(prefix)):
            found.add(key[len(prefix) :].decode())
        prefix = keyspace.of_object(b"u", no)
        for key, _ in self._rows.scan(prefix, keyspace.after(prefix)):
            found.add(key[len(prefix) :].partition(b"\0")[0].decode())
        return sorted(found)

    # -- dicts --------------------------------------------------------------------------------

    def entry(self, object_id: bytes, stored: str, key: str) -> Reading | None:
        """The value of a dict's key, or None."""
        no = self._no(object_id)
        written = None if no is None else mapping.read(self._rows, no, stored.encode(), key)
        return None if written is None or written.deleted else _reading(written)

    def entries(
        self, object_id: bytes, stored: str, start: str = ""
    ) -> Iterator[tuple[str, Reading]]:
        """(key, value) of a dict in the order of the keys' UTF-8, from `start` on."""
        no = self._no(object_id)
        if no is not None:
            for key, written in mapping.entries(self._rows, no, stored.encode(), start):
                yield key, _reading(written)

    def entry_conflicts(self, object_id: bytes, stored: str, key: str) -> list[Reading]:
        """The writes of a dict's key that no other write of it had seen, the winner first."""
        no = self._no(object_id)
        if no is None:
            return []
        found = mapping.conflicts(self._rows, no, stored.encode(), key)
        return [self._reading_at(no, *at) for at in found]

    def _reading_at(self, no: int, t: int, event_id: bytes, op: int) -> Reading:
        written = log.event_at(self._rows, no, t, event_id).ops[op]
        authorized = bool(log.place_of(self._rows, event_id).flags & AUTHORIZED)
        value = written.value if isinstance(written, DictSet) else None
        deleted = not isinstance(written, DictSet)
        return Reading(value, deleted, EventId(event_id), t, op, authorized)

    def length(self, object_id: bytes, stored: str) -> int:
        """How many keys a dict has, or how many different values a set."""
        no = self._no(object_id)
        return 0 if no is None else mapping.length(self._rows, no, stored.encode())

    # -- counters -----------------------------------------------------------------------------

    def total(self, object_id: bytes, stored: str) -> int:
        """The sum of a counter's plain adds."""
        no = self._no(object_id)
        return 0 if no is None else counter.read(self._rows, no, stored.encode())[1]

    def sealed_adds(self, object_id: bytes, stored: str) -> Iterator[SealedAdd]:
        """A counter's sealed adds, in order."""
        no = self._no(object_id)
        if no is not None:
            for t, event_id, index in counter.sealed_adds(self._rows, no, stored.encode()):
                op = log.event_at(self._rows, no, t, event_id).ops[index]
                assert isinstance(op, CounterAdd), "a u row is of a COUNTER_ADD"
                assert isinstance(op.amount, Sealed), "and that one is sealed"
                yield SealedAdd(EventId(event_id), index, op.amount)

    # -- sets ---------------------------------------------------------------------------------

    def member(self, object_id: bytes, stored: str, value: Value) -> MemberReading | None:
        """The member of a set that is `value`, of its very type, or None."""
        no = self._no(object_id)
        if no is None:
            return None
        found = members.contains(self._rows, no, stored.encode(), canonical.encode(value))
        return None if found is None else MemberReading(value, found.adds)

    def members(self, object_id: bytes, stored: str) -> Iterator[MemberReading]:
        """The values of a set, sealed ones as they stand, in an order that is the same anywhere."""
        no = self._no(object_id)
        if no is not None:
            for value, adds in members.members(self._rows, no, stored.encode()):
                yield MemberReading(canonical.decode_untrusted(value), adds)


def _reading(written: Written) -> Reading:
    value = canonical.decode_untrusted(written.value)
    return Reading(value, False, EventId(written.id), written.t, written.op, written.authorized)
