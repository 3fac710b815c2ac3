"""I-11 for all data types: any history, any delivery, the same as the plain reference.

Histories hold revocations and closings, so events lose their effect and get it back.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dinemic_engine import canonical, log
from dinemic_engine.edits import (
    EDITS,
    CounterAdd,
    DictDelete,
    DictSet,
    Edit,
    Made,
    SetAdd,
    SetRemove,
)
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId
from dinemic_engine.ops import Policy
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay
from dinemic_engine.types import (
    Change,
    counter,
    digest_items,
    list_reading,
    mapping,
    members,
    sequence,
    type_of,
)
from reference import lists
from reference.types import counter_of, dict_of, set_of
from support.graphs import FIELDS, OWNER, SEEDS, Site, child, delivery, genesis, histories
from support.judged import Judged


@given(histories(), SEEDS)
def test_i_11_collections_are_those_of_the_plain_reference(events: list[Event], seed: int) -> None:
    site = Site()
    given_so_far: list[Event] = []
    for batch in delivery(events, seed):
        given_so_far += batch
        site.ingest(batch)
        judged = Judged.of(given_so_far)
        for object_id in {event.object for event in judged.admitted.values()}:
            agrees(site, judged, object_id)


def agrees(site: Site, judged: Judged, object_id: bytes) -> None:
    found = site.view.find(object_id)
    assert found is not None
    no, rows, ops = found[0], site.store, judged.effective_ops(object_id)
    for name in FIELDS:
        stored = mapping.stored_key(name)
        expected = dict_of(ops, name)
        entries = list(mapping.entries(rows, no, stored))
        assert [(e.key, canonical.decode_untrusted(e.written.value)) for e in entries] == list(
            expected.items()
        )
        assert mapping.length(rows, no, stored) == len(expected)
        for key in expected:
            heads = mapping.conflicts(rows, no, stored, key)
            assert heads == conflicts(judged, ops, name, key)
        total, sealed = counter_of(ops, name)
        stored = counter.stored_key(name)
        assert counter.read(rows, no, stored)[1] == total
        adds = [
            log.event_at(rows, no, t, event_id).ops[index]
            for t, event_id, index in counter.sealed_adds(rows, no, stored)
        ]
        assert [op.amount for op in adds if isinstance(op, CounterAdd)] == sealed
        stored = sequence.stored_key(name)
        kin = [event for event in judged.admitted.values() if event.object == object_id]
        standing = judged.effective(object_id).values()
        elements = [
            (item.element, item.value if item.position is None else (item.value, item.position))
            for item in list_reading.items(rows, no, stored)
        ]
        assert elements == lists.values(kin, standing, name)
        assert list_reading.length(rows, no, stored) == len(elements)
        stored = members.stored_key(name)
        values = set_of(ops, name)
        held = {
            m.value: {tuple(made) for made in m.adds} for m in members.members(rows, no, stored)
        }
        assert held == values
        assert members.length(rows, no, stored) == len(values)
        for value in (1, 1.0, True, "1", b"1"):
            spelled = canonical.encode(value)
            assert (members.contains(rows, no, stored, spelled) is not None) is (spelled in values)


def conflicts(
    judged: Judged, ops: Sequence[tuple[int, bytes, int, object]], name: str, key: str
) -> list[tuple[int, bytes, int]]:
    writes = [
        (t, event, index)
        for t, event, index, op in reversed(ops)
        if isinstance(op, DictSet | DictDelete) and (op.field, op.key) == (name, key)
    ]
    return [
        (t, at, index)
        for t, at, index in writes
        if not any(at in judged.past(judged.admitted[EventId(other)]) for _, other, _ in writes)
        and not any(other == at and later > index for _, other, later in writes)
    ]


_NAMES = st.sampled_from(["a", "b"])
_VALUES = st.sampled_from([1, 1.0, True, "1", b"1", None])


@st.composite
def edits(draw: st.DrawFn) -> list[Edit]:
    """Ops of one author in one event after another; removes name adds among them."""
    found: list[Edit] = []
    for _ in range(draw(st.integers(1, 12))):
        name = draw(_NAMES)
        adds = [i for i, op in enumerate(found) if isinstance(op, SetAdd) and op.field == name]
        made: Edit
        match draw(st.integers(0, 4 if adds else 3)):
            case 0:
                made = DictSet(name, draw(st.sampled_from(["", "k", "k\0"])), draw(_VALUES))
            case 1:
                made = DictDelete(name, draw(st.sampled_from(["", "k", "k\0"])))
            case 2:
                made = CounterAdd(name, draw(st.integers(-3, 3)))
            case 3:
                made = SetAdd(name, draw(_VALUES))
            case _:
                named = draw(st.lists(st.sampled_from(adds), min_size=1, max_size=3))
                made = SetRemove(name, tuple(Made(b"", index) for index in named))
        found.append(made)
    return found


@given(edits(), st.data())
def test_ord_7_effects_taken_and_taken_back_in_any_order_leave_the_same_rows(
    ops: list[Edit], data: st.DataObject
) -> None:
    """One op an event; each is effective or not in the end, after any number of flips."""
    first = genesis(policy=Policy())
    events = [first]
    for op in ops:
        if isinstance(op, SetRemove):
            op = SetRemove(op.field, tuple(Made(events[made.op + 1].id, 0) for made in op.adds))
        events.append(child(events[-1], OWNER, op))
    store = MemoryStore()
    rows = Overlay(store)
    placed: list[tuple[layout.Place, Event, Edit]] = []
    for seq, event in enumerate(events):
        place = layout.Place(0, event.t, 0, seq + 1, 0, layout.AUTHORIZED)
        rows.rows[keyspace.place_key(event.id)] = place.pack()
        rows.rows[keyspace.event_key(0, event.t, event.id)] = event.raw
        edit = event.ops[0]
        if isinstance(edit, EDITS):
            type_of(edit).keep(rows, place, event, 0, edit)
            placed.append((place, event, edit))
    kept = dict(rows.rows)
    effective: set[int] = set()
    shown: dict[tuple[str, str], bytes | None] = {}
    for at in data.draw(st.lists(st.integers(0, len(ops) - 1), max_size=30)):
        seen: list[Change] = []
        place, event, edit = placed[at]
        if at in effective:
            type_of(edit).retract(rows, place, event, 0, edit, seen)
        else:
            type_of(edit).advance(rows, place, event, 0, edit, seen, authorized=True)
        effective ^= {at}
        for change in seen:  # each begins where the one before ended
            name = change.stored, change.element
            assert shown.get(name) == change.old
            shown[name] = change.new
    straight = Overlay(store, dict(kept))
    for at in sorted(effective):
        place, event, edit = placed[at]
        type_of(edit).advance(straight, place, event, 0, edit, None, authorized=True)
    assert left(rows) == left(straight)
    assert list(digest_items(rows, 0)) == list(digest_items(straight, 0))


def left(rows: Overlay) -> dict[bytes, bytes]:
    return {key: value for key, value in rows.rows.items() if value is not None}


@settings(max_examples=20)
@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=40))
def test_a_sum_has_no_bounds(amounts: list[int]) -> None:
    site = Site()
    first = genesis()
    event = child(first, OWNER, *[CounterAdd("n", amount) for amount in amounts])
    site.admit(first, event)
    found = site.view.find(first.id)
    assert found is not None
    assert counter.read(site.store, found[0], b"counter_n") == (len(amounts), sum(amounts))
