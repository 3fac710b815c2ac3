"""A whole store verified again from its raw bytes, believing no row of it.

Every row follows from two things: the signed events, and the order in which they arrived (which
decides local numbers only, `keyspace`). So the audit reads the order from the ``L`` rows, checks
object by object (object_audit.py), and holds all other rows against what the events told of them:

    L rows --order--> events of each object, folded --> rows of each object, I T
                              |
                              '--> told of all objects --> O B M, F, f o, q, tip

Verdicts are found anew with the rest: an ``I`` row that calls a void event effective, or a ``T``
row of an inert one, is another than the fold's. Of blocks it follows from no event where they end,
but what they hold does (blocks.py).

It shares no cache with a ledger and writes nothing. Memory: the events and rows of one object at a
time, and 40 bytes for each event of the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, pairwise

from dinemic_engine import blocks
from dinemic_engine.findings import WORDS, Finding, Findings, hex_of, name_of
from dinemic_engine.fold import digest_of_all
from dinemic_engine.ids import ID_BYTES, ObjectId
from dinemic_engine.object_audit import OF_OBJECT, TIME_AND_ID, ObjectAudit
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.layout import Tip
from dinemic_engine.store.sums import NO_TOTALS
from dinemic_engine.types import register


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


class _Audit:
    def __init__(
        self, store: Store, progress: Callable[[int], object] | None, signatures: bool
    ) -> None:
        self._store = store
        self._findings = Findings()
        self._indexed: dict[str, list[bytes]] = {}
        """The indexed registers of a model."""
        self._arrivals: dict[int, bytearray] = {}
        """Object number to (t, id) of its events in order of arrival, 40 bytes each."""
        self._objects = ObjectAudit(
            store, self._findings, self._indexed, progress, signatures=signatures
        )
        self._told = self._objects.told

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
            self._objects.check(no, rows, self._arrivals.pop(no, bytearray()))
        for no, arrivals in sorted(self._arrivals.items()):  # those of objects not here
            count = len(arrivals) // TIME_AND_ID.size
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
            len(self._told.objects),
            self._told.events,
            self._told.signatures,
            digest_of_all(self._told.digests),
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
        scans = [self._scan(chr(letter)) for letter in OF_OBJECT]
        rows = merge(*scans, key=lambda row: row[0][1:5])
        for number, group in groupby(rows, key=lambda row: row[0][1:5]):
            if len(number) == 4:
                yield int.from_bytes(number, "big"), group
            else:
                for key, _ in group:
                    self._findings.add("stray", f"{hex_of(key)} is no key")

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
        models = {no: name for name, no in self._told.model_numbers.items() if no is not None}
        for key, _ in self._scan("T"):
            t, event_id = keyspace.range_key_order(key)
            value = self._store.get(keyspace.place_key(event_id))
            if value is not None and int.from_bytes(value[4:12], "big") == t:
                known = self._told.objects.get(int.from_bytes(value[:4], "big"))
                if known is None or models.get(int.from_bytes(key[1:5], "big")) == known[1]:
                    continue  # None: an object without a genesis, which is reported
            self._findings.add("range", f"{name_of(key)} is of no event", None, event_id)
        expected = {
            keyspace.fingerprint_key(no): self._told.totals.get(name, NO_TOTALS).pack()
            for no, name in models.items()
        }
        found = dict(self._scan("F"))
        for key in sorted(expected.keys() | found.keys()):
            self._findings.compare(key, found.get(key), expected.get(key), None)

    def _check_blocks(self) -> None:
        """The blocks of each model hold what its ``T`` rows say; there are no others."""
        numbers = {no for no in self._told.model_numbers.values() if no is not None}
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
            known = self._told.objects.get(int.from_bytes(value, "big"))
            if known is None or keyspace.object_key(known[0]) != key:
                self._findings.add(
                    "number", f"{name_of(key)} leads to no object", ObjectId(key[1:])
                )
        for key, value in self._scan("B"):
            known = self._told.objects.get(int.from_bytes(value, "big"))
            if known is None or keyspace.by_model_key(known[1], known[0]) != key:
                self._findings.add(
                    "listing", f"{name_of(key)} leads to no object", ObjectId(key[-32:])
                )
        models = {keyspace.model_key(name) for name in self._told.model_numbers}
        numbers: list[int] = []
        for key, value in self._scan("M"):
            numbers.append(int.from_bytes(value, "big"))
            if key not in models:
                self._findings.add("model", f"{name_of(key)} has no object")
        for kind, found, told in (
            ("model", sorted(numbers), tip.models),
            ("object", sorted(self._told.objects), tip.objects),
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

    def _check_indexes(self) -> None:
        """An index holds what its model's objects show, and nothing else."""
        found = dict(self._scan("q"))
        for key in sorted(self._told.indexed | found.keys()):
            if int.from_bytes(key[-4:], "big") not in self._told.unjudged:
                expected = b"" if key in self._told.indexed else None
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
