"""Worker threads for calls that block, and whose turn it is on them (GOS-3).

A few calls run at a time. What peers sent that brought nothing of use yet is judged one batch after
another, whoever sent it and over however many links, and after each the turn rests for `REST` times
as long as it took::

    peers of use    judge ==== judge ======= judge ====    side by side on all threads
                         judge ===
    unproven ones   judge ==............judge ===..................judge =.....    one at a time

So a flood costs a quarter of one core, also one that comes back as somebody else over a new link
whenever it is cut off, and a newcomer whose first batch was of use waits no more.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import trio

THREADS: Final = 4
"""The replica judges one batch at a time anyway; more threads only read beside it."""

REST: Final = 3.0
REST_SECONDS_MAX: Final = 1.0
"""A call that had to wait itself, for the disk or a guard, stops nobody for long."""

Offload: TypeAlias = Callable[..., Awaitable[Any]]
"""``await offload(call, *args)`` is what a blocking call returns; the trio thread goes on."""


class Turns:
    """Runs calls by `offload`, which is replaced in tests."""

    def __init__(self, offload: Offload | None = None) -> None:
        self.run: Final = offload or _Threads()
        """For what is of use."""
        self._one = trio.Lock()
        self._rests_until = -math.inf

    async def run_unproven(self, call: Callable[..., Any], *args: Any) -> Any:
        """What a call returns that may well be for nothing; one at a time, first come first."""
        async with self._one:
            await trio.sleep_until(self._rests_until)
            began = trio.current_time()
            try:
                return await self.run(call, *args)
            finally:
                now = trio.current_time()
                self._rests_until = now + min(REST * (now - began), REST_SECONDS_MAX)


class _Threads:
    """Calls on worker threads. A cancelled call is left to end by itself."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None

    async def __call__(self, call: Callable[..., Any], *args: Any) -> Any:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(THREADS)
        return await trio.to_thread.run_sync(
            call, *args, abandon_on_cancel=True, limiter=self._limiter
        )
