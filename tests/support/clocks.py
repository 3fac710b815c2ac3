"""Time for tests: a clock that can be moved, and waiting for what another thread is about to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BOUND_SECONDS = 20.0
"""What no wait of a test exceeds, on a machine however busy."""


class Clock:
    """The time nodes see: real time moved by `offset_s`."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + int(self.offset_s * 1e6)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    give_up = time.monotonic() + BOUND_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "it never came about"
        threading.Event().wait(0.001)
