"""The read side of lists, dicts, counters and sets, over a store or over what lies on top of one.

As in `view`: object ids are raw bytes, stored keys are text such as ``dict_notes``; an object that
is not here, or was removed, has nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dinemic_engine import canonical, log
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import CounterAdd, Element, Made, Span
from dinemic_engine.errors import UnknownObject
from dinemic_engine.ids import EventId, short
from dinemic_engine.limits import KEY_BYTES_MAX
from dinemic_engine.reading import Reading, reading_at
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Written
from dinemic_engine.store.overlay import Readable
from dinemic_engine.types import counter, list_reading, mapping, members, sequence
from dinemic_engine.types.list_reading import Item, Opened
from dinemic_engine.types.runs import DRAFT


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
    """Reads over the rows of one store. An object it once found stays found: to be used at once."""

    def __init__(self, rows: Readable) -> None:
        self._rows = rows
        self._found: tuple[bytes, int] | None = None
        """The object last found, and its local number."""

    def _no(self, object_id: bytes) -> int | None:
        """The local number of an object that is there."""
        if self._found is not None and self._found[0] == object_id:
            return self._found[1]
        value = self._rows.get(keyspace.object_key(object_id))
        if value is None:
            return None
        no = layout.unpack_u32(value)
        row = self._rows.get(keyspace.object_row_key(no))
        if row is None or not layout.unpack_object(row).is_there:
            return None
        self._found = object_id, no
        return no

    def need(self, object_id: bytes) -> int:
        """The local number of an object.

        Raises:
            UnknownObject: it is not here, or was removed.
        """
        no = self._no(object_id)
        if no is None:
            raise UnknownObject(f"no object {short(object_id)}... is here")
        return no

    def fields(self, object_id: bytes) -> list[str]:
        """The stored keys of the lists, dicts, counters and sets with something in them, sorted."""
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
        for stored in sequence.fields(self._rows, no):
            if list_reading.length(self._rows, no, stored):
                found.add(stored.decode())
        return sorted(found)

    # -- lists --------------------------------------------------------------------------------

    def list_length(self, object_id: bytes, stored: str) -> int:
        """How many elements a list has."""
        no = self._no(object_id)
        return 0 if no is None else list_reading.length(self._rows, no, stored.encode())

    def item(
        self, object_id: bytes, stored: str, index: int, opened: Opened | None = None
    ) -> Item | None:
        """The element of a list at an index from 0, or None; as `list_reading.at`."""
        no = self._no(object_id)
        if no is None:
            return None
        return list_reading.at(self._rows, no, stored.encode(), index, opened)

    def items(
        self, object_id: bytes, stored: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Item]:
        """The elements of a list from index `start` to before `stop`."""
        no = self._no(object_id)
        if no is not None:
            yield from list_reading.items(self._rows, no, stored.encode(), start, stop)

    def place(
        self, object_id: bytes, stored: str, index: int | None
    ) -> tuple[Element | None, bool]:
        """(parent, right) for a LIST_INSERT at an index; None is the end."""
        no = self.need(object_id)
        return list_reading.place_for_insert(self._rows, no, stored.encode(), index)

    def spans(self, object_id: bytes, stored: str, start: int, stop: int) -> tuple[Span, ...]:
        """The elements from index `start` to before `stop`, as a LIST_DELETE names them."""
        no = self.need(object_id)
        return list_reading.spans_for(self._rows, no, stored.encode(), start, stop)

    def element_conflicts(self, object_id: bytes, stored: str, element: Element) -> list[Reading]:
        """The LIST_SETs of an element that no other had seen, the winner first."""
        no = self.need(object_id)
        found = list_reading.conflicts(self._rows, no, stored.encode(), element)
        return [reading_at(self._rows, no, *at) for at in found]

    # -- dicts --------------------------------------------------------------------------------

    def entry(self, object_id: bytes, stored: str, key: str) -> Reading | None:
        """The value of a dict's key, or None."""
        no = self._no(object_id)
        if no is None or len(key) > KEY_BYTES_MAX:  # longer than any key is
            return None
        written = mapping.read(self._rows, no, stored.encode(), key)
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
        return [reading_at(self._rows, no, *at) for at in found]

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
        return None if found is None else MemberReading(value, _named(found.adds))

    def members(self, object_id: bytes, stored: str) -> Iterator[MemberReading]:
        """The values of a set, sealed ones as they stand, in an order that is the same anywhere."""
        no = self._no(object_id)
        if no is not None:
            for value, adds in members.members(self._rows, no, stored.encode()):
                yield MemberReading(canonical.decode_untrusted(value), _named(adds))


def _named(adds: tuple[Made, ...]) -> tuple[Made, ...]:
    """Adds as ops name them: those of a draft are of the event that has no id yet."""
    return tuple([Made(b"", add.op) if add.event == DRAFT.id else add for add in adds])


def _reading(written: Written) -> Reading:
    value = canonical.decode_untrusted(written.value)
    return Reading(value, False, EventId(written.id), written.t, written.op, written.authorized)
