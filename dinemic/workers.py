"""Threads for work that user code may block: what goes by one key one after another, keys apart.

A key that is woken is worked on once, soon; woken again while it waits it is worked on once all the
same, woken while it is worked on, once more after that. So there is never more to remember than the
keys, and the work itself looks up what there is to do. A key that hangs holds its thread and no
other; threads are made when there is nobody free, and never more than `threads_max`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_log = logging.getLogger(__name__)

THREADS_MAX: Final = 16

_Key = TypeVar("_Key")


class Workers(Generic[_Key]):
    """Call ``work(key)`` for every key woken; what returns True is worked on again, after others.

    The threads are daemons: a callback that never returns keeps no process from ending. With
    ``threads_max=0`` there are none, and `step` is the only one who works.
    """

    def __init__(
        self, name: str, work: Callable[[_Key], bool], threads_max: int = THREADS_MAX
    ) -> None:
        self._name = name
        self._work = work
        self._threads_max = threads_max
        self._lock = threading.Lock()
        self._work_there = threading.Condition(self._lock)
        self._work_done = threading.Condition(self._lock)
        self._ready: deque[_Key] = deque()
        self._wanted: set[_Key] = set()
        """The keys in `_ready`, and those to be put there when their run ends."""
        self._running: dict[_Key, threading.Thread] = {}
        self._threads: list[threading.Thread] = []
        self._free = 0
        self._stopped = False

    def wake(self, key: _Key) -> None:
        """See to it that work on `key` begins after this call; nothing once stopped."""
        with self._lock:
            if self._stopped or key in self._wanted:
                return
            self._wanted.add(key)
            if key not in self._running:
                self._put(key)

    def step(self) -> bool:
        """Work in this thread on the key that waits longest; False if none waits."""
        with self._lock:
            if not self._ready:
                return False
            key = self._begin()
        self._end(key, more=self._worked(key))
        return True

    @property
    def busy(self) -> bool:
        """Whether there is work, done or to be done; takes no lock."""
        return bool(self._wanted or self._running)

    def waiting(self) -> int:
        """Keys that are worked on or wait for it."""
        with self._lock:
            return len(self._running.keys() | self._wanted)

    def wait_idle(self, timeout: float | None) -> bool:
        """Whether everything woken was done within `timeout` seconds; None: however long.

        The work of the calling thread, if it is one of these, does not count.
        """
        with self._lock:
            self._work_done.wait_for(
                lambda: not self._others() and not (self._ready and self._threads), timeout
            )
            return not self._others() and not self._ready

    def stop(self, timeout: float) -> bool:
        """Begin nothing more; whether what runs ended within `timeout` seconds. Idempotent."""
        with self._lock:
            self._stopped = True
            self._wanted.clear()
            self._ready.clear()
            self._work_there.notify_all()
            ended = self._work_done.wait_for(lambda: not self._others(), timeout)
            busy = set(self._running.values())
        for thread in self._threads:
            if thread not in busy:
                thread.join()  # it has nothing left to do but to end
        return ended

    def _others(self) -> bool:
        """Whether another thread than this works."""
        me = threading.current_thread()
        return any(thread is not me for thread in self._running.values())

    def _put(self, key: _Key) -> None:
        """Let a free thread work on `key`, or a new one, or whichever is free first."""
        self._ready.append(key)
        if len(self._ready) > self._free and len(self._threads) < self._threads_max:
            name = f"{self._name}-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the interpreter is ending, or the machine has no more
                _log.info("no thread %s: %s", name, error)
            else:
                self._threads.append(thread)
                self._free += 1
        self._work_there.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._work_there.wait_for(lambda: self._ready or self._stopped)
                if self._stopped:
                    return
                key = self._begin()
            self._end(key, more=self._worked(key))

    def _begin(self) -> _Key:
        """Take the key that waits longest; the caller holds the lock."""
        key = self._ready.popleft()
        self._wanted.discard(key)
        self._running[key] = threading.current_thread()
        self._free -= 1
        return key

    def _worked(self, key: _Key) -> bool:
        """Work; whether there is more."""
        try:
            return self._work(key)
        except BaseException:  # noqa: BLE001 - the next key must not suffer from it
            _log.exception("%s left its work", self._name)
            return False

    def _end(self, key: _Key, *, more: bool) -> None:
        with self._lock:
            self._free += 1
            del self._running[key]
            if more and not self._stopped:
                self._wanted.add(key)
            if key in self._wanted:
                self._put(key)
            self._work_done.notify_all()
