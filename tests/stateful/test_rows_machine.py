"""Rows in memory, through every layer that is read while events are judged, beside a plain dict.

A batch (`Overlay`) gathers over another one, over what was lately used (`Recent`), over the store;
it is written, or forgotten. Chunks and generations are small, so that a few rows fill many.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from dinemic_engine.store import memory
from dinemic_engine.store import overlay as layers
from dinemic_engine.store.memory import MemorySnapshot, MemoryStore
from dinemic_engine.store.overlay import Overlay, Recent
from support.figures import Machine

Rows = dict[bytes, bytes | None]

KEYS = st.sampled_from(
    [b"A%d" % number for number in range(4)]
    + [b"%c%d" % (kind, number) for kind in b"HEI" for number in range(10, 26)]
)
"""Of each kind that is remembered in its own way: mostly empty ranges, rows, and neither."""
SELDOM = st.sampled_from([(b"A", b"B"), (b"A0", b"A2"), (b"A2", b"A3")])
"""Ranges that are remembered if nothing is in them."""
VALUES = st.none() | st.integers(0, 99).map(lambda number: b"%d" % number)


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "CHUNK_ROWS", 4)
        patch.setattr(layers, "_GENERATION_BYTES", 1_000)
        patch.setattr(layers, "_EMPTY_REMEMBERED", 3)
        yield


class Layers(Machine):
    """`written` is what the store should hold, `pending` what the two batches make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.recent = Recent(self.store)
        self.written: dict[bytes, bytes] = {}
        self.kept: list[tuple[MemorySnapshot, dict[bytes, bytes]]] = []
        self.begin()

    def begin(self) -> None:
        """New batches."""
        self.below = Overlay(self.recent)
        self.above = Overlay(self.below)

    def pending(self) -> dict[bytes, bytes]:
        """What is read through all layers."""
        found: Rows = {**self.written, **self.below.rows, **self.above.rows}
        return {key: found[key] or b"" for key in sorted(found) if found[key] is not None}

    @rule(key=KEYS, value=VALUES, above=st.booleans())
    def put(self, key: bytes, value: bytes | None, above: bool) -> None:
        (self.above if above else self.below).rows[key] = value

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        assert self.above.get(key) == self.pending().get(key)

    @rule(one=KEYS, other=KEYS, reverse=st.booleans())
    def scan(self, one: bytes, other: bytes, reverse: bool) -> None:
        found = list(self.above.scan(one, other, reverse=reverse))
        wanted = [row for row in self.pending().items() if one <= row[0] < other]
        assert found == (wanted[::-1] if reverse else wanted)

    @rule(bounds=SELDOM)
    def scan_what_is_seldom(self, bounds: tuple[bytes, bytes]) -> None:
        self.scan(*bounds, reverse=False)

    @rule()
    def write(self) -> None:
        self.written = self.pending()
        self.recent.write({**self.below.rows, **self.above.rows})
        self.begin()

    @precondition(lambda self: self.above.rows)
    @rule()
    def forget(self) -> None:
        self.begin()

    @precondition(lambda self: len(self.kept) < 3)
    @rule()
    def keep(self) -> None:
        self.kept.append((self.store.snapshot(), dict(self.written)))

    @precondition(lambda self: self.kept)
    @rule(key=KEYS)
    def look_back(self, key: bytes) -> None:
        snapshot, then = self.kept.pop()
        assert snapshot.get(key) == then.get(key)
        assert dict(snapshot.scan(b"A", b"Z")) == then

    @invariant()
    def the_store_holds_what_was_written(self) -> None:
        first = next(self.store.scan(b"A", b"Z"), None)
        last = next(self.store.scan(b"A", b"Z", reverse=True), None)
        rows = sorted(self.written.items())
        assert [first, last] == ([rows[0], rows[-1]] if rows else [None, None])


TestLayers = Layers.TestCase
TestLayers.settings = settings(max_examples=16 * settings().max_examples)
