"""The admitted events of one object, what each had seen, and the order (section 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reference.events import Event
from reference.shapes import Op, OpArray


@dataclass(frozen=True)
class Placed:
    """An op where it stands: ops are in order by (t, event id, position)."""

    event: Event
    position: int
    op: OpArray

    @property
    def key(self) -> tuple[int, bytes, int]:
        """Its place in the order (ORD-3)."""
        return *self.event.key, self.position


@dataclass
class Log:
    """Events by id, closed under parents (ORD-1), the genesis among them."""

    genesis: Event
    events: dict[bytes, Event] = field(default_factory=dict)
    _pasts: dict[bytes, frozenset[bytes]] = field(default_factory=dict)

    @property
    def owner(self) -> bytes:
        """The key that signed the genesis."""
        return self.genesis.author

    @property
    def model(self) -> str:
        """The name of the object's model."""
        return str(self.genesis.ops[0][1])

    @property
    def suite(self) -> int:
        """The object's suite, that of CREATE (SEAL-1)."""
        return int(self.genesis.ops[0][2][0])

    def past(self, event: Event) -> frozenset[bytes]:
        """`past(e)`: the ids reachable through parents, without e itself. All parents are here.

        The past of an event never changes, so it is worked out once.
        """
        if event.id not in self._pasts:
            above = (self.past(self.events[parent]) | {parent} for parent in event.parents)
            self._pasts[event.id] = frozenset().union(*above)
        return self._pasts[event.id]

    def has_seen(self, event: Event, other: Event) -> bool:
        """Whether `other` is in the past of `event`, or is it."""
        return other.id in self.past(event) or other.id == event.id

    def ordered(self, among: Iterable[bytes] | None = None) -> list[Event]:
        """Events in the order of ORD-3; all of them, or some."""
        chosen = self.events if among is None else among
        return sorted((self.events[each] for each in chosen), key=lambda event: event.key)

    def ops(self, among: Iterable[bytes], *kinds: Op) -> Iterator[Placed]:
        """The ops of some kinds, in the order."""
        for event in self.ordered(among):
            for position, op in enumerate(event.ops):
                if op[0] in kinds:
                    yield Placed(event, position, op)
