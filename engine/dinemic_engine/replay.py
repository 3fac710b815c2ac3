"""An object as it would be: its log folded again in key order, up to a time or without somebody.

Key order is replay order (order.py), so a replay is the log fed once more through the one entrance
into an empty store. What is left out needs a rule, because every later event has it in its past:

    a <-- b <-- c        without b:        a <-- c'

Dropping all that came after would leave out nearly everything, and answer another question. So the
graph is *contracted*: c keeps its id, time and ops, and stands on what b stood on. It had seen all
of that, which is what the rules ask about. Every event is judged again on the contracted past; one
that got its right from what is gone (a grant, an epoch) is refused and in its turn left out in the
same way. Invariant: past(e) in the replay = past(e) in the log, without the events left out.

Without its genesis there is no object; the replay then holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from itertools import takewhile

from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId, short
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.outcomes import Admitted, Refused
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An event of the log that has no part in a replay."""

    event: EventId
    reason: str
    """``asked``, ``no genesis``, or the rule it breaks without the others, in words."""


@dataclass(frozen=True, slots=True)
class Refolded:
    """The state after a replay, and which events it does without."""

    view: View
    left_out: tuple[LeftOut, ...]


def replay(
    view: View,
    object_id: bytes,
    *,
    until: int | None = None,
    without: Set[bytes] = frozenset(),
) -> View:
    """One object as its events up to the time `until` (microseconds, included) make it.

    Events whose id or author is in `without` are left out, as the module describes. Takes time and
    memory for the whole log; the store behind `view` is not touched.

    Raises:
        UnknownObject: no such object here.
        StoreCorrupt: the log is not closed under parents.
    """
    events = (logged.event for logged in view.history(object_id))
    return refold(upto(events, until), without).view


def upto(events: Iterable[Event], until: int | None) -> Iterable[Event]:
    """Those of `events`, which come in key order, whose time is not after `until`."""
    return events if until is None else takewhile(lambda event: event.t <= until, events)


def refold(events: Iterable[Event], without: Set[bytes] = frozenset()) -> Refolded:
    """Fold one object's events, given in key order, as `replay` does.

    Raises:
        StoreCorrupt: an event's parent did not come before it.
    """
    store = MemoryStore()
    ledger = Ledger(store)
    left_out: list[LeftOut] = []
    stands_on: dict[bytes, tuple[EventId, ...]] = {}
    """What an event that was left out leaves its children to stand on."""
    for event in events:
        parents = _contracted(event, stands_on)
        if event.id in without or event.author in without:
            reason = "asked"
        elif event.parents and not parents:
            reason = "no genesis"
        else:
            standing = event if parents == event.parents else replace(event, parents=parents)
            proposal = ledger.prepare([standing], T_US_MAX, lifted=None)
            match proposal.outcomes[0]:
                case Admitted():
                    ledger.accept(proposal)
                    continue
                case Refused(error=error):
                    reason = str(error)
                case _:
                    raise StoreCorrupt(f"event {short(event.id)} comes before its parents")
        stands_on[event.id] = parents
        left_out.append(LeftOut(event.id, reason))
    return Refolded(View(store), tuple(left_out))


def _contracted(event: Event, stands_on: dict[bytes, tuple[EventId, ...]]) -> tuple[EventId, ...]:
    """The event's parents with each one that was left out replaced by what it stood on."""
    if stands_on.keys().isdisjoint(event.parents):
        return event.parents
    parents: set[EventId] = set()
    for parent in event.parents:
        parents.update(stands_on.get(parent, (parent,)))
    return tuple(sorted(parents))
