"""Events this node does not show: those its guards refused, and those they have yet to see.

A guard is local (VETO-1). What it refuses stays in the log, is passed on and counts in everything
nodes share: heads, verdicts, fingerprints, the shared digest (I-08). It only has no effect *here*::

    admitted -- no guard matches ------------------------------------> shown
        |                                                               ^
        '-- withheld: waiting (w row) --+-- the guards let it pass -----'
                 ^                      |
                 |                      '-- one refused: vetoed (v row), for good
                 '--------------------------------- lifted by hand -----'

So an object's visible state is the fold of its effective events that are not withheld (VETO-4). An
answer is asked for once and kept: it depends on the event and its past alone (VETO-2, guards.py).

`ObjectRow.withheld` counts the rows of both kinds, so an object without any costs no look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from dinemic_engine import canonical
from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import ObjectRow, Place
from dinemic_engine.store.overlay import Overlay, Readable


class Veto(NamedTuple):
    """Why an event is refused here: which guard said so, and what it said."""

    guard: str
    reason: str


class Withheld(NamedTuple):
    """An event that has no effect here."""

    t: int
    event: EventId
    veto: Veto | None
    """None: the guards have not been asked yet."""


def is_withheld(rows: Readable, row: ObjectRow, no: int, t: int, event_id: bytes) -> bool:
    """Whether an admitted event has no effect here, vetoed or waiting."""
    if not row.withheld:
        return False
    return (
        rows.get(keyspace.veto_key(no, t, event_id)) is not None
        or rows.get(keyspace.waiting_key(no, t, event_id)) is not None
    )


def veto_of(rows: Readable, no: int, t: int, event_id: bytes) -> Veto | None:
    """The veto against an event; None: there is none, or it waits."""
    value = rows.get(keyspace.veto_key(no, t, event_id))
    return None if value is None else unpack(value)


def withhold(rows: Overlay, row: ObjectRow, place: Place, event: Event) -> ObjectRow:
    """Let an event wait for the guards, as it is admitted."""
    rows.rows[keyspace.waiting_key(place.no, event.t, event.id)] = b""
    return row._replace(withheld=row.withheld + 1, hidden=row.hidden or event.is_genesis)


def refuse(rows: Overlay, place: Place, event: Event, veto: Veto) -> None:
    """The guards refused an event that was waiting."""
    rows.rows[keyspace.waiting_key(place.no, event.t, event.id)] = None
    rows.rows[keyspace.veto_key(place.no, event.t, event.id)] = canonical.encode([*veto])


def release(rows: Overlay, row: ObjectRow, place: Place, event: Event) -> ObjectRow:
    """The guards let an event pass that was waiting; its effects are for the caller to add."""
    rows.rows[keyspace.waiting_key(place.no, event.t, event.id)] = None
    return row._replace(withheld=row.withheld - 1, hidden=row.hidden and not event.is_genesis)


def lift(rows: Overlay, place: Place, event: Event) -> None:
    """A vetoed event waits again."""
    rows.rows[keyspace.veto_key(place.no, event.t, event.id)] = None
    rows.rows[keyspace.waiting_key(place.no, event.t, event.id)] = b""


def waiting(rows: Readable, no: int) -> Iterator[tuple[int, EventId]]:
    """(t, id) of an object's events that wait for the guards, in order."""
    prefix = keyspace.of_object(b"w", no)
    for key, _ in rows.scan(prefix, keyspace.after(prefix)):
        t, event_id = layout.unpack_order(key)
        yield t, EventId(event_id)


def objects_waiting(rows: Readable) -> Iterator[int]:
    """The numbers of the objects with events that wait."""
    start = b"w"
    while (first := next(rows.scan(start, b"x"), None)) is not None:
        no = int.from_bytes(first[0][1:5], "big")
        yield no
        start = keyspace.after(keyspace.of_object(b"w", no))


def withheld(rows: Readable, no: int) -> list[Withheld]:
    """An object's events without effect here, in order."""
    found = [Withheld(t, event_id, None) for t, event_id in waiting(rows, no)]
    prefix = keyspace.of_object(b"v", no)
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        t, event_id = layout.unpack_order(key)
        found.append(Withheld(t, EventId(event_id), unpack(value)))
    return sorted(found, key=lambda each: each[:2])


def is_veto_untrusted(value: bytes) -> bool:
    """Whether bytes found in a ``v`` row can be such a row's."""
    try:
        veto = canonical.decode_untrusted(value)
    except InvalidEvent:
        return False
    return isinstance(veto, list) and [*map(type, veto)] == [str, str]


def unpack(value: bytes) -> Veto:
    """The veto in a ``v`` row."""
    guard, reason = cast("list[str]", canonical.decode_untrusted(value))
    return Veto(guard, reason)
