"""What can still be read of a damaged store, and a store made anew of that.

Nothing here believes a store. An event proves itself: its id is the hash of its bytes, its author
signed them. So what several sources hold may simply be put together, in whatever state they are::

    source: E rows read past what cannot be ----.
            L, I rows: point reads where E broke |--> events that verify --> Ledger --> fresh store
    source: ...                                 -'      no parent here: left out, told

Ranges are read around the holes: forward to the first, backward to the last, and between them from
points that halve what is left, so that a readable block between two others is met::

    start |#########x              x######| end        x: cannot be read
                     ---- ? ---- ? ----                ?: looked from here in both directions

What follows from no event and is this node's own is taken as it lies: what its guards said, who
listens and what they are still to be told, which fields are indexed. Where the guards' answers
cannot all be read they are asked once more (VETO-2: their answers are the same), because an event
they had refused must not be shown for want of a row.

Invariant: the fresh store is closed under parents and holds no event that does not verify.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from dinemic_engine import canonical, vetoes
from dinemic_engine.errors import InvalidEvent, StoreError
from dinemic_engine.event import Event, open_event_untrusted
from dinemic_engine.fold import order_of
from dinemic_engine.ids import ID_BYTES, ObjectId
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.outcomes import Admitted, Orphan
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.vetoes import Veto

PROBES_MAX: Final = 512
"""Points in one unreadable range from which it is tried again."""

_BATCH: Final = 256
_KEY_BYTES: Final = 48
"""Keys are halved as numbers of so many bytes: one more than the longest of an event's rows."""
_ARRIVAL_BYTES: Final = 44
_PLACE_BYTES: Final = len(layout.Place(0, 0, 0, 0, 0, 0).pack())
_LOCAL: Final = b"cln"
_GUARDS: Final = frozenset("vw")


def readable(
    store: Store, start: bytes, end: bytes, unread: set[str]
) -> Iterator[tuple[bytes, bytes]]:
    """The rows of ``start <= key < end`` that can be read, in no certain order.

    If some cannot be, the first letter of their keys goes into `unread`.
    """
    spans, probes = deque([(start, end)]), 0
    while spans:
        low, high = spans.popleft()
        try:
            for key, value in store.scan(low, high):
                yield key, value
                low = key + b"\0"
            continue
        except StoreError:
            pass
        try:
            for key, value in store.scan(low, high, reverse=True):
                yield key, value
                high = key
            continue
        except StoreError:
            pass
        middle = _between(low, high)
        if middle is not None and probes < PROBES_MAX:
            probes += 1
            spans += [(low, middle), (middle, high)]
        else:
            unread.add(chr(start[0]))


def _between(low: bytes, high: bytes) -> bytes | None:
    """A key halfway between two, if there is one."""
    first, last = (int.from_bytes(key[:_KEY_BYTES].ljust(_KEY_BYTES, b"\0")) for key in (low, high))
    middle = (first + last) // 2
    return middle.to_bytes(_KEY_BYTES).rstrip(b"\0") if first < middle < last else None


def told(store: Store) -> int | None:
    """How many events had been admitted to a store, by its tip; None: there is none to be read."""
    try:
        value = store.get(keyspace.TIP_KEY)
        return None if value is None else layout.unpack_tip(value).seq
    except StoreError:
        return None


