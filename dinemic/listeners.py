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
from dinemic.deliveries import Cause, Deliveries, Delivery
from dinemic.filters import compile_filter
from dinemic.guards import Guards
from dinemic.registry import NewRows, Registered, Registry
from dinemic.workers import THREADS_MAX, Workers
from dinemic_engine.errors import DinemicError, NotLaunched, UsageError
from dinemic_engine.event import Event
from dinemic_engine.guards import Asked
from dinemic_engine.ids import short, to_text
from dinemic_engine.types.change import Change
from dinemic_engine.vetoes import Veto

if TYPE_CHECKING:
    from dinemic.actions import DAction

__all__ = ["Cause", "ListenerHost", "Listeners", "ListenersStatus", "in_guard"]

_log = logging.getLogger(__name__)

STOP_S: Final = 5.0
"""How long the end of a node waits for callbacks that run."""
_TOLD_AT_ONCE: Final = 16
"""Changes read together from one queue; each may be 2 MiB."""


class ListenersStatus(NamedTuple):
    """What listeners do, since the node was opened."""

    applied: int
    """Listeners, once for each filter."""
    away: int
    """Those that an earlier process applied and this one did not."""
    queued: int
    """Changes that listeners, away or not, are still to be told of."""
    delivered: int
    """Changes they were told of."""
    failed: int
    """Calls of after-callbacks that raised."""
    dropped: int
    """Changes nobody is told of, because a listener was too far behind."""
    judging: int
    """Objects with events that guards are asked about, or soon will be."""


