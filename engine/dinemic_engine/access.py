"""Who may do what, judged from an event and its past alone (AUTH-1, AUTH-2, AUTH-5, AUTH-6).

The owner (the key that signed the genesis) may do everything. An admin may change fields, grant
read and update, make epochs and remove; only the owner makes admins. An updater may change fields,
make epochs and remove. Being allowed to read opens sealed values and nothing else.

A grant counts for an event only if it is in the event's past. What an author had not seen gives no
right, so every node that has the event (and, by ORD-1, its past) comes to the same verdict, in
whatever order things arrived (I-03).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from dinemic_engine.canonical import Sealed
from dinemic_engine.errors import Reason, Unauthorized
from dinemic_engine.event import (
    ADMIN,
    READ,
    UPDATE,
    Create,
    Delete,
    Epoch,
    Event,
    Grant,
    Op,
    Remove,
    Set,
)
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.log import covers
from dinemic_engine.store import keyspace
from dinemic_engine.store.keyspace import ObjectRow, Place
from dinemic_engine.store.overlay import Readable

WRITERS: Final = (UPDATE, ADMIN)
GRANTERS: Final = (ADMIN,)


class Granted(NamedTuple):
    """One grant as its row tells it."""

    role: int
    author: AuthorId
    subject: ObjectId
    suite: int
    sealing: bytes
    t: int
    event: EventId
    op: int
    chain: int
    seq: int


def judge(rows: Readable, row: ObjectRow, event: Event, place: Place) -> bool:
    """Whether the author held the role of every op; False where an open rule lets a stranger in.

    Raises:
        Unauthorized: the event is refused, by every node and for ever (T1).
    """
    if event.author == row.owner:
        writer = True
        if any(type(op) is Grant and op.signing == row.owner for op in event.ops):
            raise Unauthorized(Reason.OWNER_GRANT, "the owner needs and takes no grant")
    else:
        writer = holds(rows, place, event.author, WRITERS)
        grants_any = any(type(op) is Grant for op in event.ops)
        admin = grants_any and holds(rows, place, event.author, GRANTERS)
        for op in event.ops:
            _judge_op(row, event.author, op, writer=writer, admin=admin)
    _check_recipients(rows, row, event, place)
    if not row.policy.is_open:
        _check_epochs(rows, event, place)
    return writer


def judge_in_genesis(event: Event, op: Op) -> None:
    """Check one op of a genesis: its author is the owner, who grants others and not itself.

    Raises:
        Unauthorized: the owner grants itself a role.
    """
    if isinstance(op, Grant) and op.signing == event.author:
        raise Unauthorized(Reason.OWNER_GRANT, "the owner needs and takes no grant")


def _judge_op(row: ObjectRow, author: AuthorId, op: Op, *, writer: bool, admin: bool) -> None:
    """Check one op of an author who is not the owner."""
    match op:
        case Set() | Delete():
            if not writer and not row.policy.opens(op.field):
                raise Unauthorized(Reason.UNAUTHORIZED, f"{short(author)} holds no update grant")
        case Grant(role=role):
            if not admin:
                raise Unauthorized(
                    Reason.ACCESS_CHANGE, f"{short(author)} is no admin and cannot grant"
                )
            if role == ADMIN:
                raise Unauthorized(Reason.ADMIN_BY_ADMIN, "only the owner makes admins")
            if op.signing == row.owner:
                raise Unauthorized(Reason.OWNER_GRANT, "the owner needs and takes no grant")
        case Epoch():
            if not writer:
                raise Unauthorized(Reason.ACCESS_CHANGE, f"{short(author)} may not make an epoch")
        case Remove():
            if not writer:
                raise Unauthorized(
                    Reason.REMOVE_BY_STRANGER, f"{short(author)} holds no update grant"
                )
        case Create():  # T0 lets CREATE into a genesis only, and its author is the owner
            raise AssertionError("CREATE outside of a genesis")


def _check_recipients(rows: Readable, row: ObjectRow, event: Event, place: Place) -> None:
    """An epoch's recipients are readers, by the event's past or by a grant beside it (SEAL-3)."""
    epochs = [op for op in event.ops if isinstance(op, Epoch)]
    if not epochs:
        return
    readers: set[bytes] = {
        op.signing for op in event.ops if isinstance(op, Grant) and op.role == READ
    }
    readers.add(row.owner)
    for epoch in epochs:
        for reader, _ in epoch.recipients:
            if reader not in readers:
                if not holds(rows, place, reader, (READ,)):
                    raise Unauthorized(Reason.EPOCH_READERS, f"{short(reader)} is no reader")
                readers.add(reader)


def _check_epochs(rows: Readable, event: Event, place: Place) -> None:
    """A sealed value in a closed object names an epoch its author had seen, or makes (SEAL-3)."""
    named = [op.value.epoch for op in event.ops if type(op) is Set and type(op.value) is Sealed]
    if not named:
        return
    made = {op.commit for op in event.ops if isinstance(op, Epoch)}
    for commit in dict.fromkeys(named):
        if commit not in made and not _knows_epoch(rows, place, commit):
            raise Unauthorized(Reason.EPOCH_UNKNOWN, f"epoch {short(commit)} is not in the past")


def _knows_epoch(rows: Readable, at: Place, commit: bytes) -> bool:
    """Whether an EPOCH op of that commitment is in the past of `at`."""
    value = rows.get(keyspace.sealing_key(at.no))
    newest = keyspace.unpack_sealing(value) if value else None
    if newest and newest.commit == commit:  # nearly always, and look-ups cost less than a scan
        made = rows.get(keyspace.place_key(newest.id))
        place = keyspace.unpack_place(made) if made else None
        if place and covers(rows, at, place.chain, place.seq):
            return True
    prefix = keyspace.epochs_prefix(at.no, commit)
    for _, stored in rows.scan(prefix, keyspace.after(prefix)):
        chain, seq, _ = keyspace.unpack_epoch(stored)
        if covers(rows, at, chain, seq):
            return True
    return False


def holds(rows: Readable, at: Place, author: AuthorId, roles: Sequence[int]) -> bool:
    """Whether a grant of one of `roles` to `author` is in the past of `at`."""
    return grant_for(rows, at, author, roles) is not None


def grant_for(
    rows: Readable,
    at: Place,
    author: AuthorId,
    roles: Sequence[int],
    *,
    event: EventId | None = None,
) -> Granted | None:
    """The first such grant by role, then order, or None; grants of `event` itself do not count."""
    for role in roles:
        prefix = keyspace.grants_prefix(at.no, author, role)
        for key, value in rows.scan(prefix, keyspace.after(prefix)):
            grant = _granted(key, value)
            if grant.event != event and covers(rows, at, grant.chain, grant.seq):
                return grant
    return None


def grants(rows: Readable, no: int, role: int | None = None) -> list[Granted]:
    """Every grant of an object, by author, role and order; of one role if asked."""
    prefix = keyspace.of_object(b"G", no)
    found = [_granted(key, value) for key, value in rows.scan(prefix, keyspace.after(prefix))]
    return [grant for grant in found if role is None or grant.role == role]


def _granted(key: bytes, value: bytes) -> Granted:
    author, role = keyspace.grant_key_subject(key)
    t, event_id, op = keyspace.write_key_order(key)
    chain, seq, subject, suite, sealing = keyspace.unpack_grant(value)
    return Granted(
        role,
        AuthorId(author),
        ObjectId(subject),
        suite,
        sealing,
        t,
        EventId(event_id),
        op,
        chain,
        seq,
    )
