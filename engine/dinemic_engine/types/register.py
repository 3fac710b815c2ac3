"""The register: one value per field, and every write it won over (ORD-6).

Its rows are those of one slot (`last_write`):

    R  field              the write with the largest (t, id, op): what a read returns
    W  field, t, id, op   every effective write, without its value
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from dinemic_engine.canonical import Value
from dinemic_engine.edits import Delete, Set
from dinemic_engine.event import Event
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Place, Written
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import last_write
from dinemic_engine.types.change import Change, Question
from dinemic_engine.types.last_write import Before, Slot

PREFIX = "value_"
_SLOTS_REMEMBERED: Final = 1024
"""Up to 1 KiB each, mostly 300 bytes."""


def stored_key(field: str) -> bytes:
    """How a register is called in rows, listeners and listings."""
    return f"{PREFIX}{field}".encode("ascii")


def _slot(no: int, stored: bytes) -> Slot:
    return Slot(
        keyspace.register_key(no, stored), keyspace.writes_prefix(no, stored), stored.decode(), ""
    )


@lru_cache(maxsize=_SLOTS_REMEMBERED)
def _slot_of(no: int, field: str) -> Slot:
    """The slot of a field; every write begins here."""
    return _slot(no, stored_key(field))


def check(rows: Readable, place: Place, event: Event, index: int, op: Set | Delete) -> None:
    """A write points at nothing."""


def keep(rows: Overlay, place: Place, event: Event, index: int, op: Set | Delete) -> None:
    """Nothing is built on a write."""


def asked(
    rows: Readable, no: int, event: Event, index: int, op: Set | Delete, before: Before
) -> Iterator[Question]:
    """What guards are asked about a write."""
    yield last_write.asked(_slot_of(no, op.field), op, before)


def advance(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: Set | Delete,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> None:
    """Let op number `index` of an admitted event take effect."""
    slot = _slot_of(place.no, op.field)
    last_write.put(rows, slot, place, event, index, op, seen, authorized=authorized)


def retract(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: Set | Delete,
    seen: list[Change] | None,
) -> None:
    """Take the effect of op number `index` back; the next largest write wins again."""
    last_write.take_back(rows, _slot_of(place.no, op.field), place, event, index, seen)


def read(rows: Readable, no: int, stored: bytes) -> Written | None:
    """The winning write, a deletion included, or None if the field was never written."""
    value = rows.get(keyspace.register_key(no, stored))
    return layout.unpack_written(value) if value is not None else None


def writes(rows: Readable, no: int, stored: bytes) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of every effective write, the winner first. Grows with the field's history."""
    return last_write.writes(rows, _slot(no, stored))


def conflicts(rows: Readable, no: int, stored: bytes) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of the writes that are in the past of no other, the winner first (ORD-6)."""
    return last_write.conflicts(rows, _slot(no, stored))


def digest_items(rows: Readable, no: int) -> Iterator[Value]:
    """``[stored key, event, op, value]`` of every visible register, by stored key."""
    prefix = keyspace.of_object(b"R", no)
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        written = layout.unpack_written(value)
        if not written.deleted:
            yield [key[len(prefix) :], written.id, written.op, written.value]
