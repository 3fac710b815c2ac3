"""Who listens to what: the listeners of a store, applied in this process or by an earlier one.

A listener outlives the process: it is known by its class, its filter and, for several of both, by
how many were applied before it. While it is away, its guards are not asked but waited for
(guarding.py), and what happens is kept for it to be told (deliveries.py); applied again it goes on
where it was, revoked it is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from dinemic.callbacks import NAMES, Applied, Family, When, families
from dinemic.filters import Filter, FilterIndex, compile_filter
from dinemic_engine import canonical
from dinemic_engine.errors import InvalidEvent, StoreCorrupt
from dinemic_engine.store import keyspace, layout

Scan = Callable[[bytes, bytes], Iterator[tuple[bytes, bytes]]]
"""The rows of a range of keys, in order."""
NewRows = dict[bytes, bytes | None]
Write = Callable[[NewRows], None]
"""Writes a batch, under the lock that guards all writing."""

_WHENS: Final[tuple[When, ...]] = ("before", "after")


class Known(NamedTuple):
    """What a listener is known by across processes."""

    name: str
    """``module.Class``."""
    filter: str
    nth: int
    """1, or more for another of the same class and filter."""


@dataclass(slots=True, eq=False)
class Registered:
    """A listener under one filter, and how far it was told."""

    number: int
    known: Known
    filter: Filter
    callbacks: frozenset[str]
    """Its own methods among the 23."""
    applied: Applied | None = None
    """None: not in this process, so far."""
    dropped: int = 0
    """Changes it is not told of because too many waited."""
    waiting: int = 0
    """Changes it is to be told of."""
    first: int = 0
    """The first of them has this seq, or a later one."""

    @property
    def at(self) -> int:
        """The id() of the listener, 0 if it is away: what it is worked on by."""
        return id(self.applied.listener) if self.applied else 0

    def row(self, dropped: int) -> NewRows:
        """Its ``l`` row: ``[name, filter, nth, callbacks, dropped]``."""
        mask = sum(1 << place for place, name in enumerate(NAMES) if name in self.callbacks)
        value = canonical.encode([*self.known, mask, dropped])
        return {keyspace.listener_key(self.number): value}


def _read(number: int, value: bytes) -> Registered:
    try:
        name, text, nth, mask, dropped = cast("list[Any]", canonical.decode_untrusted(value))
        callbacks = frozenset(each for place, each in enumerate(NAMES) if mask >> place & 1)
        known, filter = Known(name, text, nth), compile_filter(text)
    except (InvalidEvent, TypeError, ValueError) as error:
        raise StoreCorrupt(f"a listener's row that is none: {error}") from error
    return Registered(number, known, filter, callbacks, dropped=dropped)


class Registry:
    """All listeners of a store, in the order they were applied.

    `lock` guards what changes in it; it is held for moments only, and inside the lock of writing.
    `open` and `forget` are called by one thread at a time.
    """

    def __init__(self, scan: Scan, write: Write) -> None:
        self.lock: Final = threading.Lock()
        self._scan = scan
        self._write = write
        self._all: dict[Known, Registered] = {}
        self._indexes: dict[tuple[Family, When], FilterIndex[Registered]] = {}
        """Only of those that anybody has."""
        self._present: dict[When, bool] = dict.fromkeys(_WHENS, False)
        self._next_number = 1

    def load(self) -> dict[int, Registered]:
        """Find those of before, by number.

        Raises:
            StoreError: the store cannot be read, or holds rows that are none.
        """
        found: dict[int, Registered] = {}
        prefix = keyspace.LISTENERS_PREFIX
        for key, value in self._scan(prefix, keyspace.after(prefix)):
            number = layout.unpack_u32(key[1:])
            found[number] = _read(number, value)
        with self.lock:
            for registered in found.values():
                self._insert(registered)
        self._next_number = max(found, default=0) + 1
        return found

    def open(self, name: str, filter: Filter, callbacks: frozenset[str], applied: Applied) -> int:
        """Apply a listener, as that of before or as a new one; how much that one had missed.

        Raises:
            StoreError: it could not be kept; nothing was changed.
        """
        known = self._free(name, filter.text)
        before = self._all.get(known)
        if before is None:
            new = Registered(self._next_number, known, filter, callbacks, applied)
            self._write(new.row(0))
            self._next_number += 1
            with self.lock:
                self._insert(new)
            return 0
        if before.callbacks != callbacks or before.dropped:
            now = Registered(before.number, known, filter, callbacks)
            self._write(now.row(0))
        with self.lock:
            self._take_out(before)
            before.callbacks, before.applied = callbacks, applied
            dropped, before.dropped = before.dropped, 0
            self._insert(before)
        return dropped

    def _free(self, name: str, text: str) -> Known:
        """The first of that class and filter that is not applied, or the next there can be."""
        known = Known(name, text, 1)
        while (found := self._all.get(known)) is not None and found.applied is not None:
            known = known._replace(nth=known.nth + 1)
        return known

    def forget(self, registered: Registered) -> None:
        """Let a listener be none any more. On return no batch under way knows of it either.

        Raises:
            StoreError: the next process may find it.
        """
        with self.lock:
            self._take_out(registered)
            registered.applied = None
        self._write({keyspace.listener_key(registered.number): None})

    def _insert(self, registered: Registered) -> None:
        self._all[registered.known] = registered
        for when in _WHENS:
            for family in families(registered.callbacks, when):
                index = self._indexes.setdefault((family, when), FilterIndex())
                index.add(registered.filter, registered)
                self._present[when] = True

    def _take_out(self, registered: Registered) -> None:
        del self._all[registered.known]
        for when in _WHENS:
            for family in families(registered.callbacks, when):
                index = self._indexes[family, when]
                index.remove(registered.filter, registered)
                if not index:
                    del self._indexes[family, when]
            self._present[when] = any(at == when for _, at in self._indexes)

    # -- questions; the caller holds the lock where it says so ----------------------------------

    def all(self) -> list[Registered]:
        """Every listener, applied or away, those applied in the order of that."""
        with self.lock:
            return list(self._all.values())

    def applied(self, listener: object, text: str) -> Registered | None:
        """That listener under that filter, if it is applied."""
        for found in self.all():
            applied = found.applied
            if applied and applied.listener is listener and found.known.filter == text:
                return found
        return None

    def away(self, name: str, text: str) -> list[Registered]:
        """The listeners of that class and filter that are not applied."""
        return [found for found in self.all() if found.known[:2] == (name, text) and not found.at]

    def has(self, when: When) -> bool:
        """Whether anybody has a callback of that time; takes no lock."""
        return self._present[when]

    def index(self, family: str, when: When) -> FilterIndex[Registered] | None:
        """Who has a callback of that family and time, if anybody; under the lock."""
        return self._indexes.get(cast("tuple[Family, When]", (family, when)))