class Listeners:
    """The listeners of one node. Any thread may call anything.

    Without `threads` nobody is asked about events of peers or told of changes but by `step`. A
    `relay` has none.
    """

    def __init__(self, host: ListenerHost, *, threads: bool = True, relay: bool = False) -> None:
        self._host = host
        self._relay = relay
        self._registry = Registry(host.scan_rows, host.write_rows)
        self._guards = Guards(self._registry, host)
        self._deliveries = Deliveries(self._registry, host.scan_rows, host.write_rows)
        most = THREADS_MAX if threads else 0
        self._tellers: Workers[int] = Workers("dinemic-listener", self._tell_some, most)
        self._judges: Workers[bytes] = Workers("dinemic-guard", self._judge, most)
        self._changing = threading.RLock()
        """Held by whoever applies or revokes; never while user code runs."""
        self._counting = threading.Lock()
        self._delivered = 0
        self._failed = 0
        self._stopped = False

    def start(self) -> None:
        """Find in the store who listened before, and what those are still to be told.

        Raises:
            StoreError: the store cannot be read.
        """
        self._deliveries.load(self._registry.load())

    # -- who listens --------------------------------------------------------------------------

    def apply(self, listener: DAction, filter: str) -> None:
        """Let `listener` hear of what `filter` matches; nothing if it does already.

        What waits for one of its class and filter from before is told to it now.

        Raises:
            ValueError: a malformed filter.
            TypeError: a callback that is a coroutine or a generator, and so would never run.
            StoreError: it could not be kept; nothing was changed.
            UsageError: the node is a relay, or was shut down (`NotLaunched`).
        """
        if self._relay:
            raise UsageError("this node is a relay: it passes everything on and judges nothing")
        compiled = compile_filter(filter)
        callbacks = listener.overridden()
        name, applied = name_of(listener), Applied(listener, contextvars.copy_context())
        with self._changing:
            self._check_running()
            if self._registry.applied(listener, filter) is None:
                dropped = self._registry.open(name, compiled, callbacks, applied)
                if dropped:
                    _log.warning(
                        "%s under %s was away too long: the oldest %d changes it is not told of",
                        name,
                        filter,
                        dropped,
                    )
                if families(callbacks, "after"):
                    self._tellers.wake(id(listener))
                if families(callbacks, "before"):
                    self._host.resume()

    def revoke(self, listener: DAction, filter: str) -> None:
        """Let `listener` hear no more under `filter`, and drop what waits; nothing if unknown.

        A call that runs meanwhile ends by itself. A listener that is not applied stands for those
        of its class that an earlier process applied.

        Raises:
            StoreError: it may be back in the next process.
            NotLaunched: the node was shut down.
        """
        with self._changing:
            self._check_running()
            found = self._registry.applied(listener, filter)
            ended = [found] if found else self._registry.away(name_of(listener), filter)
            for registered in ended:
                self._registry.forget(registered)
                self._deliveries.erase(registered)
            if any(families(registered.callbacks, "before") for registered in ended):
                self._host.resume()

    def names(self) -> list[tuple[str, str]]:
        """(``module.Class``, filter) of each listener applied, in the order of that."""
        return [
            (found.known.name, found.known.filter) for found in self._registry.all() if found.at
        ]

    def _check_running(self) -> None:
        if self._stopped:
            raise NotLaunched("this node was shut down, and its listeners with it")

    # -- asking -------------------------------------------------------------------------------

    @property
    def guarding(self) -> bool:
        """Whether there are any guards, applied or away."""
        return self._registry.has("before")

    def guarded(self, model: str, event: Event, authorized: bool | None = None) -> bool:
        """Whether a guard may want to see an event; see `Guards.guarded`."""
        return self._guards.guarded(model, event, authorized)

    def is_away(self, asked: Asked, *, local: bool = False) -> bool:
        """Whether a guard that would be asked is not applied in this process."""
        return self._guards.is_away(asked, local=local)

    def ask(self, asked: Asked, *, local: bool) -> Veto | None:
        """What the guards say to an event, asked in this thread; see `Guards.ask`."""
        return self._guards.ask(asked, local=local)

    def wake(self, object_id: bytes) -> None:
        """See to it that the host's `judge` is called for an object, on a worker."""
        self._judges.wake(object_id)

    def _judge(self, object_id: bytes) -> bool:
        self._host.judge(object_id)
        return False

    # -- telling ------------------------------------------------------------------------------

    @property
    def watching(self) -> bool:
        """Whether anybody is told of changes, in this process or a later one."""
        return self._registry.has("after")

    def deliveries(self, changes: Iterable[tuple[Cause, Sequence[Change]]]) -> NewRows:
        """Rows for the batch that makes `changes` visible; the caller holds the lock of writing."""
        return self._deliveries.rows(changes, self._host.owned)

    def sent(self) -> None:
        """The batch with the last `deliveries` was written; under the same lock."""
        for registered in self._deliveries.sent():
            if registered.at:
                self._tellers.wake(registered.at)

    def _tell_some(self, at: int) -> bool:
        """Tell a listener what waits, as much as is read at once; whether there may be more."""
        mine = [found for found in self._registry.all() if found.at == at]
        waiting = self._deliveries.waiting(mine, _TOLD_AT_ONCE)
        for registered, seq, delivery in waiting:
            applied = registered.applied
            if applied is None:  # revoked since
                continue
            if self._stopped or not self._tell(registered, applied, delivery):
                return False
            self._deliveries.done(registered, seq)
        return bool(waiting)

    def _tell(self, registered: Registered, applied: Applied, delivery: Delivery) -> bool:
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
        family, failed = delivery.family, 0
        names = called(family, "after", authorized=delivery.authorized, owned=delivery.owned)
        for name in names:
            if name not in registered.callbacks or registered.applied is None:
                continue
            try:
                args = arguments(self._host, family, model, event, delivery.change)
                applied.call(name, context, *args, guard=False)
            except BaseException as error:  # noqa: BLE001 - user code; it is logged
                if self._stopped and isinstance(error, DinemicError):
                    return False  # the node went down under it: the next process tells it again
                failed += 1
                _log.exception(
                    "%s.%s failed for event %s...", registered.known.name, name, short(event.id)
                )
        with self._counting:
            self._delivered += 1
            self._failed += failed
        return True

    @property
    def busy(self) -> bool:
        """Whether somebody waits to be asked or told, or is; takes no lock."""
        return self._judges.busy or self._tellers.busy

    def step(self) -> bool:
        """Ask or tell whoever waits longest, in this thread; False if nobody waits."""
        return self._judges.step() or self._tellers.step()

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
        self._guards.stop()
        ended = [
            workers.stop(max(0.0, end - time.monotonic()))
            for workers in (self._judges, self._tellers)
        ]
        return all(ended)

    def status(self) -> ListenersStatus:
        """Counters."""
        with self._counting:
            delivered, failed = self._delivered, self._failed
        everybody = self._registry.all()
        applied = sum(found.at != 0 for found in everybody)
        return ListenersStatus(
            applied,
            len(everybody) - applied,
            self._deliveries.queued(),
            delivered,
            failed,
            self._deliveries.dropped,
            self._judges.waiting(),
        )


def name_of(listener: DAction) -> str:
    """What a listener is known by in the next process: ``module.Class``."""
    return f"{type(listener).__module__}.{type(listener).__qualname__}"
