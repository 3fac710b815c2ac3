"""What admitted events make visible: ops to rows, and the digest two nodes compare (VETO-4).

Each op changes the rows of its own field, grant or epoch and nothing else, and does so in a way
that ends equal in any order of arrival (ORD-7); so there is no replay on the hot path. Replaying
the log in key order into an empty store gives the same rows (I-05), which is how `audit` checks
them.

The shared digest covers what every holder of the log must agree on: visible registers with the
event that set them, grants, epochs, and whether the object stands. Local numbers are left out.
"""

from __future__ import annotations

import hashlib

from dinemic_engine import access, canonical
from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.event import READ, Create, Delete, Epoch, Event, Grant, Remove, Set
from dinemic_engine.sealing import reader_sum
from dinemic_engine.store import keyspace
from dinemic_engine.store.keyspace import ObjectRow, Place, Sealing
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import register


def advance(
    rows: Overlay, row: ObjectRow, place: Place, event: Event, *, authorized: bool
) -> ObjectRow:
    """Let an admitted event take effect; the object row as it is afterwards."""
    for index, op in enumerate(event.ops):
        match op:
            case Set() | Delete():
                register.advance(rows, place, event, index, op, authorized=authorized)
            case Grant():
                _grant(rows, place, event, index, op)
            case Epoch():
                _epoch(rows, place, event, index, op)
            case Remove():
                mark = event.t.to_bytes(8, "big") + event.id
                if not row.removed_by or mark < row.removed_by:
                    row = row._replace(removed_by=mark)
            case Create():
                readers = reader_sum(bytes(32), event.author)
                fresh = Sealing(readers, 0, bytes(32), 0, bytes(32), bytes(32))
                rows.rows[keyspace.sealing_key(place.no)] = fresh.pack()
    return row


def _grant(rows: Overlay, place: Place, event: Event, index: int, op: Grant) -> None:
    if op.role == READ:
        prefix = keyspace.grants_prefix(place.no, op.signing, READ)
        if next(rows.scan(prefix, keyspace.after(prefix)), None) is None:
            sealing = sealing_of(rows, place.no)
            sealing = sealing._replace(readers=reader_sum(sealing.readers, op.signing))
            rows.rows[keyspace.sealing_key(place.no)] = sealing.pack()
    key = keyspace.grant_key(place.no, op.signing, op.role, event.t, event.id, index)
    rows.rows[key] = keyspace.pack_grant(place.chain, place.seq, op.subject, op.suite, op.sealing)


def _epoch(rows: Overlay, place: Place, event: Event, index: int, op: Epoch) -> None:
    recipients = bytes(32)
    for reader, _ in op.recipients:
        recipients = reader_sum(recipients, reader)
    key = keyspace.epoch_key(place.no, op.commit, event.t, event.id, index)
    rows.rows[key] = keyspace.pack_epoch(place.chain, place.seq, recipients)
    sealing = sealing_of(rows, place.no)
    if (event.t, event.id, index) > (sealing.t, sealing.id, sealing.op):
        newest = Sealing(sealing.readers, event.t, event.id, index, op.commit, recipients)
        rows.rows[keyspace.sealing_key(place.no)] = newest.pack()


def sealing_of(rows: Readable, no: int) -> Sealing:
    """The readers and newest epoch of an object."""
    value = rows.get(keyspace.sealing_key(no))
    if value is None:
        raise StoreCorrupt(f"object number {no} has no sealing row")
    return keyspace.unpack_sealing(value)


def digest(rows: Readable, no: int, row: ObjectRow) -> bytes:
    """The shared digest of one object: equal on every node with the same admitted events.

    Reads every row of the object; for comparing and auditing, not for each update.
    """
    # A CBOR sequence: every item tells its own length, so no two contents spell alike.
    digest = hashlib.sha256(b"dinemic/digest/1")
    heads = keyspace.unpack_heads(rows.get(keyspace.heads_key(no)) or b"")
    digest.update(canonical.encode([row.id, sorted(head.id for head in heads), row.removed_by]))
    if not row.removed_by:
        prefix = keyspace.of_object(b"R", no)
        for key, value in rows.scan(prefix, keyspace.after(prefix)):
            written = keyspace.unpack_written(value)
            if not written.deleted:
                field: canonical.Value = [key[len(prefix) :], written.id, written.op, written.value]
                digest.update(canonical.encode(field))
    for grant in access.grants(rows, no):
        granted: canonical.Value = [grant.author, grant.role, grant.event, grant.op, grant.subject]
        digest.update(canonical.encode(granted))
    prefix = keyspace.of_object(b"P", no)
    for key, _ in rows.scan(prefix, keyspace.after(prefix)):
        digest.update(canonical.encode(key[len(prefix) :]))
    return digest.digest()
