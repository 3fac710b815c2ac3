"""The dict: a last-writer-wins slot for every key, deletions included (ORD-6).

Its rows:

    r  field, key              the largest write of the key: what a read returns
    s  field, key, t, id, op   every effective write of it, without its value
    t  field                   how many keys have a value

Keys are any text, so in a row key something has to tell where one ends: in ``r`` it is the end of
the row key, which keeps the keys of a dict in the order of their UTF-8; in ``s`` its size is before
it. A key that was deleted keeps its ``r`` row: a late write has to lose against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dinemic_engine.canonical import Value
from dinemic_engine.edits import DictDelete, DictSet
from dinemic_engine.event import Event
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Place, Written
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import last_write
from dinemic_engine.types.change import Change, Question
from dinemic_engine.types.last_write import Before, Slot
from dinemic_engine.types.tally import count_values

PREFIX = "dict_"


class Entry(NamedTuple):
    """A key of a dict, and the write that gave it its value."""

    key: str
    written: Written


def stored_key(field: str) -> bytes:
    """How a dict is called in rows, listeners and listings."""
    return f"{PREFIX}{field}".encode("ascii")


def _slot(no: int, stored: bytes, key: str) -> Slot:
    spelled = _spelled(key)
    return Slot(
        keyspace.entry_key(no, stored, spelled),
        keyspace.entry_writes_prefix(no, stored, spelled),
        stored.decode(),
        key,
    )


def _spelled(key: str) -> bytes:
    """A key as it is in rows. Who asks for what is no valid text finds nothing."""
    return key.encode("utf-8", "surrogatepass")


def check(rows: Readable, place: Place, event: Event, index: int, op: DictSet | DictDelete) -> None:
    """A write points at nothing."""


def keep(rows: Overlay, place: Place, event: Event, index: int, op: DictSet | DictDelete) -> None:
    """Nothing is built on a write."""


def asked(
    rows: Readable, no: int, event: Event, index: int, op: DictSet | DictDelete, before: Before
) -> Iterator[Question]:
    """What guards are asked about a write."""
    yield last_write.asked(_slot(no, stored_key(op.field), op.key), op, before)


def advance(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: DictSet | DictDelete,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> None:
    """Let op number `index` of an admitted event take effect."""
    stored = stored_key(op.field)
    slot = _slot(place.no, stored, op.key)
    more = last_write.put(rows, slot, place, event, index, op, seen, authorized=authorized)
    count_values(rows, place.no, stored, more)


def retract(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: DictSet | DictDelete,
    seen: list[Change] | None,
) -> None:
    """Take the effect of op number `index` back; the next largest write of the key wins again."""
    stored = stored_key(op.field)
    more = last_write.take_back(rows, _slot(place.no, stored, op.key), place, event, index, seen)
    count_values(rows, place.no, stored, more)


def read(rows: Readable, no: int, stored: bytes, key: str) -> Written | None:
    """The winning write of a key, a deletion included, or None if it was never written."""
    value = rows.get(keyspace.entry_key(no, stored, _spelled(key)))
    return layout.unpack_written(value) if value is not None else None


def length(rows: Readable, no: int, stored: bytes) -> int:
    """How many keys have a value."""
    return layout.unpack_tally(rows.get(keyspace.tally_key(no, stored)))[0]


def entries(rows: Readable, no: int, stored: bytes, start: str = "") -> Iterator[Entry]:
    """The keys that have a value, in order, from the first that is not below `start`."""
    prefix = keyspace.entries_prefix(no, stored)
    for key, value in rows.scan(prefix + _spelled(start), keyspace.after(prefix)):
        written = layout.unpack_written(value)
        if not written.deleted:
            yield Entry(key[len(prefix) :].decode(), written)


def writes(rows: Readable, no: int, stored: bytes, key: str) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of every effective write of a key, the winner first."""
    return last_write.writes(rows, _slot(no, stored, key))


def conflicts(rows: Readable, no: int, stored: bytes, key: str) -> list[tuple[int, bytes, int]]:
    """(t, id, op) of the writes of a key that are in the past of no other, the winner first."""
    return last_write.conflicts(rows, _slot(no, stored, key))


def digest_items(rows: Readable, no: int) -> Iterator[Value]:
    """``[stored key, key, event, op, value]`` of every visible entry, by stored key and key."""
    prefix = keyspace.of_object(b"r", no)
    for row_key, value in rows.scan(prefix, keyspace.after(prefix)):
        written = layout.unpack_written(value)
        if not written.deleted:
            stored, _, key = row_key[len(prefix) :].partition(b"\0")
            yield [stored, key, written.id, written.op, written.value]
