"""What admitted events make visible: ops to rows and back, and the digest nodes compare (VETO-4).

Two kinds of rows come from an event. *Facts* are kept as soon as it is admitted, whatever its
verdict: who granted, revoked and sealed what, for `access` to judge by. *Effects* are there only
while it stands: values, the removal of the object, epochs to seal under. `advance` adds an event's
effects and `retract` takes them back; each touches the rows of its own fields only and ends equal
in any order (ORD-7), so there is no replay on the hot path. Replaying the log in key order into an
empty store gives the same (I-05), which is how `audit` checks it.

The shared digest covers what every holder of the log must agree on: what is visible in the fields
with the events that made it so, standing grants, epochs, and whether the object stands. Local
numbers are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final, cast

from dinemic_engine import access, acts, canonical, epochs, log, types
from dinemic_engine.edits import EDITS, Edit, only_edits, only_writes, stored_key
from dinemic_engine.event import Event
from dinemic_engine.ids import ID_BYTES, AuthorId, to_text
from dinemic_engine.ops import READ, ROLES, Create, Epoch, Grant, Remove, Revoke, SetPolicy
from dinemic_engine.sealing import reader_sum
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import VOID, ObjectRow, Place, Sealing
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import Change, digest_items, type_of
from dinemic_engine.vetoes import is_withheld

# -- facts ----------------------------------------------------------------------------------------


def keep_facts(rows: Overlay, row: ObjectRow, place: Place, event: Event) -> ObjectRow:
    """Keep what an admitted event says about access and sealing; the object row afterwards."""
    if only_writes(event.ops):
        return row
    for index, op in enumerate(event.ops):
        if isinstance(op, EDITS):
            type_of(op).keep(rows, place, event, index, op)
    if only_edits(event.ops):
        return row
    act = layout.pack_act(place, event.author)
    for index, op in enumerate(event.ops):
        match op:
            case Grant():
                prefix = keyspace.acts_prefix(b"G", place.no, op.signing, op.role)
                key = keyspace.act_key(prefix, event.t, event.id, index)
                rows.rows[key] = act + layout.pack_holder(op.subject, op.suite, op.sealing)
            case Revoke():
                prefix = keyspace.acts_prefix(b"K", place.no, op.signing, op.role)
                key = keyspace.act_key(prefix, event.t, event.id, index)
                rows.rows[key] = act
                if op.role in epochs.SEALING:
                    rows.rows[keyspace.end_key(place.no, place.chain, place.seq, index)] = key[5:]
                row = row._replace(cuts=row.cuts + 1)
            case SetPolicy():
                key = keyspace.act_key(keyspace.of_object(b"Y", place.no), event.t, event.id, index)
                policy = canonical.encode(cast("canonical.Value", op.policy.array()))
                rows.rows[key] = act + policy
                row = row._replace(cuts=row.cuts + 1)
            case Epoch():
                _keep_epoch(rows, row, place, event, index, op)
            case Create():
                readers = reader_sum(bytes(32), event.author)
                fresh = Sealing(readers, 0, bytes(32), 0, bytes(32), bytes(32))
                rows.rows[keyspace.sealing_key(place.no)] = fresh.pack()
    for author in epochs.cast_doubt_on(rows, row, event, place.no):
        _doubt(rows, place.no, author)
    return row


def _keep_epoch(
    rows: Overlay, row: ObjectRow, place: Place, event: Event, index: int, op: Epoch
) -> None:
    """Keep who has the key of an epoch now, and of whom it may be that they may not read."""
    no, act = place.no, layout.pack_act(place, event.author)
    prefix = keyspace.epochs_prefix(no, op.commit)
    rows.rows[keyspace.act_key(prefix, event.t, event.id, index)] = act
    having = dict.fromkeys([event.author], b"\0") | {reader: b"\1" for reader, _ in op.recipients}
    for who, kind in having.items():
        prefix = keyspace.having_prefix(no, who, op.commit)
        rows.rows[keyspace.act_key(prefix, event.t, event.id, index)] = act + kind
        if epochs.in_doubt(rows, row, no, who) or (
            who == event.author and not access.reads(rows, row, place, who)
        ):
            rows.rows[keyspace.doubts_prefix(no, op.commit, who)] = b""


def _doubt(rows: Overlay, no: int, who: AuthorId) -> None:
    """Mark every epoch whose key somebody has whose right to read has come into doubt."""
    prefix = keyspace.having_prefix(no, who)
    for key, _ in list(rows.scan(prefix, keyspace.after(prefix))):
        rows.rows[keyspace.doubts_prefix(no, keyspace.having_commit(key), who)] = b""


def settle_holder(
    rows: Overlay,
    row: ObjectRow,
    no: int,
    author: AuthorId,
    role: int,
    seen: list[Change] | None = None,
) -> None:
    """Find anew whether `author` holds `role`, after a grant or revocation of it changed."""
    key = keyspace.holder_key(no, role, author)
    grant = access.holder(rows, row, no, author, role)
    before = rows.get(key)
    now = None if grant is None else layout.pack_holder(*grant[2:5])
    if now == before:
        return
    rows.rows[key] = now
    if seen is not None:
        old, new = (value and canonical.encode(value[:ID_BYTES]) for value in (before, now))
        seen.append(Change(ROLE_LISTS[role], to_text(author), old, new))
    if role == READ and (now is None) != (before is None):
        sealing = sealing_of(rows, no)
        readers = reader_sum(sealing.readers, author, leaves=now is None)
        rows.rows[keyspace.sealing_key(no)] = sealing._replace(readers=readers).pack()


# -- effects --------------------------------------------------------------------------------------

ROLE_LISTS: Final = {role: f"list_{word}_authorized_objects" for role, word in ROLES.items()}
"""What listeners know the holders of a role as; values are object ids as bytes."""


def shelve(rows: Overlay, place: Place, event: Event, *, back: bool = False) -> None:
    """Note the writes of an event that is void: its author's next events were made in their view.

    With `back` the event is void no more. See `dinemic_engine.guards`.
    """
    value = None if back else layout.pack_position(place.chain, place.seq)
    for index, op in enumerate(event.ops):
        if isinstance(op, EDITS):
            prefix = keyspace.void_writes_prefix(place.no, stored_key(op).encode())
            rows.rows[keyspace.act_key(prefix, event.t, event.id, index)] = value


def check_targets(rows: Readable, place: Place, event: Event) -> None:
    """Return if all that an event's edits point at is in its past (TYPE-1).

    Raises:
        BrokenChain: no node ever admits the event (T1).
    """
    if only_writes(event.ops):
        return
    for index, op in enumerate(event.ops):
        if isinstance(op, EDITS):
            type_of(op).check(rows, place, event, index, op)


def take(
    rows: Overlay, place: Place, event: Event, seen: list[Change] | None, *, authorized: bool
) -> None:
    """`keep_facts` and `advance` at once, of an event of edits only."""
    for index, op in enumerate(event.ops):
        types.take(rows, place, event, index, cast("Edit", op), seen, authorized=authorized)


def advance(
    rows: Overlay,
    row: ObjectRow,
    place: Place,
    event: Event,
    seen: list[Change] | None = None,
    *,
    authorized: bool,
) -> ObjectRow:
    """Let an event take effect; the object row as it is afterwards."""
    for index, op in enumerate(event.ops):
        if isinstance(op, EDITS):
            kind = type_of(op)
            kind.advance(rows, place, event, index, op, seen, authorized=authorized)
        elif isinstance(op, Epoch):
            _move_epoch(rows, row, place.no, event, index, op, joins=True)
        elif isinstance(op, Remove):
            rows.rows[keyspace.remove_key(place.no, event.t, event.id)] = b""
            row = _settle_removal(rows, row, place.no)
        elif isinstance(op, Create) and seen is not None:
            seen.append(Change("", "", None, event.author))
    return row


def retract(
    rows: Overlay, row: ObjectRow, place: Place, event: Event, seen: list[Change] | None = None
) -> ObjectRow:
    """Take an event's effects back; the object row as it is afterwards."""
    for index, op in enumerate(event.ops):
        if isinstance(op, EDITS):
            type_of(op).retract(rows, place, event, index, op, seen)
        elif isinstance(op, Epoch):
            _move_epoch(rows, row, place.no, event, index, op, joins=False)
        elif isinstance(op, Remove):
            rows.rows[keyspace.remove_key(place.no, event.t, event.id)] = None
            row = _settle_removal(rows, row, place.no)
    return row


