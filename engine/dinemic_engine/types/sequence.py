"""The list: elements in the order of `fugue`, found by index through `counted_tree`.

What an op does, and to which rows (a list's `runs.Keys` say under which keys):

    keep     LIST_INSERT   its elements get their place in the list, for good        d  b  i
             LIST_SET      the block notes that one of its elements may be written   b
    advance  LIST_INSERT   those that no deletion names live                         d
             LIST_SET      a last-writer-wins slot for each element, as in a dict    e  h
             LIST_DELETE   each element counts the deletions that name it            b  d

`insert` is both for a LIST_INSERT, and writes the same rows.

So an element lives if its insert has effect and no deletion that has effect names it, and its value
is that of the largest LIST_SET, else the one it was inserted with. Each of the three is counted for
itself: an insert may be void while a deletion of what it inserted stands, and have effect again.
Rows depend on the order in which events were kept (as local numbers do), and on which have effect,
not on the order in which they got it or lost it.

Reading, and what authors ask before they write, is in `list_reading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Element, ListDelete, ListInsert, ListSet, Span
from dinemic_engine.errors import BrokenChain, Reason
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId
from dinemic_engine.store import keyspace
from dinemic_engine.store.layout import Place
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import counted_tree, fugue, last_write, list_reading, runs
from dinemic_engine.types.change import Change, Question
from dinemic_engine.types.counted_tree import AUTHORIZED, EFFECTIVE
from dinemic_engine.types.last_write import Before
from dinemic_engine.types.list_reading import slot_of
from dinemic_engine.types.runs import BLOCK, WRITTEN, Block, Keys, Reader

ListEdit: TypeAlias = ListInsert | ListSet | ListDelete

PREFIX = "list_"


def stored_key(field: str) -> bytes:
    """How a list is called in rows, listeners and listings."""
    return f"{PREFIX}{field}".encode("ascii")


def check(rows: Readable, place: Place, event: Event, index: int, op: ListEdit) -> None:
    """Return if what an op names is in the event's past, and an insert takes a free side there.

    No event deletes an element twice.

    Raises:
        BrokenChain: no node ever admits the event (T1).
    """
    keys = runs.keys_of(place.no, stored_key(op.field))
    match op:
        case ListInsert():
            fugue.check_insert(rows, keys, place, event, index, op)
        case ListSet(element=element):
            fugue.check_element(rows, keys, place, event, index, element, 1)
        case ListDelete(spans=spans):
            if next(at for at, each in enumerate(event.ops) if type(each) is ListDelete) == index:
                _check_deleted_once(event)
            for first, length in spans:
                fugue.check_element(rows, keys, place, event, index, first, length)


def _check_deleted_once(event: Event) -> None:
    """No two spans of an event share an element: so it costs no more than the list is long."""
    spans = sorted(
        [
            (op.field, first.event, first.op, first.at, length)
            for op in event.ops
            if type(op) is ListDelete
            for first, length in op.spans
        ]
    )
    for (*run, at, length), (*next_run, next_at, _) in pairwise(spans):
        if run == next_run and next_at < at + length:
            raise BrokenChain(Reason.TARGET, "one event deletes an element twice")


def keep(rows: Overlay, place: Place, event: Event, index: int, op: ListEdit) -> None:
    """Give inserted elements their place, and note what may be written."""
    keys = runs.keys_of(place.no, stored_key(op.field))
    if isinstance(op, ListInsert):
        fugue.place_run(rows, keys, place, event, index, op, 0)
    elif isinstance(op, ListSet):
        run = runs.target_run(rows, place, op.element)
        block = runs.block_of(rows, keys, run, op.element.at)
        if not block.flags & WRITTEN:
            key = runs.block_key(keys, run, op.element.at // BLOCK)
            rows.rows[key] = block._replace(flags=block.flags | WRITTEN).pack()


def insert(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: ListInsert,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> None:
    """`keep` and `advance` of a LIST_INSERT at once, which writes the nodes once."""
    keys = runs.keys_of(place.no, stored_key(op.field))
    flags = EFFECTIVE | AUTHORIZED if authorized else EFFECTIVE
    fugue.place_run(rows, keys, place, event, index, op, flags)
    if seen is not None:
        run = runs.run_of(place, index)
        for low in range(0, op.count, BLOCK):
            block = runs.block_of(rows, keys, run, low)
            comes = runs.bits(0, min(BLOCK, op.count - low))
            _note(rows, keys, run, low, block, comes, seen, alive=True)


def asked(
    rows: Readable, no: int, event: Event, index: int, op: ListEdit, before: Before
) -> Iterator[Question]:
    """What guards are asked: of every element that comes, changes or goes."""
    keys = runs.keys_of(no, stored_key(op.field))
    stored = PREFIX + op.field
    if isinstance(op, ListInsert):
        for at in range(op.count):
            element = Element(event.id, index, at)
            yield Question("update", stored, element.text(), None, _inserted(op, at))
        return
    reader = Reader(rows, keys)
    spans = (Span(op.element, 1),) if isinstance(op, ListSet) else op.spans
    for element in _each(spans):
        old = _seen_before(rows, keys, event, element, before, reader)
        new = canonical.encode(op.value) if isinstance(op, ListSet) else None
        family = "delete" if new is None else "update"
        yield Question(family, stored, element.text(event.id), old, new)


def _seen_before(
    rows: Readable, keys: Keys, event: Event, element: Element, before: Before, reader: Reader
) -> bytes | None:
    """The value of an element in the eyes of the author of `event`."""
    slot = slot_of(keys, element.event or event.id, element.op, element.at)
    if not element.event:
        op = event.ops[element.op]
        assert isinstance(op, ListInsert), "what is asked about was checked"
        return before(slot) or _inserted(op, element.at)
    run = runs.find_run(rows, element)
    assert run is not None, "what is asked about was checked"
    block = runs.block_of(rows, keys, run, element.at)
    written = before(slot) if block.flags & WRITTEN else None
    return written or reader.encoded(run, element.at, block)


def _inserted(op: ListInsert, at: int) -> bytes:
    """The value an element is inserted with, as `Reader.encoded` gives it."""
    if isinstance(op.values, Sealed):
        return canonical.encode([op.values, at])
    return canonical.encode(op.values[at])


def _each(spans: Iterable[Span]) -> Iterator[Element]:
    for first, length in spans:
        for at in range(first.at, first.at + length):
            yield first._replace(at=at)


# -- effects --------------------------------------------------------------------------------------


def advance(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: ListEdit,
    seen: list[Change] | None,
    *,
    authorized: bool,
) -> None:
    """Let op number `index` of a kept event take effect."""
    keys = runs.keys_of(place.no, stored_key(op.field))
    match op:
        case ListInsert():
            flags = EFFECTIVE | AUTHORIZED if authorized else EFFECTIVE
            _set_effect(rows, keys, runs.run_of(place, index), op.count, flags, seen)
        case ListDelete(spans=spans):
            for first, length in spans:
                run = runs.target_run(rows, place, first)
                _delete(rows, keys, run, first.at, length, +1, seen)
        case ListSet():
            slot = slot_of(keys, op.element.event or event.id, op.element.op, op.element.at)
            old = _visible(rows, keys, place, op.element) if seen is not None else None
            last_write.put(rows, slot, place, event, index, op, None, authorized=authorized)
            _note_write(rows, keys, place, op.element, old, seen)


def retract(
    rows: Overlay,
    place: Place,
    event: Event,
    index: int,
    op: ListEdit,
    seen: list[Change] | None,
) -> None:
    """Take the effect of op number `index` back."""
    keys = runs.keys_of(place.no, stored_key(op.field))
    match op:
        case ListInsert():
            _set_effect(rows, keys, runs.run_of(place, index), op.count, 0, seen)
        case ListDelete(spans=spans):
            for first, length in spans:
                run = runs.target_run(rows, place, first)
                _delete(rows, keys, run, first.at, length, -1, seen)
        case ListSet():
            slot = slot_of(keys, op.element.event or event.id, op.element.op, op.element.at)
            old = _visible(rows, keys, place, op.element) if seen is not None else None
            last_write.take_back(rows, slot, place, event, index, None)
            _note_write(rows, keys, place, op.element, old, seen)


def _set_effect(
    rows: Overlay, keys: Keys, run: bytes, count: int, flags: int, seen: list[Change] | None
) -> None:
    """Let an insert have effect, with its flags, or none (0): all it inserted lives, or nothing."""
    if seen is None and count <= BLOCK:
        value = rows.get(runs.block_key(keys, run, 0))
        lone = None if value is None else runs.lone_leaf(value)
        if lone is not None:
            change = runs.pack_element(run, 0), count if flags else 0, flags
            counted_tree.change(rows, keys.nodes, lone, [change], sets=EFFECTIVE | AUTHORIZED)
            return
    changes: dict[int, list[tuple[bytes, int, int]]] = {}
    for low in range(0, count, BLOCK):
        block = runs.block_of(rows, keys, run, low)
        for piece, leaf, mask in _pieces(block, run, low, count):
            live = (mask & ~block.deleted).bit_count() if flags else 0
            changes.setdefault(leaf, []).append((piece, live, flags))
        if seen is not None:
            comes = runs.bits(0, min(BLOCK, count - low)) & ~block.deleted
            _note(rows, keys, run, low, block, comes, seen, alive=bool(flags))
    for leaf, pieces in changes.items():
        counted_tree.change(rows, keys.nodes, leaf, pieces, sets=EFFECTIVE | AUTHORIZED)


def _pieces(block: Block, run: bytes, low: int, count: int) -> Iterator[tuple[bytes, int, int]]:
    """(id, leaf, mask in the block) of the pieces of the block that begins at element `low`."""
    end = min(BLOCK, count - low)
    pieces = block.pieces
    for number, (first, leaf) in enumerate(pieces):
        after = pieces[number + 1][0] if number + 1 < len(pieces) else end
        yield runs.pack_element(run, low + first), leaf, runs.bits(first, after - first)


def _delete(
    rows: Overlay,
    keys: Keys,
    run: bytes,
    first: int,
    length: int,
    by: int,
    seen: list[Change] | None,
) -> None:
    """Count one more effective deletion of elements of a run (`by` +1), or one less (-1)."""
    end = first + length
    for low in range(first - first % BLOCK, end, BLOCK):
        start = max(first - low, 0)
        mask = runs.bits(start, min(end - low, BLOCK) - start)
        _delete_in_block(rows, keys, run, low, mask, by, seen)


def _delete_in_block(
    rows: Overlay,
    keys: Keys,
    run: bytes,
    low: int,
    mask: int,
    by: int,
    seen: list[Change] | None,
) -> None:
    block = runs.block_of(rows, keys, run, low)
    again = dict(block.again)
    if by > 0:
        turned = mask & ~block.deleted
        for at in runs.ones(mask & block.deleted):
            again[at] = again.get(at, 0) + 1
    else:
        turned = mask & block.deleted
        for at in list(again):
            if mask >> at & 1:
                turned &= ~(1 << at)
                again[at] -= 1
                if not again[at]:
                    del again[at]
    now = block._replace(deleted=block.deleted ^ turned, again=tuple(sorted(again.items())))
    rows.rows[runs.block_key(keys, run, low // BLOCK)] = now.pack()
    if not turned:
        return
    changes: dict[int, list[tuple[bytes, int, int]]] = {}
    alive = 0
    for piece, leaf, inside in _pieces(block, run, low, block.size):
        if not inside & turned:
            continue
        value = counted_tree.node(rows, keys.nodes, leaf)
        if counted_tree.piece_in(value, counted_tree.slot_of(value, piece)).flags & EFFECTIVE:
            alive |= inside & turned
            live = (inside & ~now.deleted).bit_count()
            changes.setdefault(leaf, []).append((piece, live, 0))
    for leaf, pieces in changes.items():
        counted_tree.change(rows, keys.nodes, leaf, pieces)
    if seen is not None:
        _note(rows, keys, run, low, block, alive, seen, alive=by < 0)


# -- what readers see change ----------------------------------------------------------------------


def _note(
    rows: Readable,
    keys: Keys,
    run: bytes,
    low: int,
    block: Block,
    mask: int,
    seen: list[Change],
    *,
    alive: bool,
) -> None:
    """Add to `seen` that elements of a block came to live, or died."""
    if not mask:
        return
    stored = keys.stored.decode()
    reader = Reader(rows, keys)
    first = runs.element_of(rows, keys.no, run, low)
    for at in runs.ones(mask):
        element = first._replace(at=low + at)
        value = _value(rows, keys, run, element, block, reader)
        seen.append(Change(stored, element.text(), *((None, value) if alive else (value, None))))


def _value(
    rows: Readable, keys: Keys, run: bytes, element: Element, block: Block, reader: Reader
) -> bytes:
    """The value of an element that lives, encoded; of a sealed run ``[sealed, position]``."""
    if block.flags & WRITTEN:
        event = runs.event_of(rows, keys.no, run)[1]
        written = last_write.read(rows, slot_of(keys, event, element.op, element.at))
        if written is not None:
            return written.value
    return reader.encoded(run, element.at, block)


def _visible(rows: Readable, keys: Keys, place: Place, element: Element) -> bytes | None:
    """The value of an element that an op at `place` names, if it lives."""
    run = runs.target_run(rows, place, element)
    _, piece = runs.locate(rows, keys, run, element.at)
    block = runs.block_of(rows, keys, run, element.at)
    if not runs.alive_in(block, piece) >> element.at % BLOCK & 1:
        return None
    return _value(rows, keys, run, element, block, Reader(rows, keys))


def _note_write(
    rows: Readable,
    keys: Keys,
    place: Place,
    element: Element,
    old: bytes | None,
    seen: list[Change] | None,
) -> None:
    """Add to `seen` that an element has another value than `old`; None: it does not live."""
    if seen is None:
        return
    new = _visible(rows, keys, place, element)
    if new != old:
        run = runs.target_run(rows, place, element)
        event = EventId(runs.event_of(rows, keys.no, run)[1])
        seen.append(Change(keys.stored.decode(), element.text(event), old, new))


def digest_items(rows: Readable, no: int) -> Iterator[Value]:
    """What readers see of all lists of an object: by stored key, then in order.

    ``[stored key, event, op, first, count]`` of elements inserted together that stand side by side,
    and behind it ``[event, op, at, event, op]`` of each of them that a LIST_SET gave its value. The
    values are those of these events, which their ids commit to.
    """
    for stored in fields(rows, no):
        yield from list_reading.told(rows, no, stored)


def fields(rows: Readable, no: int) -> Iterator[bytes]:
    """The stored keys of all lists of an object into which anything was ever inserted."""
    prefix = keyspace.of_object(b"d", no)
    start, end = prefix, keyspace.after(prefix)
    while (first := next(rows.scan(start, end), None)) is not None:
        stored = first[0][len(prefix) :].partition(b"\0")[0]
        yield stored
        start = keyspace.after(prefix + stored + b"\0")
