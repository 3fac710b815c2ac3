"""I-11 for dicts, counters and sets: whatever order effects come and go in, the rows end the same.

Everything they show is judged in `test_reference_judge`.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

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
from dinemic_engine.ops import Policy
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay
from dinemic_engine.types import (
    Change,
    counter,
    digest_items,
    type_of,
)
from support.graphs import OWNER, Site, child, genesis

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
