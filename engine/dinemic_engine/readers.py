"""Who could read a sealed value: what the log itself tells about keys (SEAL-6).

A value names its epoch; the EPOCH ops of that epoch name those its key was sealed for, and whoever
signed one had the key. That is public and says what could be opened, not that it was: an EPOCH may
hold garbage for one reader, and a reader may tell others.
"""

from __future__ import annotations

from typing import NamedTuple

from dinemic_engine import acts, log
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Set
from dinemic_engine.errors import UnknownObject
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.ops import Epoch
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import ObjectRow
from dinemic_engine.store.overlay import Readable
from dinemic_engine.types import register


class Having(NamedTuple):
    """Somebody who has the key of an epoch."""

    author: AuthorId
    subject: ObjectId
    """The object it is by the word of a grant; empty if none names it."""
    recipient: bool
    """The key was sealed for them; else they made it."""
    event: EventId
    t: int


def readers(
    rows: Readable, no: int, row: ObjectRow, stored: bytes, at: EventId | int | None
) -> list[Having] | None:
    """Who has the key of a register's value, the owner first; None if it is not sealed.

    `at` is an event, whose past counts, or a time in microseconds, or None for all that is known.
    Void EPOCH ops count: what they sealed is open to whoever got them. Empty if there was no value.
    Grows with the field's history and with the recipients.

    Raises:
        UnknownObject: the object has no such event.
    """
    scope = _place_in(rows, no, at) if isinstance(at, bytes) else None

    def counts(t: int, chain: int, seq: int) -> bool:
        if scope is not None:
            return log.covers(rows, scope, chain, seq)
        return not isinstance(at, int) or t <= at

    for t, event_id, index in register.writes(rows, no, stored):
        place = log.place_of(rows, event_id)
        if counts(t, place.chain, place.seq):
            op = log.event_at(rows, no, t, event_id).ops[index]
            break
    else:
        return []
    if not isinstance(op, Set):
        return []
    if not isinstance(op.value, Sealed):
        return None
    subjects = {grant.author: grant.subject for grant in acts.grants(rows, no)}
    subjects[AuthorId(row.owner)] = ObjectId(row.id)
    found: dict[AuthorId, Having] = {}
    prefix = keyspace.epochs_prefix(no, op.value.epoch)
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        act, _ = keyspace.unpack_act(key, value)
        if not counts(act.t, act.chain, act.seq):
            continue
        epoch = log.event_at(rows, no, act.t, act.event).ops[act.op]
        assert isinstance(epoch, Epoch), "a P row names an EPOCH"
        having = {AuthorId(act.by): False} | {reader: True for reader, _ in epoch.recipients}
        for author, recipient in having.items():
            if author not in found or (recipient and not found[author].recipient):
                subject = subjects.get(author, ObjectId(b""))
                found[author] = Having(author, subject, recipient, EventId(act.event), act.t)
    return sorted(found.values(), key=lambda each: (each.author != row.owner, each.t, each.author))


def _place_in(rows: Readable, no: int, event_id: bytes) -> layout.Place:
    value = rows.get(keyspace.place_key(event_id))
    if value is None or layout.unpack_place(value).no != no:
        raise UnknownObject(f"no event {short(event_id)}... of this object is known here")
    return layout.unpack_place(value)
