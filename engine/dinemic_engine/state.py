"""What admitted events make visible: ops to rows and back, and the digest nodes compare (VETO-4).

Two kinds of rows come from an event. *Facts* are kept as soon as it is admitted, whatever its
verdict: who granted, revoked and sealed what, for `access` to judge by. *Effects* are there only
while it stands: values, the removal of the object, epochs to seal under. `advance` adds an event's
effects and `retract` takes them back; each touches the rows of its own fields only and ends equal
in any order (ORD-7), so there is no replay on the hot path. Replaying the log in key order into an
empty store gives the same (I-05), which is how `audit` checks it.

The shared digest covers what every holder of the log must agree on: visible registers with the
event that set them, standing grants, epochs, and whether the object stands. Local numbers are left
out.
"""

from __future__ import annotations

import hashlib
from typing import cast

from dinemic_engine import access, canonical, log
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId
from dinemic_engine.ops import (
    READ,
    ROLES,
    Create,
    Delete,
    Epoch,
    Grant,
    Remove,
    Revoke,
    Set,
    SetPolicy,
)
from dinemic_engine.sealing import reader_sum
from dinemic_engine.store import keyspace
from dinemic_engine.store.keyspace import ObjectRow, Place, Sealing
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import register

# -- facts ----------------------------------------------------------------------------------------


def keep_facts(rows: Overlay, row: ObjectRow, place: Place, event: Event) -> ObjectRow:
    """Keep what an admitted event says about access and sealing; the object row afterwards."""
    act = keyspace.pack_act(place, event.author)
    for index, op in enumerate(event.ops):
        match op:
            case Grant():
                prefix = keyspace.acts_prefix(b"G", place.no, op.signing, op.role)
                key = keyspace.act_key(prefix, event.t, event.id, index)
                rows.rows[key] = act + keyspace.pack_holder(op.subject, op.suite, op.sealing)
            case Revoke():
                prefix = keyspace.acts_prefix(b"K", place.no, op.signing, op.role)
                rows.rows[keyspace.act_key(prefix, event.t, event.id, index)] = act
                row = row._replace(cuts=row.cuts + 1)
            case SetPolicy():
                key = keyspace.act_key(keyspace.of_object(b"Y", place.no), event.t, event.id, index)
                policy = canonical.encode(cast("canonical.Value", op.policy.array()))
                rows.rows[key] = act + policy
                row = row._replace(cuts=row.cuts + 1)
            case Epoch():
                _keep_epoch(rows, place, event, index, op, act)
            case Create():
                readers = reader_sum(bytes(32), event.author)
                fresh = Sealing(readers, 0, bytes(32), 0, bytes(32), bytes(32), bytes(32))
                rows.rows[keyspace.sealing_key(place.no)] = fresh.pack()
    return row


def _keep_epoch(
    rows: Overlay, place: Place, event: Event, index: int, op: Epoch, act: bytes
) -> None:
    recipients = bytes(32)
    for reader, _ in op.recipients:
        recipients = reader_sum(recipients, reader)
        prefix = keyspace.recipients_prefix(place.no, op.commit, reader)
        rows.rows[keyspace.act_key(prefix, event.t, event.id, index)] = act
    prefix = keyspace.epochs_prefix(place.no, op.commit)
    rows.rows[keyspace.act_key(prefix, event.t, event.id, index)] = act + recipients


def settle_holder(rows: Overlay, row: ObjectRow, no: int, author: AuthorId, role: int) -> None:
    """Find anew whether `author` holds `role`, after a grant or revocation of it changed."""
    key = keyspace.holder_key(no, role, author)
    grant = access.holder(rows, row, no, author, role)
    before = rows.get(key)
    now = None if grant is None else keyspace.pack_holder(*grant[2:5])
    if now == before:
        return
    rows.rows[key] = now
    if role == READ and (now is None) != (before is None):
        sealing = sealing_of(rows, no)
        readers = reader_sum(sealing.readers, author, leaves=now is None)
        rows.rows[keyspace.sealing_key(no)] = sealing._replace(readers=readers).pack()


# -- effects --------------------------------------------------------------------------------------


