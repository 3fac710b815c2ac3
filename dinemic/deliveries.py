"""What after-callbacks are still to be told: a queue in the store for each listener.

A visible change is put into the queue of everybody it concerns in the write batch that makes it
visible, and taken out when the callbacks returned:

    prepare ── rows() ──> accept ── sent() ──> waiting() ── callbacks ──> done()
               a row for each       the batch is written

So a change that is visible is told, whatever happens to the process; it is told again only if that
ended between the callbacks' return and the next write.

Numbers of changes (`seq`) are one sequence for all queues, so what matches two filters of one
listener is told in the order it happened. Invariant: a queue's rows are those from `first` to the
last sent, and `waiting` of them. The oldest are dropped, and counted, where more than `QUEUED_MAX`
wait, or more than `QUEUED_AWAY_MAX` for a listener that is not applied.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from dinemic.callbacks import called
from dinemic.registry import NewRows, Registered, Registry, Scan, Write
from dinemic_engine import canonical
from dinemic_engine.errors import InvalidEvent, StoreCorrupt
from dinemic_engine.ids import to_text
from dinemic_engine.store import keyspace
from dinemic_engine.types.change import Change

_log = logging.getLogger(__name__)

QUEUED_MAX: Final = 1 << 20
"""Changes one listener may be behind by: one that hangs does not fill the disk."""
QUEUED_AWAY_MAX: Final = 1 << 16
"""The same while it is not applied: it may never be again."""
_ERASED_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that made changes visible: by being admitted, or let pass by the guards."""

    model: str
    object_id: bytes
    event: bytes
    authorized: bool
    detached: bool
    local: bool


class Delivery(NamedTuple):
    """One change as it waits: what is sealed is sealed."""

    event: bytes
    authorized: bool
    owned: bool
    detached: bool
    local: bool
    change: Change

    @property
    def family(self) -> str:
        """Which callbacks it concerns."""
        return _family(self.change)


def _family(change: Change) -> str:
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


@dataclass(slots=True)
class _Draft:
    """What becomes true when a batch is written."""

    seq: int
    added: dict[Registered, list[int]] = field(default_factory=lambda: defaultdict(list))
    dropped: dict[Registered, tuple[int, int]] = field(default_factory=dict)
    """How many, and the seq of the last of them."""


