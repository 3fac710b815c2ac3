"""Events come, go and turn, and after each batch a range is summed as they are (I-10)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from dinemic_engine import blocks
from dinemic_engine.store import keyspace
from dinemic_engine.store.sums import unpack_totals
from support.counted_sets import MODEL_NO, CountedSet, check_range
from support.figures import Machine

pytestmark = pytest.mark.usefixtures("small_blocks")

EVENTS_MAX = 120
TIMES = st.integers(0, 200)
"""Few enough that many events share one."""


class Growing(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.set = CountedSet()

    @rule(at=TIMES, count=st.sampled_from([1, 1, 2, 9]))
    def add(self, at: int, count: int) -> None:
        if len(self.set.effective) < EVENTS_MAX:
            self.set.apply([("add", at, count)])

    @rule(at=TIMES, count=st.sampled_from([1, 1, 2, 9]))
    def remove(self, at: int, count: int) -> None:
        self.set.apply([("remove", at, count)])

    @rule(at=TIMES, count=st.integers(1, 3))
    def turn(self, at: int, count: int) -> None:
        self.set.apply([("turn", at, count)])

    @rule(one=TIMES, other=TIMES, skip=st.integers(0, 5))
    def ask(self, one: int, other: int, skip: int) -> None:
        lower, upper = sorted(time.to_bytes(8, "big") for time in (one, other))
        check_range(self.set, lower, upper, skip)

    @invariant()
    def all_together_are_summed(self) -> None:
        events = len(self.set.effective)
        row = self.set.store.get(keyspace.fingerprint_key(MODEL_NO))
        assert unpack_totals(row).sums.events == events

    def teardown(self) -> None:
        check_range(self.set, bytes(8), b"\xff" * 8, 0)
        assert all(kept == counted for _, kept, counted in blocks.check(self.set.store, MODEL_NO))


TestGrowing = Growing.TestCase
TestGrowing.settings = settings(max_examples=4 * settings().max_examples)
