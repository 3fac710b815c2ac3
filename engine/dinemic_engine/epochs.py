"""Who may make a sealing epoch, and use it: SEAL-2 to SEAL-4, judged from the log alone.

An epoch's key opens every value sealed under it, so an epoch is as good as those who have its key:

    made    its recipients are readers in past(e), or granted beside it; the owner is one of them
    again   for more readers, by somebody who can have the key: a reader, or who made it
    used    nobody has the key by past(e) who may not read by past(e), its author apart

Who once was a reader and is none in some past lost the right by a revocation: of reading, or of
the admin who had granted it. So only those whom one of these was ever about are looked at when an
epoch is used (the ``A`` rows), and those who made one and were no readers then. Invariant: whoever
has a key (a ``Q`` row) and may not read, in some past that knows the epoch, has an ``A`` row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dinemic_engine.access import act_stands, reads
from dinemic_engine.acts import granted, grants, revokes
from dinemic_engine.errors import Reason, StoreCorrupt, Unauthorized
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, short
from dinemic_engine.log import covers, place_of, reach
from dinemic_engine.ops import ADMIN, READ, Epoch, Grant, Revoke
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Act, ObjectRow, Place
from dinemic_engine.store.overlay import Readable

SEALING: Final = (READ, ADMIN)
"""Roles whose end may be the end of somebody's right to read: a reader's, or who granted it."""

# -- T1 -------------------------------------------------------------------------------------------


def check_made(rows: Readable, row: ObjectRow, event: Event, place: Place) -> None:
    """An epoch is sealed for readers only, by the event's past or by a grant beside it (SEAL-3).

    A new one is sealed for the owner too (SEAL-2). One of before is sealed for more readers by a
    reader only, or by who made it (SEAL-4): nobody else can have the key.
    """
    epochs = [op for op in event.ops if isinstance(op, Epoch)]
    if not epochs:
        return
    readers: set[bytes] = {
        op.signing for op in event.ops if isinstance(op, Grant) and op.role == READ
    }
    for epoch in epochs:
        if epoch.suite != row.suite:
            raise Unauthorized(Reason.SUITE, "an epoch of another suite than its object's")
        if _is_known(rows, place, epoch.commit):
            if not (
                reads(rows, row, place, event.author)
                or _has_made(rows, place, event.author, epoch.commit)
            ):
                raise Unauthorized(Reason.EPOCH_AGAIN, f"{short(event.author)} is no reader")
        elif all(reader != row.owner for reader, _ in epoch.recipients):
            raise Unauthorized(Reason.EPOCH_OWNER, "a new epoch leaves out the owner")
        for reader, _ in epoch.recipients:
            if reader not in readers:
                if not reads(rows, row, place, reader):
                    raise Unauthorized(Reason.EPOCH_READERS, f"{short(reader)} is no reader")
                readers.add(reader)


def check_used(
    rows: Readable, row: ObjectRow, event: Event, place: Place, named: list[bytes]
) -> None:
    """A sealed value in a closed object names an epoch that only readers can open (SEAL-3).

    Its author had seen the epoch or makes it, and knew of nobody who has its key and may not read.
    """
    made = {op.commit for op in event.ops if isinstance(op, Epoch)}
    for commit in dict.fromkeys(named):
        if not _is_known(rows, place, commit):
            if commit in made:
                continue
            raise Unauthorized(Reason.EPOCH_UNKNOWN, f"epoch {short(commit)} is not in the past")
        found = outsider(rows, row, place.no, event.author, commit, place)
        if found is not None:
            raise Unauthorized(Reason.EPOCH_READERS, f"{short(found)} has the key and reads not")


def _is_known(rows: Readable, place: Place, commit: bytes) -> bool:
    """Whether an epoch was made in the past of `place`."""
    value = rows.get(keyspace.sealing_key(place.no))
    newest = None if value is None else layout.unpack_sealing(value)
    # the newest as nearly always, which saves the scan; its time is 0 where there is none yet
    if newest is not None and newest.t and newest.commit == commit:
        made = place_of(rows, newest.id)
        if covers(rows, place, made.chain, made.seq):
            return True
    return any(_seen(rows, place, keyspace.epochs_prefix(place.no, commit)))


def _has_made(rows: Readable, place: Place, author: AuthorId, commit: bytes) -> bool:
    """Whether an epoch was made by `author`, perhaps among others, in the past of `place`."""
    prefix = keyspace.epochs_prefix(place.no, commit)
    return any(act.by == author for act in _seen(rows, place, prefix))


def _seen(rows: Readable, place: Place, prefix: bytes) -> Iterator[Act]:
    """The acts below `prefix` in the past of `place`, in order."""
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        act, _ = keyspace.unpack_act(key, value)
        if covers(rows, place, act.chain, act.seq):
            yield act


def outsider(
    rows: Readable, row: ObjectRow, no: int, author: AuthorId, commit: bytes, scope: Place | None
) -> AuthorId | None:
    """Somebody who has the key of an epoch and may not read, in the past of `scope`; None if none.

    With no `scope`: by all that is known now. `author`, who is about to use the epoch, may be one
    that made it and is no reader: a writer's own.
    """
    prefix = keyspace.doubts_prefix(no, commit)
    for key, _ in rows.scan(prefix, keyspace.after(prefix)):
        who = AuthorId(key[-32:])
        if scope is not None:
            if reads(rows, row, scope, who):
                continue
        elif who == row.owner or rows.get(keyspace.holder_key(no, READ, who)) is not None:
            continue
        having = keyspace.having_prefix(no, who, commit)
        for found in rows.scan(having, keyspace.after(having)):
            act, kind = keyspace.unpack_act(*found)
            if (who != author or kind != b"\0") and (
                scope is None or covers(rows, scope, act.chain, act.seq)
            ):
                return who
    return None


# -- who has a key and perhaps may not read -------------------------------------------------------


def in_doubt(rows: Readable, row: ObjectRow, no: int, who: AuthorId) -> bool:
    """Whether a revocation, in force or not, was about the right of `who` to read."""
    if not row.cuts or who == row.owner:
        return False
    if next(revokes(rows, no, who, READ), None) is not None:
        return True
    return any(
        grant.act.by != row.owner and _was_revoked(rows, no, grant.act.by)
        for grant in granted(rows, no, who, READ)
    )


def _was_revoked(rows: Readable, no: int, admin: bytes) -> bool:
    return next(revokes(rows, no, AuthorId(admin), ADMIN), None) is not None


def cast_doubt_on(rows: Readable, row: ObjectRow, event: Event, no: int) -> set[AuthorId]:
    """Whose right to read an admitted event brings into doubt; its facts are in `rows`."""
    found: set[AuthorId] = set()
    for op in event.ops:
        if isinstance(op, Revoke) and op.role == READ:
            found.add(op.signing)
        elif isinstance(op, Revoke) and op.role == ADMIN:
            for grant in grants(rows, no, READ):
                if grant.act.by == op.signing:
                    found.add(grant.author)
        elif isinstance(op, Grant) and op.role == READ and _was_revoked(rows, no, event.author):
            found.add(op.signing)
    return found


def knows_all_ends(rows: Readable, row: ObjectRow, made: Place) -> bool:
    """Whether every revocation of reading, or of an admin, that stands is in the past of `made`.

    An epoch made before one may be sealed again for its target by somebody who had not seen it.
    Looks at each chain with revocations once, and then only at those that `made` had not seen.
    """
    if not row.cuts:
        return True
    prefix = keyspace.of_object(b"k", made.no)
    end = keyspace.after(prefix)
    while (last := next(rows.scan(prefix, end, reverse=True), None)) is not None:
        chain = keyspace.end_chain(last[0])
        unseen = keyspace.end_key(made.no, chain, reach(rows, made, chain) + 1)
        for _, rest in rows.scan(unseen, end):
            if act_stands(rows, row, _revoke_at(rows, made.no, rest), None):
                return False
        end = keyspace.end_key(made.no, chain, 0)
    return True


def _revoke_at(rows: Readable, no: int, rest: bytes) -> Act:
    """The revocation whose ``K`` key ends in `rest`."""
    key = keyspace.of_object(b"K", no) + rest
    value = rows.get(key)
    if value is None:
        raise StoreCorrupt("a revocation is listed that has no row")
    return keyspace.unpack_act(key, value)[0]
