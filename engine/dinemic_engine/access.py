"""Who may do what: AUTH-1 to AUTH-6, judged from the log alone.

Owner > admin > {update, read}. The owner (the key that signed the genesis) may do everything. An
admin may grant and revoke read and update, and all an updater may. An updater may change fields,
make epochs and remove. Being allowed to read opens sealed values and nothing else. Only the owner
makes and ends admins and changes the policy, so equals cannot remove each other and there is no
cycle to arbitrate.

The rule (AUTH-4), for an event e by A that needs a role:

    e stands  <=>  A is the owner, or there is a grant g of the role to A with
                     g in past(e),  g stands,  and
                     for every revocation r of that role of A with g in past(r) that stands:
                       e in past(r)

A revocation keeps exactly what the revoker had seen; all else by that writer is void, however it
is dated. A grant that a revocation had not seen survives it (AUTH-3).

The same question is asked twice. *T1* asks it of past(e) alone (``scope`` is e): the answer never
changes, and a no refuses the event for ever. *T2* asks it of the whole log: the answer moves with
what is learnt, and a no makes the event void, kept in the log without effect. Grants and
revocations of update and read stand by their author's admin grant, those of admins are the owner's
and always stand, so the recursion is two deep.

In an open field anybody may write; the grant is then the policy in force in past(e), and closing
the field is a revocation of everybody, which cuts the same way (AUTH-5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from dinemic_engine.canonical import decode_untrusted
from dinemic_engine.edits import EDITS, only_edits, sealed_in
from dinemic_engine.errors import Reason, StoreCorrupt, Unauthorized
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.log import covers, place_of, reach
from dinemic_engine.ops import (
    ADMIN,
    READ,
    UPDATE,
    Create,
    Epoch,
    Grant,
    Policy,
    Remove,
    Revoke,
    SetPolicy,
    read_policy,
)
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import AUTHORIZED, CLOSED, REVOKED, Act, ObjectRow, Place
from dinemic_engine.store.overlay import Readable
from dinemic_engine.vetoes import is_withheld

WRITERS: Final = (UPDATE, ADMIN)
GRANTERS: Final = (ADMIN,)
SEALING: Final = (READ, ADMIN)
"""Roles whose end may be the end of somebody's right to read: a reader's, or who granted it."""


class Granted(NamedTuple):
    """One grant as its row tells it."""

    role: int
    author: AuthorId
    """Whom it authorizes."""
    subject: ObjectId
    suite: int
    sealing: bytes
    act: Act

    @property
    def event(self) -> EventId:
        """The event that holds it."""
        return EventId(self.act.event)


# -- T1: admission --------------------------------------------------------------------------------


def holds_on(row: ObjectRow, before: Place, event: Event) -> bool:
    """Whether who was authorized at `before`, and made nothing but `event` since, still is.

    Only to edit: any role that authorizes anything authorizes that. As long as nobody was ever
    revoked here and no policy changed, what past events were granted nothing takes back.
    """
    return bool(before.flags & AUTHORIZED) and not row.cuts and only_edits(event.ops)


def judge(
    rows: Readable, row: ObjectRow, event: Event, place: Place, *, known: bool = False
) -> bool:
    """Whether the author held the role of every op; False where an open rule lets a stranger in.

    With `known` it did, by `holds_on`; that costs most to find out.

    Raises:
        Unauthorized: the event is refused, by every node and for ever (T1).
    """
    authorized, refusal = (True, None) if known else _stands(rows, row, event, place, place)
    if refusal is not None:
        raise Unauthorized(refusal, f"by {short(event.author)}")
    if not only_edits(event.ops):
        _check_acts(row, event)
        _check_epochs_made(rows, row, event, place)
    named = [sealed.epoch for op in event.ops if (sealed := sealed_in(op)) is not None]
    if named and not policy_at(rows, row, place)[0].is_open:
        _check_epochs_used(rows, row, event, place, named)
    return authorized


def _check_acts(row: ObjectRow, event: Event) -> None:
    """Grants and revocations keep to what may be given and taken at all (AUTH-1, AUTH-2)."""
    if _makes_admins(row, event):
        raise Unauthorized(Reason.ADMIN_BY_ADMIN, "only the owner makes and ends admins")
    for op in event.ops:
        if isinstance(op, Grant | Revoke):
            if op.signing == row.owner:
                raise Unauthorized(Reason.OWNER_GRANT, "the owner's rights are not given or taken")
            _check_suite(row.suite, op)


def _makes_admins(row: ObjectRow, event: Event) -> bool:
    """Whether somebody who is not the owner makes or ends admins."""
    return event.author != row.owner and any(
        isinstance(op, Grant | Revoke) and op.role == ADMIN for op in event.ops
    )


def judge_genesis(event: Event) -> None:
    """Check a genesis: its author is the owner, who grants others and not itself.

    Raises:
        Unauthorized: the owner grants itself a role, or a reader has a key of another suite.
    """
    create = event.ops[0]
    assert isinstance(create, Create), "T0 lets a genesis begin with CREATE only"
    for op in event.ops:
        if isinstance(op, Grant):
            if op.signing == event.author:
                raise Unauthorized(Reason.OWNER_GRANT, "the owner's rights are not given or taken")
            _check_suite(create.suite, op)


def _check_suite(suite: int, op: Grant | Revoke) -> None:
    """A reader's key is of the suite the object's epochs are sealed in (SEAL-1)."""
    if isinstance(op, Grant) and op.role == READ and op.suite != suite:
        raise Unauthorized(Reason.SUITE, "a reader's sealing key is of another suite")


# -- T2: verdict ----------------------------------------------------------------------------------


def verdict(rows: Readable, row: ObjectRow, event: Event, place: Place) -> int:
    """The flags of an admitted event by the whole log as it is now (T2).

    `AUTHORIZED`, none (a stranger's write in an open field), `REVOKED` or `CLOSED` (both void).
    """
    authorized, refusal = _stands(rows, row, event, place, None)
    if refusal is None:
        return AUTHORIZED if authorized else 0
    opened, _ = policy_at(rows, row, place)
    written = [op.field for op in event.ops if isinstance(op, EDITS)]
    if len(written) == len(event.ops) and all(opened.opens(field) for field in written):
        return CLOSED
    return REVOKED


def stood(rows: Readable, row: ObjectRow, event: Event, place: Place) -> bool:
    """Whether the author held, in the event's past, the role it needs (T1's answer)."""
    authorized, refusal = _stands(rows, row, event, place, place)
    return authorized and refusal is None and not _makes_admins(row, event)


def stands_in(rows: Readable, row: ObjectRow, event: Event, place: Place, scope: Place) -> bool:
    """Whether an admitted event stands for somebody who knows the past of `scope` and no more."""
    return _stands(rows, row, event, place, scope)[1] is None


def _stands(
    rows: Readable, row: ObjectRow, event: Event, place: Place, scope: Place | None
) -> tuple[bool, Reason | None]:
    """(authorized, why it does not stand) by the rule at the top, in `scope` or the whole log."""
    author = event.author
    if author == row.owner:
        return True, None
    writer = admin = False
    if grant_for(rows, row, place, author, WRITERS, scope, event.id) is not None:
        writer = True
    for op in event.ops:
        if isinstance(op, EDITS):
            if not writer and not _is_open(rows, row, place, op.field, scope):
                return False, Reason.UNAUTHORIZED
            continue
        match op:
            case Grant() | Revoke():
                if not admin:
                    if grant_for(rows, row, place, author, GRANTERS, scope, event.id) is None:
                        return False, Reason.ACCESS_CHANGE
                    admin = True
            case SetPolicy():
                return False, Reason.POLICY_BY_OWNER
            case Epoch():
                if not writer:
                    return False, Reason.ACCESS_CHANGE
            case Remove():
                if not writer:
                    return False, Reason.REMOVE_BY_STRANGER
            case _:
                raise AssertionError("CREATE outside of a genesis, which T0 refuses")
    return writer, None


def grant_for(
    rows: Readable,
    row: ObjectRow,
    at: Place,
    author: AuthorId,
    roles: tuple[int, ...],
    scope: Place | None,
    event: EventId | None = None,
) -> Granted | None:
    """The last grant by which `author` stands at `at`; grants of `event` itself do not count."""
    for role in roles:
        # The last first: of one who was granted and revoked in turn mostly that one counts.
        for grant in granted(rows, at.no, author, role, reverse=True):
            if (
                grant.act.event != event
                and covers(rows, at, grant.act.chain, grant.act.seq)
                and _act_stands(rows, row, grant.act, scope)
                and not (row.cuts and _is_cut(rows, row, at, grant, scope))
            ):
                return grant
    return None


def _is_cut(rows: Readable, row: ObjectRow, at: Place, grant: Granted, scope: Place | None) -> bool:
    """Whether a revocation that ends `grant` stands and had not seen `at`."""
    for revoke in revokes(rows, at.no, grant.author, grant.role, above=grant.act.t):
        if (
            (scope is None or covers(rows, scope, revoke.chain, revoke.seq))
            and revoke.event != grant.act.event
            and covers(rows, revoke.place, grant.act.chain, grant.act.seq)
            and not covers(rows, revoke.place, at.chain, at.seq)
            and _act_stands(rows, row, revoke, scope)
        ):
            return True
    return False


def _act_stands(rows: Readable, row: ObjectRow, act: Act, scope: Place | None) -> bool:
    """Whether a grant or revocation stands: the owner's does, an admin's by the admin's grant."""
    if act.by == row.owner:
        return True
    by, event = AuthorId(act.by), EventId(act.event)
    return grant_for(rows, row, act.place, by, GRANTERS, scope, event) is not None


