"""The counter: the sum of its effective adds, of any size (TYPE).

Its rows:

    t  field              how many plain adds took effect, and their sum
    u  field, t, id, op   the sealed adds that took effect

What an add gives is in its op, so taking it back needs nothing else. What a sealed one gives only
its readers can tell: they add what they open to the sum of the plain ones. Both kinds may mix.
"""

from __future__ import annotations

from collections.abc import Iterator

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import CounterAdd
from dinemic_engine.event import Event
from dinemic_engine.limits import INT_MAX, INT_MIN
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Place
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types.change import Change, Question
from dinemic_engine.types.last_write import Before

PREFIX = "counter_"


def stored_key(field: str) -> bytes:
    """How a counter is called in rows, listeners and listings."""
    return f"{PREFIX}{field}".encode("ascii")


def check(rows: Readable, place: Place, event: Event, index: int, op: CounterAdd) -> None:
    """An add points at nothing."""


def keep(rows: Overlay, place: Place, event: Event, index: int, op: CounterAdd) -> None:
    """Nothing is built on an add."""


def asked(
    rows: Readable, no: int, event: Event, index: int, op: CounterAdd, before: Before
) -> Iterator[Question]:
    """What guards are asked about an add: the amount. Each author saw another sum."""
    yield Question("update", stored_key(op.field).decode(), "", None, canonical.encode(op.amount))


def advance(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: CounterAdd,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> None:
    """Let op number `index` of an admitted event take effect."""
    _count(rows, place.no, event, index, op, seen, +1)


def retract(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: CounterAdd,
    seen: list[Change] | None,
) -> None:
    """Take the effect of op number `index` back."""
    _count(rows, place.no, event, index, op, seen, -1)


def _count(
    rows: Overlay,
    no: int,
    event: Event,
    index: int,
    op: CounterAdd,
    seen: list[Change] | None,
    sign: int,
) -> None:
    """Count an add once more (+1) or once less (-1)."""
    stored = stored_key(op.field)
    if isinstance(op.amount, Sealed):
        prefix = keyspace.sealed_adds_prefix(no, stored)
        at = keyspace.write_below(prefix, event.t, event.id, index)
        rows.rows[at] = b"" if sign > 0 else None
        if seen is not None:
            sealed = canonical.encode(op.amount)
            old, new = (None, sealed) if sign > 0 else (sealed, None)
            seen.append(Change(stored.decode(), "", old, new))
        return
    key = keyspace.tally_key(no, stored)
    count, total = layout.unpack_tally(rows.get(key))
    adds, after = count + sign, total + sign * op.amount
    rows.rows[key] = layout.pack_tally(adds, after) if adds else None
    if seen is not None:
        old = _encode_sum(total) if count else None
        seen.append(Change(stored.decode(), "", old, _encode_sum(after) if adds else None))


def _encode_sum(total: int) -> bytes:
    """A sum as a value: one that no int of EV-6 holds is its decimal digits, in text."""
    return canonical.encode(total if INT_MIN <= total <= INT_MAX else str(total))


def read(rows: Readable, no: int, stored: bytes) -> tuple[int, int]:
    """(how many plain adds took effect, their sum)."""
    return layout.unpack_tally(rows.get(keyspace.tally_key(no, stored)))


def sealed_adds(rows: Readable, no: int, stored: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(t, id, op) of the sealed adds that took effect, in order. Grows with their number."""
    prefix = keyspace.sealed_adds_prefix(no, stored)
    for key, _ in rows.scan(prefix, keyspace.after(prefix)):
        yield keyspace.write_key_order(key)


def digest_items(rows: Readable, no: int) -> Iterator[Value]:
    """``[stored key, adds, sum]``, the sum as text; ``[stored key, event, op]`` of sealed adds."""
    prefix = keyspace.tally_key(no, PREFIX.encode())
    skip = len(keyspace.of_object(b"t", no))
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        adds, total = layout.unpack_tally(value)
        yield [key[skip:], adds, str(total)]
    prefix = keyspace.of_object(b"u", no)
    for key, _ in rows.scan(prefix, keyspace.after(prefix)):
        _, event_id, op = keyspace.write_key_order(key)
        yield [key[skip:-43], event_id, op]