def _move_epoch(
    rows: Overlay, row: ObjectRow, no: int, event: Event, index: int, op: Epoch, *, joins: bool
) -> None:
    """Count an EPOCH op among the effective ones of its epoch, or no longer; find the newest."""
    own = (event.t, event.id, index)
    prefix = keyspace.epochs_prefix(no, op.commit)
    others = next(_effective(rows, row, prefix, own), None)
    together = own if others is None else min(own, others)
    before, after = (others, together) if joins else (together, others)
    recipients = bytes(32)
    if before is not None:
        key = keyspace.act_key(keyspace.of_object(b"Z", no), *before)
        value = rows.get(key)
        assert value is not None, "an effective epoch has its row"
        recipients = value[32:]
        rows.rows[key] = None
    if after is not None:
        for reader, _ in op.recipients:
            having = keyspace.having_prefix(no, reader, op.commit)
            if next(_effective(rows, row, having, own), None) is None:
                recipients = reader_sum(recipients, reader, leaves=not joins)
        key = keyspace.act_key(keyspace.of_object(b"Z", no), *after)
        rows.rows[key] = op.commit + recipients
    newest = next(epochs_in_force(rows, no), ((0, bytes(32), 0), bytes(32), bytes(32)))
    sealing = Sealing(sealing_of(rows, no).readers, *newest[0], *newest[1:])
    rows.rows[keyspace.sealing_key(no)] = sealing.pack()


