"""Signed bytes to events on every core: the checks that bytes alone allow (T0), in whole batches.

A check of a signature lets go of the interpreter's lock, decoding does not. Threads that each
decode and check one portion after another keep as many cores busy as there are, until decoding
alone fills one::

    caller     decode |== check ==| decode |== check ==|        portions 0, 2, ...
    opener     ...... decode |== check ==| decode |== check ==| portions 1, 3, ...

Of events signed together (EV-10) nearly all are opened without such a check, so the caller does it.

A batch is opened by all before it is judged by one. Judging the one before meanwhile would be no
gain: it holds the lock, and a thread that wants it back after a check waits 5 ms for it. See
docs/decisions/016.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import Envelope, Event, read_event_untrusted

PORTION: Final = 8
"""Events a thread takes at once, some 0.8 ms of work: the slowest is not waited for long."""

THREADS_MAX: Final = 15
"""Beside the caller: a tenth of the work holds the lock, so there is little left to gain."""


class Openers:
    """Threads that open events for whoever calls, from any thread, also several at once."""

    def __init__(self, threads: int | None = None) -> None:
        """Use `threads` beside each caller, by default one for every other core."""
        self._threads: Final = min(_cores() - 1, THREADS_MAX) if threads is None else threads
        self._pool: Final = ThreadPoolExecutor(max(1, self._threads), "dinemic-opener")

    def open_untrusted(self, envelopes: Sequence[Envelope]) -> list[Event | InvalidEvent]:
        """For each envelope its event, or why no node takes it; the signature is checked last."""
        opened: dict[int, list[Event | InvalidEvent]] = {}
        begins = deque(range(0, len(envelopes), PORTION))

        def work() -> None:
            with contextlib.suppress(IndexError):  # another thread took the last portion
                while True:
                    begin = begins.popleft()
                    opened[begin] = [_open(each) for each in envelopes[begin : begin + PORTION]]

        alone = sum(not each.path for each in envelopes)
        helpers = self._start(work, min(len(begins) - 1, alone // PORTION))
        work()
        for helper in helpers:
            if not helper.cancel():  # else all was done before its turn came
                helper.result()
        return [each for begin in sorted(opened) for each in opened[begin]]

    def _start(self, work: Callable[[], None], wanted: int) -> list[Future[None]]:
        try:
            return [self._pool.submit(work) for _ in range(min(self._threads, wanted))]
        except RuntimeError:  # closed, or the interpreter is ending: the caller does it alone
            return []

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._pool.shutdown()


def _open(envelope: Envelope) -> Event | InvalidEvent:
    try:
        return read_event_untrusted(envelope)
    except InvalidEvent as error:
        return error


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
