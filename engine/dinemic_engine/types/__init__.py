"""The data types a field can have; each turns ops into rows, in any order of arrival (TYPE).

A type is a module with five functions:

    check     T1: what the op points at is in the event's past
    keep      what is kept of every admitted event, effective or not: the tree of a list, say
    asked     what this node's guards are asked about the op
    advance   the op takes effect
    retract   its effect is taken back

`advance` and `retract` touch the rows of one field, O(log n) of them for n elements, and end equal
in any order (ORD-7): the rows are a function of the set of effective ops, and of the set of kept
ones. Both add what a reader sees changed to `seen`, unless that is None: nobody wants to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, cast

from dinemic_engine.canonical import Value
from dinemic_engine.edits import (
    CounterAdd,
    Delete,
    DictDelete,
    DictSet,
    Edit,
    ListDelete,
    ListInsert,
    ListSet,
    Set,
    SetAdd,
    SetRemove,
)
from dinemic_engine.event import Event
from dinemic_engine.store.layout import Place
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import counter, mapping, members, register, sequence
from dinemic_engine.types.change import Change, Question
from dinemic_engine.types.last_write import Before

__all__ = ["Change", "FieldType", "digest_items", "take", "type_of"]


class FieldType(Protocol):
    """What a module here offers; `index` is the op's position in its event."""

    def check(self, rows: Readable, place: Place, event: Event, index: int, op: Edit) -> None:
        """Return if everything op number `index` points at is in the event's past (TYPE-1).

        Raises:
            BrokenChain: it is not; no node ever admits the event (T1).
        """

    def keep(self, rows: Overlay, place: Place, event: Event, index: int, op: Edit) -> None:
        """Keep what later ops may build on, whatever becomes of this event."""

    def asked(
        self, rows: Readable, no: int, event: Event, index: int, op: Edit, before: Before
    ) -> Iterator[Question]:
        """What guards are asked about the op, on object number `no` (guards.py)."""

    def advance(
        self,
        rows: Overlay,
        place: Place,
        event: Event,
        index: int,
        op: Edit,
        seen: list[Change] | None,
        *,
        authorized: bool,
    ) -> None:
        """Let op number `index` of a kept event take effect."""

    def retract(
        self,
        rows: Overlay,
        place: Place,
        event: Event,
        index: int,
        op: Edit,
        seen: list[Change] | None,
    ) -> None:
        """Take the effect of op number `index` back."""

    def digest_items(self, rows: Readable, no: int) -> Iterator[Value]:
        """What the shared digest covers of all fields of the type, in a fixed order (VETO-4)."""


_TYPES: Final[dict[type, FieldType]] = {
    Set: cast("FieldType", register),
    Delete: cast("FieldType", register),
    ListInsert: cast("FieldType", sequence),
    ListSet: cast("FieldType", sequence),
    ListDelete: cast("FieldType", sequence),
    DictSet: cast("FieldType", mapping),
    DictDelete: cast("FieldType", mapping),
    CounterAdd: cast("FieldType", counter),
    SetAdd: cast("FieldType", members),
    SetRemove: cast("FieldType", members),
}


def type_of(op: Edit) -> FieldType:
    """The data type an op is of."""
    return _TYPES[type(op)]


def take(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: Edit,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> None:
    """Keep an op that takes effect at once, as nearly every op does: `keep`, then `advance`."""
    if type(op) is ListInsert:
        sequence.insert(rows, place, event, index, op, seen, authorized=authorized)
        return
    kind = _TYPES[type(op)]
    kind.keep(rows, place, event, index, op)
    kind.advance(rows, place, event, index, op, seen, authorized=authorized)


def digest_items(rows: Readable, no: int) -> Iterator[Value]:
    """Everything visible in the fields of an object, type by type in the order of op kinds."""
    for kind in dict.fromkeys(_TYPES.values()):
        yield from kind.digest_items(rows, no)