def _effective(
    rows: Readable, row: ObjectRow, prefix: bytes, but: tuple[int, bytes, int]
) -> Iterator[tuple[int, bytes, int]]:
    """(t, id, op) of the effective EPOCH ops below a ``P`` or ``Q`` prefix, in order, but one.

    Of ``Q`` rows those of recipients: a maker alone is left out.
    """
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        order = keyspace.write_key_order(key)
        recipient = keyspace.unpack_act(key, value)[1] != b"\0"
        if order != but and recipient:
            place = log.place_of(rows, order[1])
            if not place.flags & VOID and not is_withheld(rows, row, place.no, *order[:2]):
                yield order


def epochs_in_force(
    rows: Readable, no: int
) -> Iterator[tuple[tuple[int, bytes, int], bytes, bytes]]:
    """((t, id, op) of its first EPOCH, commitment, recipients' sum) of each, the newest first."""
    prefix = keyspace.of_object(b"Z", no)
    for key, value in rows.scan(prefix, keyspace.after(prefix), reverse=True):
        yield keyspace.write_key_order(key), value[:32], value[32:]


def made_at(rows: Readable, row: ObjectRow, no: int, commit: bytes) -> Place | None:
    """Where the first effective EPOCH of an epoch lies; None if there is none."""
    first = next(_effective(rows, row, keyspace.epochs_prefix(no, commit), (0, b"", 0)), None)
    return None if first is None else log.place_of(rows, first[1])


def has_epoch(rows: Readable, row: ObjectRow, no: int, reader: bytes, commit: bytes) -> bool:
    """Whether an effective EPOCH seals the key of an epoch for `reader`."""
    prefix = keyspace.having_prefix(no, reader, commit)
    return next(_effective(rows, row, prefix, (0, b"", 0)), None) is not None


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
    return layout.unpack_sealing(value)


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
        for item in digest_items(rows, no):
            digest.update(canonical.encode(item))
    for role in ROLES:
        for author, subject, suite, key in acts.holders(rows, no, role):
            digest.update(canonical.encode([role, author, subject, suite, key]))
    policy = access.policy_now(rows, row, no)
    digest.update(canonical.encode(cast("canonical.Value", policy.array())))
    prefix = keyspace.of_object(b"Z", no)
    for key, epoch in rows.scan(prefix, keyspace.after(prefix)):
        digest.update(canonical.encode([key[len(prefix) :], epoch]))
    return digest.digest()
