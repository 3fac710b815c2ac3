"""Events that cannot be judged yet, or are not wanted yet: three buffers in memory, bounded.

*Orphans* lack parents (ORD-9), *held* events are dated ahead of the clock (ORD-4), *surplus* is the
inert rest of a revoked writer's events (REC-1). Dropping from them is safe, reconciliation brings
an event again; so when a bound is reached something is dropped and nothing is blamed. Nothing in
here is admitted, forwarded, fingerprinted or named as a parent.

Surplus is needed if an author who had not seen the revocation built something effective upon it.
Such an event is then here, an orphan by somebody who may write: it *vouches* for its object. While
one is here the bound on the object's inert events is lifted. A revoked writer cannot vouch. And
there is always one that does where surplus is needed: take the first effective event, in the order,
that is missing here for want of void parents. Its author's grant is effective and comes before it,
so it is here; a revocation that ends the grant has seen the event, so were it here, the event were.
What vouches must not be crowded out: it takes the room of what does not, from the same source.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dinemic_engine import limits
from dinemic_engine.event import Event


@dataclass(slots=True)
class _Usage:
    events: int = 0
    octets: int = 0


class _OrphanKept(NamedTuple):
    source: bytes
    event: Event
    lacking: set[bytes]
    vouches: bool


@dataclass(slots=True)
class Waiting:
    """Orphans by the parents they lack, held events by the time they are due."""

    _orphans: dict[bytes, _OrphanKept] = field(default_factory=dict)
    _by_parent: dict[bytes, set[bytes]] = field(default_factory=dict)
    _held: list[tuple[int, bytes, bytes, Event]] = field(default_factory=list)
    _held_ids: set[bytes] = field(default_factory=set)
    _surplus: dict[bytes, dict[bytes, tuple[bytes, Event]]] = field(default_factory=dict)
    """(source, event) by object and id."""
    _vouched: Counter[bytes] = field(default_factory=Counter)
    """How many orphans vouch for an object; only objects with one."""
    _usage: dict[bytes, _Usage] = field(default_factory=dict)
    _octets: int = 0

    def __len__(self) -> int:
        return len(self._orphans) + len(self._held) + sum(map(len, self._surplus.values()))

    def __contains__(self, event_id: bytes) -> bool:
        return (
            event_id in self._orphans
            or event_id in self._held_ids
            or any(event_id in surplus for surplus in self._surplus.values())
        )

    def counts(self) -> tuple[int, int]:
        """(waiting for parents, held until due)."""
        return len(self._orphans), len(self._held)

    @property
    def vouched(self) -> Collection[bytes]:
        """The objects an orphan vouches for: their surplus is needed."""
        return self._vouched.keys()

    def add_orphan(
        self, source: bytes, event: Event, missing: Iterable[bytes], *, vouches: bool = False
    ) -> bool:
        """Keep an event until its missing parents come; False if there is no room for it."""
        known = self._orphans.get(event.id)
        if known is not None:
            if not vouches or known.vouches:
                return True
            self._drop_orphan(event.id)  # its author's grant has come since
        if not self._take(source, event):
            if not vouches:
                return False
            self._drop_idle(source)
            if not self._take(source, event):
                return False
        lacking = set(missing)
        self._orphans[event.id] = _OrphanKept(source, event, lacking, vouches)
        self._vouched.update([event.object] * vouches)
        for parent in lacking:
            self._by_parent.setdefault(parent, set()).add(event.id)
        return True

    def add_surplus(self, source: bytes, event: Event) -> bool:
        """Keep an event until something vouches for its object; False if there is no room."""
        kept = self._surplus.get(event.object, {})
        if event.id in kept:
            return True
        if not self._take(source, event):
            return False
        self._surplus.setdefault(event.object, kept)[event.id] = (source, event)
        return True

    def needed(self) -> list[tuple[bytes, Event]]:
        """(source, event) of the surplus that something vouches for by now; not kept any more."""
        found = [self._surplus.pop(name, {}) for name in self._vouched if name in self._surplus]
        ready = [kept for surplus in found for kept in surplus.values()]
        for source, event in ready:
            self._give_back(source, event)
        return ready

    def hold(self, source: bytes, event: Event) -> bool:
        """Keep an event dated ahead until it is due; False if there is no room for it."""
        if event.id in self._held_ids:
            return True
        if not self._take(source, event):
            return False
        self._held_ids.add(event.id)
        heapq.heappush(self._held, (event.t, event.id, source, event))
        return True

    def arrived(self, ids: Sequence[bytes]) -> list[tuple[bytes, Event]]:
        """(source, event) of orphans that lack nothing more now that `ids` are admitted."""
        ready: list[tuple[bytes, Event]] = []
        for parent in ids:
            for orphan in self._by_parent.pop(parent, ()):
                kept = self._orphans[orphan]
                kept.lacking.discard(parent)
                if not kept.lacking:
                    self._drop_orphan(orphan)
                    ready.append((kept.source, kept.event))
        return ready

    def due(self, now_us: int) -> list[tuple[bytes, Event]]:
        """(source, event) of held events that may be judged at `now_us`."""
        ready: list[tuple[bytes, Event]] = []
        while self._held and self._held[0][0] <= now_us + limits.HOLD_US:
            _, event_id, source, event = heapq.heappop(self._held)
            self._held_ids.discard(event_id)
            self._give_back(source, event)
            ready.append((source, event))
        return ready

    def forget(self, source: bytes) -> None:
        """Drop what came from a source that is gone: its share is free for others again."""
        self._drop_idle(source)
        for event_id in [key for key, kept in self._orphans.items() if kept.source == source]:
            self._drop_orphan(event_id)
        gone = [entry for entry in self._held if entry[2] == source]
        self._held = [entry for entry in self._held if entry[2] != source]
        heapq.heapify(self._held)
        for _, event_id, _, event in gone:
            self._held_ids.discard(event_id)
            self._give_back(source, event)

    def next_due_us(self) -> int | None:
        """When `due` next has something, in microseconds since the epoch."""
        held = self._held  # asked without the lock
        return held[0][0] - limits.HOLD_US if held else None

    def _drop_orphan(self, event_id: bytes) -> None:
        source, event, lacking, vouches = self._orphans.pop(event_id)
        for parent in lacking:
            children = self._by_parent[parent]
            children.discard(event_id)
            if not children:
                del self._by_parent[parent]
        if vouches:
            self._vouched[event.object] -= 1
            if not self._vouched[event.object]:
                del self._vouched[event.object]
        self._give_back(source, event)

    def _drop_idle(self, source: bytes) -> None:
        """Drop a source's surplus, and its orphans that do not vouch."""
        for kept in list(self._orphans.values()):
            if kept.source == source and not kept.vouches:
                self._drop_orphan(kept.event.id)
        for name, surplus in list(self._surplus.items()):
            for event_id, (giver, event) in list(surplus.items()):
                if giver == source:
                    del surplus[event_id]
                    self._give_back(source, event)
            if not surplus:
                del self._surplus[name]

    def _take(self, source: bytes, event: Event) -> bool:
        usage = self._usage.setdefault(source, _Usage())
        size = len(event.raw)
        if (
            usage.events >= limits.ORPHANS_PER_SOURCE_MAX
            or usage.octets + size > limits.ORPHAN_BYTES_PER_SOURCE_MAX
            or self._octets + size > limits.ORPHAN_BYTES_MAX
        ):
            if usage.events == 0:
                del self._usage[source]
            return False
        usage.events += 1
        usage.octets += size
        self._octets += size
        return True

    def _give_back(self, source: bytes, event: Event) -> None:
        usage = self._usage[source]
        usage.events -= 1
        usage.octets -= len(event.raw)
        self._octets -= len(event.raw)
        if usage.events == 0:
            del self._usage[source]
