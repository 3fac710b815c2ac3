"""What goes on behind a node's back: group commit, held events when due, signing again together."""

from __future__ import annotations

import logging
import threading
from typing import Final

from dinemic.batcher import Batcher
from dinemic.gate import Gate
from dinemic.intake import Intake
from dinemic_engine.errors import StoreError

_log = logging.getLogger(__name__)

GROUP_COMMIT_S: Final = 0.007
"""How long writes are gathered before one flush: with a flush of 1 to 2 ms, within 10 ms."""

QUIET_S: Final = 1.0
"""How long nothing is written before a node thinks of those who will catch up with it."""


class Keeper:
    """Keeps a node going until `closing` is set: `run` on a thread, or its parts by hand."""

    def __init__(
        self, gate: Gate, intake: Intake, batcher: Batcher, closing: threading.Event
    ) -> None:
        self._gate = gate
        self._intake = intake
        self._batcher = batcher
        self._closing = closing

    def run(self) -> None:
        """Keep going; returns when the node closes."""
        while not self._closing.is_set():
            if self._gate.wake.wait(self.due_s()):
                self._gate.wake.clear()
                self._closing.wait(GROUP_COMMIT_S)
                self.flush()
            else:
                self.sign_together()
            self.judge_held()

    def due_s(self) -> float | None:
        """Seconds until there is something to do if nothing is written; None: there is not."""
        due = self._intake.waiting.next_due_us()
        quiet_s = QUIET_S if self._batcher.has_work else None
        if due is None:
            return quiet_s
        due_s = max(0.0, (due - self._gate.now_us()) / 1e6) + 0.001
        return due_s if quiet_s is None else min(due_s, quiet_s)

    @property
    def is_called(self) -> bool:
        """Whether something was written, or must wait, since the last `answer`."""
        return self._gate.wake.is_set()

    def answer(self) -> bool:
        """Be no longer called; whether that was so, and all that is written is to be flushed."""
        called = self._gate.wake.is_set()
        self._gate.wake.clear()
        return called

    def flush(self) -> None:
        """Put on disk what was written; a failure is remembered by the gate."""
        try:
            self._gate.flush()
        except StoreError as error:
            _log.error("what was written may not survive a power cut: %s", error)

    def sign_together(self, *, to_the_end: bool = False) -> None:
        """Put one signature over many of what was made lately, until something is written."""
        try:
            self._batcher.sign_together(to_the_end=to_the_end)
        except StoreError as error:  # they stay signed one by one, which is as good
            _log.info("events were not signed together: %s", error)

    def judge_held(self) -> None:
        """Let in the held events that are due.

        The lock is taken only when there are some: a thread that waits for it makes every writer
        that lets go of it wake that thread, which costs a busy writer a quarter of its speed.
        """
        due = self._intake.waiting.next_due_us()
        if due is None or due > self._gate.now_us():
            return
        with self._gate.lock:
            ready = [] if self._closing.is_set() else self._intake.waiting.due(self._gate.now_us())
        try:
            self._intake.judge(ready)
        except StoreError as error:  # reconciliation brings them again
            _log.error("%d events that had been held were not kept: %s", len(ready), error)
