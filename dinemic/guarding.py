"""Guards between the log and what this node shows (VETO-1).

An event of somebody else that a guard wants to see is admitted and passed on at once; its effect
waits (`dinemic_engine.vetoes`). The guards are asked on a worker, the events of one object one
after another in their order, so that those in its past are answered when one is asked about, and
what they are told is what its author saw (VETO-2)::

    intake --withheld--> w row --wake--> worker: asked, answer --> gate: shown, or vetoed for good

A local edit asks them itself, in its own thread, before there is an event (`authoring`). It takes
its turn among the events of the object, so a guard that blocks holds up edits of that object, and
nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from dinemic.gate import Gate
from dinemic_engine.errors import DinemicError
from dinemic_engine.event import Event
from dinemic_engine.guards import Asked
from dinemic_engine.ids import short
from dinemic_engine.vetoes import Veto

_log = logging.getLogger(__name__)

REFUSED_MAX: Final = 1024
"""Refused events that guards are yet to be told of; beyond this the oldest go untold."""


class Guards(Protocol):
    """The guards of a node, as far as this module knows them."""

    @property
    def guarding(self) -> bool:
        """Whether there are any."""

    def guarded(self, model: str, event: Event, authorized: bool | None = None) -> bool:
        """Whether one of them may want to see the event; quick, and never wrong with no."""

    def ask(self, asked: Asked, *, local: bool) -> Veto | None:
        """Ask those that match, in this thread; the first refusal, or None."""

    def is_away(self, asked: Asked, *, local: bool = False) -> bool:
        """Whether one that matches belongs to this home, and was not applied in this process."""

    def wake(self, object_id: bytes) -> None:
        """See to it that `Guarding.judge` is called for an object, on a worker."""


class Guarding:
    """Asks the guards about events that wait for them."""

    def __init__(self, gate: Gate, guards: Guards) -> None:
        self._gate = gate
        self._guards = guards
        self._lock = threading.Lock()
        self._turns: dict[bytes, _Turn] = {}
        self._refused: deque[Event] = deque(maxlen=REFUSED_MAX)

    @property
    def guards(self) -> Guards:
        """Those asked."""
        return self._guards

    def resume(self) -> None:
        """Begin with the events that waited when the node was closed."""
        for object_id in self._gate.ledger.objects_waiting():
            self._guards.wake(object_id)

    @contextmanager
    def turn(self, object_id: bytes) -> Iterator[None]:
        """The right to ask about events of an object: one thread at a time."""
        with self._lock:
            turn = self._turns.setdefault(object_id, _Turn())
            turn.wanted += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.wanted -= 1
                if not turn.wanted:
                    del self._turns[object_id]

    @contextmanager
    def own_turn(self, object_id: bytes) -> Iterator[None]:
        """The turn for an edit made here: on top of what waited, which is answered first."""
        with self.turn(object_id):
            self.judge_waiting(object_id)
            yield

    def judge(self, object_id: bytes) -> None:
        """Ask about events of an object that wait, in their order; of no object: see `refused`."""
        if not object_id:
            self.tell_refused()
            return
        with self.turn(object_id):
            self.judge_waiting(object_id)

    def judge_waiting(self, object_id: bytes) -> None:
        """As `judge`; it is the caller's turn."""
        gate = self._gate
        while (event := gate.ledger.waiting(object_id)) is not None:
            asked = gate.ledger.asked(event)
            if self._guards.is_away(asked):
                return  # fail closed: it goes on when that guard is applied again, or taken away
            veto = self._guards.ask(asked, local=False)
            with gate.lock:
                gate.accept(gate.ledger.answer(event, veto))
                gate.counters.vetoed += veto is not None
            gate.written()
            if veto is not None:
                what = f"{asked.model} {short(event.object)}"
                _log.info("event %s of %s: vetoed by %s", short(event.id), what, veto.guard)

    def refused(self, event: Event) -> None:
        """Tell the guards, on a worker, of an event that was refused by the rules of its object.

        Of one that points at nothing there is nothing to tell.
        """
        if self._guards.guarding and not event.is_genesis:
            self._refused.append(event)
            self._guards.wake(b"")

    def tell_refused(self) -> None:
        """Ask about what was refused; what they answer changes nothing."""
        while self._refused:
            event = self._refused.popleft()
            try:
                self._guards.ask(self._gate.ledger.asked(event), local=False)
            except DinemicError as error:
                _log.debug("of a refused event %s: %s", short(event.id), error)


class _Turn:
    """A lock, and how many hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.wanted = 0
