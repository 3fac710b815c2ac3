"""The table of SEAL: every way to spoil, carry off or hand on what is sealed.

The writer in most rows is the clerk, who may change fields and not read: whether a value opens is
for its readers to find out, and decides nothing else (SEAL-6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import cbor2
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from dinemic_engine import sealing
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Set
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event
from dinemic_engine.keys import SUITE_HYBRID, SUITE_X25519, SealingKey
from dinemic_engine.ops import ADMIN, READ, Epoch
from support.graphs import OWNER, Actor, child
from support.hostile_cases import (
    CHIEF,
    CLERK,
    FREE,
    HOMES,
    LATER,
    LOG,
    READER,
    STANDS,
    STRANGER,
    VOID,
    WALL,
    Attempt,
    Case,
    epoch,
    forged,
    home,
)

KEY, OTHER_KEY = b"k" * 32, b"K" * 32
BOTH: Final = (OWNER, READER)
Log: TypeAlias = Sequence[Event]


def sealed(of: Event, name: str, value: Value, key: bytes = KEY, commit: bytes = b"") -> Sealed:
    """A value sealed with `key` for a field of the object of `of`, under `commit` if given."""
    path = f"value_{name}".encode()
    commit = commit or sealing.commitment(of.object, key)
    return sealing.seal(of.object, path, commit, key, bytes(16), value)


def made(commit: bytes, keys_of: Mapping[Actor, bytes]) -> Epoch:
    """An EPOCH under any commitment, with any key for anybody, each sealed as it should be."""
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    info = b"dinemic/epoch/1" + _FIRST.object + commit
    recipients = [
        (who.id, suite.encrypt(key, X25519PublicKey.from_public_bytes(who.sealing.public), info))
        for who, key in keys_of.items()
    ]
    return Epoch(SUITE_X25519, commit, tuple(sorted(recipients)))


def garbled(of: Epoch, reader: Actor) -> Epoch:
    """An EPOCH with garbage for one of its recipients."""
    return replace(
        of, recipients=tuple(sorted({**dict(of.recipients), reader.id: bytes(80)}.items()))
    )


_FIRST, _BOB = LOG
_EPOCH: Final = epoch(_FIRST, *BOTH)
_GOOD: Final = sealed(_FIRST, "salary", "9000")
_PAID: Final = child(_BOB, OWNER, _EPOCH, Set("salary", _GOOD))
_SEALED: Final = [*LOG, _PAID]
_SHOWN: Final[Mapping[str, Value]] = {"name": "Bob", "salary": "9000"}
_CHEATED: Final[Mapping[str, Value]] = {"name": "Bob", "salary": "cheat"}
_OTHER: Final = epoch(_FIRST, *BOTH, key=OTHER_KEY)
_CHEAT: Final = sealed(_FIRST, "salary", "cheat", OTHER_KEY)
"""A value under `_OTHER`, an epoch only the clerk makes."""

_ENDED: Final = child(_PAID, OWNER, READER.revoke(READ), t=LATER)
_TRUSTED: Final = child(_PAID, OWNER, CHIEF.grant(READ), epoch(_FIRST, CHIEF))
_FALLEN: Final = child(_TRUSTED, OWNER, CHIEF.revoke(ADMIN), CHIEF.revoke(READ), t=LATER)
_CAME: Final = child(_TRUSTED, OWNER, STRANGER.grant(READ))
_WENT: Final = child(_CAME, OWNER, STRANGER.revoke(READ), CHIEF.revoke(ADMIN), t=LATER)
"""The stranger was a reader for a while, and the chief lost the admin role and reads on."""
_ZEROS: Final = sealed(_FIRST, "salary", "0", commit=bytes(32))
_OWN: Final = child(_PAID, CLERK, _OTHER)
_SAFE: Final = HOMES[0]
"""Another object, the chief's, with a value of its own."""
_CARRIED: Final = sealed(_SAFE, "salary", "1234")
_SAVED: Final = child(_SAFE, CHIEF, epoch(_SAFE, CHIEF), Set("salary", _CARRIED))

_ROOT, _POSTED = WALL
_HYBRID: Final = SealingKey(bytes(range(96)))
_HYBRID_GRANT: Final = replace(STRANGER.grant(READ), suite=SUITE_HYBRID, sealing=_HYBRID.public)
_HYBRID_EPOCH: Final = sealing.make_epoch(
    _FIRST.object, OTHER_KEY, {OWNER.id: _HYBRID.public}, SUITE_HYBRID
)
_TWICE: Final = [
    [15, SUITE_X25519, each.commit, [list(pair) for pair in each.recipients]]
    for each in (_OTHER, epoch(_FIRST, *BOTH, key=OTHER_KEY))
]
_MAC: Final = cbor2.CBORTag(17, [b"", {}, b"", bytes(16)])

_AS_SUCH: Final = "no handle takes a sealed value as such"
_EPOCHS: Final = "no handle makes an epoch for others than the readers it knows"
_RENEWS: Final = "a handle makes a new epoch where the old one is used up"


def _sets(name: str, value: Sealed) -> Attempt:
    """To set what was sealed already, as `history()` shows it."""
    return Attempt(CLERK, lambda p: p.set(name, value), ValueError)


