"""The set: an add stands until a remove that had seen it names it; a concurrent add wins (TYPE).

A remove names adds and not values, so it takes out what its author saw and nothing else:

    value v is in the set  <=>  there is an effective SET_ADD of v
                                that no effective SET_REMOVE names

Its rows:

    x  field, id, op         every admitted add: its value's hash, how many effective removes name
                             it, and whether it is effective itself
    z  field, hash, id, op   the value: the adds that stand
    t  field                 how many different values stand

``x`` is kept of void adds too, so a remove can be judged, and counts, whatever its adds are. The
counts make ``z`` a function of what is effective, whatever took effect first (ORD-7).

Values are the same if their bytes are, by the hash SHA-256(encoded value): 1, 1.0 and true are
three values. Two sealed adds are never the same here; their readers find out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from dinemic_engine import canonical, ids, log
from dinemic_engine.canonical import Value
from dinemic_engine.edits import Made, SetAdd, SetRemove
from dinemic_engine.errors import BrokenChain, Reason
from dinemic_engine.event import Event
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Added, Place
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types.change import Change, Question
from dinemic_engine.types.last_write import Before
from dinemic_engine.types.tally import count_values

PREFIX = "set_"


class Member(NamedTuple):
    """A value of a set, encoded, and the adds that put it there."""

    value: bytes
    adds: tuple[Made, ...]


def stored_key(field: str) -> bytes:
    """How a set is called in rows, listeners and listings."""
    return f"{PREFIX}{field}".encode("ascii")


def hash_of(value: bytes) -> bytes:
    """What an encoded value is known by in row keys."""
    return hashlib.sha256(value).digest()


def check(rows: Readable, place: Place, event: Event, index: int, op: SetAdd | SetRemove) -> None:
    """Return if every add that a remove names is in the event's past, or before it in the event.

    Raises:
        BrokenChain: one is not, or is no add of this set (T1).
    """
    if isinstance(op, SetAdd):
        return
    stored = stored_key(op.field)
    reached: dict[int, int] = {}
    for made in op.adds:
        if not made.event:
            known = made.op < index and _is_add(event, made.op, op.field)
        elif rows.get(keyspace.add_key(place.no, stored, *made)) is None:
            known = False
        else:
            add = log.place_of(rows, made.event)
            if add.chain not in reached:
                reached[add.chain] = log.reach(rows, place, add.chain)
            known = reached[add.chain] >= add.seq
        if not known:
            raise BrokenChain(
                Reason.TARGET, f"op {index} names no add of {stored.decode()} that it had seen"
            )


def _is_add(event: Event, index: int, field: str) -> bool:
    op = event.ops[index]
    return isinstance(op, SetAdd) and op.field == field


def keep(rows: Overlay, place: Place, event: Event, index: int, op: SetAdd | SetRemove) -> None:
    """Keep that an add is there, for removes to name."""
    if isinstance(op, SetAdd):
        key = keyspace.add_key(place.no, stored_key(op.field), event.id, index)
        rows.rows[key] = Added(hash_of(canonical.encode(op.value)), 0, False).pack()


def asked(
    rows: Readable,
    no: int,
    event: Event,
    index: int,
    op: SetAdd | SetRemove,
    before: Before,
) -> Iterator[Question]:
    """What guards are asked: of an add the value, of a remove the value of each add it names."""
    stored = stored_key(op.field).decode()
    if isinstance(op, SetAdd):
        value = canonical.encode(op.value)
        yield Question("update", stored, ids.to_text(hash_of(value)), None, value)
        return
    for made in op.adds:
        value = _value_of(rows, no, event, Made(made.event or event.id, made.op))
        yield Question("delete", stored, ids.to_text(hash_of(value)), value, None)


def advance(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: SetAdd | SetRemove,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> None:
    """Let op number `index` of a kept event take effect."""
    if isinstance(op, SetAdd):
        _settle(rows, place, event, Made(event.id, index), op.field, seen, effective=True)
        return
    for made in op.adds:
        target = Made(made.event or event.id, made.op)
        _settle(rows, place, event, target, op.field, seen, named=+1)


def retract(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: SetAdd | SetRemove,
    seen: list[Change] | None,
) -> None:
    """Take the effect of op number `index` back."""
    if isinstance(op, SetAdd):
        _settle(rows, place, event, Made(event.id, index), op.field, seen, effective=False)
        return
    for made in op.adds:
        target = Made(made.event or event.id, made.op)
        _settle(rows, place, event, target, op.field, seen, named=-1)


def _settle(
    rows: Overlay,
    place: Place,
    event: Event,
    made: Made,
    field: str,
    seen: list[Change] | None,
    *,
    effective: bool | None = None,
    named: int = 0,
) -> None:
    """Note that an add took effect or lost it, or is named once more or less; find if it stands."""
    no, stored = place.no, stored_key(field)
    key = keyspace.add_key(no, stored, *made)
    row = rows.get(key)
    assert row is not None, "an add is kept before anything can name it"
    before = layout.unpack_added(row)
    now = Added(
        before.hash,
        before.named + named,
        before.effective if effective is None else effective,
    )
    rows.rows[key] = now.pack()
    stood, stands = before.effective and not before.named, now.effective and not now.named
    if stood == stands:
        return
    member = keyspace.member_key(no, stored, now.hash, *made)
    if stands:
        alone = not _others(rows, no, stored, now.hash, member)
        value: bytes | None = _value_of(rows, no, event, made)
        rows.rows[member] = value
    else:
        value = rows.get(member) if seen is not None else None
        rows.rows[member] = None
        alone = not _others(rows, no, stored, now.hash, member)
    if alone:
        count_values(rows, no, stored, +1 if stands else -1)
        if seen is not None:
            old, new = (None, value) if stands else (value, None)
            seen.append(Change(stored.decode(), ids.to_text(now.hash), old, new))


def _others(rows: Readable, no: int, stored: bytes, digest: bytes, but: bytes) -> bool:
    """Whether another add of the value than that of the row `but` stands."""
    prefix = keyspace.members_prefix(no, stored, digest)
    return any(key != but for key, _ in rows.scan(prefix, keyspace.after(prefix)))


def _value_of(rows: Readable, no: int, event: Event, made: Made) -> bytes:
    """The encoded value of an add, of `event` or of one before it."""
    if made.event != event.id:
        t = log.place_of(rows, made.event).t
        event = log.event_at(rows, no, t, made.event)
    op = event.ops[made.op]
    assert isinstance(op, SetAdd), "an x row is of an add"
    return canonical.encode(op.value)


def contains(rows: Readable, no: int, stored: bytes, value: bytes) -> Member | None:
    """The member that is this encoded value, or None."""
    prefix = keyspace.members_prefix(no, stored, hash_of(value))
    scan = rows.scan(prefix, keyspace.after(prefix))
    adds = tuple(Made(*keyspace.member_of(key)[1:]) for key, _ in scan)
    return Member(value, adds) if adds else None


def length(rows: Readable, no: int, stored: bytes) -> int:
    """How many different values are in the set; sealed ones are each different."""
    return layout.unpack_tally(rows.get(keyspace.tally_key(no, stored)))[0]


def members(rows: Readable, no: int, stored: bytes) -> Iterator[Member]:
    """The values of the set by their hash: in an order that says nothing, the same everywhere."""
    prefix = keyspace.members_prefix(no, stored)
    value, digest, adds = b"", b"", list[Made]()
    for key, encoded in rows.scan(prefix, keyspace.after(prefix)):
        found, event_id, op = keyspace.member_of(key)
        if found != digest and adds:
            yield Member(value, tuple(adds))
            adds = []
        value, digest = encoded, found
        adds.append(Made(event_id, op))
    if adds:
        yield Member(value, tuple(adds))


def digest_items(rows: Readable, no: int) -> Iterator[Value]:
    """``[stored key, hash of the value, event, op]`` of every add that stands, in that order."""
    prefix = keyspace.of_object(b"z", no)
    for key, _ in rows.scan(prefix, keyspace.after(prefix)):
        digest, event_id, op = keyspace.member_of(key)
        yield [key[len(prefix) : -67], digest, event_id, op]