def holder(
    rows: Readable,
    row: ObjectRow,
    no: int,
    author: AuthorId,
    role: int,
    scope: Place | None = None,
) -> Granted | None:
    """The last grant of a role that `author` holds now, by all that this node shows, or None.

    With a `scope`, that `author` held in its past.
    """
    for grant in granted(rows, no, author, role, reverse=True):
        if _is_shown(rows, row, grant.act, scope) and not any(
            revoke.event != grant.act.event
            and covers(rows, revoke.place, grant.act.chain, grant.act.seq)
            and _is_shown(rows, row, revoke, scope)
            for revoke in revokes(rows, no, author, role, above=grant.act.t)
        ):
            return grant
    return None


def _is_shown(rows: Readable, row: ObjectRow, act: Act, scope: Place | None) -> bool:
    """Whether a grant or revocation stands, and this node's guards let it be (VETO-1)."""
    return (
        (scope is None or covers(rows, scope, act.chain, act.seq))
        and _act_stands(rows, row, act, scope)
        and not is_withheld(rows, row, act.no, act.t, act.event)
    )


# -- policy ---------------------------------------------------------------------------------------


def policies(rows: Readable, no: int) -> Iterator[tuple[Act, Policy]]:
    """The changes of policy, the last in the order first."""
    prefix = keyspace.of_object(b"Y", no)
    # Read forwards: backwards a store first passes what was deleted in front of them.
    for key, value in reversed(list(rows.scan(prefix, keyspace.after(prefix)))):
        act, rest = keyspace.unpack_act(key, value)
        yield act, read_policy(decode_untrusted(rest))


