"""What becomes of an event that is judged: the answers of `dinemic_engine.ledger`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId
from dinemic_engine.store.layout import AUTHORIZED, VOID
from dinemic_engine.types.change import Change
from dinemic_engine.vetoes import Veto


class Admitted(NamedTuple):
    """The event enters the log, with effect or without. A tuple: one is made for every event."""

    event: Event
    model: str
    flags: int
    """`layout.AUTHORIZED`, or why it is void: `REVOKED` (AUTH-4) or `CLOSED` (AUTH-5)."""
    inert: bool = False
    """Void, and nothing effective was built on it: it is not passed on (REC-1)."""
    flipped: tuple[tuple[Event, int], ...] = ()
    """Events whose verdict it changed, with their flags now."""
    revived: tuple[EventId, ...] = ()
    """Inert events that count again with it, so that they are passed on after all."""
    changes: tuple[Change, ...] = ()
    """What a reader sees changed by it, if that was asked for."""
    withheld: bool = False
    """It waits for this node's guards, and has no effect here before they answered."""

    @property
    def authorized(self) -> bool:
        """AUTH-5's flag."""
        return bool(self.flags & AUTHORIZED)

    @property
    def void(self) -> bool:
        """Whether it has no effect (T2)."""
        return bool(self.flags & VOID)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The event is in the log already."""

    event: Event


@dataclass(frozen=True, slots=True)
class Refused:
    """No node ever admits the event (T1)."""

    event: Event
    error: InvalidEvent


@dataclass(frozen=True, slots=True)
class Orphan:
    """Parents are unknown here; judged when they come (ORD-9)."""

    event: Event
    missing: tuple[EventId, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """Dated too far ahead of this node's clock; judged when due (ORD-4)."""

    event: Event


@dataclass(frozen=True, slots=True)
class Surplus:
    """Void, and its author has enough inert events here: not kept unless it is needed (REC-1)."""

    event: Event


@dataclass(frozen=True, slots=True)
class Answered:
    """The guards let an event pass that had waited for them, or refused it."""

    event: Event
    model: str
    flags: int
    veto: Veto | None
    changes: tuple[Change, ...]
    """What a reader sees changed by it."""


Withhold: TypeAlias = Callable[[str, Event, bool], bool]
"""Whether an event of an object of that model waits for this node's guards; it is authorized?"""

Outcome: TypeAlias = Admitted | Duplicate | Refused | Orphan | Ahead | Surplus | Answered


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a batch of received events, by position in the batch where it matters."""

    admitted: int
    duplicate: int
    waiting: int
    """Parents unknown, or dated ahead: kept for now, nobody's fault (ORD-4, ORD-9)."""
    invalid: tuple[tuple[int, str], ...]
    """(position, reason) of events the sender should never have passed on: T0 and T1 refusals."""
    missing: tuple[bytes, ...] = ()
    """Ids of the parents that those waiting lack, and that do not wait themselves."""
