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

from typing import Final

from dinemic_engine.acts import Granted, granted, policies, revokes
from dinemic_engine.edits import EDITS
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId
from dinemic_engine.log import covers
from dinemic_engine.ops import ADMIN, READ, UPDATE, Epoch, Grant, Policy, Remove, Revoke, SetPolicy
from dinemic_engine.store.layout import AUTHORIZED, CLOSED, REVOKED, Act, ObjectRow, Place
from dinemic_engine.store.overlay import Readable
from dinemic_engine.vetoes import is_withheld

WRITERS: Final = (UPDATE, ADMIN)
GRANTERS: Final = (ADMIN,)

# -- the rule -------------------------------------------------------------------------------------


def stands(
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
                and act_stands(rows, row, grant.act, scope)
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
            and act_stands(rows, row, revoke, scope)
        ):
            return True
    return False


def act_stands(rows: Readable, row: ObjectRow, act: Act, scope: Place | None) -> bool:
    """Whether a grant or revocation stands: the owner's does, an admin's by the admin's grant."""
    if act.by == row.owner:
        return True
    by, event = AuthorId(act.by), EventId(act.event)
    return grant_for(rows, row, act.place, by, GRANTERS, scope, event) is not None


def makes_admins(row: ObjectRow, event: Event) -> bool:
    """Whether somebody who is not the owner makes or ends admins."""
    return event.author != row.owner and any(
        isinstance(op, Grant | Revoke) and op.role == ADMIN for op in event.ops
    )


# -- T2: verdict ----------------------------------------------------------------------------------


def verdict(rows: Readable, row: ObjectRow, event: Event, place: Place) -> int:
    """The flags of an admitted event by the whole log as it is now (T2).

    `AUTHORIZED`, none (a stranger's write in an open field), `REVOKED` or `CLOSED` (both void).
    """
    authorized, refusal = stands(rows, row, event, place, None)
    if refusal is None:
        return AUTHORIZED if authorized else 0
    opened, _ = policy_at(rows, row, place)
    written = [op.field for op in event.ops if isinstance(op, EDITS)]
    if len(written) == len(event.ops) and all(opened.opens(field) for field in written):
        return CLOSED
    return REVOKED


def stood(rows: Readable, row: ObjectRow, event: Event, place: Place) -> bool:
    """Whether the author held, in the event's past, the role it needs (T1's answer)."""
    authorized, refusal = stands(rows, row, event, place, place)
    return authorized and refusal is None and not makes_admins(row, event)


def stands_in(rows: Readable, row: ObjectRow, event: Event, place: Place, scope: Place) -> bool:
    """Whether an admitted event stands for somebody who knows the past of `scope` and no more."""
    return stands(rows, row, event, place, scope)[1] is None


# -- who holds a role -----------------------------------------------------------------------------


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
        and act_stands(rows, row, act, scope)
        and not is_withheld(rows, row, act.no, act.t, act.event)
    )


def reads(rows: Readable, row: ObjectRow, place: Place, reader: AuthorId) -> bool:
    """Whether `reader` is the owner or was granted reading in the past of `place` (SEAL-2)."""
    return reader == row.owner or (grant_for(rows, row, place, reader, (READ,), place) is not None)


# -- policy ---------------------------------------------------------------------------------------


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
