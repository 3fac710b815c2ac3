"""The last-writer-wins register: one value per field, and every write it won over (ORD-6).

Two kinds of rows:

    R  field              the write with the largest (t, id, op): what a read returns
    W  field, t, id, op   every effective write, without its value

A write that comes late is one look-up and one or two rows, whatever came before (ORD-7): the
largest key wins in any order of arrival. By ORD-2 the largest key is never in the past of another
write, so the winner is always causally maximal (I-11). The value of a losing write is in its
event; `W` says where.
"""

from __future__ import annotations

from dinemic_engine import canonical
from dinemic_engine.event import Event
from dinemic_engine.log import event_at, place_of, vector
from dinemic_engine.ops import Delete, Op, Set
from dinemic_engine.store import keyspace
from dinemic_engine.store.keyspace import AUTHORIZED, Place, Written
from dinemic_engine.store.overlay import Overlay, Readable

PREFIX = "value_"


def stored_key(field: str) -> bytes:
    """How a register is called in rows, listeners and listings."""
    return f"{PREFIX}{field}".encode("ascii")


def advance(
    rows: Overlay, place: Place, event: Event, index: int, op: Set | Delete, *, authorized: bool
) -> None:
    """Let op number `index` of an admitted event take effect."""
    stored = stored_key(op.field)
    key = keyspace.register_key(place.no, stored)
    now = rows.get(key)
    written = _written(event, index, op, authorized=authorized)
    if now is None or keyspace.unpack_written(now).key < written.key:
        rows.rows[key] = written.pack()
    at = keyspace.write_key(place.no, stored, event.t, event.id, index)
    rows.rows[at] = keyspace.pack_write_place(place.chain, place.seq)


def retract(rows: Overlay, place: Place, event: Event, index: int, op: Set | Delete) -> None:
    """Take the effect of op number `index` back; the next largest write wins again."""
    stored = stored_key(op.field)
    at = keyspace.write_key(place.no, stored, event.t, event.id, index)
    rows.rows[at] = None
    key = keyspace.register_key(place.no, stored)
    now = rows.get(key)
    if now is None or keyspace.unpack_written(now).key != (event.t, event.id, index):
        return
    prefix = keyspace.writes_prefix(place.no, stored)
    before = next(rows.scan(prefix, keyspace.after(prefix), reverse=True), None)
    rows.rows[key] = None if before is None else _written_at(rows, place.no, before[0]).pack()


def _written_at(rows: Readable, no: int, write_key: bytes) -> Written:
    """The row of a write, read from its event."""
    t, event_id, index = keyspace.write_key_order(write_key)
    event = event_at(rows, no, t, event_id)
    authorized = bool(place_of(rows, event_id).flags & AUTHORIZED)
    return _written(event, index, event.ops[index], authorized=authorized)


def _written(event: Event, index: int, op: Op, *, authorized: bool) -> Written:
    value = canonical.encode(op.value) if type(op) is Set else b""
    return Written(event.t, event.id, index, type(op) is Delete, authorized, value)


def read(rows: Readable, no: int, stored: bytes) -> Written | None:
    """The winning write, a deletion included, or None if the field was never written."""
    value = rows.get(keyspace.register_key(no, stored))
    return keyspace.unpack_written(value) if value is not None else None


def writes(rows: Readable, no: int, stored: bytes) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of every effective write, the winner first. Grows with the field's history."""
    prefix = keyspace.writes_prefix(no, stored)
    scan = rows.scan(prefix, keyspace.after(prefix), reverse=True)
    return [keyspace.write_key_order(key) for key, _ in scan]


def conflicts(rows: Readable, no: int, stored: bytes) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of the writes that are in the past of no other, the winner first (ORD-6).

    Walks the field's writes from the newest. `known` is what the kept writes had seen, per chain;
    a write inside it was superseded by a later one.
    """
    kept: list[tuple[int, bytes, int]] = []
    known: dict[int, int] = {}
    prefix = keyspace.writes_prefix(no, stored)
    for key, value in rows.scan(prefix, keyspace.after(prefix), reverse=True):
        order = keyspace.write_key_order(key)
        chain, seq = keyspace.unpack_write_place(value)
        if known.get(chain, 0) >= seq:
            continue  # seen by a kept write, or an earlier op of its event
        kept.append(order)
        for other, other_seq in past_of(rows, order[1]).items():
            if known.get(other, 0) < other_seq:
                known[other] = other_seq
    return kept


def past_of(rows: Readable, event_id: bytes) -> dict[int, int]:
    """The vector of an admitted event, its own chain included."""
    place = place_of(rows, event_id)
    return {**vector(rows, place.no, place.chain, place.base), place.chain: place.seq}