def policy_at(rows: Readable, row: ObjectRow, at: Place) -> tuple[Policy, Act | None]:
    """The policy in force in the past of `at`, and what set it (None: the genesis)."""
    if row.cuts:
        for act, policy in policies(rows, at.no):
            if covers(rows, at, act.chain, act.seq):
                return policy, act
    return row.policy, None


def policy_now(rows: Readable, row: ObjectRow, no: int) -> Policy:
    """The policy that is last in the order."""
    return (
        next((policy for _, policy in policies(rows, no)), row.policy) if row.cuts else row.policy
    )


def _is_open(rows: Readable, row: ObjectRow, at: Place, field: str, scope: Place | None) -> bool:
    """Whether a stranger's write to `field` at `at` stands (AUTH-5)."""
    policy, source = policy_at(rows, row, at)
    if not policy.opens(field):
        return False
    if scope is not None or not row.cuts:
        return True
    return not any(
        not closing.opens(field)
        and not covers(rows, act.place, at.chain, at.seq)
        and (source is None or covers(rows, act.place, source.chain, source.seq))
        for act, closing in policies(rows, at.no)
    )


# -- sealing --------------------------------------------------------------------------------------


def _check_epochs_made(rows: Readable, row: ObjectRow, event: Event, place: Place) -> None:
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