@dataclass(slots=True)
class Remains:
    """What damaged stores tell of, one read after the other."""

    told: int | None = None
    """How many events had been admitted, by a tip; None: no tip could be read."""
    is_cut: bool = False
    """Whether the store's end is known to be gone: there may have been more than `told`."""
    named: dict[bytes, ObjectId | None] = field(default_factory=dict)
    """Events that anything tells of, read or not, each with its object where that is known."""
    refused: dict[bytes, str] = field(default_factory=dict)
    """Why what lay in an event's place is none."""
    answers: dict[bytes, Veto | None] = field(default_factory=dict)
    """Events without effect here: the guards' veto, None for those they have yet to see."""
    local: dict[bytes, bytes] = field(default_factory=dict)
    """Rows of this node's own that name no object by number."""
    unread: set[str] = field(default_factory=set)
    """First letters of the rows that could not all be read."""

    def read(self, store: Store) -> Iterator[Event]:
        """Every event in `store` that can be read and verifies, once, nearly all after its parents.

        The rest of what it tells is here when they have been read, `answers` from the start.
        """
        count = told(store)
        if count is not None:
            self.told = max(self.told or 0, count)
        for letter in _LOCAL:
            self.local.update(self._rows(chr(letter), store))
        self._read_answers(store)
        objects: dict[int, ObjectId] = {}
        seen: set[bytes] = set()
        for key, raw in self._rows("E", store):
            event = self._open_untrusted(key, raw)
            if event is not None:
                seen.add(event.id)
                objects[int.from_bytes(key[1:5], "big")] = event.object
                yield event
        for key in self._placed(store):
            event_id = key[13:]
            self.named.setdefault(event_id, objects.get(int.from_bytes(key[1:5], "big")))
            if event_id not in seen:
                seen.add(event_id)
                event = self._point_read(store, key)
                if event is not None:
                    yield event

    def _rows(self, letter: str, store: Store) -> Iterator[tuple[bytes, bytes]]:
        prefix = letter.encode("ascii")
        return readable(store, prefix, keyspace.after(prefix), self.unread)

    def _read_answers(self, store: Store) -> None:
        for key, _ in self._rows("w", store):
            self.answers.setdefault(key[-ID_BYTES:], None)
        for key, value in self._rows("v", store):
            if vetoes.is_veto_untrusted(value):
                self.answers[key[-ID_BYTES:]] = vetoes.unpack(value)

    def _placed(self, store: Store) -> Iterator[bytes]:
        """The ``E`` keys that ``L`` and ``I`` rows tell of."""
        for _, arrival in self._rows("L", store):
            if len(arrival) == _ARRIVAL_BYTES:
                yield keyspace.event_key(*layout.unpack_arrival(arrival))
        for key, value in self._rows("I", store):
            if len(value) == _PLACE_BYTES and len(key) == 1 + ID_BYTES:
                place = layout.unpack_place(value)
                yield keyspace.event_key(place.no, place.t, key[1:])

    def _point_read(self, store: Store, key: bytes) -> Event | None:
        try:
            raw = store.get(key)
        except StoreError:
            return None
        return None if raw is None else self._open_untrusted(key, raw)

    def _open_untrusted(self, key: bytes, raw: bytes) -> Event | None:
        try:
            event = open_event_untrusted(raw)
        except InvalidEvent as error:
            self.refused[key[13:]] = str(error)
            self.named.setdefault(key[13:], None)
            return None
        self.named[event.id] = event.object
        for parent in event.parents:
            self.named.setdefault(parent, event.object)
        return event

    @property
    def forgot_answers(self) -> bool:
        """Whether guards may have answered what cannot be read, so that they must be asked again.

        Not where it is known that there are none.
        """
        listens = any(key[:1] == keyspace.LISTENERS_PREFIX for key in self.local)
        return not _GUARDS.isdisjoint(self.unread) and (listens or "l" in self.unread)

    def forget_local(self) -> None:
        """Nothing was read of a store as it lay, so what it held of its own is unknown."""
        self.is_cut = True
        self.unread.update("clnvw")


class Rebuild:
    """Fills a fresh store. `take` as often as there are sources, `finish` once."""

    def __init__(self, fresh: Store, remains: Remains) -> None:
        self._store = fresh
        self._ledger = Ledger(fresh)
        self._remains = remains
        self._orphans: dict[bytes, Event] = {}

    @property
    def events(self) -> int:
        """How many are in the fresh store."""
        return self._ledger.tip.seq

    @property
    def orphans(self) -> int:
        """How many verify and lack a parent, so that they cannot be taken."""
        return len(self._orphans)

    def take(self, events: Iterable[Event]) -> None:
        """Admit events that passed T0, in any order."""
        rest = iter(events)
        while batch := list(islice(rest, _BATCH)):
            self._admit(batch)

    def finish(self) -> None:
        """Admit those whose parents came late, add the node's own rows, and put all on disk."""
        before = -1
        while self._orphans and self.events != before:
            before = self.events
            self.take(sorted(self._orphans.values(), key=order_of))
        rows: dict[bytes, bytes | None] = {}
        for key, value in sorted(self._remains.local.items()):
            if key[:1] == b"c":
                model, _, stored = key[1:].partition(b"\0")
                self._ledger.indexes.begin(model.decode("ascii"), stored.decode("ascii"))
            elif key[:1] != keyspace.DELIVERIES_PREFIX or self._is_of_an_event(value):
                rows[key] = value
        if rows:
            self._store.write(rows)
        self._ledger.flush()

    def _is_of_an_event(self, delivery: bytes) -> bool:
        """Whether the event an ``n`` row is of is here; else it is queued anew when that comes."""
        match canonical.decode_untrusted(delivery):
            case [bytes(event_id), *_]:
                return self._ledger.knows(event_id)
        return False

    def _admit(self, batch: list[Event]) -> None:
        ledger, answers = self._ledger, self._remains.answers
        asked_again = self._remains.forgot_answers
        proposal = ledger.prepare(
            batch,
            T_US_MAX,
            lifted=None,
            withhold=lambda _, event, __: asked_again or event.id in answers,
        )
        ledger.accept(proposal)
        for event, outcome in zip(batch, proposal.outcomes, strict=True):
            if isinstance(outcome, Orphan):
                self._orphans[event.id] = event
                continue
            self._orphans.pop(event.id, None)
            veto = answers.get(event.id)
            if veto is not None and isinstance(outcome, Admitted):
                ledger.accept(ledger.answer(event, veto))
