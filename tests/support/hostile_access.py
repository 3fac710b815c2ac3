"""The table of AUTH: every way to do what one may not, or may not any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import dinemic
from dinemic_engine import keys
from dinemic_engine.edits import Set
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event, sign_together
from dinemic_engine.ops import ADMIN, READ, UPDATE, Policy, Remove, SetPolicy
from support.graphs import OWNER, T, child, genesis
from support.hostile_cases import (
    CHIEF,
    CLERK,
    CLOSED,
    FLOOD,
    FREE,
    LATER,
    LOG,
    READER,
    SECOND,
    STANDS,
    STRANGER,
    VOID,
    WAITS,
    WALL,
    Attempt,
    Case,
    Person,
    epoch,
    forged,
    home,
    write,
)

_FIRST, _BOB = LOG
_SEEN: Final = write(_BOB, CLERK)
"""What the clerk wrote, and the owner has seen when it ends the clerk's right."""
_CUT: Final = child(_SEEN, OWNER, CLERK.revoke(UPDATE), t=LATER)
_DISMISSED: Final = [*LOG, _SEEN, _CUT]
_BY_CLERK: Final = {"name": CLERK.name}
_FROM_SEEN: Final = Attempt(CLERK, lambda p: p.name.set("unseen"))
_DATED: Final = "the library dates an event by its clock, and above all that is known"
_KEYS: Final = "keys in a grant are those of an object that is known, and that was admitted"

_GONE: Final = child(_BOB, CLERK, Remove())
_FALLEN: Final = child(_BOB, OWNER, CHIEF.revoke(ADMIN), t=LATER)
_HIRED: Final = child(_BOB, CHIEF, STRANGER.grant(UPDATE))

_ROOT, _POSTED = WALL
_FREE: Final = write(_POSTED, STRANGER)
_SHUT: Final = child(_FREE, OWNER, SetPolicy(Policy()), t=LATER)
_BY_STRANGER: Final = {"name": STRANGER.name}

_BAD_WRITE: Final = write(_BOB, STRANGER)
_MEANT: Final = child(_BOB, OWNER, CLERK.grant(ADMIN))
_TOGETHER: Final = sign_together(CLERK.key, [_MEANT.raw, write(_BOB, CLERK).raw])


def _flood(count: int) -> dict[Event | bytes, str]:
    """A line of events by a writer who was revoked and had not seen it."""
    last = _SEEN
    found: dict[Event | bytes, str] = {}
    for number in range(count):
        last = child(last, CLERK, Set("name", number))
        found[last] = FLOOD
    return found


def _write_without_end(p: Person) -> None:
    for number in range(200):
        p.name.set(number)


def _impossible_grants() -> dict[Event | bytes, Reason]:
    """Grants to keys nobody in particular holds (EV-9)."""
    ed, x = STRANGER.id, STRANGER.sealing.public
    no_point = (2).to_bytes(32, "little")
    p = (1 << 255) - 19
    pairs = [
        (bytes(32), x),  # y = 0: a point of order 4
        ((1).to_bytes(32, "little"), x),  # the neutral element
        ((p + 3).to_bytes(32, "little"), x),  # y = 3, not reduced
        (no_point, x),
        (ed, bytes(32)),  # u = 0
        (ed, (p + 9).to_bytes(32, "little")),  # u = 9, not reduced
    ]
    return {
        forged(_BOB, OWNER, [12, READ, STRANGER.subject, signing, [keys.SUITE_X25519, sealing]]): (
            Reason.SMALL_ORDER_KEY
        )
        for signing, sealing in pairs
    }


