"""Event graphs for tests: actors, sites that hold a log, random histories."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from dinemic_engine import canonical
from dinemic_engine.edits import (
    CounterAdd,
    Delete,
    DictDelete,
    DictSet,
    Edit,
    Made,
    Set,
    SetAdd,
    SetRemove,
)
from dinemic_engine.event import Event, open_envelope_untrusted, sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ledger import Ledger
from dinemic_engine.ops import (
    ADMIN,
    READ,
    SUITE_HYBRID,
    SUITE_X25519,
    UPDATE,
    Create,
    Epoch,
    Grant,
    Op,
    Policy,
    Remove,
    Revoke,
    SetPolicy,
)
from dinemic_engine.outcomes import Admitted, Ahead, Duplicate, Orphan, Outcome, Refused, Surplus
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View
from dinemic_engine.waiting import Waiting
from support.judged import Judged
from support.list_edits import list_edit
from support.list_rows import everything

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

    def revoke(self, role: int) -> Revoke:
        """A REVOKE of `role` of this actor."""
        return Revoke(role, self.id)

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
                    case Surplus():
                        raise AssertionError("more inert events than a site is meant for (REC-1)")
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

    Rows that are nothing but local numbers (order of arrival, chains, vectors) are left out, and
    blocks, which end where it was time when they were full; what
    they stand for is judged by what is asked of them. Inert ends of chains become inert events:
    how one author's branches make chains depends on the order of arrival.
    """
    objects = {layout.unpack_u32(value): key[1:] for key, value in store.scan(b"O", b"P")}
    models = {layout.unpack_u32(value): key[1:] for key, value in store.scan(b"M", b"N")}
    found: dict[tuple[object, ...], object] = {}
    for key, value in store.scan(b"", b"\xff"):
        letter, number = key[:1], int.from_bytes(key[1:5], "big")
        match letter:
            case b"L" | b"C" | b"V" | b"J" | b"k" | b"m" | b"f" | b"o":
                continue
            case (
                b"E"
                | b"R"
                | b"S"
                | b"D"
                | b"X"
                | b"Z"
                | b"A"
                | b"v"
                | b"w"
                | b"r"
                | b"t"
                | b"u"
                | b"x"
                | b"z"
            ):
                found[letter, objects[number], key[5:]] = value
            case b"W" | b"s" | b"y":
                found[letter, objects[number], key[5:]] = None
            case b"G" | b"K" | b"Y" | b"P" | b"Q":
                found[letter, objects[number], key[5:]] = value[20:]
            case b"U":
                chain, begins = int.from_bytes(key[5:], "big"), int.from_bytes(value, "big")
                rows = store.scan(
                    keyspace.chain_key(number, chain, begins),
                    keyspace.chain_key(number, chain + 1, 0),
                )
                for _, order in rows:
                    found[letter, objects[number], order] = None
            case b"d" | b"b" | b"i":
                stored, _, rest = key[5:].partition(b"\0")
                if (
                    letter == b"d" and not rest
                ):  # shape and places of a list, as what they stand for
                    found[letter, objects[number], stored] = everything(store, number, stored)
            case b"e" | b"h":
                found[letter, objects[number], key[5:]] = value if letter == b"e" else None
            case b"H":
                heads = {(head.t, head.id) for head in layout.unpack_heads(value)}
                found[letter, objects[number]] = heads
            case b"N":
                row = layout.unpack_object(value)
                found[letter, objects[number]] = row._replace(model_no=0, chains=0, tails=0)
            case b"I":
                place = layout.unpack_place(value)
                found[letter, key[1:]] = (objects[place.no], place.t, place.flags)
            case b"T" | b"F":
                found[letter, models[number], key[5:]] = value
            case b"B" | b"O" | b"M":
                found[letter, key[1:]] = None
            case _:
                raise AssertionError(f"a row of an unknown kind {letter!r}")
    return found


def without_envelopes(
    rows: Mapping[tuple[object, ...], object],
) -> dict[tuple[object, ...], object]:
    """The same rows with the content of each event alone: nothing depends on the rest (EV-10)."""
    return {
        key: open_envelope_untrusted(value).signed
        if key[0] == b"E" and isinstance(value, bytes)
        else value
        for key, value in rows.items()
    }


# -- random histories ----------------------------------------------------------------------------

FIELDS = ("a", "b", "open")
_COMMITS = tuple(hashlib.sha256(bytes((number,))).digest() for number in range(3))


def _epoch(commit: bytes, readers: Iterable[Actor]) -> Epoch:
    """An epoch that opens for nobody: whether it opens decides nothing (SEAL-6)."""
    recipients = sorted((reader.id, bytes(80)) for reader in readers)
    return Epoch(SUITE_X25519, commit, tuple(recipients))


_OTHER_SUITE = SealingKey(bytes(95) + b"\x01").public
_POLICIES = (Policy(), Policy(False, (("open", True),)), Policy(True, (("b", False),)))
_USUAL = ((CHIEF, ADMIN), (CLERK, UPDATE), (READER, READ), (CHIEF, READ), (CLERK, ADMIN))


