"""What a peer is worth, from how its events were judged (GOS-4)."""

from __future__ import annotations

import math
from typing import Final


class Score:
    """How a peer has behaved: admitted events raise it, faults lower it, time forgets both."""

    T0: Final = -50.0
    """An event whose bytes alone refuse it: nobody honest passes it on."""
    T1: Final = -20.0
    """An event its own past refuses."""
    UNDELIVERED: Final = -10.0
    """An event named and not delivered."""
    MAX: Final = 100.0
    MIN: Final = -100.0
    HALF_LIFE_SECONDS: Final = 600.0

    def __init__(self, now: float) -> None:
        self._value = 0.0
        self._at = now

    def at(self, now: float) -> float:
        """The score at `now`."""
        return self._value * math.exp2((self._at - now) / self.HALF_LIFE_SECONDS)

    def reward(self, admitted: int, now: float) -> None:
        """Events were admitted that nobody else had brought before."""
        self._value, self._at = min(self.MAX, self.at(now) + admitted), now

    def punish(self, points: float, now: float) -> bool:
        """Add negative `points`; True when the peer is to be cut."""
        self._value, self._at = self.at(now) + points, now
        return self._value < self.MIN