ACCESS: Final[Mapping[str, Case]] = {
    # -- without a grant ---------------------------------------------------------------------------
    "a stranger writes to a closed object": Case(
        LOG,
        {_BAD_WRITE: Reason.UNAUTHORIZED},
        Attempt(STRANGER, lambda p: p.name.set("Eve")),
    ),
    "a reader writes": Case(
        LOG,
        {write(_BOB, READER): Reason.UNAUTHORIZED},
        Attempt(READER, lambda p: p.name.set("Eve")),
    ),
    "somebody builds on an event that is refused": Case(
        LOG,
        {_BAD_WRITE: Reason.UNAUTHORIZED, write(_BAD_WRITE, CLERK): WAITS},
        "what is refused here is no head, so nothing is built on it",
    ),
    "a writer does one thing it may not beside one it may": Case(
        LOG,
        {child(_BOB, CLERK, Set("name", "Eve"), CLERK.grant(ADMIN)): Reason.ACCESS_CHANGE},
        "an edit by a handle is of one kind",
    ),
    "a writer signs its own event together with one in the owner's name": Case(
        LOG,
        dict(zip(_TOGETHER, (Reason.SIGNATURE, STANDS), strict=True)),
        "whom an event names, with the key of that one the library signs it",
        shown=_BY_CLERK,
    ),
    # -- a writer that was revoked -----------------------------------------------------------------
    "a revoked writer goes on though it knows": Case(
        _DISMISSED,
        {write(_CUT, CLERK): Reason.UNAUTHORIZED},
        Attempt(CLERK, lambda p: p.name.set("again")),
        shown=_BY_CLERK,
    ),
    "a revoked writer writes unseen, later than the revocation": Case(
        _DISMISSED,
        {write(_SEEN, CLERK, LATER + 9): VOID},
        _FROM_SEEN,
        late=[_CUT],
        shown=_BY_CLERK,
    ),
    "a revoked writer dates back to before the revocation": Case(
        _DISMISSED,
        {write(_SEEN, CLERK, LATER - 9): VOID},
        _DATED,
        late=[_CUT],
        shown=_BY_CLERK,
    ),
    "a revoked writer dates back to before what it names": Case(
        _DISMISSED,
        {write(_SEEN, CLERK, _SEEN.t): Reason.CLOCK},
        _DATED,
        shown=_BY_CLERK,
    ),
    "a revoked writer branches off long before": Case(
        _DISMISSED,
        {write(_FIRST, CLERK, T + 10): VOID, child(_FIRST, CLERK, Remove()): VOID},
        "the library builds on every head it knows",
        late=[_CUT],
        shown=_BY_CLERK,
    ),
    "a revoked writer removes the object, unseen": Case(
        _DISMISSED,
        {child(_SEEN, CLERK, Remove()): VOID},
        Attempt(CLERK, lambda p: p.remove()),
        late=[_CUT],
        shown=_BY_CLERK,
    ),
    "a revoked writer writes without end": Case(
        _DISMISSED,
        _flood(200),
        Attempt(CLERK, _write_without_end),
        late=[_CUT],
        shown=_BY_CLERK,
    ),
    # -- admins ------------------------------------------------------------------------------------
    "an admin revokes another": Case(
        LOG,
        {child(_BOB, CHIEF, SECOND.revoke(ADMIN)): Reason.ADMIN_BY_ADMIN},
        Attempt(CHIEF, lambda p: p.revoke_admin_authorized(home(SECOND))),
    ),
    "an admin makes an admin": Case(
        LOG,
        {child(_BOB, CHIEF, STRANGER.grant(ADMIN)): Reason.ADMIN_BY_ADMIN},
        Attempt(CHIEF, lambda p: p.append_admin_authorized(home(STRANGER))),
    ),
    "an admin makes itself an admin again": Case(
        LOG,
        {child(_BOB, CHIEF, CHIEF.grant(ADMIN)): Reason.ADMIN_BY_ADMIN},
        "a handle makes no event of a grant that is held",
    ),
    "an admin sets the policy": Case(
        LOG,
        {child(_BOB, CHIEF, SetPolicy(Policy(is_open=True))): Reason.POLICY_BY_OWNER},
        Attempt(CHIEF, lambda p: p.set_access("open")),
    ),
    "an admin revokes the owner": Case(
        LOG,
        {child(_BOB, CHIEF, OWNER.revoke(UPDATE)): Reason.OWNER_GRANT},
        Attempt(CHIEF, lambda p: p.revoke_update_authorized(p.get_db_id())),
    ),
    "the owner's key revokes the owner": Case(
        LOG,
        {child(_BOB, OWNER, OWNER.revoke(ADMIN)): Reason.OWNER_GRANT},
        Attempt(OWNER, lambda p: p.revoke_admin_authorized(p.get_db_id())),
    ),
    "an admin grants the owner, to revoke it later": Case(
        LOG,
        {child(_BOB, CHIEF, OWNER.grant(UPDATE)): Reason.OWNER_GRANT},
        "a handle makes no event of a grant that is held",
    ),
    "a genesis grants its own author": Case(
        LOG,
        {genesis(STRANGER.grant(ADMIN), by=STRANGER): Reason.OWNER_GRANT},
        "a new object has a new key, which nobody can name before",
    ),
    "an admin that was revoked goes on unseen, and so does whom it let in": Case(
        [*LOG, _FALLEN],
        {
            _HIRED: VOID,
            write(_HIRED, STRANGER): VOID,
            child(_BOB, CHIEF, CLERK.revoke(UPDATE)): VOID,
        },
        Attempt(CHIEF, lambda p: p.append_update_authorized(home(STRANGER))),
        late=[_FALLEN],
    ),
    # -- grants ------------------------------------------------------------------------------------
    "a reader grants itself writing": Case(
        LOG,
        {child(_BOB, READER, READER.grant(UPDATE)): Reason.ACCESS_CHANGE},
        Attempt(READER, lambda p: p.append_update_authorized(home(READER))),
    ),
    "a stranger grants itself everything": Case(
        LOG,
        {child(_BOB, STRANGER, STRANGER.grant(role)): Reason.ACCESS_CHANGE for role in (1, 2, 3)},
        Attempt(STRANGER, lambda p: p.append_admin_authorized(home(STRANGER))),
    ),
    "a grant to oneself and its use in one event": Case(
        LOG,
        {child(_BOB, STRANGER, STRANGER.grant(UPDATE), Set("name", "Eve")): Reason.ACCESS_CHANGE},
        "an edit by a handle is of one kind",
    ),
    "a writer grants another": Case(
        LOG,
        {child(_BOB, CLERK, STRANGER.grant(UPDATE)): Reason.ACCESS_CHANGE},
        Attempt(CLERK, lambda p: p.append_update_authorized(home(STRANGER))),
    ),
    "a writer revokes a reader": Case(
        LOG,
        {child(_BOB, CLERK, READER.revoke(READ)): Reason.ACCESS_CHANGE},
        Attempt(CLERK, lambda p: p.revoke_read_authorized(home(READER))),
    ),
    "keys nobody can hold are granted": Case(LOG, _impossible_grants(), _KEYS),
    # -- removal -----------------------------------------------------------------------------------
    "a write after the removal": Case(
        [*LOG, _GONE],
        {write(_GONE, CHIEF): STANDS},
        Attempt(CHIEF, lambda p: p.name.set("back"), dinemic.UnknownObject),
        removed=True,
    ),
    "a write beside the removal": Case(
        [*LOG, _GONE],
        {write(_BOB, CHIEF, LATER): STANDS},
        Attempt(CHIEF, lambda p: p.name.set("unseen")),
        late=[_GONE],
        removed=True,
    ),
    "a grant after the removal": Case(
        [*LOG, _GONE],
        {child(_GONE, CHIEF, STRANGER.grant(UPDATE)): STANDS},
        Attempt(CHIEF, lambda p: p.append_update_authorized(home(STRANGER)), dinemic.UnknownObject),
        removed=True,
    ),
    "a stranger removes a closed object": Case(
        LOG,
        {child(_BOB, STRANGER, Remove()): Reason.REMOVE_BY_STRANGER},
        Attempt(STRANGER, lambda p: p.remove()),
    ),
    # -- open objects ------------------------------------------------------------------------------
    "a stranger removes an open object": Case(
        WALL,
        {child(_POSTED, STRANGER, Remove()): Reason.REMOVE_BY_STRANGER},
        Attempt(STRANGER, lambda p: p.remove()),
    ),
    "a stranger grants in an open object": Case(
        WALL,
        {child(_POSTED, STRANGER, STRANGER.grant(UPDATE)): Reason.ACCESS_CHANGE},
        Attempt(STRANGER, lambda p: p.append_update_authorized(home(STRANGER))),
    ),
    "a stranger revokes in an open object": Case(
        WALL,
        {child(_POSTED, STRANGER, CLERK.revoke(UPDATE)): Reason.ACCESS_CHANGE},
        Attempt(STRANGER, lambda p: p.revoke_update_authorized(home(CLERK))),
    ),
    "a stranger closes an open object": Case(
        WALL,
        {child(_POSTED, STRANGER, SetPolicy(Policy())): Reason.POLICY_BY_OWNER},
        Attempt(STRANGER, lambda p: p.set_access("closed")),
    ),
    "a stranger makes an epoch in an open object": Case(
        WALL,
        {child(_POSTED, STRANGER, epoch(_ROOT, OWNER, READER)): Reason.ACCESS_CHANGE},
        Attempt(STRANGER, lambda p: p.salary.set("9000")),
    ),
    "a stranger writes to what was closed unseen": Case(
        [*WALL, _FREE, _SHUT],
        {write(_FREE, STRANGER, LATER - 9): CLOSED, write(_FREE, STRANGER, LATER + 9): CLOSED},
        Attempt(STRANGER, lambda p: p.name.set("unseen")),
        late=[_SHUT],
        shown=_BY_STRANGER,
    ),
    "a stranger writes to what it knows is closed": Case(
        [*WALL, _FREE, _SHUT],
        {write(_SHUT, STRANGER): Reason.UNAUTHORIZED},
        Attempt(STRANGER, lambda p: p.name.set("again")),
        shown=_BY_STRANGER,
    ),
    "a stranger writes to an open object, as anybody may": Case(
        WALL,
        {write(_POSTED, STRANGER): FREE},
        "that is what open means",
        shown=_BY_STRANGER,
    ),
}
"""Case by what is tried."""