def _check_epochs_used(
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


def reads(rows: Readable, row: ObjectRow, place: Place, reader: AuthorId) -> bool:
    """Whether `reader` is the owner or was granted reading in the past of `place` (SEAL-2)."""
    return reader == row.owner or (grant_for(rows, row, place, reader, (READ,), place) is not None)


# Who once was a reader and is none in some past lost the right by a revocation: of reading, or of
# the admin who had granted it. So only those whom one of these was ever about are looked at when an
# epoch is used (the ``A`` rows), and those who made one and were no readers then.


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
            if _act_stands(rows, row, _revoke_at(rows, made.no, rest), None):
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


# -- rows -----------------------------------------------------------------------------------------


def grants(rows: Readable, no: int, role: int | None = None) -> list[Granted]:
    """Every grant of an object, by author, role and order; of one role if asked."""
    prefix = keyspace.of_object(b"G", no)
    found = (_read_grant(*found) for found in rows.scan(prefix, keyspace.after(prefix)))
    return [grant for grant in found if role is None or grant.role == role]


def granted(
    rows: Readable, no: int, author: AuthorId, role: int, *, reverse: bool = False
) -> Iterator[Granted]:
    """The grants of a role of an author in order, or the last first; of one event one is enough."""
    prefix = keyspace.acts_prefix(b"G", no, author, role)
    event = b""
    for key, value in rows.scan(prefix, keyspace.after(prefix), reverse=reverse):
        grant = _read_grant(key, value)
        if grant.act.event != event:
            event = grant.act.event
            yield grant


def _read_grant(key: bytes, value: bytes) -> Granted:
    author, role = keyspace.act_subject(key)
    act, rest = keyspace.unpack_act(key, value)
    subject, suite, sealing = layout.unpack_holder(rest)
    return Granted(role, AuthorId(author), ObjectId(subject), suite, sealing, act)


def revokes(rows: Readable, no: int, author: AuthorId, role: int, above: int = -1) -> Iterator[Act]:
    """The revocations of a role of an author in order; of one event one is enough.

    Only those later than the time `above`: no other has what happened then in its past (ORD-2).
    """
    prefix = keyspace.acts_prefix(b"K", no, author, role)
    event = b""
    start = prefix + (above + 1).to_bytes(8, "big")
    for key, value in rows.scan(start, keyspace.after(prefix)):
        act = keyspace.unpack_act(key, value)[0]
        if act.event != event:
            event = act.event
            yield act


def holders(rows: Readable, no: int, role: int) -> Iterator[tuple[AuthorId, ObjectId, int, bytes]]:
    """(signing key, object, suite, sealing key) of everybody who holds `role` now."""
    prefix = keyspace.of_object(b"D", no) + bytes((role,))
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        subject, suite, sealing = layout.unpack_holder(value)
        yield AuthorId(key[-32:]), ObjectId(subject), suite, sealing