class Deliveries:
    """The queues of the listeners in `registry`.

    `rows` and `sent` are called under the lock of writing, everything else without it.
    """

    def __init__(self, registry: Registry, scan: Scan, write: Write) -> None:
        self.dropped = 0
        """Changes that listeners are not told of, since `load`."""
        self._registry = registry
        self._lock = registry.lock
        self._scan = scan
        self._write = write
        self._sent = 0
        self._draft = _Draft(0)

    def load(self, by_number: dict[int, Registered]) -> None:
        """Find what waits since before.

        Raises:
            StoreError: the store cannot be read.
        """
        orphaned: NewRows = {}
        prefix = keyspace.DELIVERIES_PREFIX
        for key, _ in self._scan(prefix, keyspace.after(prefix)):
            number, seq = keyspace.delivery_order(key)
            self._sent = max(self._sent, seq)
            listener = by_number.get(number)
            if listener is None:  # it was being forgotten when the process ended
                orphaned[key] = None
            else:
                listener.first = listener.first or seq
                listener.waiting += 1
        if orphaned:
            self._write(orphaned)

    def erase(self, listener: Registered) -> None:
        """Drop all that waits for a listener that was forgotten.

        Raises:
            StoreError: some of it is left for the next `load` to drop.
        """
        start = keyspace.delivery_key(listener.number, listener.first)
        end = keyspace.after(keyspace.deliveries_prefix(listener.number))
        while keys := [key for key, _ in islice(self._scan(start, end), _ERASED_AT_ONCE)]:
            self._write(dict.fromkeys(keys))
            start = keys[-1]

    # -- into the queues ----------------------------------------------------------------------

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
                    listeners = self._concerned(cause, text, is_owned, change)
                    if not listeners:
                        continue
                    draft.seq += 1
                    value = _pack(cause, is_owned, change)
                    for listener in listeners:
                        draft.added[listener].append(draft.seq)
                        rows[keyspace.delivery_key(listener.number, draft.seq)] = value
            for listener, seqs in draft.added.items():
                room = QUEUED_MAX if listener.applied else QUEUED_AWAY_MAX
                surplus = listener.waiting + len(seqs) - room
                if surplus > 0:
                    self._drop(draft, rows, listener, surplus)
        return rows

    def _concerned(self, cause: Cause, text: str, owned: bool, change: Change) -> list[Registered]:
        family = _family(change)
        index = self._registry.index(family, "after")
        if index is None:
            return []
        names = called(family, "after", authorized=cause.authorized, owned=owned)
        found = index.find(cause.model, text, change.stored, change.element)
        return [listener for listener in found if not listener.callbacks.isdisjoint(names)]

    def _drop(self, draft: _Draft, rows: NewRows, listener: Registered, surplus: int) -> None:
        """Let the oldest `surplus` changes in a queue never come to be told."""
        old = [key for key, _ in islice(self._scan(*self._range(listener)), surplus)]
        fresh = draft.added[listener][: surplus - len(old)]
        rows.update(dict.fromkeys(old))
        for seq in fresh:
            del rows[keyspace.delivery_key(listener.number, seq)]
        last = fresh[-1] if fresh else keyspace.delivery_order(old[-1])[1]
        draft.dropped[listener] = (surplus, last)
        rows.update(listener.row(listener.dropped + surplus))

    def _range(self, listener: Registered) -> tuple[bytes, bytes]:
        """Keys of what waits for a listener; under the lock."""
        return (
            keyspace.delivery_key(listener.number, listener.first),
            keyspace.delivery_key(listener.number, self._sent + 1),
        )

    def sent(self) -> list[Registered]:
        """The batch with the last `rows` is written: the listeners with more to be told."""
        with self._lock:
            draft, self._draft = self._draft, _Draft(self._draft.seq)
            self._sent = draft.seq
            for listener, seqs in draft.added.items():
                listener.waiting += len(seqs)
            for listener, (count, last) in draft.dropped.items():
                if listener.applied and not listener.dropped:
                    _log.warning(
                        "%s under %s is more than %d changes behind: the oldest are dropped",
                        listener.known.name,
                        listener.known.filter,
                        QUEUED_MAX,
                    )
                self.dropped += count
                listener.dropped += count
                listener.waiting -= count
                listener.first = last + 1
        return list(draft.added)

    # -- out of the queues --------------------------------------------------------------------

    def queued(self) -> int:
        """Changes that wait, for listeners applied or away."""
        return sum(listener.waiting for listener in self._registry.all())

    def waiting(
        self, listeners: Sequence[Registered], most: int
    ) -> list[tuple[Registered, int, Delivery]]:
        """The changes to be told next, of several queues together in order of their seq.

        Up to `most` of each queue.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._lock:
            last = self._sent
            ranges = [self._range(listener) for listener in listeners]
        found: list[tuple[int, int, bytes]] = []
        for place, (start, end) in enumerate(ranges):
            rows = list(islice(self._scan(start, end), most))
            seqs = [keyspace.delivery_order(key)[1] for key, _ in rows]
            found += [(seq, place, value) for seq, (_, value) in zip(seqs, rows, strict=True)]
            if len(rows) == most:
                last = min(last, seqs[-1])
        found.sort()
        return [(listeners[at], seq, _unpack(value)) for seq, at, value in found if seq <= last]

    def done(self, listener: Registered, seq: int) -> None:
        """The callbacks for that change have returned: they are not called again.

        Raises:
            StoreError: the next process tells it again.
        """
        with self._lock:
            if seq >= listener.first:  # else it was dropped meanwhile, and counted
                listener.first = seq + 1
                listener.waiting -= 1
        self._write({keyspace.delivery_key(listener.number, seq): None})
