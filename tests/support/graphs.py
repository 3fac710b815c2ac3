"""Event graphs for tests: actors, sites that hold a log, random histories and a slow judge.

The judge shares no order, access or state code with the engine. `Judged` knows a log as a set of
events and walks parents for every question: slow, obvious, and that is its use.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from dinemic_engine import canonical
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ledger import Admitted, Ahead, Duplicate, Ledger, Orphan, Outcome, Refused
from dinemic_engine.ops import (
    ADMIN,
    READ,
    SUITE_X25519,
    UPDATE,
    Create,
    Delete,
    Epoch,
    Grant,
    Op,
    Policy,
    Remove,
    Set,
)
from dinemic_engine.store import Store, keyspace
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View
from dinemic_engine.waiting import Waiting

T = 1_700_000_000_000_000
"""When histories begin. `NOW` is late enough for none of their events to be held."""
NOW = T + 1_000_000_000


@dataclass(frozen=True)
class Actor:
    """Somebody with a signing key, a sealing key and an object id, all from a name."""

    name: str
    key: SigningKey
    sealing: SealingKey
    subject: ObjectId

    @property
    def id(self) -> AuthorId:
        """What this actor's events carry as author."""
        return AuthorId(self.key.public)

    def grant(self, role: int) -> Grant:
        """A GRANT of `role` to this actor."""
        return Grant(role, self.subject, self.id, SUITE_X25519, self.sealing.public)

    def create(self, model: str = "Person", policy: Policy | None = None) -> Create:
        """A CREATE of an object whose sealing key is this actor's."""
        return Create(model, SUITE_X25519, self.sealing.public, policy or Policy())


def actor(name: str) -> Actor:
    """The actor of that name: the same keys every time."""
    seed, private, subject = (
        hashlib.sha256(f"{use}/{name}".encode()).digest() for use in ("sign", "seal", "object")
    )
    return Actor(name, SigningKey(seed), SealingKey(private), ObjectId(subject))


OWNER, CHIEF, CLERK, READER, STRANGER = map(actor, ("owner", "chief", "clerk", "reader", "nobody"))
ACTORS = (OWNER, CHIEF, CLERK, READER, STRANGER)


def child(of: Event | Sequence[Event], by: Actor, *ops: Op, t: int | None = None) -> Event:
    """An event by `by` on top of one event or several, a microsecond later if not told."""
    parents = [of] if isinstance(of, Event) else list(of)
    later = max(parent.t for parent in parents) + 1
    ids = sorted({parent.id for parent in parents})
    return sign_event(by.key, parents[0].object, later if t is None else t, ids, ops)


def genesis(
    *ops: Op, by: Actor = OWNER, model: str = "Person", policy: Policy | None = None
) -> Event:
    """The first event of an object of `by`."""
    return sign_event(by.key, None, T, (), [by.create(model, policy), *ops])


def team(policy: Policy | None = None) -> Event:
    """A genesis with a chief (admin), a clerk (update) and a reader (read)."""
    grants = (CHIEF.grant(ADMIN), CLERK.grant(UPDATE), READER.grant(READ))
    return genesis(*grants, policy=policy)


# -- a site: one node's log ----------------------------------------------------------------------