def advance(
    rows: Overlay, row: ObjectRow, place: Place, event: Event, *, authorized: bool
) -> ObjectRow:
    """Let an event take effect; the object row as it is afterwards."""
    for index, op in enumerate(event.ops):
        match op:
            case Set() | Delete():
                register.advance(rows, place, event, index, op, authorized=authorized)
            case Epoch():
                key = keyspace.act_key(keyspace.of_object(b"Z", place.no), event.t, event.id, index)
                rows.rows[key] = op.commit
                _settle_epoch(rows, place.no)
            case Remove():
                rows.rows[keyspace.remove_key(place.no, event.t, event.id)] = b""
                row = _settle_removal(rows, row, place.no)
    return row


def retract(rows: Overlay, row: ObjectRow, place: Place, event: Event) -> ObjectRow:
    """Take an event's effects back; the object row as it is afterwards."""
    for index, op in enumerate(event.ops):
        match op:
            case Set() | Delete():
                register.retract(rows, place, event, index, op)
            case Epoch():
                key = keyspace.act_key(keyspace.of_object(b"Z", place.no), event.t, event.id, index)
                rows.rows[key] = None
                _settle_epoch(rows, place.no)
            case Remove():
                rows.rows[keyspace.remove_key(place.no, event.t, event.id)] = None
                row = _settle_removal(rows, row, place.no)
    return row


def _settle_epoch(rows: Overlay, no: int) -> None:
    """Find the newest effective epoch anew."""
    sealing = sealing_of(rows, no)
    newest = Sealing(sealing.readers, 0, bytes(32), 0, bytes(32), bytes(32), bytes(32))
    prefix = keyspace.of_object(b"Z", no)
    for key, commit in rows.scan(prefix, keyspace.after(prefix), reverse=True):
        t, event_id, op = keyspace.write_key_order(key)
        at = keyspace.act_key(keyspace.epochs_prefix(no, commit), t, event_id, op)
        value = rows.get(at)
        if value is None:
            raise AssertionError("an effective epoch without its row")
        act, recipients = keyspace.unpack_act(at, value)
        newest = Sealing(sealing.readers, t, event_id, op, commit, recipients, act.by)
        break
    rows.rows[keyspace.sealing_key(no)] = newest.pack()


def _settle_removal(rows: Overlay, row: ObjectRow, no: int) -> ObjectRow:
    """Find anew whether a REMOVE stands: the first in the order says since when."""
    prefix = keyspace.of_object(b"X", no)
    first = next(rows.scan(prefix, keyspace.after(prefix)), None)
    return row._replace(removed_by=b"" if first is None else first[0][-40:])


def sealing_of(rows: Readable, no: int) -> Sealing:
    """The readers and newest epoch of an object."""
    value = rows.get(keyspace.sealing_key(no))
    if value is None:
        raise AssertionError("an object without its sealing row")
    return keyspace.unpack_sealing(value)


# -- digest ---------------------------------------------------------------------------------------


def digest(rows: Readable, no: int, row: ObjectRow) -> bytes:
    """The shared digest of one object: equal on every node with the same admitted events.

    Reads every row of the object; for comparing and auditing, not for each update.
    """
    # A CBOR sequence: every item tells its own length, so no two contents spell alike.
    digest = hashlib.sha256(b"dinemic/digest/1")
    heads = sorted(head.id for head in log.heads(rows, no))
    digest.update(canonical.encode([row.id, heads, row.removed_by]))
    if not row.removed_by:
        prefix = keyspace.of_object(b"R", no)
        for key, value in rows.scan(prefix, keyspace.after(prefix)):
            written = keyspace.unpack_written(value)
            if not written.deleted:
                field: canonical.Value = [key[len(prefix) :], written.id, written.op, written.value]
                digest.update(canonical.encode(field))
    for role in ROLES:
        for author, subject, suite, key in access.holders(rows, no, role):
            digest.update(canonical.encode([role, author, subject, suite, key]))
    policy = access.policy_now(rows, row, no)
    digest.update(canonical.encode(cast("canonical.Value", policy.array())))
    prefix = keyspace.of_object(b"Z", no)
    for key, commit in rows.scan(prefix, keyspace.after(prefix)):
        digest.update(canonical.encode([key[len(prefix) :], commit]))
    return digest.digest()
