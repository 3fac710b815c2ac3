"""What a hostile case is made of: the cast, the log they share, and the words for verdicts.

A `Case` is an honest log and what somebody adds who means ill, as signed bytes, each with the
verdict the rules give it. `hostile_access` and `hostile_sealing` are the tables; the tests put
every row through every entrance there is. Who is in the cast has an object of that id, so that
what is done by events can be tried by handles too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import cbor2

import dinemic
from dinemic_engine import sealing
from dinemic_engine.canonical import Value
from dinemic_engine.edits import Set
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event, open_envelope_untrusted
from dinemic_engine.ids import EventId, ObjectId, db_id
from dinemic_engine.ops import ADMIN, READ, UPDATE, Epoch, Policy
from support import event_bytes, graphs
from support.graphs import OWNER, Actor, T, actor, child, genesis


class Person(dinemic.DModel):
    """The model of every object in the tables."""

    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)
    bonus = dinemic.DField("bonus", True)


# -- verdicts --------------------------------------------------------------------------------------

STANDS: Final = "authorized"
FREE: Final = "unauthorized"
"""Let in by an open rule."""
VOID: Final = "AUTH-4"
CLOSED: Final = "AUTH-5"
FLOOD: Final = "AUTH-4, as many as are kept"
"""Void, and one of more than a node keeps (REC-1)."""
WAITS: Final = "waits"
"""For a parent that nobody admits."""

Verdict: TypeAlias = Reason | str


# -- what a user tries -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """The same by a handle: `do` with a handle that `by` acts with.

    Where the rules refuse the event, it raises `error`, and an `UpdateRejected` names the rule.
    Where they make it void, it succeeds, for nothing is known yet that speaks against it.
    """

    by: Actor
    do: Callable[[Person], object]
    error: type[Exception] = dinemic.UpdateRejected


@dataclass(frozen=True)
class Case:
    """One way to break in, and what comes of it."""

    log: Sequence[Event]
    """What honest nodes have; the first event begins the object the case is about."""
    hostile: Mapping[Event | bytes, Verdict]
    """What is added, in the order it is sent, and what becomes of it."""
    api: Attempt | str
    """How a user would try, or why he cannot."""
    late: Sequence[Event] = ()
    """The part of `log` that the hostile author had not seen, and that may arrive after it."""
    shown: Mapping[str, Value] = field(default_factory=lambda: {"name": "Bob"})
    """What whoever may read finds in each field afterwards."""
    unreadable: Mapping[str, Sequence[Actor]] = field(default_factory=dict)
    """Readers for whom a field raises `Unreadable` afterwards."""
    removed: bool = False

    @property
    def object(self) -> ObjectId:
        """The object the case is about."""
        return self.log[0].object

    @property
    def before(self) -> list[Event]:
        """What the hostile author had seen, and perhaps more, but nothing of `late`."""
        return [event for event in self.log if event not in self.late]

    @property
    def judged(self) -> dict[bytes, Verdict]:
        """`hostile` by the signed bytes."""
        return {
            each.raw if isinstance(each, Event) else each: verdict
            for each, verdict in self.hostile.items()
        }

    @property
    def refused(self) -> dict[EventId, Reason]:
        """The hostile events that are refused, by id."""
        return {
            open_envelope_untrusted(raw).id: verdict
            for raw, verdict in self.judged.items()
            if isinstance(verdict, Reason)
        }


# -- the cast --------------------------------------------------------------------------------------


def _resident(somebody: Actor) -> Actor:
    """An actor whose subject is an object there is."""
    return replace(somebody, subject=genesis(by=somebody).object)


CHIEF, CLERK, READER, STRANGER = map(
    _resident, (graphs.CHIEF, graphs.CLERK, graphs.READER, graphs.STRANGER)
)
SECOND: Final = _resident(actor("a second chief"))
CAST: Final = (CHIEF, SECOND, CLERK, READER, STRANGER)
"""Two admins, a writer, a reader, and somebody without any right."""

HOMES: Final = tuple(genesis(by=each) for each in CAST)
"""The objects of the cast."""


def home(who: Actor) -> str:
    """The full id of the object that is `who`."""
    return db_id("Person", who.subject)


# -- the log they share ----------------------------------------------------------------------------

GRANTS: Final = (
    CHIEF.grant(ADMIN),
    SECOND.grant(ADMIN),
    CLERK.grant(UPDATE),
    READER.grant(READ),
)


def begun(policy: Policy | None = None) -> list[Event]:
    """An object with the whole team, and a name its owner gave it."""
    first = genesis(*GRANTS, policy=policy)
    return [first, child(first, OWNER, Set("name", "Bob"))]


LOG: Final = begun()
WALL: Final = begun(Policy(is_open=True))
"""The same, open to everybody."""


def write(of: Event | Sequence[Event], by: Actor, t: int | None = None, to: str = "name") -> Event:
    """Somebody writes his own name into a field."""
    return child(of, by, Set(to, by.name), t=t)


def forged(of: Event, by: Actor, *ops: list[object]) -> bytes:
    """The bytes of an event well signed by `by`, whatever its ops hold."""
    payload = cbor2.dumps([1, of.object, by.id, of.t + 1, [of.id], list(ops)], canonical=True)
    return event_bytes.envelope(payload, by.key.sign(event_bytes.sig_structure(payload)))


def epoch(of: Event, *readers: Actor, key: bytes = b"k" * 32) -> Epoch:
    """An EPOCH on the object of `of`, its key sealed to each of `readers`."""
    return sealing.make_epoch(of.object, key, {each.id: each.sealing.public for each in readers})


LATER: Final = T + 50
"""When a revocation is dated, to leave room before it."""
