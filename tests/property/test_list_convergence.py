"""Any order, any effect: the list of the engine is that of the paper (I-01, I-05, I-11)."""

from __future__ import annotations

import random
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from dinemic_engine import log
from dinemic_engine.edits import ListDelete, ListInsert, ListSet
from dinemic_engine.event import Event
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay
from dinemic_engine.types import Change, list_reading, sequence, take
from reference import lists as reference
from support.graphs import SEEDS, Site, delivery
from support.list_rows import check_rows, everything, list_rows, seen_by
from support.lists import STORED, history

SOME = settings(max_examples=max(settings().max_examples // 3, 1))


def delivered(batches: list[list[Event]]) -> Site:
    site = Site()
    for batch in batches:
        site.ingest(batch)
    return site


@SOME
@given(SEEDS, st.integers(1, 40))
def test_i_11_a_list_is_what_the_paper_says_in_any_order_of_delivery(seed: int, count: int) -> None:
    rng = random.Random(seed)
    events = history(rng, count)
    expected = reference.values(events, events)
    digests = set()
    for _ in range(3):
        site = delivered(delivery(events, rng.randrange(1 << 30)))
        assert not site.refused
        assert seen_by(site.store) == expected
        kept = [told[:3] for told in everything(site.store, 0, STORED)]
        assert kept == reference.order(events)
        check_rows(site.store)
        digests.add(site.view.digest_all())
    assert len(digests) == 1


@SOME
@given(SEEDS)
def test_i_11_every_order_of_a_few_events_gives_one_list(seed: int) -> None:
    first, *rest = history(random.Random(seed), 4, run_max=70)
    expected = reference.values([first, *rest], [first, *rest])
    for order in permutations(rest):
        site = delivered([[first], *[[event] for event in order]])
        assert seen_by(site.store) == expected
        check_rows(site.store)


@SOME
@given(SEEDS, st.integers(1, 30))
def test_i_05_effects_come_and_go_in_any_order_and_leave_no_trace(seed: int, count: int) -> None:
    rng = random.Random(seed)
    events = history(rng, count, run_max=rng.choice((5, 70)))
    site = delivered([events])
    before = list_rows(site.store)
    rows = Overlay(site.store)
    standing = {event.id: event for event in events}
    ours = [
        event for event in events if isinstance(event.ops[0], ListInsert | ListSet | ListDelete)
    ]
    for _ in range(12):
        for event in rng.sample(ours, rng.randint(1, len(ours))):
            turn(rows, event, stands=event.id not in standing)
            if event.id in standing:
                del standing[event.id]
            else:
                standing[event.id] = event
        assert seen_by(rows) == reference.values(events, standing.values())
    check_rows(rows)
    for event in rng.sample(ours, len(ours)):
        if event.id not in standing:
            turn(rows, event, stands=True)
    after = MemoryStore()
    after.write({**before, **rows.rows})
    assert list_rows(after) == before


@SOME
@given(SEEDS, st.integers(1, 30))
def test_kept_with_its_effect_an_event_leaves_the_rows_of_kept_and_then_given_effect(
    seed: int, count: int
) -> None:
    rng = random.Random(seed)
    events = history(rng, count, run_max=rng.choice((5, 70)))
    store = delivered([events]).store
    expected = list_rows(store)
    bare = MemoryStore()
    bare.write({key: value for key, value in store.scan(b"", b"\xff") if key not in expected})
    at_once, in_steps = Overlay(bare), Overlay(bare)
    for event in sorted(events, key=lambda event: (event.t, event.id)):
        place = log.place_of(bare, event.id)
        ops = [op for op in event.ops if isinstance(op, ListInsert | ListSet | ListDelete)]
        assert not ops or len(ops) == len(event.ops)
        seen_at_once: list[Change] = []
        seen_in_steps: list[Change] = []
        for index, op in enumerate(ops):
            take(at_once, place, event, index, op, seen_at_once, authorized=True)
        for index, op in enumerate(ops):
            sequence.keep(in_steps, place, event, index, op)
        check_rows(in_steps)
        for index, op in enumerate(ops):
            sequence.advance(in_steps, place, event, index, op, seen_in_steps, authorized=True)
        if len(ops) == 1:  # else what an op changes may be changed again by the next
            assert seen_at_once == seen_in_steps
    assert at_once.rows == in_steps.rows
    assert list_rows(at_once) == expected


def turn(rows: Overlay, event: Event, *, stands: bool) -> None:
    place = log.place_of(rows, event.id)
    for index, op in enumerate(event.ops):
        assert isinstance(op, ListInsert | ListSet | ListDelete)
        if stands:
            sequence.advance(rows, place, event, index, op, None, authorized=True)
        else:
            sequence.retract(rows, place, event, index, op, None)


@SOME
@given(SEEDS, st.integers(1, 30))
def test_an_index_leads_to_its_element(seed: int, count: int) -> None:
    rng = random.Random(seed)
    store = delivered([history(rng, count, run_max=70)]).store
    items = list(list_reading.items(store, 0, STORED))
    assert list_reading.length(store, 0, STORED) == len(items)
    for index, item in enumerate(items):
        assert list_reading.at(store, 0, STORED, index) == item
    start, stop = sorted((rng.randint(0, len(items)), rng.randint(0, len(items))))
    assert list(list_reading.items(store, 0, STORED, start, stop)) == items[start:stop]
    spans = list_reading.spans_for(store, 0, STORED, start, stop)
    assert [item.element for item in items[start:stop]] == [
        first._replace(at=first.at + more) for first, length in spans for more in range(length)
    ]
