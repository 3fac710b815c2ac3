"""A budget: how often something may happen, on average and at once (GOS-3).

The virtual schedule of ATM's generic cell rate algorithm, which is a token bucket in one number.
Each use is paid for with `seconds` of time, and time may be owed for `burst` uses at most::

    used   | | | |                            burst = 4: four at once,
    paid   |----|----|----|----|              the fifth when the first is paid for
                now ->         ^ paid until

Invariant: in any stretch of t seconds it is taken at most `burst` + t / `seconds` times. What is
spent without asking may overdraw it, and is paid for before anything is taken again.
"""

from __future__ import annotations

import math


class Budget:
    """`burst` uses at once, and one more every `seconds`."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._seconds = seconds
        self._owed_max = (burst - 1) * seconds
        self._paid_until = -math.inf

    @property
    def ready_at(self) -> float:
        """When the next `take` succeeds."""
        return self._paid_until - self._owed_max

    def is_full(self, now: float) -> bool:
        """Whether nothing is owed: it is as good as a new one."""
        return now >= self._paid_until

    def take(self, now: float) -> bool:
        """Use it once; False, and nothing is used, if it is exhausted."""
        if now < self.ready_at:
            return False
        self.spend(1, now)
        return True

    def spend(self, count: float, now: float) -> None:
        """Use it so often, exhausted or not."""
        self._paid_until = max(self._paid_until, now) + count * self._seconds

    def give_back(self, count: float) -> None:
        """Undo so many uses: they turned out to cost nothing."""
        self._paid_until -= count * self._seconds
