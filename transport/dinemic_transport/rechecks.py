"""When a session says all its rows again, though nothing has changed (REC-5).

It costs little and finds what nothing else did. Pauses grow while all is equal, and are short again
once there was something to catch up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

RECHECK_SECONDS: Final = (30.0, 300.0)
"""All rows are said again after 30 s +- 50 %, at growing intervals while they are equal."""


class Rechecks:
    """The rechecks of one session. `rand()` is a number in 0..1."""

    def __init__(self, rand: Callable[[], float]) -> None:
        self.due = False
        """Whether one waits for all rows to be read."""
        self._rand = rand
        self._at = math.inf
        self._pause = RECHECK_SECONDS[0]
        self._catchups = 0
        """How many there had been when the last was planned."""

    def plan(self, now: float, *, catchups: int, all_equal: bool) -> None:
        """All rows were said: again in a while. So many catch-ups there have been by now."""
        self.due = False
        if catchups != self._catchups:
            self._catchups, self._pause = catchups, RECHECK_SECONDS[0]
        self._at = now + self._pause * (0.5 + self._rand())
        if all_equal:
            self._pause = min(2 * self._pause, RECHECK_SECONDS[1])

    def deadline(self) -> float:
        """When `tick` makes one due."""
        return math.inf if self.due else self._at

    def tick(self, now: float) -> None:
        """Make one due if it is time."""
        self.due = self.due or now >= self._at
