"""What this node's guards are asked about an event: a function of the event and its past (VETO-2).

A guard's answer decides what a node shows, so nodes with the same guards must ask them the same,
in whatever order things arrived. Values that are being replaced are therefore not those shown now,
but those the author saw:

    before(field, e) = the write with the largest (t, id, op) among those
                           in past(e),
                           that stood there (AUTH-4 asked of past(e), as in T1), and
                           that this node does not withhold

Shown writes of a field lie in order, so the first of them below e that is in past(e) is mostly the
answer. A write that stood for the author and is void by now is found among the void ones (``y``).
Events of one object are asked about in their order, so those in past(e) have their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from dinemic_engine import access, canonical, log
from dinemic_engine.edits import EDITS
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId, to_text
from dinemic_engine.ops import Create, Grant, Remove, Revoke
from dinemic_engine.state import ROLE_LISTS
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import ObjectRow, Place
from dinemic_engine.store.overlay import Readable
from dinemic_engine.types import last_write, type_of
from dinemic_engine.types.change import Question
from dinemic_engine.types.last_write import Before, Slot
from dinemic_engine.vetoes import is_withheld

Held = Callable[[int, AuthorId], bytes | None]
"""The encoded id of the object that holds a role by a key; None: that key holds it not."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An event as its guards see it."""

    model: str
    event: Event
    authorized: bool
    """Whether its author held the role it needs, in its own past (T1)."""
    detached: bool
    """Whether its author had seen nothing of the object but the genesis, and is not its owner."""
    questions: tuple[Question, ...]


def asked_of_genesis(rows: Readable, event: Event) -> Asked:
    """What guards are asked about an object that is new."""
    create = event.ops[0]
    assert isinstance(create, Create), "T0 lets a genesis begin with CREATE only"
    questions = _questions(rows, 0, event, lambda _slot: None, lambda _role, _author: None)
    return Asked(create.model, event, True, False, questions)


def asked(rows: Readable, row: ObjectRow, event: Event, place: Place) -> Asked:
    """What guards are asked about an event on an object that is here; `place` is its place."""
    questions = _questions(
        rows,
        place.no,
        event,
        lambda slot: value_before(rows, row, event, place, slot),
        lambda role, author: _held_before(rows, row, place, role, author),
    )
    authorized = access.stood(rows, row, event, place)
    return Asked(row.model, event, authorized, is_detached(event, row.owner), questions)


def is_detached(event: Event, owner: AuthorId | bytes) -> bool:
    """Whether an event is by a stranger that had seen nothing of the object but its genesis."""
    return event.parents == (EventId(event.object),) and event.author != owner


def _questions(
    rows: Readable, no: int, event: Event, seen: Before, held: Held
) -> tuple[Question, ...]:
    found: list[Question] = []
    now: dict[tuple[str, str], bytes | None] = {}
    """What earlier ops of the event have made of a slot."""

    def before(slot: Slot) -> bytes | None:
        name = slot.stored, slot.element
        return now[name] if name in now else seen(slot)

    def held_before(role: int, author: AuthorId) -> bytes | None:
        name = ROLE_LISTS[role], to_text(author)
        return now[name] if name in now else held(role, author)

    for index in range(len(event.ops)):
        for question in _of_op(rows, no, event, index, before, held_before):
            found.append(question)
            now[question.stored, question.element] = question.new
    return tuple(found)


def _of_op(
    rows: Readable, no: int, event: Event, index: int, before: Before, held: Held
) -> Iterator[Question]:
    op = event.ops[index]
    if isinstance(op, EDITS):
        yield from type_of(op).asked(rows, no, event, index, op, before)
        return
    match op:
        case Create():
            yield Question("create", "", "", None, event.author)
        case Grant():
            old, new = held(op.role, op.signing), canonical.encode(op.subject)
            yield Question("update", ROLE_LISTS[op.role], to_text(op.signing), old, new)
        case Revoke():
            old = held(op.role, op.signing)
            yield Question("delete", ROLE_LISTS[op.role], to_text(op.signing), old, None)
        case Remove():
            yield Question("remove", "", "", None, None)


def _held_before(
    rows: Readable, row: ObjectRow, place: Place, role: int, author: AuthorId
) -> bytes | None:
    """The encoded id of the object that held a role by that key, in the past of `place`."""
    grant = access.holder(rows, row, place.no, author, role, scope=place)
    return None if grant is None else canonical.encode(grant.subject)


def value_before(
    rows: Readable, row: ObjectRow, event: Event, place: Place, slot: Slot
) -> bytes | None:
    """The encoded value of `slot` in the eyes of the author of `event`; None: there was none."""
    found = _newest(rows, row, event, place, slot, slot.writes)
    if row.cuts:
        void = keyspace.void_writes_prefix(place.no, slot.stored.encode())
        found = max(found, _newest(rows, row, event, place, slot, void))
    if found == _NOTHING:
        return None
    now = rows.get(slot.winner)
    if now is not None:
        written = layout.unpack_written(now)
        if written.key == found:
            return None if written.deleted else written.value
    t, event_id, index = found
    return last_write.value_of(log.event_at(rows, place.no, t, event_id).ops[index])


_NOTHING: Final = (-1, b"", 0)


def _newest(
    rows: Readable, row: ObjectRow, event: Event, place: Place, slot: Slot, prefix: bytes
) -> tuple[int, bytes, int]:
    """(t, id, op) of the largest write below `prefix` that the author of `event` saw in force."""
    end = prefix + event.t.to_bytes(8, "big")  # what is not older is in no past (ORD-2)
    for key, value in rows.scan(prefix, end, reverse=True):
        t, event_id, index = keyspace.write_key_order(key)
        if not log.covers(rows, place, *layout.unpack_position(value)):
            continue
        if row.withheld and is_withheld(rows, row, place.no, t, event_id):
            continue
        if row.cuts or prefix != slot.writes:
            written = log.event_at(rows, place.no, t, event_id)
            if not last_write.is_of(slot, written, index):
                continue
            if not access.stands_in(rows, row, written, log.place_of(rows, event_id), place):
                continue
        return t, event_id, index
    return _NOTHING
