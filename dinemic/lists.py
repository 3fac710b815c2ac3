"""Lists: many values in an order of which everybody can change a part at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from dinemic.fields import Because, Bound, Conflict
from dinemic.opened_runs import own_copy
from dinemic.sealer import Part
from dinemic_engine import canonical, why
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.collections_view import Collections
from dinemic_engine.edits import Element, ListDelete, ListInsert, ListSet, Span
from dinemic_engine.errors import InvalidEvent, Unreadable
from dinemic_engine.limits import RUN_MAX, TARGETS_MAX
from dinemic_engine.types import sequence
from dinemic_engine.types.list_reading import Item, Opened


class DList(Bound):
    """A list of values. Everybody's inserts stay where they were made, whoever else inserts there.

    Indexes may count from the end. Reading many elements sees the list of one moment.
    """

    PREFIX = sequence.PREFIX

    __slots__ = ()

    # -- changing -----------------------------------------------------------------------------

    def append(self, value: Value) -> None:
        """Put a value at the end.

        Raises:
            UpdateRejected, UnknownObject, NotOwned, ValueError: as for `DField.set`; values of a
                list nest one level less.
        """
        self._insert(None, [value])

    def insert(self, index: int, value: Value) -> None:
        """Put a value before the element at `index`, or at the end if that is the length.

        Raises:
            IndexError: no such place. And as `append`.
        """
        self._insert(index, [value])

    def extend(self, values: Iterable[Value]) -> None:
        """Put values at the end, together: nothing comes between them. Raises as `append`."""
        found = list(values)
        if found:
            self._insert(None, found)

    def set(self, index: int, value: Value) -> None:
        """Give the element at `index` another value; the last such write wins.

        Raises:
            IndexError: no such element. And as `append`.
        """

        def make(shown: Collections) -> Sequence[Part]:
            element = self._item(shown, index).element
            return [self._part(ListSet(self.field_name, element, value))]

        self._bound()._editing.edit(make)

    def delete(self, index: int) -> None:
        """Take the element at `index` out, for good.

        Raises:
            IndexError: no such element. And as `append`.
        """

        def make(shown: Collections) -> Sequence[Part]:
            at = self._at(shown, index)
            return self._deletion(shown, [(at, at + 1)])

        self._bound()._editing.edit(make)

    def resolve(self, index: int, choice: Conflict) -> None:
        """Write one of the conflicting values again, on top of all of them; raises as `set`."""
        self.set(index, choice.value)

    def __setitem__(self, index: int, value: Value) -> None:
        self.set(index, value)

    def __delitem__(self, index: int | slice) -> None:
        if not isinstance(index, slice):
            self.delete(index)
            return

        def make(shown: Collections) -> Sequence[Part]:
            length = shown.list_length(self._bound()._object_id, self.stored)
            chosen = range(*index.indices(length))
            if chosen.step < 0:
                chosen = chosen[::-1]
            if chosen.step == 1:
                return self._deletion(shown, [(chosen.start, chosen.stop)])
            return self._deletion(shown, [(at, at + 1) for at in chosen])

        self._bound()._editing.edit(make)

    def _insert(self, index: int | None, values: Sequence[Value]) -> None:
        model = self._bound()
        for value in values:
            if isinstance(value, Sealed):
                raise ValueError(
                    "a sealed value is made by an encrypted field and never set as such"
                )
        opened = model._editing.open
        if opened is None:
            model._editing.edit(lambda shown: self._insertion(shown, index, values))
            return
        try:  # as in `Editing.commit`
            at = _place(index, opened.length(self.field_name))
            for value in values:
                opened.insert(self.field_name, at, value, sealed=self.is_encrypted)
                at += 1
        except InvalidEvent as error:
            raise ValueError(str(error)) from error

    def _insertion(
        self, shown: Collections, index: int | None, values: Sequence[Value]
    ) -> Sequence[Part]:
        """Runs, each on the end of the one before."""
        object_id = self._bound()._object_id
        if index is not None:
            index = _place(index, shown.list_length(object_id, self.stored))
        parent, right = shown.place(object_id, self.stored, index)
        parts: list[Part] = []
        for first in range(0, len(values), RUN_MAX):
            run = list(values[first : first + RUN_MAX])
            op = ListInsert(self.field_name, parent, right, len(run), run)
            parts.append(self._part(op))
            parent, right = Element(b"", len(parts) - 1, len(run) - 1), True
        return parts

    def _deletion(self, shown: Collections, stretches: Sequence[tuple[int, int]]) -> Sequence[Part]:
        """Ops that delete the elements of stretches of indexes, (start, stop) each."""
        object_id = self._bound()._object_id
        spans: list[Span] = []
        for start, stop in stretches:
            if start < stop:
                spans += shown.spans(object_id, self.stored, start, stop)
        return [
            ListDelete(self.field_name, tuple(spans[low : low + TARGETS_MAX]))
            for low in range(0, len(spans), TARGETS_MAX)
        ]

    # -- reading ------------------------------------------------------------------------------

    def at(self, index: int) -> Value:
        """The element at `index`.

        Raises:
            IndexError: there is none.
            Unreadable: it is sealed and this handle's key does not open it.
        """
        model = self._bound()
        opened = model._node.opened(model._object_id, model._caller) if self.is_encrypted else None
        with model._editing.moment() as shown:
            return self._open(self._item(shown, index, opened))

    def index(self, value: Value) -> int:
        """The first index with that value, or -1. Elements this handle cannot open are passed over.

        Grows with the list.
        """
        try:
            wanted = canonical.encode(value)
        except InvalidEvent:  # no value an element can have
            return -1
        for index, item in enumerate(self._items()):
            try:
                found = canonical.encode(self._open(item))
            except Unreadable:
                continue
            if found == wanted:
                return index
        return -1

    def length(self) -> int:
        """How many elements there are."""
        with self._bound()._editing.moment() as shown:
            return shown.list_length(self._bound()._object_id, self.stored)

    def conflicts(self, index: int) -> list[Conflict]:
        """The values given to the element at `index` that no other had seen, the winner first.

        Empty if it still has the value it was inserted with. Not of edits in a transaction.

        Raises:
            IndexError: there is none.
            Unreadable: one is sealed and this handle's key does not open it.
        """
        model = self._bound()
        with model._editing.moment() as shown:
            element = self._item(shown, index).element
            if not element.event:  # inserted by the transaction that is open
                return []
            made = Collections(model._view.rows)
            readings = made.element_conflicts(model._object_id, self.stored, element)
            return self._conflicts(readings, self.stored)

    def why(self, index: int) -> list[Because]:
        """Every value given to the element at `index`, the winner first, as `DField.why`.

        The last in effect is the one it was inserted with. Nothing is told of an element that an
        open transaction inserts.

        Raises:
            IndexError: there is none.
        """
        model = self._bound()
        with model._editing.moment() as shown:
            element = self._item(shown, index).element
            if not element.event:
                return []
            told = why.of_element(model._view, model._object_id, self.stored, element)
            return self._answers(told, self.stored)

    def __len__(self) -> int:
        return self.length()

    def __bool__(self) -> bool:
        return self.length() > 0

    def __contains__(self, value: Value) -> bool:
        return self.index(value) >= 0

    def __iter__(self) -> Iterator[Value]:
        for item in self._items():
            yield self._open(item)

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> list[Value]: ...
    def __getitem__(self, index: int | slice) -> Value | list[Value]:
        if not isinstance(index, slice):
            return self.at(index)
        model = self._bound()
        with model._editing.moment() as shown:
            chosen = range(*index.indices(shown.list_length(model._object_id, self.stored)))
            if not chosen:
                return []
            low, high = min(chosen), max(chosen) + 1
            items = list(shown.items(model._object_id, self.stored, low, high))
            return [self._open(items[at - low]) for at in chosen]

    def _items(self) -> Iterator[Item]:
        model = self._bound()
        with model._editing.moment() as shown:
            items = shown.items(model._object_id, self.stored)
            # The rows of a transaction change while somebody edits as he iterates.
            yield from items if model._editing.open is None else list(items)

    def _at(self, shown: Collections, index: int) -> int:
        """`index` counted from the beginning.

        Raises:
            IndexError: there is no such element.
        """
        length = shown.list_length(self._bound()._object_id, self.stored)
        at = index + length if index < 0 else index
        if not 0 <= at < length:
            raise IndexError(f"{self.stored} has {length} elements, none at {index}")
        return at

    def _item(self, shown: Collections, index: int, opened: Opened | None = None) -> Item:
        at = index if index >= 0 else self._at(shown, index)
        item = shown.item(self._bound()._object_id, self.stored, at, opened)
        if item is None:
            self._at(shown, index)  # raises
            raise AssertionError("an index inside the list")
        return item

    def _open(self, item: Item) -> Value:
        value = item.value
        if item.position is None or not isinstance(value, Sealed):
            opened = self._opened(value, item.event, item.op, self.stored)
            return own_copy(opened) if self.is_encrypted else opened
        model, made = self._bound(), (item.event, item.op)
        return model._node.unseal(
            model._object_id, self.stored, value, model._caller, made, item.position
        )


def _place(index: int | None, length: int) -> int:
    """Where something is inserted in a list; None is the end.

    Raises:
        IndexError: no such place.
    """
    if index is None:
        return length
    at = index + length if index < 0 else index
    if not 0 <= at <= length:
        raise IndexError(f"the list has {length} elements, nothing goes before number {index}")
    return at
