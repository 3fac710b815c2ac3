"""Events that cannot be judged yet: parents unknown, or dated ahead of the clock (ORD-4, ORD-9).

Both buffers are memory only and bounded. Dropping from them is safe, reconciliation brings an
event again; so when a bound is reached the newest arrival is dropped and nothing is blamed.
Nothing in here is admitted, forwarded, fingerprinted or named as a parent.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dinemic_engine import limits
from dinemic_engine.event import Event


@dataclass(slots=True)
class _Usage:
    events: int = 0
    octets: int = 0


@dataclass(slots=True)
class Waiting:
    """Orphans by the parents they lack, held events by the time they are due."""

    _orphans: dict[bytes, tuple[bytes, Event, set[bytes]]] = field(default_factory=dict)
    _by_parent: dict[bytes, set[bytes]] = field(default_factory=dict)
    _held: list[tuple[int, bytes, bytes, Event]] = field(default_factory=list)
    _held_ids: set[bytes] = field(default_factory=set)
    _usage: dict[bytes, _Usage] = field(default_factory=dict)
    _octets: int = 0

    def __len__(self) -> int:
        return len(self._orphans) + len(self._held)

    def counts(self) -> tuple[int, int]:
        """(waiting for parents, held until due)."""
        return len(self._orphans), len(self._held)

    def add_orphan(self, source: bytes, event: Event, missing: Iterable[bytes]) -> bool:
        """Keep an event until its missing parents come; False if there is no room for it."""
        if event.id in self._orphans:
            return True
        if not self._take(source, event):
            return False
        lacking = set(missing)
        self._orphans[event.id] = (source, event, lacking)
        for parent in lacking:
            self._by_parent.setdefault(parent, set()).add(event.id)
        return True

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
                source, event, lacking = self._orphans[orphan]
                lacking.discard(parent)
                if not lacking:
                    del self._orphans[orphan]
                    self._give_back(source, event)
                    ready.append((source, event))
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
        for event_id in [key for key, kept in self._orphans.items() if kept[0] == source]:
            _, event, lacking = self._orphans.pop(event_id)
            for parent in lacking:
                children = self._by_parent[parent]
                children.discard(event_id)
                if not children:
                    del self._by_parent[parent]
            self._give_back(source, event)
        gone = [entry for entry in self._held if entry[2] == source]
        self._held = [entry for entry in self._held if entry[2] != source]
        heapq.heapify(self._held)
        for _, event_id, _, event in gone:
            self._held_ids.discard(event_id)
            self._give_back(source, event)

    def next_due_us(self) -> int | None:
        """When `due` next has something, in microseconds since the epoch."""
        return self._held[0][0] - limits.HOLD_US if self._held else None

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