_KEYS = ("", "a", "a\0", "ż")
_MEMBERS: tuple[canonical.Value, ...] = (1, 1.0, True, "1")


def _edit(rng: random.Random, kin: Sequence[Event], before: Sequence[Op]) -> Edit:
    """A change of a dict, a counter or a set, by somebody who knows of `kin`.

    What a remove names is mostly an add of that set.
    """
    name = rng.choice(FIELDS)
    value: canonical.Value = rng.choice(_MEMBERS)
    if rng.randrange(8) == 0:
        value = canonical.Sealed(rng.choice(_COMMITS), bytes((rng.randrange(2),)) * 16, b"")
    match rng.randrange(8):
        case 0 | 1:
            return DictSet(name, rng.choice(_KEYS), value)
        case 2:
            return DictDelete(name, rng.choice(_KEYS))
        case 3:
            amount = rng.choice((-1, 1, (1 << 63) - 1))
            return CounterAdd(name, value if isinstance(value, canonical.Sealed) else amount)
        case 4 | 5:
            return SetAdd(name, value)
    adds = [
        Made(b"" if event is None else event.id, index)
        for event in (*kin, None)
        for index, op in enumerate(before if event is None else event.ops)
        if isinstance(op, SetAdd) and (op.field == name or rng.randrange(8) == 0)
    ]
    if rng.randrange(16) == 0:
        adds.append(Made(rng.choice(kin).id, 0))
    if not adds:
        return SetAdd(name, value)
    return SetRemove(name, tuple(rng.choices(adds, k=rng.choice((1, 1, 2)))))


def _op(rng: random.Random, kin: Sequence[Event], before: Sequence[Op]) -> Op:
    if rng.randrange(4) == 0:
        return _edit(rng, kin, before)
    name = rng.choice(FIELDS)
    if rng.randrange(6) == 0:
        sealed = canonical.Sealed(rng.choice(_COMMITS), bytes(16), b"")
        return list_edit(rng, name, kin, before, sealed)
    match rng.randrange(12):
        case 0 | 1 | 2 | 3:
            return Set(name, rng.randrange(4))
        case 4:
            return Set(name, canonical.Sealed(rng.choice(_COMMITS), bytes(16), b""))
        case 5:
            return Delete(name)
        case 7:
            grant = rng.choice(ACTORS).grant(rng.randint(READ, ADMIN))
            if rng.randrange(4):
                return grant
            return replace(grant, suite=SUITE_HYBRID, sealing=_OTHER_SUITE)
        case 6 | 8:
            readers = set(rng.sample(ACTORS, rng.randint(1, 2)))
            if rng.randrange(4):
                readers.add(OWNER)
            return _epoch(rng.choice(_COMMITS), readers)
        case 9:
            return rng.choice(ACTORS).revoke(rng.randint(READ, ADMIN))
        case 10:
            return SetPolicy(rng.choice(_POLICIES))
    return Remove() if rng.randrange(4) == 0 else Set(name, 9)


def history(
    seed: int,
    count: int,
    objects: int = 2,
    policies: Sequence[Policy] = _POLICIES,
    tries: int = 1,
) -> list[Event]:
    """`count` events on a few objects by several authors, each after its parents.

    Anybody writes on top of anything: branches by one author, equal times, several heads, merges,
    events nobody admits and events on top of those. A few times and parents are wrong on purpose.
    What nobody admits is thought over, `tries` times at most. A smaller count gives a prefix.
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
        event = _next(rng, found, judged)
        thought = 1
        while not judged.take(event) and thought < tries:
            event = _next(rng, found, judged)
            thought += 1
        found.append(event)
    return found


def _next(rng: random.Random, found: Sequence[Event], judged: Judged) -> Event:
    """An event on top of some of those found, by somebody."""
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
    known = judged.known_to(parents)
    seen = [event for event in kin if event.id in known or rng.randrange(200) == 0] or kin
    ops: list[Op] = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        ops = _once([*ops, _op(rng, seen, ops)])
    by = rng.choice((OWNER, *ACTORS))
    return sign_event(by.key, base.object, t, sorted(parents), ops)


def _once(ops: list[Op]) -> list[Op]:
    """The ops without a second POLICY or EPOCH of one commitment, which no event holds (EV-3)."""
    kept: dict[object, Op] = {}
    for index, op in enumerate(ops):
        match op:
            case SetPolicy():
                kept.setdefault("policy", op)
            case Epoch(commit=commit):
                kept.setdefault(commit, op)
            case _:
                kept[index] = op
    return list(kept.values())


def histories(
    count_max: int = 30, objects: int = 2, policies: Sequence[Policy] = _POLICIES, tries: int = 1
) -> st.SearchStrategy[list[Event]]:
    """Histories of at most `count_max` events after the genesis events."""
    counts = st.integers(1, count_max)
    return st.builds(history, SEEDS, counts, st.just(objects), st.just(policies), st.just(tries))


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
