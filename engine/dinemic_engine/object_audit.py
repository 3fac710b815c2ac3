"""The rows of one object verified from its raw events, and what these tell about all other rows.

    E raw bytes --open, verify--> events --fold in order of L--> rows  ==  all of the object's, I T
        |                                   '--> `Told`: what O B F q rows there must be
        '--- where arrival differs from (t, id): folded in that order too, same digest,
             verdicts and reconciled set (I-01, I-05)

Each event is opened anew, signature included, and all of them go through the one entrance again,
into an empty store. There everything but the object's number must be as it lies here. An event that
cannot be judged makes those after it unjudgeable; their number is reported once, and the object's
rows are not compared then. Nor is it known then which events count (a lost one may be a
revocation), so the fingerprints are held against the ``T`` and ``H`` rows as they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, NamedTuple

from dinemic_engine import indexes, vetoes
from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import (
    Event,
    open_envelope_untrusted,
    open_event_untrusted,
    read_event_untrusted,
)
from dinemic_engine.findings import Findings, hex_of
from dinemic_engine.fold import Folded, fold, order_of
from dinemic_engine.ids import ID_BYTES, ObjectId, short
from dinemic_engine.ops import Create
from dinemic_engine.ranges import head_term, id_term
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.layout import VOID
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Readable
from dinemic_engine.store.sums import NO_TOTALS, Sums, Totals
from dinemic_engine.types import register

OF_OBJECT: Final = b"EHCVJURWXGKkYDPQAZSrstuxzvwydbiehN"
"""Letters of the rows whose key goes on with the object's number; events come first."""
TIME_AND_ID: Final = Struct(">Q32s")
"""An arrival without the object's number."""
_WITHHELD: Final = (b"v", b"w")
_FOLDED_NO: Final = 0
"""The number of the one object in a fold."""
_BATCH: Final = 256


@dataclass(slots=True)
class Told:
    """What the events of the objects checked so far tell about the rows of no one object."""

    events: int = 0
    signatures: int = 0
    """Events whose bytes and signature are good."""
    objects: dict[int, tuple[ObjectId, str]] = field(default_factory=dict)
    """Object number to id and model."""
    model_numbers: dict[str, int | None] = field(default_factory=dict)
    """Those that the models have here; None: it has none."""
    totals: dict[str, Totals] = field(default_factory=dict)
    """By model."""
    digests: dict[ObjectId, bytes] = field(default_factory=dict)
    indexed: set[bytes] = field(default_factory=set)
    """Keys of the ``q`` rows there must be."""
    unjudged: set[int] = field(default_factory=set)
    """Numbers of the objects of which nobody can say which ``q`` rows they must have."""


class _Read(NamedTuple):
    """The rows of one object."""

    opened: list[Event]
    """In key order."""
    broken: dict[bytes, str]
    """What is wrong with those that do not open, by the id in their key."""
    found: dict[bytes, bytes]
    """The rows beside the events."""

    @property
    def withheld(self) -> Set[bytes]:
        """The events without effect on this node, by its ``v`` and ``w`` rows."""
        return {key[-ID_BYTES:] for key in self.found if key[:1] in _WITHHELD}


