"""What was ever granted, revoked and made policy in an object, as its rows tell it.

    G  author, role, t, id, op    every grant          D  role, author   who holds a role now
    K  author, role, t, id, op    every revocation     Y  t, id, op      every change of policy

``G``, ``K`` and ``Y`` are facts: they are kept of every admitted event, void ones included, and in
order, so that `access` can judge by them in the view of any author. ``D`` is what it found last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dinemic_engine.canonical import decode_untrusted
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.ops import Policy, read_policy
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Act
from dinemic_engine.store.overlay import Readable


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


def policies(rows: Readable, no: int) -> Iterator[tuple[Act, Policy]]:
    """The changes of policy, the last in the order first."""
    prefix = keyspace.of_object(b"Y", no)
    # Read forwards: backwards a store first passes what was deleted in front of them.
    for key, value in reversed(list(rows.scan(prefix, keyspace.after(prefix)))):
        act, rest = keyspace.unpack_act(key, value)
        yield act, read_policy(decode_untrusted(rest))
