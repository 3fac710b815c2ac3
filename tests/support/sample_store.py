"""A small store with at least one row of every kind, made through the one entrance.

Three objects of three models. The first has three writers, a fork that was merged, a branch that
was not, writes to one field that no other saw, a stranger's write, a sealed field, a dict, a
counter, a set and a list that two began at once, every role, and events that arrived later than
younger ones. The second was removed. The third was closed and lost its clerk: of the clerk's three
events one stands, one is void with an effective event upon it, and one is inert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dinemic_engine import sealing
from dinemic_engine.edits import (
    CounterAdd,
    Delete,
    DictSet,
    Element,
    ListDelete,
    ListInsert,
    ListSet,
    Set,
    SetAdd,
    Span,
)
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.ops import (
    ADMIN,
    READ,
    SUITE_X25519,
    UPDATE,
    Create,
    Grant,
    Op,
    Policy,
    Remove,
    Revoke,
    SetPolicy,
)
from dinemic_engine.outcomes import Admitted
from dinemic_engine.store import Store

T0: Final = 1_700_000_000_000_000
"""Time of the first event, 2023-11-14T22:13:20Z; the others follow a second apart."""
SECOND: Final = 1_000_000


def signing_key(number: int) -> SigningKey:
    """The same key for the same number."""
    return SigningKey(bytes([number]) * 32)


def sealing_key(number: int) -> SealingKey:
    """The same key for the same number."""
    return SealingKey(bytes([number]) * 32)


@dataclass(frozen=True)
class Sample:
    """What the store holds. Events are in order of arrival."""

    person: ObjectId
    note: ObjectId
    desk: ObjectId
    owner: SigningKey
    owner_sealing: SealingKey
    chief: SigningKey
    chief_sealing: SealingKey
    chief_object: ObjectId
    admin: SigningKey
    stranger: SigningKey
    events: tuple[Event, ...]
    named: dict[str, Event]


def fill(store: Store) -> Sample:
    """Put the sample into an empty store."""
    owner, chief, admin, stranger = (signing_key(number) for number in (1, 2, 3, 4))
    owner_sealing, chief_sealing, admin_sealing = (sealing_key(number) for number in (1, 2, 3))
    chief_object = ObjectId(bytes([0xC]) * 32)
    named: dict[str, Event] = {}

    def sign(
        name: str,
        key: SigningKey,
        seconds: int,
        ops: Sequence[Op],
        *parents: str,
        to: ObjectId | None = None,
    ) -> Event:
        stands_on = [EventId(named[parent].id) for parent in parents]
        event = sign_event(key, to, T0 + seconds * SECOND, stands_on, ops)
        named[name] = event
        return event

    def grant(role: int, key: SigningKey, sealer: SealingKey) -> Grant:
        public = AuthorId(key.public)
        return Grant(role, chief_object, public, SUITE_X25519, sealer.public)

    def albums(*values: str) -> ListInsert:
        return ListInsert("albums", None, True, len(values), values)

    policy = Policy(fields=(("guestbook", True),))
    create = Create("Person", SUITE_X25519, owner_sealing.public, policy)
    genesis = sign(
        "genesis",
        owner,
        0,
        [create, grant(READ, chief, chief_sealing), grant(UPDATE, chief, chief_sealing)],
    )
    person = genesis.object
    epoch_key = bytes([9]) * 32
    readers = {
        AuthorId(owner.public): owner_sealing.public,
        AuthorId(chief.public): chief_sealing.public,
    }
    epoch = sealing.make_epoch(person, epoch_key, readers)
    salary = sealing.seal(person, b"value_salary", epoch.commit, epoch_key, bytes(16), "44321")
    sign("bob", owner, 1, [Set("name", "Bob")], "genesis", to=person)
    visit = sealing.seal(person, b"counter_visits", epoch.commit, epoch_key, bytes(16), 1)
    salary_ops: list[Op] = [
        epoch,
        Set("salary", salary),
        DictSet("phones", "home", "555"),
        CounterAdd("visits", visit),
        SetAdd("tags", "kind"),
    ]
    sign("salary", owner, 2, salary_ops, "bob", to=person)
    robert: list[Op] = [Set("name", "Robert"), Set("age", 44), albums("Blue")]
    sign("robert", chief, 3, robert, "salary", to=person)
    green = Element(b"", 1, 0)
    bobby: list[Op] = [
        Set("name", "Bobby"),
        albums("Green", "Red"),
        ListSet("albums", green, "Kind of Green"),
        ListDelete("albums", (Span(green._replace(at=1), 1),)),
    ]
    sign("bobby", owner, 4, bobby, "salary", to=person)
    sign("merge", owner, 5, [Set("town", "Kraków"), Delete("age")], "robert", "bobby", to=person)
    sign("hello", stranger, 6, [Set("guestbook", "hello")], "merge", to=person)
    sign("admin", owner, 7, [grant(ADMIN, admin, admin_sealing)], "merge", to=person)
    sign("by admin", admin, 8, [grant(READ, admin, admin_sealing)], "admin", to=person)
    # the owner's key again on an older log, as after a restored backup: another chain (AUTH-7)
    sign("restored", owner, 9, [Set("town", "Gdynia")], "salary", to=person)
    note_create = Create("Note", SUITE_X25519, owner_sealing.public, Policy(is_open=True))
    note = sign("note", stranger, 0, [note_create, Set("text", b"\x00\xff")]).object
    sign("removed", stranger, 5, [Remove()], "note", to=note)
    clerk = chief
    desk_create = Create("Desk", SUITE_X25519, owner_sealing.public, Policy(is_open=True))
    desk_ops: list[Op] = [
        desk_create,
        *(grant(role, clerk, chief_sealing) for role in (READ, UPDATE)),
    ]
    desk = sign("desk", owner, 0, desk_ops).object
    desk_epoch = sealing.make_epoch(desk, epoch_key, readers)
    sign("kept", clerk, 1, [desk_epoch, Set("tray", "kept")], "desk", to=desk)
    ended: list[Op] = [Revoke(role, AuthorId(clerk.public)) for role in (READ, UPDATE)]
    sign("dismissed", owner, 2, ended, "kept", to=desk)
    sign("closed", owner, 3, [SetPolicy(Policy())], "dismissed", to=desk)
    sign("void", clerk, 4, [Set("tray", "unseen")], "kept", to=desk)
    sign("seen", owner, 5, [Set("lamp", "on")], "closed", "void", to=desk)
    sign("inert", clerk, 6, [Set("tray", "lost")], "void", to=desk)

    arrival = (
        ["genesis"],
        ["bob", "salary", "bobby"],
        ["note"],
        ["robert", "merge"],
        ["restored"],
        ["admin", "by admin"],
        ["removed"],
        ["hello"],
        ["desk", "kept", "void", "inert"],
        ["dismissed", "closed"],
        ["seen"],
    )
    ledger = Ledger(store)
    events: list[Event] = []
    for batch in arrival:
        proposal = ledger.prepare([named[name] for name in batch], T_US_MAX)
        assert all(isinstance(outcome, Admitted) for outcome in proposal.outcomes)
        ledger.accept(proposal)
        events += [named[name] for name in batch]
        if batch == ["robert", "merge"]:
            ledger.flush()
            ledger.indexes.begin("Person", "value_name")
    return Sample(
        person,
        note,
        desk,
        owner,
        owner_sealing,
        chief,
        chief_sealing,
        chief_object,
        admin,
        stranger,
        tuple(events),
        named,
    )


def add_inert(store: Store, sample: Sample, count: int) -> None:
    """More inert events on the desk, as a node keeps them while something may stand upon them."""
    ledger = Ledger(store)
    parent = sample.named["inert"]
    for number in range(count):
        parent = sign_event(
            sample.chief, sample.desk, parent.t + 1, [EventId(parent.id)], [Set("tray", number)]
        )
        proposal = ledger.prepare([parent], T_US_MAX, lifted=None)
        assert proposal.admitted[0].inert
        ledger.accept(proposal)
