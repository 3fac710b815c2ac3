"""What after-callbacks are still to be told: a queue in the store for each listener and filter.

A visible change is put into the queue of everybody it concerns in the write batch that makes it
visible, and taken out when the callbacks returned:

    prepare ── rows() ──> accept ── sent() ──> waiting() ── callbacks ──> done()
               one row per queue    the batch is written

So a change that is visible is told, whatever happens to the process, and told again only if that
ended before its callbacks' return was written. A queue outlives the process: it is known by the
listener's class, its filter and, for several of both, by how many were applied before it.

Numbers of changes (`seq`) are one sequence for all queues, so a listener with two filters hears
what both match in the order it happened. Invariant: a queue's rows are those from `first` on up to
the last sent, and there are `waiting` of them. Oldest first they are dropped, and counted, where
more than `QUEUED_MAX` wait, or more than `QUEUED_ABSENT_MAX` for a listener that is not applied.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from dinemic.callbacks import NAMES, called, families
from dinemic.filters import Filter, FilterIndex, compile_filter
from dinemic_engine import canonical
from dinemic_engine.errors import InvalidEvent, StoreCorrupt
from dinemic_engine.ids import to_text
from dinemic_engine.store import keyspace
from dinemic_engine.types.change import Change, Family

QUEUED_MAX: Final = 1 << 20
"""Changes one listener may be behind by: a disk is not filled for one that hangs."""
QUEUED_ABSENT_MAX: Final = 1 << 16
"""The same while no such listener is applied: it may never be again."""
_ERASED_AT_ONCE: Final = 1024

Scan = Callable[[bytes, bytes], Iterator[tuple[bytes, bytes]]]
"""The rows of a range of keys, in order."""
NewRows = dict[bytes, bytes | None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that made changes visible: that whose admission, or judgement, did it."""

    model: str
    object_id: bytes
    event: bytes
    authorized: bool
    detached: bool
    local: bool


class Delivery(NamedTuple):
    """One change as it waits: sealed values sealed, and no value as None."""

    event: bytes
    authorized: bool
    owned: bool
    detached: bool
    local: bool
    change: Change


def family_of(change: Change) -> Family:
    """Which callbacks a visible change concerns; without a field, the object became visible."""
    if not change.stored:
        return "create"
    return "delete" if change.new is None else "update"


# The value of an `n` row: [event 32, flags, stored, element, old, new]. Author and time are the
# event's own: so a change from one value of 1 MiB to another still fits into a row of 2 MiB.


def _pack(cause: Cause, owned: bool, change: Change) -> bytes:
    flags = cause.authorized | owned << 1 | cause.detached << 2 | cause.local << 3
    return canonical.encode([cause.event, flags, *change])


def _unpack(value: bytes) -> Delivery:
    try:
        event, flags, *change = cast("list[Any]", canonical.decode_untrusted(value))
        authorized, owned, detached, local = (bool(flags >> bit & 1) for bit in range(4))
        return Delivery(event, authorized, owned, detached, local, Change(*change))
    except (InvalidEvent, TypeError, ValueError) as error:
        raise StoreCorrupt(f"a change to be told that is none: {error}") from error


@dataclass(slots=True, eq=False)
class Queue:
    """What waits for one listener under one filter."""

    number: int
    name: str
    """``module.Class`` of the listener."""
    filter: Filter
    nth: int
    """1, or more for another of the same name and filter."""
    callbacks: frozenset[str]
    """Those of its callbacks that are after-callbacks, or more."""
    dropped: int = 0
    waiting: int = 0
    first: int = 0
    listener: int = 0
    """The id() of the one that is applied here, 0 if none is."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What it is known by across processes."""
        return self.name, self.filter.text, self.nth

    @property
    def room(self) -> int:
        """How many changes it may hold."""
        return QUEUED_MAX if self.listener else QUEUED_ABSENT_MAX

    def row(self, callbacks: frozenset[str], dropped: int) -> NewRows:
        """Its ``l`` row with these: ``[name, filter, nth, callbacks, dropped]``."""
        mask = sum(1 << place for place, name in enumerate(NAMES) if name in callbacks)
        value = canonical.encode([self.name, self.filter.text, self.nth, mask, dropped])
        return {keyspace.listener_key(self.number): value}


def _read_queue(number: int, value: bytes) -> Queue:
    try:
        name, text, nth, mask, dropped = cast("list[Any]", canonical.decode_untrusted(value))
        callbacks = frozenset(name for place, name in enumerate(NAMES) if mask >> place & 1)
        return Queue(number, name, compile_filter(text), nth, callbacks, dropped)
    except (InvalidEvent, TypeError, ValueError) as error:
        raise StoreCorrupt(f"a listener's row that is none: {error}") from error


