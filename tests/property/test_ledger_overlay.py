"""Layers over a store read like the store would, whatever was written and asked before."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinemic_engine.errors import StoreFull
from dinemic_engine.store import overlay as layers
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay, Recent
from support.nodes import FailingStore

KEYS = st.binary(min_size=1, max_size=2).map(lambda key: bytes(byte % 4 for byte in key))
ROWS = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=2)), max_size=6)


@given(ROWS, st.lists(ROWS, max_size=4), KEYS, KEYS, st.booleans())
def test_a_scan_sees_what_the_finished_batch_would_show(
    stored: dict[bytes, bytes | None],
    batches: list[dict[bytes, bytes | None]],
    start: bytes,
    end: bytes,
    nested: bool,
) -> None:
    store, expected = MemoryStore(), MemoryStore()
    store.write(stored)
    expected.write(stored)
    below = Overlay(store)
    overlay = Overlay(below) if nested else below
    for number, batch in enumerate(batches):
        (below if number % 2 else overlay).rows.update(batch)
        if nested and number % 2:  # what lies above wins
            batch = {key: value for key, value in batch.items() if key not in overlay.rows}
        expected.write(batch)
        for reverse in (False, True):
            found = list(overlay.scan(start, end, reverse=reverse))
            assert found == list(expected.scan(start, end, reverse=reverse))
        assert overlay.get(start) == expected.get(start)


RECENT_KEYS = st.sampled_from([b"H1", b"H2", b"E1"])  # an E row is never kept in memory
RECENT_ROWS = st.dictionaries(RECENT_KEYS, st.one_of(st.none(), st.binary(max_size=40)))


@given(
    st.lists(st.tuples(RECENT_ROWS, st.sets(RECENT_KEYS)), min_size=3, max_size=30),
    st.integers(1, 1_000),
)
def test_what_was_lately_used_reads_as_in_the_store(
    steps: list[tuple[dict[bytes, bytes | None], set[bytes]]], generation: int
) -> None:
    with mock.patch.object(layers, "_GENERATION_BYTES", generation):
        store = MemoryStore()
        recent = Recent(store)
        for written, read in steps:
            recent.write(written)
            for key in sorted(read):
                assert recent.get(key) == store.get(key)
            assert recent._size <= generation


def test_a_write_that_failed_is_not_remembered() -> None:
    store = FailingStore()
    recent = Recent(store)
    recent.write({b"H": b"before"})
    store.failing["write"] = StoreFull("no room")
    with pytest.raises(StoreFull):
        recent.write({b"H": b"after", b"I": b"after"})
    assert recent.get(b"H") == b"before"
    assert recent.get(b"I") is None


def test_what_was_just_written_is_not_read_from_the_store() -> None:
    store = FailingStore()
    recent = Recent(store)
    recent.write({b"H": b"head", b"I": None, b"E": b"event"})
    with mock.patch.object(store, "get", side_effect=AssertionError):
        assert recent.get(b"H") == b"head"
        assert recent.get(b"I") is None
        with pytest.raises(AssertionError):
            recent.get(b"E")


SELDOM_KEYS = st.sampled_from([b"A1", b"A2", b"A21", b"A3", b"B"])
SELDOM_RANGES = st.tuples(SELDOM_KEYS, SELDOM_KEYS, st.booleans())


@given(
    st.lists(
        st.tuples(
            st.dictionaries(SELDOM_KEYS, st.one_of(st.none(), st.binary(max_size=2)), max_size=2),
            st.lists(SELDOM_RANGES, max_size=4),
        ),
        max_size=12,
    ),
    st.integers(1, 3),
)
def test_a_range_that_was_empty_once_is_read_as_in_the_store(
    steps: list[tuple[dict[bytes, bytes | None], list[tuple[bytes, bytes, bool]]]], remembered: int
) -> None:
    with mock.patch.object(layers, "_EMPTY_REMEMBERED", remembered):
        store = MemoryStore()
        recent = Recent(store)
        for written, asked in steps:
            recent.write(written)
            for start, end, reverse in asked:
                found = list(recent.scan(start, end, reverse=reverse))
                assert found == list(store.scan(start, end, reverse=reverse))
                assert len(recent._empty) <= remembered


def test_an_empty_range_of_rows_that_are_seldom_is_asked_for_once() -> None:
    store = FailingStore()
    recent = Recent(store)
    assert list(recent.scan(b"A1", b"A2")) == []
    with mock.patch.object(store, "scan", side_effect=AssertionError):
        assert list(recent.scan(b"A1", b"A2")) == []
        with pytest.raises(AssertionError):
            list(recent.scan(b"A2", b"A3"))
    recent.write({b"A11": b"doubt"})
    assert list(recent.scan(b"A1", b"A2")) == [(b"A11", b"doubt")]
