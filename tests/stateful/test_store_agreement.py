"""Memory and RocksDB, driven by one machine, never disagree."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from dinemic_engine.errors import StoreError
from dinemic_engine.store.conformance import HIGHEST, LOWEST
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.rocks import RocksStore
from support.figures import Machine

Scan = Iterator[tuple[bytes, bytes]]

# Few letters, so that keys meet, nest and touch the bounds of scans.
keys = st.one_of(
    st.lists(st.sampled_from(b"\x00\x01ab\xfe\xff"), min_size=1, max_size=4).map(bytes),
    st.binary(min_size=1, max_size=1024),
)
bounds = st.one_of(st.just(LOWEST), st.just(HIGHEST), keys)
values = st.one_of(st.binary(max_size=8), st.integers(0, 100_000).map(bytes))
batches = st.dictionaries(keys, st.none() | values, max_size=20)


class StoresAgree(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="dinemic-test-"))
        self.memory = MemoryStore()
        self.rocks = RocksStore(self.path)
        self.scans: list[tuple[Scan, Scan]] = []

    def teardown(self) -> None:
        self.memory.close()
        self.rocks.close()
        shutil.rmtree(self.path)

    @rule(rows=batches)
    def write(self, rows: dict[bytes, bytes | None]) -> None:
        self.memory.write(rows)
        self.rocks.write(rows)

    @rule(start=bounds, end=bounds)
    def delete_range(self, start: bytes, end: bytes) -> None:
        rows = dict.fromkeys(key for key, _ in self.memory.scan(start, end))
        self.memory.write(rows)
        self.rocks.write(rows)

    @rule(asked=st.lists(keys, max_size=20))
    def get(self, asked: list[bytes]) -> None:
        found = self.memory.get_many(asked)
        assert self.rocks.get_many(asked) == found
        assert [self.rocks.get(key) for key in asked] == found

    @rule(start=bounds, end=bounds, reverse=st.booleans())
    def scan(self, start: bytes, end: bytes, reverse: bool) -> None:
        wanted = list(self.memory.scan(start, end, reverse=reverse))
        assert list(self.rocks.scan(start, end, reverse=reverse)) == wanted

    @precondition(lambda self: len(self.scans) < 5)
    @rule(start=bounds, end=bounds, reverse=st.booleans())
    def begin_scan(self, start: bytes, end: bytes, reverse: bool) -> None:
        pair = (
            self.memory.scan(start, end, reverse=reverse),
            self.rocks.scan(start, end, reverse=reverse),
        )
        self.scans.append(pair)

    @precondition(lambda self: self.scans)
    @rule(data=st.data(), steps=st.integers(1, 10))
    def step_scan(self, data: st.DataObject, steps: int) -> None:
        memory, rocks = data.draw(st.sampled_from(self.scans))
        for _ in range(steps):
            assert next(rocks, None) == next(memory, None)

    @precondition(lambda self: self.scans)
    @rule(data=st.data())
    def abandon_scan(self, data: st.DataObject) -> None:
        self.scans.pop(data.draw(st.integers(0, len(self.scans) - 1)))

    @rule()
    def flush(self) -> None:
        self.rocks.flush()

    @rule()
    def reopen(self) -> None:
        self.rocks.close()
        for memory, rocks in self.scans:
            more = next(memory, None) is not None
            # A scan that was at its end may say so again; any other must not end in silence.
            with pytest.raises(StoreError if more else (StoreError, StopIteration)):
                next(rocks)
        self.rocks = RocksStore(self.path)  # while the old scans are still referenced
        self.scans.clear()

    @rule()
    def read_beside(self) -> None:
        beside = RocksStore(self.path, read_only=True)
        wanted = list(self.memory.scan(LOWEST, HIGHEST))
        assert list(beside.scan(LOWEST, HIGHEST)) == wanted
        beside.close()

    @invariant()
    def same_first_and_last_row(self) -> None:
        for reverse in (False, True):
            wanted = next(self.memory.scan(LOWEST, HIGHEST, reverse=reverse), None)
            assert next(self.rocks.scan(LOWEST, HIGHEST, reverse=reverse), None) == wanted


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(max_examples=25, stateful_step_count=30)
