"""The last-writer-wins slot: one value, and every write it won over (ORD-6).

A register is one slot, a dict has one for each key. Two kinds of rows, under keys that the slot
gives them:

    winner   the write with the largest (t, id, op): what a read returns
    writes   every effective write, by (t, id, op), without its value

A write that comes late is one look-up and one or two rows, whatever came before (ORD-7): the
largest key wins in any order of arrival. By ORD-2 the largest key is never in the past of another
write, so the winner is always causally maximal (I-11). The value of a losing write is in its
event; the key of its row says where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from dinemic_engine import canonical
from dinemic_engine.edits import Delete, DictDelete, DictSet, ListSet, Set, stored_key
from dinemic_engine.event import Event
from dinemic_engine.log import event_at, place_of, vector
from dinemic_engine.ops import Op
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import AUTHORIZED, Place, Written
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types.change import Change, Question

Write: TypeAlias = Set | Delete | DictSet | DictDelete | ListSet
_WITH_VALUE: Final = (Set, DictSet, ListSet)


class Slot(NamedTuple):
    """Where one value is kept, and what it is called."""

    winner: bytes
    """The key of the winner's row."""
    writes: bytes
    """What the keys of all writes begin with; (t, id, op) follows."""
    stored: str
    element: str
    """As in `Change`."""


Before: TypeAlias = Callable[[Slot], bytes | None]
"""What the author of an event saw in a slot, encoded; None: nothing."""


def put(
    rows: Overlay,
    slot: Slot,
    place: Place,
    event: Event,
    index: int,
    op: Write,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> int:
    """Let a write take effect; +1 if now there is a value and was none, -1 the other way round."""
    now = rows.get(slot.winner)
    row = _row(event, index, op, authorized=authorized)
    at = keyspace.write_below(slot.writes, event.t, event.id, index)
    rows.rows[at] = layout.pack_position(place.chain, place.seq)
    if now is not None and not layout.is_before(now, row):
        return 0
    rows.rows[slot.winner] = row
    return _note(seen, slot, now, row)


def take_back(
    rows: Overlay,
    slot: Slot,
    place: Place,
    event: Event,
    index: int,
    seen: list[Change] | None,
) -> int:
    """Take the effect of a write back: the next largest wins again; returns as `put` does."""
    rows.rows[keyspace.write_below(slot.writes, event.t, event.id, index)] = None
    now = rows.get(slot.winner)
    if now is None or layout.unpack_written(now).key != (event.t, event.id, index):
        return 0
    last = next(rows.scan(slot.writes, keyspace.after(slot.writes), reverse=True), None)
    row = None if last is None else _row_at(rows, place.no, last[0])
    rows.rows[slot.winner] = row
    return _note(seen, slot, now, row)


def _note(seen: list[Change] | None, slot: Slot, before: bytes | None, after: bytes | None) -> int:
    """Add to `seen` that another row wins, if a reader can tell; how many values that makes."""
    had = before is not None and layout.has_value(before)
    has = after is not None and layout.has_value(after)
    if seen is not None and (had or has):
        old, new = layout.value_in(before), layout.value_in(after)
        seen.append(Change(slot.stored, slot.element, old, new))
    return has - had


def _row_at(rows: Readable, no: int, write_key: bytes) -> bytes:
    """The row of a write, read from its event."""
    t, event_id, index = keyspace.write_key_order(write_key)
    event = event_at(rows, no, t, event_id)
    authorized = bool(place_of(rows, event_id).flags & AUTHORIZED)
    return _row(event, index, event.ops[index], authorized=authorized)


def _row(event: Event, index: int, op: Op, *, authorized: bool) -> bytes:
    return layout.pack_written(event.t, event.id, index, value_of(op), authorized=authorized)


def value_of(op: object) -> bytes | None:
    """What a write writes, encoded; None: it takes the value away."""
    return canonical.encode(op.value) if isinstance(op, _WITH_VALUE) else None


def is_of(slot: Slot, event: Event, index: int) -> bool:
    """Whether op number `index` of an event writes to that slot."""
    match op := event.ops[index]:
        case Set() | Delete():
            element = ""
        case DictSet(key=key) | DictDelete(key=key):
            element = key
        case ListSet(element=named):
            element = named.text(event.id)
        case _:
            return False
    return stored_key(op) == slot.stored and element == slot.element


def asked(slot: Slot, op: Write, before: Before) -> Question:
    """What guards are asked about a write to a slot."""
    new = value_of(op)
    family = "delete" if new is None else "update"
    return Question(family, slot.stored, slot.element, before(slot), new)


def read(rows: Readable, slot: Slot) -> Written | None:
    """The winning write, a deletion included, or None if there never was one."""
    value = rows.get(slot.winner)
    return layout.unpack_written(value) if value is not None else None


def writes(rows: Readable, slot: Slot) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of every effective write, the winner first. Grows with the slot's history."""
    scan = rows.scan(slot.writes, keyspace.after(slot.writes), reverse=True)
    return [keyspace.write_key_order(key) for key, _ in scan]


def conflicts(rows: Readable, slot: Slot) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of the writes that are in the past of no other, the winner first (ORD-6).

    Walks the writes from the newest. `known` is what the kept writes had seen, per chain; a write
    inside it was superseded by a later one.
    """
    kept: list[tuple[int, bytes, int]] = []
    known: dict[int, int] = {}
    for key, value in rows.scan(slot.writes, keyspace.after(slot.writes), reverse=True):
        order = keyspace.write_key_order(key)
        chain, seq = layout.unpack_position(value)
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
