"""A replica written from docs/format.md alone: raw events in, what becomes of them out.

    raw -> T0 events.py (spelling.py, keys.py)
        -> held, waiting, or T1 admission.py (scope.py over log.py)
        -> T2 and state objects.py (fugue.py), what is compared digests.py, what opens opening.py

It is the judge of everything fast: it shares no line with the library, keeps nothing between two
questions, and works everything out from the whole set of events each time. Of rules that are of one
node only (T3: quotas, guards) it knows the clock.

An event that breaks several rules is refused for all of them; a node names one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reference import digests
from reference.admission import broken_rules
from reference.events import Event, open_event
from reference.log import Log
from reference.objects import Object

HOLD_US = 60_000_000
"""How far ahead of the clock an event may be (ORD-4)."""


@dataclass
class Judged:
    """What a set of events comes to."""

    malformed: dict[bytes, frozenset[str]] = field(default_factory=dict)
    """By the raw bytes: the rules of T0 that are broken."""
    refused: dict[bytes, frozenset[str]] = field(default_factory=dict)
    """By id: the rules of T1 that are broken."""
    admitted: dict[bytes, Event] = field(default_factory=dict)
    """By id."""
    waiting: set[bytes] = field(default_factory=set)
    """Ids of events some parent of which is not admitted (ORD-9)."""
    ahead: set[bytes] = field(default_factory=set)
    """Ids of events that are held till the clock allows them (ORD-4)."""
    objects: dict[bytes, Object] = field(default_factory=dict)
    """By id, removed ones too."""

    def models(self) -> set[str]:
        """The models of the objects."""
        return {obj.log.model for obj in self.objects.values()}

    def fingerprint(self, model: str, *, effective: bool = False) -> tuple[int, bytes]:
        """(count, wire form) of the events of a model that count, or that are effective (REC-1)."""
        return digests.fingerprint(key[1] for key in self.keys(model, effective=effective))

    def heads_digest(self, model: str) -> tuple[int, bytes]:
        """(count, wire form) of the heads of the objects of a model (REC-2)."""
        return digests.heads_digest(obj for obj in self.objects.values() if obj.log.model == model)

    def keys(self, model: str, *, effective: bool = False) -> list[tuple[int, bytes]]:
        """(t, id) of these events, in the order."""
        return sorted(
            event.key
            for obj in self.objects.values()
            if obj.log.model == model
            for event in (
                obj.effective if effective else map(self.admitted.__getitem__, obj.counting)
            )
        )

    def digest(self) -> bytes:
        """The digest of the whole node (VETO-4)."""
        return digests.digest_of_all(self.objects.values())


def judge(events: Iterable[bytes], now_us: int) -> Judged:
    """What becomes of raw events, in whatever order they came, at a time in microseconds."""
    judged = Judged()
    logs: dict[bytes, Log] = {}
    left: dict[bytes, Event] = {}
    for raw in events:
        event = open_event(raw)
        if isinstance(event, frozenset):
            judged.malformed[raw] = event
        elif event.t > now_us + HOLD_US:
            judged.ahead.add(event.id)
        else:
            left[event.id] = event  # the same id in another envelope is the same event (EV-2)
    while ready := [e for e in left.values() if judged.admitted.keys() >= {*e.parents}]:
        for event in ready:
            del left[event.id]
            log = _log_for(event, logs, judged.admitted)
            if rules := broken_rules(event, judged.admitted, log):
                judged.refused[event.id] = frozenset(rules)
            else:
                logs[event.object] = log
                log.events[event.id] = judged.admitted[event.id] = event
    judged.waiting = set(left)
    judged.objects = {object_id: Object(log) for object_id, log in logs.items()}
    return judged


def _log_for(event: Event, logs: dict[bytes, Log], admitted: dict[bytes, Event]) -> Log:
    """The log of the object that the parents of an event are of; of a genesis, its own."""
    if not event.parents:
        return Log(event)
    return logs[admitted[event.parents[0]].object]
