"""One object's events folded into an empty store, believing nothing but the events.

What every audit rests on: each event goes through the one entrance again, and what cannot go in is
told as a finding. An event that cannot be judged makes those after it unjudgeable; their number is
told once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dinemic_engine.event import Event
from dinemic_engine.findings import Findings
from dinemic_engine.ids import ObjectId
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.outcomes import Admitted, Orphan, Refused
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View


@dataclass(frozen=True, slots=True)
class Folded:
    """What the events of one object make."""

    store: MemoryStore
    digest: bytes | None
    """The object's shared digest; None if its genesis was not admitted."""
    complete: bool
    """Whether all of them were admitted."""


def order_of(event: Event) -> tuple[int, bytes]:
    """Where an event comes in its object's log (ORD-3)."""
    return event.t, event.id


def fold(
    object_id: ObjectId,
    events: Sequence[Event],
    findings: Findings,
    withheld: Container[bytes] = (),
) -> Folded:
    """Fold events of one object in the order given; what is wrong with them goes to `findings`.

    Events whose id is in `withheld` have no effect, as on a node whose guards refused them.
    """
    store = MemoryStore()
    ledger = Ledger(store)
    refused: set[bytes] = set()

    def admit(some: Iterable[Event]) -> list[Event]:
        """Admit one by one; those whose parents were not admitted before them."""
        waiting: list[Event] = []
        for event in some:
            proposal = ledger.prepare(
                [event], T_US_MAX, lifted=None, withhold=lambda _, event, __: event.id in withheld
            )
            match proposal.outcomes[0]:
                case Admitted():
                    ledger.accept(proposal)
                case Refused(error=error):
                    findings.add("event", str(error), object_id, event.id)
                    refused.add(event.id)
                case Orphan():
                    waiting.append(event)
                case other:
                    raise AssertionError(f"an event in a fresh store is never {other!r}")
        return waiting

    waiting = early = admit(events)
    if early:
        waiting = admit(sorted(early, key=order_of))
    unjudged = {event.id for event in waiting}
    for event in early:
        if event.id not in unjudged and event.id not in refused:
            findings.add("arrival", "arrived before its parents", object_id, event.id)
    if waiting:
        here = {event.id for event in events}
        lacking = {parent for event in waiting for parent in event.parents} - here
        for parent in sorted(lacking):
            findings.add("event", "is a parent, and is not there", object_id, parent)
        detail = f"{len(waiting)} events cannot be judged without others"
        findings.add("object", detail, object_id)
    digest = View(store).digest(object_id) if ledger.knows(object_id) else None
    return Folded(store, digest, not waiting and not refused)


def digest_of_all(digests: Mapping[ObjectId, bytes]) -> bytes:
    """What `View.digest_all` is of the objects whose shared digests these are."""
    digest = hashlib.sha256(b"dinemic/digests/1")
    for object_id in sorted(digests):
        digest.update(object_id + digests[object_id])
    return digest.digest()
