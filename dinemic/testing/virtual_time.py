"""trio on a clock that only moves when there is nothing else to do, driven from ordinary code.

trio runs as a guest: its run is cut into ticks, which it hands to a queue here, and whoever wants
time to pass takes ticks out until the moment has come::

    advance(5) --> tick, tick, tick ... the clock has reached now + 5 --> returns
                     `--- runs the tasks that can run; if there are none, jumps to the next deadline

Between two ticks, and after `advance`, no task runs: ordinary code acts there on a world that
stands still. No thread is started and no real time is waited for. The order of tasks that can run
at the same moment is drawn from `rng`, so one seed decides everything: trio's own switch for that,
made for Hypothesis, is turned on while this lives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from types import TracebackType
from typing import Any

import trio
from outcome import Outcome
from trio._core import _run
from trio.testing import MockClock

from dinemic_engine.errors import UsageError

_SWITCHES = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r")


class VirtualTime:
    """Tasks on virtual time; a context manager. One at a time in a thread.

    `between` is called after every tick.
    """

    def __init__(self, rng: Random, between: Callable[[], None] = lambda: None) -> None:
        self._rng = rng
        self._between = between
        self._ticks: deque[Callable[[], object]] = deque()
        self._nursery: trio.Nursery | None = None
        self._ended: Outcome[Any] | None = None
        self._ticking = False
        self._before: dict[str, Any] = {}
        self._clock = MockClock(autojump_threshold=0)
        self._began = self._clock.current_time()

    def __enter__(self) -> VirtualTime:
        settings = vars(_run)
        self._before = {name: settings[name] for name in _SWITCHES}
        settings.update(zip(_SWITCHES, (True, self._rng), strict=True))
        try:
            trio.lowlevel.start_guest_run(
                self._main,
                run_sync_soon_threadsafe=self._ticks.append,
                run_sync_soon_not_threadsafe=self._ticks.append,
                done_callback=self._done,
                host_uses_signal_set_wakeup_fd=True,
                clock=self._clock,
            )
        except BaseException:
            settings.update(self._before)
            raise
        while self._nursery is None:
            self._tick()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
            while self._ended is None:
                self._tick()
        finally:
            vars(_run).update(self._before)
        if error is None:
            self._ended.unwrap()

    def now(self) -> float:
        """Seconds since this began."""
        return self._clock.current_time() - self._began

    def start(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Begin a task; an error that it raises ends the run, and is raised by `advance`."""
        assert self._nursery is not None
        self._nursery.start_soon(task, *args)

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            UsageError: called from inside of a task.
        """
        self.wait(lambda: False, seconds)

    def wait(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until something holds, asked after every tick; whether it came to that."""
        if self._ticking:
            raise UsageError("time already passes: a callback cannot make it pass")
        if holds():
            return True
        scope = trio.CancelScope()
        over = trio.Event()

        async def alarm() -> None:
            with scope:
                await trio.sleep(seconds)
                over.set()

        self.start(alarm)
        while not over.is_set():
            self._tick()
            if holds():
                scope.cancel()
                return True
        return False

    def _tick(self) -> None:
        if self._ended is not None:
            self._ended.unwrap()
            raise UsageError("this run is over")
        self._ticking = True
        try:
            self._ticks.popleft()()
            self._between()
        finally:
            self._ticking = False

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def _done(self, outcome: Outcome[Any]) -> None:
        self._ended = outcome