@dataclass(slots=True)
class _Draft:
    """What becomes true when a batch is written."""

    seq: int
    added: dict[Queue, list[int]] = field(default_factory=lambda: defaultdict(list))
    dropped: dict[Queue, tuple[int, int]] = field(default_factory=dict)
    """How many of a queue, and the seq of the last of them."""


class Deliveries:
    """All queues of a store. `write` writes a batch under the lock that guards all writing.

    `rows` and `sent` are called under that lock, everything else without it. `open` and `erase`
    are called by one thread at a time.
    """

    def __init__(self, scan: Scan, write: Callable[[NewRows], None]) -> None:
        self.dropped = 0
        """Changes that nobody was told of, since `load`."""
        self._scan = scan
        self._write = write
        self._lock = threading.Lock()
        self._queues: dict[tuple[str, str, int], Queue] = {}
        self._indexes: dict[Family, FilterIndex[Queue]] = {
            family: FilterIndex() for family in families(frozenset(NAMES), "after")
        }
        self._next_number = 1
        self._sent = 0
        self._draft = _Draft(0)

    def __bool__(self) -> bool:
        return bool(self._queues)

    @property
    def queued(self) -> int:
        """Changes that wait, for listeners applied or not."""
        with self._lock:
            return sum(queue.waiting for queue in self._queues.values())

    def load(self) -> None:
        """Find the queues of before.

        Raises:
            StoreError: the store cannot be read, or holds rows that are none.
        """
        by_number: dict[int, Queue] = {}
        for key, value in self._below(keyspace.LISTENERS_PREFIX):
            number = keyspace.unpack_u32(key[1:])
            by_number[number] = queue = _read_queue(number, value)
            self._insert(queue)
        self._next_number = max(by_number, default=0) + 1
        orphaned: NewRows = {}
        for key, _ in self._below(keyspace.DELIVERIES_PREFIX):
            number, seq = keyspace.delivery_order(key)
            self._sent = max(self._sent, seq)
            if number in by_number:
                queue = by_number[number]
                queue.first = queue.first or seq
                queue.waiting += 1
            else:  # the queue was being erased when the process ended
                orphaned[key] = None
        if orphaned:
            self._write(orphaned)

    def _below(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._scan(prefix, keyspace.after(prefix))

    # -- queues -------------------------------------------------------------------------------

    def open(
        self, name: str, filter: Filter, nth: int, callbacks: frozenset[str], listener: int
    ) -> Queue:
        """The queue of a listener that is applied now: that of before, or a new one.

        Raises:
            StoreError: it could not be kept; nothing was changed.
        """
        queue = self._queues.get((name, filter.text, nth))
        if queue is None:
            queue = Queue(self._next_number, name, filter, nth, callbacks, listener=listener)
            self._write(queue.row(callbacks, 0))
            self._next_number += 1
            with self._lock:
                self._insert(queue)
            return queue
        if queue.callbacks != callbacks or queue.dropped:
            self._write(queue.row(callbacks, 0))
        with self._lock:
            dropped, queue.dropped = queue.dropped, 0
            self._forget(queue)
            queue.callbacks = callbacks
            queue.listener = listener
            self._insert(queue)
        if dropped:
            _log.warning(
                "%s under %s was not applied for long: it is not told of %d changes, the oldest",
                name,
                filter.text,
                dropped,
            )
        return queue

    def absent(self, name: str, text: str) -> list[Queue]:
        """The queues of that listener and filter that nobody is told from."""
        with self._lock:
            return [
                queue
                for queue in self._queues.values()
                if (queue.name, queue.filter.text, queue.listener) == (name, text, 0)
            ]

    def erase(self, queue: Queue) -> None:
        """Drop a queue and what waits in it.

        Raises:
            StoreError: some of it is left in the store, until the next process finds it.
        """
        with self._lock:
            self._forget(queue)
        self._write({keyspace.listener_key(queue.number): None})  # after any batch under way
        start = keyspace.delivery_key(queue.number, queue.first)
        end = keyspace.after(keyspace.deliveries_prefix(queue.number))
        while keys := [key for key, _ in islice(self._scan(start, end), _ERASED_AT_ONCE)]:
            self._write(dict.fromkeys(keys))
            start = keys[-1]

    def _insert(self, queue: Queue) -> None:
        self._queues[queue.key] = queue
        for family in families(queue.callbacks, "after"):
            self._indexes[family].add(queue.filter, queue)

    def _forget(self, queue: Queue) -> None:
        del self._queues[queue.key]
        for family in families(queue.callbacks, "after"):
            self._indexes[family].remove(queue.filter, queue)

    # -- changes ------------------------------------------------------------------------------

    def rows(
        self,
        changes: Iterable[tuple[Cause, Sequence[Change]]],
        owned: Callable[[bytes], bool],
    ) -> NewRows:
        """What to add to the batch that makes `changes` visible; `sent` says it was written."""
        rows: NewRows = {}
        with self._lock:
            self._draft = draft = _Draft(self._sent)
            for cause, seen in changes:
                text, is_owned = to_text(cause.object_id), owned(cause.object_id)
                for change in seen:
                    queues = self._concerned(cause, text, is_owned, change)
                    if not queues:
                        continue
                    draft.seq += 1
                    value = _pack(cause, is_owned, change)
                    for queue in queues:
                        draft.added[queue].append(draft.seq)
                        rows[keyspace.delivery_key(queue.number, draft.seq)] = value
            for queue, seqs in draft.added.items():
                surplus = queue.waiting + len(seqs) - queue.room
                if surplus > 0:
                    self._drop(draft, rows, queue, surplus)
        return rows

    def _concerned(self, cause: Cause, text: str, owned: bool, change: Change) -> list[Queue]:
        family = family_of(change)
        index = self._indexes[family]
        if not index:
            return []
        names = called(family, "after", authorized=cause.authorized, owned=owned)
        found = index.find(cause.model, text, change.stored, change.element)
        return [queue for queue in found if not queue.callbacks.isdisjoint(names)]

    def _drop(self, draft: _Draft, rows: NewRows, queue: Queue, surplus: int) -> None:
        """Let the oldest `surplus` changes of a queue never come to be told."""
        old = [key for key, _ in islice(self._scan(*self._range(queue)), surplus)]
        fresh = draft.added[queue][: surplus - len(old)]
        rows.update(dict.fromkeys(old))
        for seq in fresh:
            del rows[keyspace.delivery_key(queue.number, seq)]
        last = fresh[-1] if fresh else keyspace.delivery_order(old[-1])[1]
        draft.dropped[queue] = (surplus, last)
        rows |= queue.row(queue.callbacks, queue.dropped + surplus)

    def _range(self, queue: Queue) -> tuple[bytes, bytes]:
        """Keys of what waits in a queue; the caller holds our lock."""
        return (
            keyspace.delivery_key(queue.number, queue.first),
            keyspace.delivery_key(queue.number, self._sent + 1),
        )

    def sent(self) -> list[Queue]:
        """The batch with the last `rows` is written: the queues that have more to tell now."""
        with self._lock:
            draft, self._draft = self._draft, _Draft(self._draft.seq)
            self._sent = draft.seq
            for queue, seqs in draft.added.items():
                queue.waiting += len(seqs)
            for queue, (count, last) in draft.dropped.items():
                self.dropped += count
                if queue.listener and not queue.dropped:
                    _log.warning(
                        "%s under %s is more than %d changes behind: the oldest are dropped",
                        queue.name,
                        queue.filter.text,
                        queue.room,
                    )
                queue.dropped += count
                queue.waiting -= count
                queue.first = last + 1
        return list(draft.added)

    def waiting(self, queues: Sequence[Queue], most: int) -> list[tuple[Queue, int, Delivery]]:
        """The changes to be told next from several queues together, with their seq, in its order.

        Up to `most` of each queue.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._lock:
            last = self._sent
            ranges = [self._range(queue) for queue in queues]
        found: list[tuple[int, int, bytes]] = []
        for place, (start, end) in enumerate(ranges):
            rows = list(islice(self._scan(start, end), most))
            seqs = [keyspace.delivery_order(key)[1] for key, _ in rows]
            found += [(seq, place, value) for seq, (_, value) in zip(seqs, rows, strict=True)]
            if len(rows) == most:
                last = min(last, seqs[-1])
        found.sort()
        return [(queues[at], seq, _unpack(value)) for seq, at, value in found if seq <= last]

    def done(self, queue: Queue, seq: int) -> None:
        """The callbacks for that change have returned: it is not told again.

        Raises:
            StoreError: the next process tells it again.
        """
        with self._lock:
            if seq >= queue.first:  # else it was dropped meanwhile, and counted
                queue.first = seq + 1
                queue.waiting -= 1
        self._write({keyspace.delivery_key(queue.number, seq): None})
