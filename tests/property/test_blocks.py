"""The tree over a model's order: whatever comes, goes or changes effect, every range sums up right.

I-10: a fingerprint kept in the tree equals one computed from its events.
"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinemic_engine import blocks
from dinemic_engine.blocks import BEGINNING, END, Blocks, sum_of
from dinemic_engine.event import Event
from dinemic_engine.ranges import HIGHEST, LOWEST, Fingerprint, head_term
from dinemic_engine.recount import Recount
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Head
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay
from dinemic_engine.store.sums import LEVELS, unpack_totals
from dinemic_engine.view import View
from support.counted_sets import MODEL_NO, Change, CountedSet, check_range
from support.graphs import SEEDS, Site, delivery, histories

pytestmark = pytest.mark.usefixtures("small_blocks")

TIMES = st.integers(0, 400)
"""Few enough that many events share one."""

CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add", "remove", "turn"]), TIMES, st.integers(1, 20)),
    max_size=5,
)


@given(st.lists(CHANGES, max_size=10), st.data())
def test_i_10_every_range_is_summed_as_its_events_are(
    batches: list[list[Change]], data: st.DataObject
) -> None:
    model = CountedSet()
    for batch in batches:
        model.apply(batch)
        faults = [row for row in blocks.check(model.store, MODEL_NO) if row[1] != row[2]]
        assert faults == []
    total = unpack_totals(model.store.get(keyspace.fingerprint_key(MODEL_NO))).sums
    assert total.pack() == sum_of(model.effective.items()).pack()
    places = st.sampled_from([BEGINNING, END, *model.effective, *model.bounds()])
    for _ in range(5):
        lower, upper = sorted([data.draw(places), data.draw(places)])
        check_range(model, lower, upper, data.draw(st.integers(0, len(model.effective) + 1)))


@given(histories(40), SEEDS)
def test_i_10_blocks_follow_verdicts_that_change_and_inert_events(
    events: list[Event], seed: int
) -> None:
    site = Site()
    for batch in delivery(events, seed):
        site.ingest(batch)
        site.reopen()
    for model in site.view.models():
        model_no = layout.unpack_u32(site.store.get(keyspace.model_key(model)) or b"")
        assert [row for row in blocks.check(site.store, model_no) if row[1] != row[2]] == []
        totals = site.view.totals(model)
        assert totals.events == site.view.fingerprint(model, LOWEST, HIGHEST)
        assert totals.effective == site.view.fingerprint(model, LOWEST, HIGHEST, effective=True)
        heads = [
            head
            for name, object_id in site.view.objects(removed=True)
            if name == model
            for head in site.view.heads(object_id)
        ]
        total = sum(map(head_term, heads)) % (1 << 256)
        assert totals.heads == Fingerprint(len(heads), total)


# -- what it costs ---------------------------------------------------------------------------------


class Counting(MemoryStore):
    """Counts the rows it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.rows_read = 0

    def scan(self, start: bytes, end: bytes, *, reverse: bool = False):  # type: ignore[no-untyped-def]
        for row in super().scan(start, end, reverse=reverse):
            self.rows_read += 1
            yield row


@pytest.fixture
def real_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_EVENTS", 64)
    monkeypatch.setattr(blocks, "FANOUT", 32)


def grown(count: int, order: str) -> Counting:
    """A model of so many events that came in that order, 256 at a time."""
    store = Counting()
    times = list(range(count))
    if order == "newest first":
        times = [*times[-100:], *times[:-100]]
    elif order == "backwards":
        times.reverse()
    for begin in range(0, count, 256):
        recount, rows = Recount(), Overlay(store)
        for t in times[begin : begin + 256]:
            event_id = hashlib.sha256(t.to_bytes(8, "big")).digest()
            recount.admit(MODEL_NO, 0, layout.pack_order(t, event_id), effective=True)
        recount.write(rows)
        store.write(rows.rows)
    return store


@pytest.mark.usefixtures("real_blocks")
@pytest.mark.parametrize("order", ["oldest first", "newest first", "backwards"])
def test_a_range_reads_few_rows_however_many_events_came_in_what_order(order: str) -> None:
    store = grown(20_000, order)
    worst = 0
    for lower, upper in (
        (0, 20_000),
        (1, 19_999),
        (777, 15_000),
        (9_900, 10_100),
        (19_000, 19_990),
    ):
        store.rows_read = 0
        sums = Blocks(store, MODEL_NO).sums(*(t.to_bytes(8, "big") for t in (lower, upper)))
        assert sums.events == upper - lower
        worst = max(worst, store.rows_read)
    assert worst <= 2 * (2 * 64 + 2 * 64 * (LEVELS - 1))
    assert worst < 20_000 / 20


@pytest.mark.usefixtures("real_blocks")
def test_an_append_writes_a_block_row_once_in_64_events() -> None:
    store = MemoryStore()
    written = 0
    for t in range(1000):
        recount, rows = Recount(), Overlay(store)
        recount.admit(MODEL_NO, 0, layout.pack_order(t, bytes(32)), effective=True)
        recount.write(rows)
        store.write(rows.rows)
        written += sum(key[:1] in b"fo" for key in rows.rows)
    assert written == 2 * (1000 // 64)


def test_a_model_read_as_a_whole_is_read_from_one_row() -> None:
    """So its row, which peers compare, is of one moment."""
    store = Counting()
    site = Site(store)
    store.rows_read = 0
    gets: list[bytes] = []
    get = store.get

    def counted(key: bytes) -> bytes | None:
        gets.append(key[:1])
        return get(key)

    store.get = counted  # type: ignore[method-assign]
    View(site.store).totals("Nothing")
    assert (gets, store.rows_read) == ([b"M"], 0)


def test_heads_of_an_object_that_nobody_changed_are_left_alone() -> None:
    """Two objects, one of them written to: the sum of heads changes by that one's heads."""
    store = MemoryStore()
    heads = [Head(t, bytes((t,)) * 32, 0, t, 0) for t in (1, 2, 3)]
    for no, head in ((0, heads[0]), (1, heads[1]), (0, heads[2])):
        recount, rows = Recount(), Overlay(store)
        recount.admit(MODEL_NO, no, layout.pack_order(head.t, head.id), effective=True)
        rows.rows[keyspace.heads_key(no)] = layout.pack_heads([head])
        recount.write(rows)
        store.write(rows.rows)
    found = unpack_totals(store.get(keyspace.fingerprint_key(MODEL_NO)))
    assert (found.heads, found.heads_total) == (
        2,
        sum(head_term(head.id) for head in heads[1:]) % (1 << 256),
    )