def _spoilt(api: Attempt | str = _AS_SUCH, **parts: bytes) -> Case:
    """The owner's value once more, with a part of it changed, by a writer."""
    event = child(_PAID, CLERK, Set("salary", replace(_GOOD, **parts)))
    return Case(_SEALED, {event: STANDS}, api, unreadable={"salary": BOTH})


def _refused(
    reason: Reason, *events: Event | bytes, api: Attempt | str, log: Log = _SEALED
) -> Case:
    """Events that change nothing: the owner's value is read as before."""
    return Case(log, dict.fromkeys(events, reason), api, shown=_SHOWN)


SEALING: Final[Mapping[str, Case]] = {
    # -- values that do not open -------------------------------------------------------------------
    "a value with a wrong tag": _spoilt(
        _sets("salary", _GOOD), ciphertext=_GOOD.ciphertext[:-1] + bytes([_GOOD.ciphertext[-1] ^ 1])
    ),
    "a value that is cut short": _spoilt(ciphertext=_GOOD.ciphertext[:-1]),
    "a value of nothing": _spoilt(ciphertext=b""),
    "a value under another salt": _spoilt(salt=b"?" * 16),
    "a value under another key than its epoch's": _spoilt(
        ciphertext=sealed(_FIRST, "salary", "1", OTHER_KEY, _GOOD.epoch).ciphertext
    ),
    "a value moved to another field": Case(
        _SEALED,
        {child(_PAID, CLERK, Set("bonus", _GOOD)): STANDS},
        _sets("bonus", _GOOD),
        shown=_SHOWN,
        unreadable={"bonus": BOTH},
    ),
    "a value moved to another object, and its epoch with it": Case(
        [*_SEALED, _SAVED],
        {
            child(
                _PAID,
                CLERK,
                made(_CARRIED.epoch, dict.fromkeys(BOTH, KEY)),
                Set("salary", _CARRIED),
            ): STANDS
        },
        _sets("salary", _CARRIED),
        unreadable={"salary": BOTH},
    ),
    "sealed bytes by a stranger in an open object": Case(
        WALL,
        {child(_POSTED, STRANGER, Set("salary", _GOOD)): FREE},
        _AS_SUCH,
        unreadable={"salary": BOTH},
    ),
    "a value with another tag than that of COSE_Encrypt0": _refused(
        Reason.VALUE,
        forged(_PAID, CLERK, [2, "salary", _MAC]),
        api="that is no value a field can hold",
    ),
    # -- epochs that are not there -----------------------------------------------------------------
    "an epoch nobody has made": _refused(
        Reason.EPOCH_UNKNOWN, child(_PAID, CLERK, Set("salary", _CHEAT)), api=_AS_SUCH
    ),
    "an epoch of another object": _refused(
        Reason.EPOCH_UNKNOWN,
        child(_PAID, CLERK, Set("salary", _CARRIED)),
        api=_sets("salary", _CARRIED),
        log=[*_SEALED, _SAVED],
    ),
    "an epoch its author had not seen": _refused(
        Reason.EPOCH_UNKNOWN, child(_BOB, CLERK, Set("salary", _GOOD), t=LATER), api=_AS_SUCH
    ),
    "an epoch of zeros where there is none yet": Case(
        LOG, {child(_BOB, CLERK, Set("salary", _ZEROS)): Reason.EPOCH_UNKNOWN}, _AS_SUCH
    ),
    "an epoch of zeros that is made": Case(
        LOG,
        {
            child(
                _BOB, CLERK, made(bytes(32), dict.fromkeys(BOTH, KEY)), Set("salary", _ZEROS)
            ): STANDS
        },
        _EPOCHS,
        unreadable={"salary": BOTH},
    ),
    # -- epochs that cheat their readers -----------------------------------------------------------
    "an epoch that seals garbage to one reader": Case(
        _SEALED,
        {child(_PAID, CLERK, garbled(_OTHER, READER), Set("salary", _CHEAT)): STANDS},
        _EPOCHS,
        shown=_CHEATED,
        unreadable={"salary": (READER,)},
    ),
    "an epoch that seals another key to one reader": Case(
        _SEALED,
        {
            child(
                _PAID,
                CLERK,
                made(_CHEAT.epoch, {OWNER: OTHER_KEY, READER: KEY}),
                Set("salary", _CHEAT),
            ): STANDS
        },
        _EPOCHS,
        shown=_CHEATED,
        unreadable={"salary": (READER,)},
    ),
    "a commitment that is not that of the key": Case(
        LOG,
        {
            child(
                _BOB,
                CLERK,
                made(_GOOD.epoch, dict.fromkeys(BOTH, OTHER_KEY)),
                Set("salary", sealed(_FIRST, "salary", "cheat", OTHER_KEY, _GOOD.epoch)),
            ): STANDS
        },
        _EPOCHS,
        unreadable={"salary": BOTH},
    ),
    "an epoch that leaves out a reader": Case(
        [*_SEALED, _TRUSTED],
        {
            child(
                _TRUSTED, CHIEF, epoch(_FIRST, OWNER, CHIEF, key=OTHER_KEY), Set("salary", _CHEAT)
            ): STANDS
        },
        _EPOCHS,
        shown=_CHEATED,
        unreadable={"salary": (READER,)},
    ),
    "a commitment copied by somebody who had not seen it": Case(
        _SEALED,
        {child(_BOB, CLERK, garbled(_EPOCH, OWNER), t=LATER): STANDS},
        _EPOCHS,
        shown=_SHOWN,
    ),
    "two keys for one epoch in one event": _refused(
        Reason.SHAPE, forged(_PAID, CLERK, *_TWICE), api=_EPOCHS
    ),
    # -- who is given an epoch, and by whom --------------------------------------------------------
    "an epoch for somebody who is no reader": _refused(
        Reason.EPOCH_READERS,
        *(
            child(_PAID, who, epoch(_FIRST, OWNER, STRANGER, key=OTHER_KEY))
            for who in (OWNER, CHIEF, CLERK)
        ),
        api=_EPOCHS,
    ),
    "an epoch that leaves out the owner": _refused(
        Reason.EPOCH_OWNER,
        child(_PAID, CLERK, epoch(_FIRST, READER, key=OTHER_KEY)),
        child(_BOB, CHIEF, epoch(_FIRST, READER)),
        api=_EPOCHS,
    ),
    "an epoch by a stranger": _refused(
        Reason.ACCESS_CHANGE,
        child(_PAID, STRANGER, _OTHER),
        api=Attempt(STRANGER, lambda p: p.encrypt("x")),
    ),
    "an epoch by a reader": _refused(
        Reason.ACCESS_CHANGE,
        child(_PAID, READER, _OTHER),
        api=_RENEWS,
    ),
    "an epoch by a reader that was removed and knows it": _refused(
        Reason.ACCESS_CHANGE,
        child(_ENDED, READER, epoch(_FIRST, READER)),
        api=Attempt(READER, lambda p: p.encrypt("x")),
        log=[*_SEALED, _ENDED],
    ),
    "an epoch sealed again by a writer who is no reader": _refused(
        Reason.EPOCH_AGAIN, child(_PAID, CLERK, _EPOCH), api=_EPOCHS
    ),
    "an epoch sealed again beside a grant by an admin who is no reader": _refused(
        Reason.EPOCH_AGAIN,
        child(_PAID, CHIEF, STRANGER.grant(READ), epoch(_FIRST, STRANGER)),
        api="a handle without the key gives none: the new reader opens what comes",
    ),
    "an epoch sealed again for a reader known to be removed": _refused(
        Reason.EPOCH_READERS,
        child([_TRUSTED, _ENDED], CHIEF, epoch(_FIRST, READER)),
        api=_EPOCHS,
        log=[*_SEALED, _TRUSTED, _ENDED],
    ),
    "an epoch sealed again for a stranger by an admin removed unseen": Case(
        [*_SEALED, _TRUSTED, _FALLEN],
        {child(_TRUSTED, CHIEF, STRANGER.grant(READ), epoch(_FIRST, STRANGER)): VOID},
        Attempt(CHIEF, lambda p: p.append_read_authorized(home(STRANGER))),
        late=[_FALLEN],
        shown=_SHOWN,
    ),
    "an epoch sealed again for a reader removed unseen, by an admin removed unseen": Case(
        [*_SEALED, _TRUSTED, _CAME, _WENT],
        {child(_TRUSTED, CHIEF, STRANGER.grant(READ), epoch(_FIRST, STRANGER)): VOID},
        Attempt(CHIEF, lambda p: p.append_read_authorized(home(STRANGER))),
        late=[_CAME, _WENT],
        shown=_SHOWN,
    ),
    # -- epochs that are used up -------------------------------------------------------------------
    "an old epoch after the removal of its reader was seen": _refused(
        Reason.EPOCH_READERS,
        *(child(_ENDED, who, Set("salary", _GOOD)) for who in (OWNER, CHIEF, CLERK)),
        api=_RENEWS,
        log=[*_SEALED, _ENDED],
    ),
    "an old epoch after that, sealed again to who is left": _refused(
        Reason.EPOCH_READERS,
        child(_ENDED, OWNER, epoch(_FIRST, OWNER), Set("salary", _GOOD)),
        api=_RENEWS,
        log=[*_SEALED, _ENDED],
    ),
    "an epoch of a writer who may not read, used by others": _refused(
        Reason.EPOCH_READERS,
        child(_OWN, OWNER, Set("salary", _CHEAT)),
        child(_OWN, CHIEF, Set("salary", _CHEAT)),
        api=_RENEWS,
        log=[*_SEALED, _OWN],
    ),
    # -- suites ------------------------------------------------------------------------------------
    "a reader's key of another suite": _refused(
        Reason.SUITE,
        child(_PAID, CHIEF, _HYBRID_GRANT),
        api="a handle asks for the suite before it makes an event (test_hybrid_models)",
    ),
    "an epoch of another suite": _refused(
        Reason.SUITE, child(_PAID, CLERK, _HYBRID_EPOCH), api=_EPOCHS
    ),
}
"""Case by what is tried."""
