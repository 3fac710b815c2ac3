"""The gate every change goes through: one lock, one batch, then listeners and peers are told.

    local edit (authoring) ----.
    peers, bundles (intake) ---+--> Ledger.prepare --> Gate.accept --> listeners, peers
    guards' answers (guarding) '    `------ under one lock ------'

The lock is held for as long as it takes to judge and write a batch, and never while user code or
the network runs. Reads take none. What a batch makes visible is queued for the listeners in the
batch itself, so no notification is lost between the two.

Durability by `flush` on a thread: a write that returned is in the operating system's hands (it
survives kill -9) and on disk within `keeper.GROUP_COMMIT_S` and the flush; with
``durability="sync"`` before it returns.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dinemic.deliveries import Cause
from dinemic_engine.errors import ClockOff, StoreError
from dinemic_engine.event import Event
from dinemic_engine.guards import is_detached
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import CLOCK_OFF_US
from dinemic_engine.outcomes import Admitted, Answered
from dinemic_engine.proposal import Proposal
from dinemic_engine.store import Store
from dinemic_engine.store.layout import AUTHORIZED
from dinemic_engine.types.change import Change
from dinemic_engine.view import View

if TYPE_CHECKING:
    from dinemic.listeners import Listeners
    from dinemic.net import Network


@dataclass(slots=True)
class Counters:
    """What went through, in events."""

    authored: int = 0
    admitted: int = 0
    duplicate: int = 0
    void: int = 0
    flipped: int = 0
    vetoed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Gate:
    """The one way into a node's store."""

    def __init__(
        self, store: Store, durability: str, clock: Callable[[], int] | None = None
    ) -> None:
        self.view: Final = View(store)
        self.ledger: Final = Ledger(store)
        self.lock: Final = threading.RLock()
        self.counters: Final = Counters()
        self.network: Network | None = None
        self.listeners: Listeners
        """Set once, by the node."""
        self.flush_failure = ""
        """Why an earlier write did not reach the disk."""
        self.wake: Final = threading.Event()
        """Set when something was written, or must wait: the keeper has work."""
        self._durability = durability
        self._clock = clock

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, by this host's clock or the one that was given."""
        return _now_us() if self._clock is None else self._clock()

    def check_clock(self) -> None:
        """Return if this host's clock is about that of the peers, as far as they say (ORD-5).

        Raises:
            ClockOff: it is not; nothing is authored until it is set.
        """
        behind_us = self.network.clock_behind_us if self.network is not None else None
        if behind_us is not None and abs(behind_us) > CLOCK_OFF_US:
            raise ClockOff(behind_us)

    def check_flushed(self) -> None:
        """Return if every flush so far succeeded.

        Raises:
            StoreError: one did not; nothing more is authored.
        """
        if self.flush_failure:
            raise StoreError(f"an earlier write did not reach the disk: {self.flush_failure}")

    def prepare(
        self,
        events: Sequence[Event],
        lifted: Container[bytes] | None,
        now_us: int | None = None,
    ) -> Proposal:
        """Judge events of others; what guards want to see first is withheld. Under the lock."""
        return self.ledger.prepare(
            events,
            self.now_us() if now_us is None else now_us,
            lifted,
            withhold=self.listeners.guarded if self.listeners.guarding else None,
            watched=self.listeners.watching,
        )

    def prepare_own(self, event: Event) -> Proposal:
        """Judge an event of our own, which the guards were asked about before. Under the lock."""
        watched = self.listeners.watching
        return self.ledger.prepare([event], self.now_us(), lifted=None, watched=watched)

    def index(self, model: str, stored: str) -> None:
        """Index a register of a model from now on, under the lock if it is not yet.

        Raises:
            StoreError: it could not be written.
        """
        if stored not in self.ledger.indexes.of(model):
            with self.lock:
                self.ledger.indexes.begin(model, stored)
            self.written()

    def accept(self, proposal: Proposal, *, local: bool = False) -> None:
        """Write a proposal, and tell listeners and peers; the caller holds the lock.

        Raises:
            StoreError: nothing was written.
        """
        changes: list[tuple[Cause, Sequence[Change]]] = []
        if proposal.watched:
            changes = [self._caused(each, local) for each in proposal.changing if each.changes]
            if changes:
                proposal.rows.rows.update(self.listeners.deliveries(changes))
        self.ledger.accept(proposal)
        if changes:
            self.listeners.sent()
        for each in proposal.admitted:
            if each.withheld:
                self.listeners.wake(each.event.object)
            if each.flipped:
                self.counters.flipped += len(each.flipped)
        if self.network is not None:
            self._announce(self.network, proposal.admitted)

    def _caused(self, outcome: Admitted | Answered, local: bool) -> tuple[Cause, Sequence[Change]]:
        """What an event made visible, and the event as listeners are told of it."""
        event = outcome.event
        row = None if event.is_genesis else self.view.find(event.object)
        detached = row is not None and is_detached(event, row[1].owner)
        authorized = bool(outcome.flags & AUTHORIZED)
        cause = Cause(outcome.model, event.object, event.id, authorized, detached, local)
        return cause, outcome.changes

    def _announce(self, network: Network, admitted: Sequence[Admitted]) -> None:
        """Hand admitted events to the network, which never blocks."""
        by_model: dict[str, list[bytes]] = {}
        for each in admitted:
            events = by_model.setdefault(each.model, [])
            events += [found[1] for found in map(self.view.raw, each.revived) if found is not None]
            if not each.inert:  # else nobody needs it (REC-1)
                events.append(each.event.raw)
        for model, events in by_model.items():
            if events:
                network.announce(model, events)

    def written(self) -> None:
        """Something was written or must wait: flush now, or let the keeper do it soon."""
        if self._durability == "sync":
            self.flush()
        if not self.wake.is_set():  # else the keeper has yet to clear it, and to flush after that
            self.wake.set()

    def flush(self) -> None:
        """On return everything written before is on disk.

        Raises:
            StoreError: it is not; it is remembered, for a later success says nothing about it.
        """
        try:
            self.ledger.flush()
        except StoreError as error:
            self.flush_failure = str(error)
            raise


def _now_us() -> int:
    return time.time_ns() // 1000
