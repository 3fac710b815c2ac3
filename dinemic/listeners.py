"""The listeners of a node: who is asked before a change, who is told after it, and by whom.

Guards are asked in the thread that needs the answer (guards.py): a local edit's caller, or a worker
that judges what came from peers. After-callbacks are called by workers from queues in the store
(deliveries.py): those of one listener one after another, in the order things happened, listeners
side by side. No lock of the node is held while user code runs, so it may read everything and, after
a change, write.

A listener that is applied under two filters is called under each of them, as two would be.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from dinemic.callbacks import (
    Applied,
    Context,
    ListenerHost,
    arguments,
    called,
    families,
    in_guard,
)
from dinemic.deliveries import Cause, Deliveries, Delivery, NewRows, Queue, family_of
from dinemic.filters import compile_filter
from dinemic.guards import Asked, Guards, Veto
from dinemic.workers import Workers
from dinemic_engine.errors import DinemicError, NotLaunched
from dinemic_engine.ids import short, to_text
from dinemic_engine.types.change import Change

if TYPE_CHECKING:
    from dinemic.actions import DAction

__all__ = ["Asked", "Cause", "ListenerHost", "Listeners", "ListenersStatus", "Veto", "in_guard"]

_log = logging.getLogger(__name__)

STOP_S: Final = 5.0
"""How long the end of a node waits for callbacks that run."""
_TOLD_AT_ONCE: Final = 16
"""Changes read together from one queue; each may be 2 MiB."""


class ListenersStatus(NamedTuple):
    """What listeners do, since the node was opened."""

    applied: int
    """Listeners, once for each filter."""
    queued: int
    """Changes listeners are still to be told of, those not applied here too."""
    delivered: int
    """Changes they were told of."""
    failed: int
    """Calls of after-callbacks that raised."""
    dropped: int
    """Changes nobody is told of, because a listener was too far behind."""
    waiting: int
    """Objects with events that guards are asked about, or are to be."""


class Listeners:
    """The listeners applied to one node. Any thread may call anything."""

    def __init__(self, host: ListenerHost) -> None:
        self.guards: Final = Guards(host)
        self._host = host
        self._deliveries = Deliveries(host.scan_rows, host.write_rows)
        self._changing = threading.RLock()
        """Held by whoever applies or revokes; never while user code runs."""
        self._applied: dict[tuple[int, str], Applied] = {}
        """By id() of the listener and filter, in the order of `apply`."""
        self._told: dict[int, dict[Queue, Applied]] = {}
        """Who is told from which queue, by id() of the listener."""
        self._tellers: Workers[int] = Workers("dinemic-listener", self._tell_some)
        self._judges: Workers[bytes] = Workers("dinemic-guard", self._judge)
        self._counting = threading.Lock()
        self._delivered = 0
        self._failed = 0
        self._stopped = False

    def start(self) -> None:
        """Find in the store what listeners of before are still to be told.

        Raises:
            StoreError: the store cannot be read.
        """
        self._deliveries.load()

    # -- who listens --------------------------------------------------------------------------

    def apply(self, listener: DAction, filter: str) -> None:
        """Let `listener` hear of what `filter` matches; nothing if it does already.

        What waits for one of its class and filter from before is told to it now.

        Raises:
            ValueError: a malformed filter.
            TypeError: a callback that is a coroutine or a generator, and so would never run.
            StoreError: it could not be kept; nothing was changed.
            NotLaunched: the node was shut down.
        """
        compiled = compile_filter(filter)
        callbacks = listener.overridden()
        at, name = id(listener), name_of(listener)
        with self._changing:
            self._check_running()
            if (at, filter) in self._applied:
                return
            taken = {
                found.nth
                for found in self._applied.values()
                if (found.name, found.filter.text) == (name, filter)
            }
            nth = next(number for number in range(1, len(taken) + 2) if number not in taken)
            applied = Applied(listener, name, compiled, nth, callbacks, contextvars.copy_context())
            if families(callbacks, "after"):
                queue = self._deliveries.open(name, compiled, nth, callbacks, at)
                self._told[at] = {**self._told.get(at, {}), queue: applied}
                self._tellers.wake(at)
            self._applied[at, filter] = applied
            self.guards.add(applied)

    def revoke(self, listener: DAction, filter: str) -> None:
        """Let `listener` hear no more under `filter`, and drop what waits; nothing if unknown.

        A call that runs meanwhile ends by itself. Of a listener that is not applied here, what
        waits for its class since an earlier process is dropped.

        Raises:
            StoreError: it may be back in the next process.
            NotLaunched: the node was shut down.
        """
        at = id(listener)
        with self._changing:
            self._check_running()
            applied = self._applied.pop((at, filter), None)
            if applied is None:
                for queue in self._deliveries.absent(name_of(listener), filter):
                    self._deliveries.erase(queue)
                return
            applied.revoked = True
            self.guards.remove(applied)
            told = self._told.pop(at, {})
            left = {queue: other for queue, other in told.items() if other is not applied}
            if left:
                self._told[at] = left
            for queue in told.keys() - left.keys():
                self._deliveries.erase(queue)

    def names(self) -> list[tuple[str, str]]:
        """(``module.Class``, filter) of each listener, in the order of `apply`."""
        with self._changing:
            return [(applied.name, applied.filter.text) for applied in self._applied.values()]

    def _check_running(self) -> None:
        if self._stopped:
            raise NotLaunched("this node was shut down, and its listeners with it")

    # -- telling ------------------------------------------------------------------------------

    @property
    def watching(self) -> bool:
        """Whether anybody is told of changes, in this process or a later one."""
        return bool(self._deliveries)

    def deliveries(self, changes: Iterable[tuple[Cause, Sequence[Change]]]) -> NewRows:
        """Rows for the batch that makes `changes` visible; the caller holds the lock of writing.

        ``Change("", "", None, key)`` is an object that became visible, with its owner's public key
        as it is.
        """
        return self._deliveries.rows(changes, self._host.owned)

    def wake(self, withheld: Iterable[bytes] = ()) -> None:
        """The batch with the last `deliveries` was written: begin to tell, and to ask.

        `withheld` are objects with events that guards have not seen. Called under the same lock.
        """
        if self._deliveries:
            for queue in self._deliveries.sent():
                if queue.listener:
                    self._tellers.wake(queue.listener)
        for object_id in withheld:
            self._judges.wake(object_id)

    def _judge(self, object_id: bytes) -> bool:
        self._host.judge_withheld(object_id)
        return False

    def _tell_some(self, at: int) -> bool:
        """Tell a listener what waits, as much as is read at once; whether there was any."""
        told = self._told.get(at, {})
        waiting = self._deliveries.waiting(list(told), _TOLD_AT_ONCE)
        for queue, seq, delivery in waiting:
            if self._stopped or not self._tell(told[queue], delivery):
                return False
            if not told[queue].revoked:
                self._deliveries.done(queue, seq)
        return bool(waiting)

    def _tell(self, applied: Applied, delivery: Delivery) -> bool:
        """Call what one change concerns; False if it was cut short by the end of the node."""
        model, event = self._host.event(delivery.event)
        context = Context(
            author=to_text(event.author),
            caller=self._host.caller_of(event.object, event.author),
            event=to_text(event.id),
            t=event.t,
            authorized=delivery.authorized,
            owned=delivery.owned,
            detached=delivery.detached,
            local=delivery.local,
            element=delivery.change.element,
            ops=event.ops,
        )
        family = family_of(delivery.change)
        failed = 0
        for name in called(family, "after", authorized=delivery.authorized, owned=delivery.owned):
            if name not in applied.callbacks or applied.revoked:
                continue
            try:
                args = arguments(self._host, family, model, event.object, delivery.change)
                applied.call(name, context, *args, guard=False)
            except BaseException as error:  # noqa: BLE001 - user code; it is logged
                if self._stopped and isinstance(error, DinemicError):
                    return False  # the node went down under it: the next process tells it again
                failed += 1
                _log.exception("%s.%s failed for event %s...", applied.name, name, short(event.id))
        with self._counting:
            self._delivered += 1
            self._failed += failed
        return True

    # -- the end ------------------------------------------------------------------------------

    def drain(self, timeout: float) -> bool:
        """Whether everything due was asked and told within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            for workers in (self._judges, self._tellers):
                if not workers.wait_idle(max(0.0, end - time.monotonic())):
                    return False
            if self._judges.wait_idle(0):
                return True

    def stop(self, timeout: float = STOP_S) -> bool:
        """Call nobody more; whether all calls ended within `timeout` seconds. Idempotent.

        What was not told waits in the store for the next process.
        """
        end = time.monotonic() + timeout
        self._stopped = True
        self.guards.stop()
        ended = [
            workers.stop(max(0.0, end - time.monotonic()))
            for workers in (self._judges, self._tellers)
        ]
        return all(ended)

    def status(self) -> ListenersStatus:
        """Counters."""
        with self._counting:
            delivered, failed = self._delivered, self._failed
        return ListenersStatus(
            len(self._applied),
            self._deliveries.queued,
            delivered,
            failed,
            self._deliveries.dropped,
            self._judges.waiting(),
        )


def name_of(listener: DAction) -> str:
    """What a listener is known by in the next process: ``module.Class``."""
    return f"{type(listener).__module__}.{type(listener).__qualname__}"