class ObjectAudit:
    """Checks one object after another; `told` grows with each."""

    def __init__(
        self,
        store: Store,
        findings: Findings,
        indexed: Mapping[str, Sequence[bytes]],
        progress: Callable[[int], object] | None,
        *,
        signatures: bool,
    ) -> None:
        """What is wrong goes to `findings`; `indexed` are the indexed registers of each model."""
        self.told: Final = Told()
        self._store = store
        self._findings = findings
        self._indexed = indexed
        self._progress = progress
        self._verifies = signatures

    def check(
        self, no: int, rows: Iterable[tuple[bytes, bytes]], arrivals: bytes | bytearray
    ) -> None:
        """Check the rows of object number `no`, which come with the events first.

        `arrivals` are (t, id) of its events in order of arrival, by the ``L`` rows.
        """
        read = self._read_object(rows)
        genesis = next((event for event in read.opened if event.is_genesis), None)
        first = genesis or next(iter(read.opened), None)
        object_id = first.object if first else None
        for event_id, detail in read.broken.items():
            self._findings.add("event", detail, object_id, event_id)
        arrival = self._check_arrived(arrivals, object_id, read)
        if genesis is None or object_id is None:
            detail = (
                f"object number {no} has {len(arrival)} arrivals, {len(read.found)} rows beside"
            )
            self._findings.add("object", f"{detail} its events, and no genesis", object_id)
            return
        create = genesis.ops[0]
        assert isinstance(create, Create), "opening checks that a genesis begins with CREATE"
        own: list[Event] = []
        for event in read.opened:
            if event.object == object_id:
                own.append(event)
            else:
                self._findings.add("event", f"is of {short(event.object)}", object_id, event.id)
        own.sort(key=lambda event: arrival.get(event.id, len(arrival)))  # stable: the rest by key
        self.told.objects[no] = (object_id, create.model)
        folded = fold(object_id, own, self._findings, read.withheld)
        if folded.digest is not None:
            self.told.digests[object_id] = folded.digest
        self._check_event_rows(no, create.model, own, folded)
        judged: Readable = folded.store if folded.complete else self._store
        heads_key = keyspace.heads_key(_FOLDED_NO if folded.complete else no)
        self._sum_heads(create.model, judged.get(heads_key))
        self._note_indexed(no, create.model, folded)
        if folded.complete:
            self._check_rows(no, create.model, object_id, read.found, folded.store)
            self._check_order(object_id, own, folded, read.withheld)
        for key in keyspace.object_key(object_id), keyspace.by_model_key(create.model, object_id):
            self._findings.compare(key, self._store.get(key), layout.pack_u32(no), object_id)

    def _read_object(self, rows: Iterable[tuple[bytes, bytes]]) -> _Read:
        read = _Read([], {}, {})
        for key, value in rows:
            if key[:1] != b"E":
                read.found[key] = value
                continue
            self.told.events += 1
            event = open_at_untrusted(key, value, signed=self._verifies)
            if isinstance(event, str):
                read.broken[key[13:]] = event
            else:
                read.opened.append(event)
                self.told.signatures += self._verifies
            if self._progress is not None and self.told.events % _BATCH == 0:
                self._progress(self.told.events)
        return read

    def _check_arrived(
        self, arrivals: bytes | bytearray, object_id: ObjectId | None, read: _Read
    ) -> dict[bytes, int]:
        """Compare an object's ``L`` rows with its ``E`` rows; event id to place in the former."""
        times: dict[bytes, int] = {event.id: event.t for event in read.opened}
        here = times.keys() | read.broken.keys()
        arrival: dict[bytes, int] = {}
        for t, event_id in TIME_AND_ID.iter_unpack(arrivals):
            if event_id in arrival:
                self._findings.add("arrival", "arrived twice", object_id, event_id)
                continue
            arrival[event_id] = len(arrival)
            if event_id not in here:
                self._findings.add("event", "arrived, and is not there", object_id, event_id)
            elif times.get(event_id, t) != t:
                self._findings.add("arrival", f"arrived with time {t}", object_id, event_id)
        for event_id in sorted(here - arrival.keys()):
            self._findings.add("arrival", "is there, and never arrived", object_id, event_id)
        return arrival

    def _sum(self, model: str, event_id: bytes, *, effective: bool) -> None:
        totals, term = self.told.totals.get(model, NO_TOTALS), id_term(event_id)
        by = Sums(1, term, effective, effective * term)
        self.told.totals[model] = totals._replace(sums=totals.sums.plus(by))

    def _sum_heads(self, model: str, value: bytes | None) -> None:
        totals, heads = self.told.totals.get(model, NO_TOTALS), layout.head_ids(value)
        self.told.totals[model] = totals._replace(
            heads=totals.heads + len(heads),
            heads_total=totals.heads_total + sum(map(head_term, heads)),
        )

    def _check_order(
        self,
        object_id: ObjectId,
        arrived: list[Event],
        folded: Folded,
        withheld: Set[bytes],
    ) -> None:
        """Fold in key order too, where that is another, and expect the same (I-01, I-05)."""
        in_order = sorted(arrived, key=order_of)
        if in_order == arrived:
            return
        again = fold(object_id, in_order, self._findings, withheld)
        if again.digest != folded.digest:
            self._findings.add("order", "the state depends on the order of arrival", object_id)
        for event in in_order:
            if _judged(again.store, event) != _judged(folded.store, event):
                detail = "its verdict depends on the order of arrival"
                self._findings.add("order", detail, object_id, event.id)

    # -- rows of an object against the fold -----------------------------------------------------

    def _check_rows(
        self,
        no: int,
        model: str,
        object_id: ObjectId,
        found: dict[bytes, bytes],
        folded: MemoryStore,
    ) -> None:
        expected: dict[bytes, bytes] = {}
        for letter in OF_OBJECT[1:]:
            prefix = bytes((letter,))
            for key, value in folded.scan(prefix, keyspace.after(prefix)):
                expected[keyspace.of_object(prefix, no) + key[5:]] = value
        for key, value in found.items():
            waiting = b"w" + key[1:]
            if key[:1] == b"v" and waiting in expected and vetoes.is_veto_untrusted(value):
                expected[key] = value  # in the fold it waits: no guard can be asked here
                del expected[waiting]
        row_key = keyspace.object_row_key(no)
        model_no = self._model_number(model)
        if model_no is not None:
            row = layout.unpack_object(expected[row_key])
            expected[row_key] = row._replace(model_no=model_no).pack()
        else:
            expected.pop(row_key)
            found.pop(row_key, None)
        for key in sorted(expected.keys() | found.keys()):
            self._findings.compare(key, found.get(key), expected.get(key), object_id)

    def _check_event_rows(self, no: int, model: str, events: list[Event], folded: Folded) -> None:
        """The ``I`` and ``T`` row of each event: whole only if all could be judged."""
        model_no = self._model_number(model)
        for at in range(0, len(events), _BATCH):
            batch = events[at : at + _BATCH]
            keys = [keyspace.place_key(event.id) for event in batch]
            for event, key, value in zip(batch, keys, self._store.get_many(keys), strict=True):
                place = folded.store.get(key) if folded.complete else None
                if place is not None:
                    expected = layout.unpack_place(place)._replace(no=no).pack()
                    self._findings.compare(key, value, expected, event.object)
                elif value is None:
                    self._findings.add("place", "is missing", event.object, event.id)
            if model_no is None:
                continue
            keys = [keyspace.range_key(model_no, event.t, event.id) for event in batch]
            for event, key, value in zip(batch, keys, self._store.get_many(keys), strict=True):
                counts = folded.store.get(_folded_range_key(event)) if folded.complete else value
                self._findings.compare(key, value, counts, event.object)
                if counts is not None:
                    self._sum(model, event.id, effective=self._has_effect(event, folded))

    def _has_effect(self, event: Event, folded: Folded) -> bool:
        """By the fold, or where that could not judge all of its object, by the event's row."""
        rows: Readable = folded.store if folded.complete else self._store
        place = rows.get(keyspace.place_key(event.id))
        return place is not None and not layout.unpack_place(place).flags & VOID

    def _model_number(self, model: str) -> int | None:
        """The local number of a model, reported once if it has none."""
        if model not in self.told.model_numbers:
            value = self._store.get(keyspace.model_key(model))
            good = value is not None and len(value) == 4
            self.told.model_numbers[model] = layout.unpack_u32(value) if value and good else None
            if not good:
                self._findings.add("model", f"{model} has no number")
        return self.told.model_numbers[model]

    def _note_indexed(self, no: int, model: str, folded: Folded) -> None:
        """Note the ``q`` rows an object must have; of one that could not be judged any is right."""
        model_no = self._model_number(model) if model in self._indexed else None
        if model_no is None:
            return
        if not folded.complete:
            self.told.unjudged.add(no)
            return
        for stored in self._indexed[model]:
            written = register.read(folded.store, _FOLDED_NO, stored)
            if written is not None and not written.deleted:
                self.told.indexed.add(indexes.key_of(model_no, stored, written.value, no))


def open_at_untrusted(key: bytes, raw: bytes, *, signed: bool) -> Event | str:
    """The event in an ``E`` row, every check of its bytes made again; or what is wrong with it.

    The signature is checked only if `signed`.
    """
    try:
        if signed:
            event = open_event_untrusted(raw)
        else:
            event = read_event_untrusted(open_envelope_untrusted(raw), verified=True)
    except InvalidEvent as error:
        return str(error)
    if key != keyspace.event_key(int.from_bytes(key[1:5], "big"), event.t, event.id):
        return f"event {short(event.id)} of time {event.t} does not belong at {hex_of(key)}"
    return event


def _folded_range_key(event: Event) -> bytes:
    """The ``T`` key of an event in the fold of its object, where the one model has number 0."""
    return keyspace.range_key(0, event.t, event.id)


def _judged(folded: MemoryStore, event: Event) -> tuple[int | None, bool]:
    """(flags, whether it counts in the reconciled set) of an event in a fold."""
    value = folded.get(keyspace.place_key(event.id))
    flags = None if value is None else layout.unpack_place(value).flags
    return flags, folded.get(_folded_range_key(event)) is not None
