"""A budget beside a bucket of tokens that is filled again: the same uses succeed (GOS-3)."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from dinemic_transport.budget import Budget
from support.figures import Machine

QUARTERS = st.integers(0, 40).map(lambda number: number / 4)
"""Floats that add up exactly."""


class Spending(Machine):
    """`tokens` are in the bucket, below zero where it was overdrawn; never more than `burst`."""

    @initialize(burst=st.integers(1, 6), seconds=st.sampled_from([0.25, 1.0, 4.0]))
    def begin(self, burst: int, seconds: float) -> None:
        self.budget = Budget(burst, seconds)
        self.burst, self.seconds = burst, seconds
        self.tokens, self.now = float(burst), 0.0

    @rule(seconds=QUARTERS)
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tokens = min(self.burst, self.tokens + seconds / self.seconds)

    @rule()
    def take(self) -> None:
        taken = self.budget.take(self.now)
        assert taken == (self.tokens >= 1)
        self.tokens -= taken

    @rule(count=st.integers(1, 9))
    def spend(self, count: int) -> None:
        self.budget.spend(count, self.now)
        self.tokens -= count

    @rule(count=st.integers(1, 9))
    def spend_in_vain(self, count: int) -> None:
        self.budget.spend(count, self.now)
        self.budget.give_back(count)

    @invariant()
    def it_is_ready_when_there_is_a_token(self) -> None:
        missing = max(0.0, 1 - self.tokens)
        assert max(0.0, self.budget.ready_at - self.now) == missing * self.seconds


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=4 * settings().max_examples)
