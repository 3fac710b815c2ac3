"""Dicts, counters and sets, as Python has them; lists are in `lists`.

What two nodes do to one of them at once is kept of both: each key of a dict is a field of its own,
adds to a counter add up, and an add to a set outlives a remove that had not seen it. Every call
that changes something makes one event, unless a transaction gathers them.

Values are those a field can hold, and come back with the type they were set with. Where values are
compared (``in``, ``index``, members of a set) they are the same if their type is too: 1 is neither
True nor 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dinemic.fields import Because, Bound, Conflict
from dinemic.sealer import Part
from dinemic_engine import canonical, why
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.collections_view import Collections, MemberReading
from dinemic_engine.edits import (
    CounterAdd,
    DictDelete,
    DictSet,
    Made,
    SetAdd,
    SetRemove,
)
from dinemic_engine.errors import InvalidEvent, Unreadable
from dinemic_engine.limits import TARGETS_MAX
from dinemic_engine.reading import Reading
from dinemic_engine.types import counter, mapping, members


class DDict(Bound):
    """Values by key. Keys are text of up to 512 bytes in UTF-8, and public even if values are not.

    Each key is a field of its own: the last write wins, and `conflicts` shows what it won over.
    """

    PREFIX = mapping.PREFIX

    __slots__ = ()

    def set(self, key: str, value: Value) -> None:
        """Give a key a value.

        Raises:
            UpdateRejected, UnknownObject, NotOwned, ValueError: as for `DField.set`.
        """
        self._bound()._editing.commit([self._part(DictSet(self.field_name, key, value))])

    def get(self, key: str, default: Value = "") -> Value:
        """The value of a key, or `default` if it has none.

        Raises:
            Unreadable: it is sealed and this handle's key does not open it.
        """
        reading = self._reading(key)
        return default if reading is None else self._open(key, reading)

    def delete(self, key: str) -> None:
        """Take a key out; nothing happens if it is not there. Raises as `set`."""

        def make(shown: Collections) -> Sequence[Part]:
            there = shown.entry(self._bound()._object_id, self.stored, key) is not None
            return [DictDelete(self.field_name, key)] if there else []

        self._bound()._editing.edit(make)

    def resolve(self, key: str, choice: Conflict) -> None:
        """Write one of the conflicting values again, on top of all of them; raises as `set`."""
        if choice.deleted:
            self._bound()._editing.commit([DictDelete(self.field_name, key)])
        else:
            self.set(key, choice.value)

    def keys(self) -> list[str]:
        """The keys that have a value, in the order of their UTF-8."""
        return list(self)

    def values(self) -> Iterator[Value]:
        """The values, in the order of the keys.

        Raises:
            Unreadable: one is sealed and this handle's key does not open it.
        """
        return (value for _, value in self.items())

    def items(self) -> Iterator[tuple[str, Value]]:
        """Keys and values, in the order of the keys; raises as `values`."""
        for key, reading in self._entries():
            yield key, self._open(key, reading)

    def conflicts(self, key: str) -> list[Conflict]:
        """The writes of a key that no other had seen, the winner first.

        Not of edits in a transaction.

        Raises:
            Unreadable: one is sealed and this handle's key does not open it.
        """
        model = self._bound()
        made = Collections(model._view.rows)
        readings = made.entry_conflicts(model._object_id, self.stored, key)
        return self._conflicts(readings, self._path(key))

    def why(self, key: str) -> list[Because]:
        """Every write of a key, the winner first, as `DField.why`."""
        model = self._bound()
        told = why.of_entry(model._view, model._object_id, self.stored, key)
        return self._answers(told, self._path(key))

    def __getitem__(self, key: str) -> Value:
        reading = self._reading(key)
        if reading is None:
            raise KeyError(key)
        return self._open(key, reading)

    def __setitem__(self, key: str, value: Value) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self.delete(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._reading(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self._entries())

    def __len__(self) -> int:
        model = self._bound()
        return model._editing.collections.length(model._object_id, self.stored)

    def __bool__(self) -> bool:
        return len(self) > 0

    def _entries(self) -> Iterator[tuple[str, Reading]]:
        model = self._bound()
        return model._editing.collections.entries(model._object_id, self.stored)

    def _reading(self, key: str) -> Reading | None:
        model = self._bound()
        return model._editing.collections.entry(model._object_id, self.stored, key)

    def _path(self, key: str) -> str:
        return f"{self.stored}/{key}"

    def _open(self, key: str, reading: Reading) -> Value:
        return self._opened(reading.value, reading.event, reading.op, self._path(key))


# The original's name for it, which no Python program can write with a dot.
setattr(DDict, "del", DDict.delete)


class DCounter(Bound):
    """A sum that everybody can add to at once, of any size."""

    PREFIX = counter.PREFIX

    __slots__ = ()

    def add(self, amount: int = 1) -> None:
        """Add to the sum; a negative amount takes away.

        Raises:
            UpdateRejected, UnknownObject, NotOwned: as for `DField.set`.
            ValueError: no int of 64 bits.
        """
        if type(amount) is not int:
            raise ValueError(f"a counter takes an int, not {type(amount).__name__}")
        self._bound()._editing.commit([self._part(CounterAdd(self.field_name, amount))])

    def get(self, *, partial: bool = False) -> int:
        """The sum; 0 if nothing was added. With `partial`, of what this handle can open.

        An encrypted counter opens every add there ever was.

        Raises:
            Unreadable: an add is sealed and this handle's key does not open it.
        """
        model = self._bound()
        shown = model._editing.collections
        total = shown.total(model._object_id, self.stored)
        for add in shown.sealed_adds(model._object_id, self.stored):
            try:
                amount = self._opened(add.amount, add.event, add.op, self.stored)
                if type(amount) is not int:
                    raise Unreadable(f"what was sealed for {self.stored} is no int")
            except Unreadable:
                if not partial:
                    raise
            else:
                total += amount
        return total

    def __int__(self) -> int:
        return self.get()


class DSet(Bound):
    """Values, each at most once. An add stays if who removed the value had not seen it.

    Encrypted, nodes cannot tell which values are the same, so every question opens all of them.
    """

    PREFIX = members.PREFIX

    __slots__ = ()

    def add(self, value: Value) -> None:
        """Put a value in; nothing happens if this handle sees it there.

        Raises:
            UpdateRejected, UnknownObject, NotOwned, ValueError: as for `DField.set`.
        """

        def make(shown: Collections) -> Sequence[Part]:
            part = self._part(SetAdd(self.field_name, value))
            return [] if self._adds_of(shown, value) else [part]

        self._bound()._editing.edit(make)

    def discard(self, value: Value) -> None:
        """Take a value out; nothing happens if this handle does not see it there.

        Raises:
            UpdateRejected, UnknownObject, NotOwned, ValueError: as for `DField.set`.
        """

        def make(shown: Collections) -> Sequence[Part]:
            adds = self._adds_of(shown, value)
            return [
                SetRemove(self.field_name, adds[low : low + TARGETS_MAX])
                for low in range(0, len(adds), TARGETS_MAX)
            ]

        self._bound()._editing.edit(make)

    def __contains__(self, value: Value) -> bool:
        try:
            return bool(self._adds_of(self._bound()._editing.collections, value))
        except InvalidEvent:  # no value a member can be
            return False

    def __iter__(self) -> Iterator[Value]:
        """The values, in an order that says nothing and is the same everywhere.

        Raises:
            Unreadable: one is sealed and this handle's key does not open it.
        """
        seen: set[bytes] = set()
        for member in self._members():
            value = self._open(member)
            if not isinstance(member.value, Sealed) and not self.is_encrypted:
                yield value  # each comes once
                continue
            spelled = canonical.encode(value)
            if spelled not in seen:
                seen.add(spelled)
                yield value

    def __len__(self) -> int:
        if self.is_encrypted:
            return sum(1 for _ in self)
        model = self._bound()
        return model._editing.collections.length(model._object_id, self.stored)

    def __bool__(self) -> bool:
        return next(self._members(), None) is not None

    def _members(self) -> Iterator[MemberReading]:
        model = self._bound()
        return model._editing.collections.members(model._object_id, self.stored)

    def _adds_of(self, shown: Collections, value: Value) -> tuple[Made, ...]:
        """The adds that keep `value` in, of those this handle can open."""
        object_id = self._bound()._object_id
        if not self.is_encrypted:
            member = shown.member(object_id, self.stored, value)
            return () if member is None else member.adds
        wanted = canonical.encode(value)
        found: list[Made] = []
        for member in shown.members(object_id, self.stored):
            try:
                if canonical.encode(self._open(member)) == wanted:
                    found += member.adds
            except Unreadable:
                continue
        return tuple(found)

    def _open(self, member: MemberReading) -> Value:
        first = member.adds[0]
        return self._opened(member.value, first.event, first.op, self.stored)