@dataclass
class Site:
    """A ledger over a store, fed the way a node feeds it: what must wait waits, and is judged."""

    store: Store = field(default_factory=MemoryStore)
    waiting: Waiting = field(default_factory=Waiting)
    ledger: Ledger = field(init=False)
    view: View = field(init=False)
    refused: dict[EventId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        """A new ledger over the same store."""
        self.ledger = Ledger(self.store)
        self.view = View(self.store)

    def ingest(self, events: Sequence[Event], now: int = NOW) -> list[Outcome]:
        """Judge and keep a batch, then whatever waited for it; the outcomes of the batch."""
        first: list[Outcome] | None = None
        while events:
            proposal = self.ledger.prepare(events, now)
            self.ledger.accept(proposal)
            for outcome in proposal.outcomes:
                match outcome:
                    case Refused(event, error):
                        self.refused[event.id] = error.reason.value
                    case Orphan(event, missing):
                        assert self.waiting.add_orphan(b"site", event, missing)
                    case Ahead(event):
                        assert self.waiting.hold(b"site", event)
                    case Admitted() | Duplicate():
                        pass
            first = proposal.outcomes if first is None else first
            admitted = [outcome.event.id for outcome in proposal.admitted]
            events = [event for _, event in self.waiting.arrived(admitted)]
        return first or []

    def admit(self, *events: Event, now: int = NOW) -> None:
        """Ingest, and fail unless every event is admitted."""
        for outcome in self.ingest(events, now):
            assert isinstance(outcome, Admitted), outcome

    def verdict(self, event: Event, now: int = NOW) -> object:
        """True or False for an authorized or unauthorized event, else the reason it is refused."""
        (outcome,) = self.ledger.prepare([event], now).outcomes
        match outcome:
            case Admitted(authorized=authorized):
                return authorized
            case Refused(error=error):
                return error.reason
        return outcome

    def events(self) -> list[Event]:
        """Every admitted event, by object and order."""
        return [
            logged.event
            for _, object_id in self.view.objects(removed=True)
            for logged in self.view.history(object_id)
        ]

    def portable(self) -> dict[tuple[object, ...], object]:
        """Every row in a form without local numbers: equal for equal admitted sets."""
        return portable(self.store)


def portable(store: Store) -> dict[tuple[object, ...], object]:
    """The rows of a store with numbers of objects, models, chains and arrivals taken out.

    Rows that are nothing but local numbers (order of arrival, chains, vectors) are left out; what
    they stand for is judged by what is asked of them.
    """
    objects = {keyspace.unpack_u32(value): key[1:] for key, value in store.scan(b"O", b"P")}
    models = {keyspace.unpack_u32(value): key[1:] for key, value in store.scan(b"M", b"N")}
    found: dict[tuple[object, ...], object] = {}
    for key, value in store.scan(b"", b"m"):
        letter, number = key[:1], int.from_bytes(key[1:5], "big")
        match letter:
            case b"L" | b"C" | b"V":
                continue
            case b"E" | b"R" | b"S":
                found[letter, objects[number], key[5:]] = value
            case b"W":
                found[letter, objects[number], key[5:]] = None
            case b"G" | b"P":
                found[letter, objects[number], key[5:]] = value[12:]
            case b"H":
                heads = {(head.t, head.id) for head in keyspace.unpack_heads(value)}
                found[letter, objects[number]] = heads
            case b"N":
                row = keyspace.unpack_object(value)
                found[letter, objects[number]] = row._replace(model_no=0, chains=0)
            case b"I":
                place = keyspace.unpack_place(value)
                found[letter, key[1:]] = (objects[place.no], place.t, place.flags)
            case b"T" | b"F":
                found[letter, models[number], key[5:]] = value
            case b"B" | b"O" | b"M":
                found[letter, key[1:]] = None
            case _:
                raise AssertionError(f"a row of an unknown kind {letter!r}")
    return found


# -- random histories ----------------------------------------------------------------------------

FIELDS = ("a", "b", "open")
_COMMITS = tuple(hashlib.sha256(bytes((number,))).digest() for number in range(3))


def _epoch(commit: bytes, readers: Iterable[Actor]) -> Epoch:
    """An epoch that opens for nobody: whether it opens decides nothing (SEAL-6)."""
    recipients = sorted((reader.id, bytes(80)) for reader in readers)
    return Epoch(SUITE_X25519, commit, tuple(recipients))


_POLICIES = (Policy(), Policy(False, (("open", True),)), Policy(True, (("b", False),)))
_USUAL = ((CHIEF, ADMIN), (CLERK, UPDATE), (READER, READ), (CHIEF, READ), (CLERK, ADMIN))


def _op(rng: random.Random) -> Op:
    name = rng.choice(FIELDS)
    match rng.randrange(10):
        case 0 | 1 | 2 | 3:
            return Set(name, rng.randrange(4))
        case 4:
            return Set(name, canonical.Sealed(rng.choice(_COMMITS), bytes(16), b""))
        case 5 | 6:
            return Delete(name)
        case 7:
            return rng.choice(ACTORS).grant(rng.randint(READ, ADMIN))
        case 8:
            return _epoch(rng.choice(_COMMITS), rng.sample(ACTORS, rng.randint(1, 2)))
    return Remove() if rng.randrange(4) == 0 else Set(name, 9)


def history(
    seed: int, count: int, objects: int = 2, policies: Sequence[Policy] = _POLICIES
) -> list[Event]:
    """`count` events on a few objects by several authors, each after its parents.

    Anybody writes on top of anything: branches by one author, equal times, several heads, merges,
    events nobody admits and events on top of those. A few times and parents are wrong on purpose.
    A smaller count gives a prefix.
    """
    rng = random.Random(seed)
    judged = Judged()
    found: list[Event] = []
    for number in range(objects):
        owner = ACTORS[number]
        grants = [who.grant(role) for who, role in _USUAL if who is not owner and rng.randrange(2)]
        policy = rng.choice(policies)
        found.append(genesis(*grants, model=f"M{number % 2}", by=owner, policy=policy))
        judged.take(found[-1])
    for _ in range(count):
        base = rng.choice(found)
        kin = [event for event in found if event.object == base.object]
        if rng.randrange(12):  # on top of what nobody admits, nothing is admitted: mostly not
            kin = [event for event in kin if event.id in judged.admitted]
        # Mostly near the end, as in life; sometimes anywhere, as from a restored backup.
        near = kin[-4:] if rng.randrange(3) else kin
        parents = {event.id: event for event in rng.choices(near, k=rng.choice((1, 1, 2, 3)))}
        if rng.randrange(20) == 0:
            stray = rng.choice(found)
            parents[stray.id] = stray
        later = 0 if rng.randrange(20) == 0 else rng.choice((1, 1, 1, 2, 5))
        t = max(event.t for event in parents.values()) + later
        ops = [_op(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        by = rng.choice((OWNER, *ACTORS))
        found.append(sign_event(by.key, base.object, t, sorted(parents), ops))
        judged.take(found[-1])
    return found


def histories(
    count_max: int = 30, objects: int = 2, policies: Sequence[Policy] = _POLICIES
) -> st.SearchStrategy[list[Event]]:
    """Histories of at most `count_max` events after the genesis events."""
    counts = st.integers(1, count_max)
    return st.builds(history, SEEDS, counts, st.just(objects), st.just(policies))


SEEDS = st.integers(0, (1 << 64) - 1)


def delivery(events: Sequence[Event], seed: int) -> list[list[Event]]:
    """The events in some order, cut into batches, some of them twice."""
    rng = random.Random(seed)
    order = [*events, *rng.choices(events, k=rng.randrange(4))]
    rng.shuffle(order)
    whole = rng.random()
    batches: list[list[Event]] = [[]]
    for event in order:
        if batches[-1] and rng.random() > whole:
            batches.append([])
        batches[-1].append(event)
    return batches


# -- the slow judge ------------------------------------------------------------------------------


@dataclass
class Judged:
    """What a set of events comes to, by walking parents for every question."""

    admitted: dict[EventId, Event] = field(default_factory=dict)
    authorized: dict[EventId, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Judged:
        """Judge events in any order: each is taken when all its parents were admitted."""
        judged = cls()
        left = list(dict.fromkeys(events))
        while True:
            ready = [e for e in left if all(p in judged.admitted for p in e.parents)]
            if not ready:
                return judged
            for event in ready:
                left.remove(event)
                judged.take(event)

    def take(self, event: Event) -> bool:
        """Judge one event; whether it was admitted."""
        if not all(parent in self.admitted for parent in event.parents):
            return False
        verdict = self.judge(event)
        if verdict is not None:
            self.admitted[event.id] = event
            self.authorized[event.id] = verdict
        return verdict is not None

    def past(self, event: Event) -> set[EventId]:
        """Every event reachable through parents, without the event itself."""
        found: set[EventId] = set()
        front = list(event.parents)
        while front:
            at = front.pop()
            if at not in found:
                found.add(at)
                front += self.admitted[at].parents
        return found

    def judge(self, event: Event) -> bool | None:
        """Whether it is authorized, or None if it is refused (ORD-1, ORD-2, AUTH, SEAL-3)."""
        past = [self.admitted[at] for at in self.past(event)]
        if event.is_genesis:
            grants = [op for op in event.ops if isinstance(op, Grant)]
            return True if all(op.signing != event.author for op in grants) else None
        if any(e.object != event.object for e in past) or any(
            self.admitted[p].t >= event.t for p in event.parents
        ):
            return None
        first = next(e for e in past if e.is_genesis)
        owner, create = first.author, first.ops[0]
        assert isinstance(create, Create)
        policy = create.policy
        held = {(op.signing, op.role) for e in past for op in e.ops if isinstance(op, Grant)}
        beside = {op.signing for op in event.ops if isinstance(op, Grant) and op.role == READ}
        seen = {op.commit for e in [*past, event] for op in e.ops if isinstance(op, Epoch)}
        me = event.author
        writer = me == owner or bool({(me, UPDATE), (me, ADMIN)} & held)
        fine = False
        for op in event.ops:
            match op:
                case Set(name, value):
                    fine = writer or dict(policy.fields).get(name, policy.is_open)
                    if isinstance(value, canonical.Sealed) and not policy.is_open:
                        fine = fine and value.epoch in seen
                case Delete(name):
                    fine = writer or dict(policy.fields).get(name, policy.is_open)
                case Grant(role, _, signing):
                    fine = me == owner or ((me, ADMIN) in held and role != ADMIN)
                    fine = fine and signing != owner
                case Epoch(_, _, recipients):
                    fine = writer and all(
                        reader == owner or reader in beside or (reader, READ) in held
                        for reader, _ in recipients
                    )
                case Remove():
                    fine = writer
                case Create():
                    fine = False
            if not fine:
                return None
        return writer

    def heads(self, object_id: bytes) -> list[EventId]:
        """Ids of the object's events that nothing admitted names as a parent, sorted."""
        own = [event for event in self.admitted.values() if event.object == object_id]
        named = {parent for event in own for parent in event.parents}
        return sorted(event.id for event in own if event.id not in named)

    def removed(self, object_id: bytes) -> bool:
        """Whether a REMOVE stands."""
        return any(
            isinstance(op, Remove)
            for event in self.admitted.values()
            if event.object == object_id
            for op in event.ops
        )

    def writes(self, object_id: bytes, name: str) -> list[tuple[int, EventId, int]]:
        """(t, id, op) of every write of a field, the largest first."""
        return sorted(
            (
                (event.t, event.id, index)
                for event in self.admitted.values()
                if event.object == object_id
                for index, op in enumerate(event.ops)
                if isinstance(op, Set | Delete) and op.field == name
            ),
            reverse=True,
        )

    def conflicts(self, object_id: bytes, name: str) -> list[tuple[int, EventId, int]]:
        """The writes that no other write had seen, the largest first (ORD-6)."""
        writes = self.writes(object_id, name)
        pasts = {at: self.past(self.admitted[at]) for _, at, _ in writes}
        return [
            (t, at, index)
            for t, at, index in writes
            if not any(at in pasts[other] for _, other, _ in writes)
            and not any(other == at and later > index for _, other, later in writes)
        ]

    def winner(self, object_id: bytes, name: str) -> tuple[EventId, canonical.Value] | None:
        """(event, value) of the write with the largest (t, id, op), unless it deletes."""
        writes = self.writes(object_id, name)
        if self.removed(object_id) or not writes:
            return None
        _, at, index = writes[0]
        op = self.admitted[at].ops[index]
        return (at, op.value) if isinstance(op, Set) else None
