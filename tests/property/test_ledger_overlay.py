"""An overlay reads like the store would after the write, whatever was written and asked before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Overlay

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
