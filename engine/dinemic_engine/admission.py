"""T1: what an event and its past decide, a refusal by every node and for ever.

Admission asks the rule of `access` of past(e), which no node that judges e lacks any part of; so
the answer is the same everywhere and never changes (I-03). Beside the rule it holds acts to what
can be given and taken at all (AUTH-1, AUTH-2), and epochs to readers (`epochs`).
"""

from __future__ import annotations

from dinemic_engine import epochs
from dinemic_engine.access import makes_admins, policy_at, stands
from dinemic_engine.edits import only_edits, sealed_in
from dinemic_engine.errors import Reason, Unauthorized
from dinemic_engine.event import Event
from dinemic_engine.ids import short
from dinemic_engine.ops import READ, Create, Grant, Revoke
from dinemic_engine.store.layout import AUTHORIZED, ObjectRow, Place
from dinemic_engine.store.overlay import Readable


def judge(
    rows: Readable, row: ObjectRow, event: Event, place: Place, *, known: bool = False
) -> bool:
    """Whether the author held the role of every op; False where an open rule lets a stranger in.

    With `known` it did, by `holds_on`; that costs most to find out.

    Raises:
        Unauthorized: the event is refused, by every node and for ever (T1).
    """
    authorized, refusal = (True, None) if known else stands(rows, row, event, place, place)
    if refusal is not None:
        raise Unauthorized(refusal, f"by {short(event.author)}")
    if not only_edits(event.ops):
        _check_acts(row, event)
        epochs.check_made(rows, row, event, place)
    named = [sealed.epoch for op in event.ops if (sealed := sealed_in(op)) is not None]
    if named and not policy_at(rows, row, place)[0].is_open:
        epochs.check_used(rows, row, event, place, named)
    return authorized


def holds_on(row: ObjectRow, before: Place, event: Event) -> bool:
    """Whether who was authorized at `before`, and made nothing but `event` since, still is.

    Only to edit: any role that authorizes anything authorizes that. As long as nobody was ever
    revoked here and no policy changed, what past events were granted nothing takes back.
    """
    return bool(before.flags & AUTHORIZED) and not row.cuts and only_edits(event.ops)


def _check_acts(row: ObjectRow, event: Event) -> None:
    """Grants and revocations keep to what may be given and taken at all (AUTH-1, AUTH-2)."""
    if makes_admins(row, event):
        raise Unauthorized(Reason.ADMIN_BY_ADMIN, "only the owner makes and ends admins")
    for op in event.ops:
        if isinstance(op, Grant | Revoke):
            if op.signing == row.owner:
                raise Unauthorized(Reason.OWNER_GRANT, "the owner's rights are not given or taken")
            _check_suite(row.suite, op)


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
