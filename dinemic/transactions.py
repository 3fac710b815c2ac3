"""Several edits of one object as one event: all or nothing, and reads inside see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from dinemic.sealer import Part, ToSeal
from dinemic_engine.canonical import Value
from dinemic_engine.collections_view import Collections
from dinemic_engine.draft import Draft
from dinemic_engine.edits import EDITS, carries_value, stored_key
from dinemic_engine.errors import UsageError
from dinemic_engine.store.layout import Head
from dinemic_engine.view import View

if TYPE_CHECKING:
    from dinemic.models import DModel

_Model = TypeVar("_Model", bound="DModel")


@contextmanager
def transaction(obj: _Model) -> Iterator[_Model]:
    """All edits of `obj` through this handle, in this thread, become one event in the end.

    ::

        with transaction(person) as p:
            p.name.set("Bob")
            p.albums.append("first")

    Nobody sees any of it before, but for reads through the handle in this thread: those see the
    object as it was when the transaction began, and the edits so far. The event is on top of what
    was there then: what others write meanwhile is concurrent to it. `conflicts`, `history` and
    `why` tell of events, so of none of the edits. An exception inside drops all of them; no edits
    make no event. Granting, revoking and removing are events of their own: do them outside.

    Raises:
        UsageError: a transaction of this handle is open in this thread.
        UnknownObject: the object is not here (any more).
        ValueError: more than one event holds, 4,096 ops or 1 MiB; nothing was made.
        UpdateRejected, NotOwned: as for `DField.set`; nothing was made.
    """
    with obj._editing.transaction():
        yield obj


class Transaction:
    """The edits of a transaction that is open."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._sealed: set[str] = set()
        """The stored keys of encrypted fields."""

    @property
    def heads(self) -> Sequence[Head]:
        """What the event will be on top of."""
        return self._draft.heads

    @property
    def shown(self) -> View:
        """Registers as they would be."""
        return View(self._draft.rows)

    @property
    def collections(self) -> Collections:
        """Lists, dicts, counters and sets as they would be."""
        return Collections(self._draft.rows)

    def add(self, parts: Sequence[Part]) -> None:
        """Put edits behind those so far.

        Raises:
            UsageError: one changes something else than a field.
            InvalidEvent: one breaks a rule of the format.
        """
        for part in parts:
            op = part.op if isinstance(part, ToSeal) else part
            if not isinstance(op, EDITS):
                raise UsageError("only fields are changed in a transaction: do this outside of it")
            self._draft.add(op)
            if isinstance(part, ToSeal):
                self._sealed.add(stored_key(op))

    def length(self, name: str) -> int:
        """The length of a list as it would be."""
        return self._draft.length(name)

    def insert(self, name: str, index: int, value: Value, *, sealed: bool) -> None:
        """Insert a value into a list; those that follow each other become one op."""
        self._draft.insert(name, index, value)
        if sealed:
            self._sealed.add(f"list_{name}")

    def parts(self) -> list[Part]:
        """All edits, as they are committed."""
        return [
            ToSeal(op) if stored_key(op) in self._sealed and carries_value(op) else op
            for op in self._draft.ops
        ]

    def close(self) -> None:
        """Let go of the rows that were pinned."""
        self._draft.close()
