"""A whole store verified again from its raw bytes, believing no row of it.

Every row follows from two things: the signed events, and the order in which they arrived (which
decides local numbers only, `keyspace`). So the audit opens each event anew, signature included,
folds them in order of arrival through the one entrance into an empty store, and expects to find
there, but for the object's number, exactly the rows that lie here:

    E raw bytes --open, verify--> events --fold in order of L--> rows  ==  all of the object's, I T
        |                                                                  O B M, F, f o, tip
        '--- where arrival differs from (t, id): folded in that order too, same digest,
             verdicts and reconciled set (I-01, I-05)

Verdicts are found anew with the rest: an ``I`` row that calls a void event effective, or a ``T``
row of an inert one, is another than the fold's.

It shares no cache with a ledger and writes nothing. An event that cannot be judged makes those
after it unjudgeable; their number is reported once, and the object's rows are not compared then.
Nor is it known then which events count (a lost one may be a revocation), so the fingerprints are
held against the ``T`` and ``H`` rows as they lie. Blocks always are: where they end follows from no
event, what they hold does (blocks.py).

Memory: the events and rows of one object at a time, and 40 bytes for each event of the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, pairwise
from struct import Struct
from typing import Final, NamedTuple

from dinemic_engine import blocks, indexes, vetoes
from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import (
    Event,
    open_envelope_untrusted,
    open_event_untrusted,
    read_event_untrusted,
)
from dinemic_engine.findings import WORDS, Finding, Findings, hex_of, name_of
from dinemic_engine.fold import Folded, digest_of_all, fold, order_of
from dinemic_engine.ids import ID_BYTES, ObjectId, short
from dinemic_engine.ops import Create
from dinemic_engine.ranges import head_term, id_term
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.layout import VOID, Tip
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Readable
from dinemic_engine.store.sums import NO_TOTALS, Sums, Totals
from dinemic_engine.types import register

_OF_OBJECT: Final = b"EHCVJURWXGKkYDPQAZSrstuxzvwydbiehN"
"""Letters of the rows whose key goes on with the object's number; events come first."""
_WITHHELD: Final = (b"v", b"w")
_FOLDED_NO: Final = 0
"""The number of the one object in a fold."""
_TIME_AND_ID: Final = Struct(">Q32s")
"""An arrival without the object's number."""
_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was verified, and what was found wrong."""

    objects: int
    events: int
    signatures: int
    """Events whose bytes and signature are good; 0 if no signature was looked at."""
    digest: bytes
    """`View.digest_all` of the state the events make."""
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def audit(
    store: Store, progress: Callable[[int], object] | None = None, *, signatures: bool = True
) -> AuditReport:
    """Verify everything in `store`, which must not change meanwhile; nothing is written.

    `progress` is called now and then with the number of events done. Without `signatures` an event
    is good if its bytes have its id: quick, and blind to whoever can write to the disk.

    Raises:
        StoreError: the store cannot be read.
    """
    return _Audit(store, progress, signatures).run()


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


class _Audit:
    def __init__(
        self, store: Store, progress: Callable[[int], object] | None, signatures: bool
    ) -> None:
        self._store = store
        self._progress = progress
        self._verifies = signatures
        self._findings = Findings()
        self._events = 0
        self._signatures = 0
        self._arrivals: dict[int, bytearray] = {}
        """Object number to (t, id) of its events in order of arrival, 40 bytes each."""
        self._objects: dict[int, tuple[ObjectId, str]] = {}
        """Object number to id and model, as the events tell."""
        self._model_numbers: dict[str, int | None] = {}
        self._totals: dict[str, Totals] = {}
        self._digests: dict[ObjectId, bytes] = {}
        self._indexed: dict[str, list[bytes]] = {}
        """The indexed registers of a model."""
        self._expected: set[bytes] = set()
        """Keys of the ``q`` rows there must be."""
        self._unjudged: set[int] = set()

    def run(self) -> AuditReport:
        marker = self._store.get(keyspace.FORMAT_KEY)
        if marker is None and next(self._store.scan(b"\0", b"\xff"), None) is None:
            return self._report()  # nothing was ever written here
        if marker != keyspace.LAYOUT:
            what = "is missing" if marker is None else f"is {marker!r:.20}"
            self._findings.add("meta", f"the layout marker {what}, and not {keyspace.LAYOUT!r}")
            if marker is not None:
                return self._report()  # rows of another layout mean something else
        self._read_indexes()
        tip = self._check_arrivals()
        for no, rows in self._by_object():
            self._check_object(no, rows)
        for no, arrivals in sorted(self._arrivals.items()):  # those of objects not here
            count = len(arrivals) // _TIME_AND_ID.size
            self._findings.add("arrival", f"{count} events of object number {no} are gone")
        self._check_places()
        self._check_ranges()
        self._check_blocks()
        self._check_names(tip)
        self._check_indexes()
        self._check_strays()
        return self._report()

    def _report(self) -> AuditReport:
        return AuditReport(
            len(self._objects),
            self._events,
            self._signatures,
            digest_of_all(self._digests),
            tuple(self._findings.found),
        )

    def _scan(self, letter: str) -> Iterator[tuple[bytes, bytes]]:
        prefix = letter.encode("ascii")
        return self._store.scan(prefix, keyspace.after(prefix))

    # -- order of arrival ---------------------------------------------------------------------

    def _check_arrivals(self) -> Tip:
        """Walk the ``L`` rows up to the tip, remembering them by object."""
        value = self._store.get(keyspace.TIP_KEY)
        tip = layout.NOTHING
        if value is None:
            if next(self._scan("L"), None) is not None:
                self._findings.add("meta", "the tip is missing")
        elif len(value) != len(tip.pack()):
            self._findings.add("meta", f"the tip has {len(value)} bytes")
        else:
            tip = layout.unpack_tip(value)
        digest, seq = bytes(32), 0
        flushed = tip.flushed_digest if tip.flushed_seq == 0 else None
        for key, arrival in self._scan("L"):
            seq += 1
            if key != keyspace.arrival_key(seq):
                self._findings.add(
                    "arrival", f"arrival {seq} is missing: {hex_of(key)} comes in its place"
                )
                seq = int.from_bytes(key[1:9], "big")
            digest = hashlib.sha256(digest + arrival).digest()
            if seq == tip.flushed_seq:
                flushed = digest
            if len(arrival) != 44:
                self._findings.add("arrival", f"arrival {seq} has {len(arrival)} bytes")
                continue
            no = int.from_bytes(arrival[:4], "big")
            self._arrivals.setdefault(no, bytearray()).extend(arrival[4:])
        if value is not None and (seq, digest) != (tip.seq, tip.digest):
            self._findings.add(
                "meta", f"the tip tells of {tip.seq} arrivals, not of the {seq} that are here"
            )
        elif flushed != tip.flushed_digest:
            self._findings.add(
                "meta", f"the tip's flushed part of {tip.flushed_seq} arrivals is another"
            )
        return tip

    # -- one object ---------------------------------------------------------------------------

    def _by_object(self) -> Iterator[tuple[int, Iterator[tuple[bytes, bytes]]]]:
        """The rows of each object in turn, its events first; reads every letter in step."""
        scans = [self._scan(chr(letter)) for letter in _OF_OBJECT]
        rows = merge(*scans, key=lambda row: row[0][1:5])
        for number, group in groupby(rows, key=lambda row: row[0][1:5]):
            if len(number) == 4:
                yield int.from_bytes(number, "big"), group
            else:
                for key, _ in group:
                    self._findings.add("stray", f"{hex_of(key)} is no key")

    def _check_object(self, no: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        read = self._read_object(rows)
        genesis = next((event for event in read.opened if event.is_genesis), None)
        first = genesis or next(iter(read.opened), None)
        object_id = first.object if first else None
        for event_id, detail in read.broken.items():
            self._findings.add("event", detail, object_id, event_id)
        arrival = self._check_arrived(no, object_id, read)
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
        self._objects[no] = (object_id, create.model)
        folded = fold(object_id, own, self._findings, read.withheld)
        if folded.digest is not None:
            self._digests[object_id] = folded.digest
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
            self._events += 1
            event = _open_at_untrusted(key, value, signed=self._verifies)
            if isinstance(event, str):
                read.broken[key[13:]] = event
            else:
                read.opened.append(event)
                self._signatures += self._verifies
            if self._progress is not None and self._events % _BATCH == 0:
                self._progress(self._events)
        return read

    def _check_arrived(self, no: int, object_id: ObjectId | None, read: _Read) -> dict[bytes, int]:
        """Compare an object's ``L`` rows with its ``E`` rows; event id to place in the former."""
        times: dict[bytes, int] = {event.id: event.t for event in read.opened}
        here = times.keys() | read.broken.keys()
        arrival: dict[bytes, int] = {}
        for t, event_id in _TIME_AND_ID.iter_unpack(self._arrivals.pop(no, bytearray())):
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
        totals, term = self._totals.get(model, NO_TOTALS), id_term(event_id)
        by = Sums(1, term, effective, effective * term)
        self._totals[model] = totals._replace(sums=totals.sums.plus(by))

    def _sum_heads(self, model: str, value: bytes | None) -> None:
        totals, heads = self._totals.get(model, NO_TOTALS), layout.head_ids(value)
        self._totals[model] = totals._replace(
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
        for letter in _OF_OBJECT[1:]:
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
        if model not in self._model_numbers:
            value = self._store.get(keyspace.model_key(model))
            good = value is not None and len(value) == 4
            self._model_numbers[model] = layout.unpack_u32(value) if value and good else None
            if not good:
                self._findings.add("model", f"{model} has no number")
        return self._model_numbers[model]

    # -- rows that belong to no one object, the other way round -----------------------------------

    def _check_places(self) -> None:
        """Every ``I`` row leads to an event."""
        size = len(layout.Place(0, 0, 0, 0, 0, 0).pack())
        for key, value in self._scan("I"):
            if len(value) == size and len(key) == 1 + ID_BYTES:
                place = layout.unpack_place(value)
                if self._store.get(keyspace.event_key(place.no, place.t, key[1:])) is not None:
                    continue
            self._findings.add("place", "leads to no event", None, key[1:])

    def _check_ranges(self) -> None:
        """Every ``T`` row is of an event of that model and time; the fingerprints are theirs."""
        models = {no: name for name, no in self._model_numbers.items() if no is not None}
        for key, _ in self._scan("T"):
            t, event_id = keyspace.range_key_order(key)
            value = self._store.get(keyspace.place_key(event_id))
            if value is not None and int.from_bytes(value[4:12], "big") == t:
                known = self._objects.get(int.from_bytes(value[:4], "big"))
                if known is None or models.get(int.from_bytes(key[1:5], "big")) == known[1]:
                    continue  # None: an object without a genesis, which is reported
            self._findings.add("range", f"{name_of(key)} is of no event", None, event_id)
        expected = {
            keyspace.fingerprint_key(no): self._totals.get(name, NO_TOTALS).pack()
            for no, name in models.items()
        }
        found = dict(self._scan("F"))
        for key in sorted(expected.keys() | found.keys()):
            self._findings.compare(key, found.get(key), expected.get(key), None)

    def _check_blocks(self) -> None:
        """The blocks of each model hold what its ``T`` rows say; there are no others."""
        numbers = {no for no in self._model_numbers.values() if no is not None}
        for letter in "fo":
            for key, _ in self._scan(letter):
                if blocks.is_key(key):
                    numbers.add(int.from_bytes(key[1:5], "big"))
                else:
                    self._findings.add("stray", f"{hex_of(key)} is no key")
        for no in sorted(numbers):
            for key, value, expected in blocks.check(self._store, no):
                self._findings.compare(key, value, expected, None)

    def _check_names(self, tip: Tip) -> None:
        """Names and numbers lead to objects and models that are there, and are counted."""
        for key, value in self._scan("O"):
            known = self._objects.get(int.from_bytes(value, "big"))
            if known is None or keyspace.object_key(known[0]) != key:
                self._findings.add(
                    "number", f"{name_of(key)} leads to no object", ObjectId(key[1:])
                )
        for key, value in self._scan("B"):
            known = self._objects.get(int.from_bytes(value, "big"))
            if known is None or keyspace.by_model_key(known[1], known[0]) != key:
                self._findings.add(
                    "listing", f"{name_of(key)} leads to no object", ObjectId(key[-32:])
                )
        models = {keyspace.model_key(name) for name in self._model_numbers}
        numbers: list[int] = []
        for key, value in self._scan("M"):
            numbers.append(int.from_bytes(value, "big"))
            if key not in models:
                self._findings.add("model", f"{name_of(key)} has no object")
        for kind, found, told in (
            ("model", sorted(numbers), tip.models),
            ("object", sorted(self._objects), tip.objects),
        ):
            if found != list(range(len(found))):
                self._findings.add(kind, f"{kind}s are not numbered from 0 without gaps")
            if len(found) != told:
                self._findings.add(
                    "meta", f"the tip tells of {told} {kind}s, {len(found)} are here"
                )

    def _read_indexes(self) -> None:
        """Find which registers are indexed."""
        for key, value in self._scan("c"):
            model, _, stored = key[1:].partition(b"\0")
            if value or not stored.startswith(register.PREFIX.encode()):
                self._findings.add("index", f"{name_of(key)} is no index")
            else:
                self._indexed.setdefault(model.decode("ascii", "replace"), []).append(stored)

    def _note_indexed(self, no: int, model: str, folded: Folded) -> None:
        """Note the ``q`` rows an object must have; of one that could not be judged any is right."""
        model_no = self._model_number(model) if model in self._indexed else None
        if model_no is None:
            return
        if not folded.complete:
            self._unjudged.add(no)
            return
        for stored in self._indexed[model]:
            written = register.read(folded.store, _FOLDED_NO, stored)
            if written is not None and not written.deleted:
                self._expected.add(indexes.key_of(model_no, stored, written.value, no))

    def _check_indexes(self) -> None:
        """An index holds what its model's objects show, and nothing else."""
        found = dict(self._scan("q"))
        for key in sorted(self._expected | found.keys()):
            if int.from_bytes(key[-4:], "big") not in self._unjudged:
                expected = b"" if key in self._expected else None
                self._findings.compare(key, found.get(key), expected, None)

    def _check_strays(self) -> None:
        """No row begins with another letter, and there is no other ``m`` row."""
        edges = sorted(WORDS)
        gaps = [(b"\0", edges[0].encode())]
        for below, above in pairwise(edges):
            gaps.append((keyspace.after(below.encode()), above.encode()))
        gaps.append((keyspace.after(edges[-1].encode()), b"\xff" * 1024))
        for start, end in gaps:
            for key, _ in self._store.scan(start, end):
                self._findings.add("stray", f"{hex_of(key)} is no key")
        for key, _ in self._scan("m"):
            if key not in (keyspace.FORMAT_KEY, keyspace.TIP_KEY):
                self._findings.add("stray", f"{hex_of(key)} is no key")


def _open_at_untrusted(key: bytes, raw: bytes, *, signed: bool) -> Event | str:
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
