"""A budget is used as often as it allows, and never more."""

import random

import pytest

from dinemic_transport.budget import Budget


def test_a_burst_and_then_one_each_time_one_is_paid_for() -> None:
    budget = Budget(4, 2.0)
    assert [budget.take(100.0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert budget.ready_at == 102.0
    assert not budget.take(101.9)
    assert budget.take(102.0)
    assert not budget.take(102.0)


def test_what_is_saved_up_is_one_burst_however_long_it_was() -> None:
    budget = Budget(3, 1.0)
    assert [budget.take(t) for t in [0.0] * 4 + [1e9] * 4] == [True, True, True, False] * 2


@pytest.mark.parametrize(("burst", "seconds"), [(1, 1.0), (64, 3.75), (5, 0.1)])
def test_no_stretch_of_time_sees_more_than_the_invariant_says(
    burst: int, seconds: float, rng: random.Random
) -> None:
    budget, now, taken = Budget(burst, seconds), 0.0, []
    for _ in range(2000):
        now += rng.choice([0.0, rng.random() * seconds, rng.random() * seconds * burst])
        if budget.take(now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, min(first + 3 * burst, len(taken))):
            stretch = taken[last] - taken[first]
            assert last - first + 1 <= burst + stretch / seconds + 1e-6


def test_it_can_be_used_when_it_says_so() -> None:
    budget = Budget(7, 0.3)
    now = 0.1
    for _ in range(1000):
        now = max(now, budget.ready_at)
        assert budget.take(now)
