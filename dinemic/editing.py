"""What a handle does to its object, and what it sees of it: now, or in a transaction.

Outside of one every edit is an event at once. Inside, edits of this handle and this thread gather
in a `Transaction`, which also answers this thread's reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dinemic.node import Node
from dinemic.sealer import Edits, Part
from dinemic.transactions import Transaction
from dinemic_engine.collections_view import Collections
from dinemic_engine.errors import InvalidEvent, UsageError
from dinemic_engine.ids import ObjectId
from dinemic_engine.store.overlay import Readable
from dinemic_engine.view import View


class Editing:
    """The edits of one handle."""

    __slots__ = ("_caller", "_node", "_object_id", "_transactions")

    def __init__(self, node: Node, object_id: ObjectId, caller: ObjectId | None) -> None:
        self._node = node
        self._object_id = object_id
        self._caller = caller
        self._transactions: dict[int, Transaction] = {}
        """Those that are open, by thread."""

    @property
    def open(self) -> Transaction | None:
        """The transaction that this thread has open."""
        return self._transactions.get(threading.get_ident()) if self._transactions else None

    # -- reading ------------------------------------------------------------------------------

    @property
    def shown(self) -> View:
        """Registers as this thread is to see them."""
        opened = self.open
        if opened is not None:
            return opened.shown
        self._node.check_open()
        return self._node.view

    @property
    def collections(self) -> Collections:
        """Dicts, counters and sets as this thread is to see them."""
        opened = self.open
        return Collections(self.shown.rows) if opened is None else opened.collections

    @contextmanager
    def moment(self) -> Iterator[Collections]:
        """The same, and lists, whose rows belong together: all of one moment."""
        opened = self.open
        if opened is not None:
            yield opened.collections
            return
        self._node.check_open()
        snapshot = self._node.snapshot()
        try:
            yield Collections(snapshot)
        finally:
            snapshot.close()

    # -- changing -----------------------------------------------------------------------------

    def commit(self, edits: Edits) -> None:
        """Make one event of edits, or add them to the transaction that is open.

        Raises:
            ValueError: they break a rule of the format; nothing was made.
            UpdateRejected, UnknownObject, NotOwned: as `Node.commit`.
            UsageError: they cannot be part of a transaction.
        """
        opened = self.open
        try:  # every `set` comes by: `as_value_error` would cost it 2 us
            if opened is not None:
                opened.add(edits)
            else:
                self._node.commit(self._object_id, edits, self._caller)
        except InvalidEvent as error:
            raise ValueError(str(error)) from error

    def edit(self, make: Callable[[Collections], Sequence[Part]]) -> None:
        """As `commit`, of what `make` makes in view of the object; nothing if that is nothing."""
        opened = self.open
        if opened is not None:
            with as_value_error():
                opened.add(make(opened.collections))
            return
        object_id = self._object_id

        def edits(rows: Readable) -> Sequence[Part]:
            shown = Collections(rows)
            shown.need(object_id)
            made = make(shown)
            if not made:
                raise _NothingToDo
            return made

        try:  # as in `commit`
            self._node.commit(object_id, edits, self._caller)
        except _NothingToDo:
            pass
        except InvalidEvent as error:
            raise ValueError(str(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `dinemic.transaction`."""
        if self.open is not None:
            raise UsageError("a transaction of this handle is open in this thread already")
        self._node.check_open()
        opened = Transaction(self._node.pin(self._object_id))
        thread = threading.get_ident()
        self._transactions[thread] = opened
        try:
            yield
            with as_value_error():
                parts = opened.parts()
        finally:
            del self._transactions[thread]
            opened.close()
        if parts:
            with as_value_error():
                self._node.commit(self._object_id, parts, self._caller, opened.heads)


class _NothingToDo(Exception):
    """There is nothing to make an event of."""


@contextmanager
def as_value_error() -> Iterator[None]:
    """What breaks a rule of the format is the caller's value."""
    try:
        yield
    except InvalidEvent as error:
        raise ValueError(str(error)) from error
