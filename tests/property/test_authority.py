"""Verdicts, values, holders, heads and the reconciled set against the reference, on random graphs.

Four writers (owner, two admins-to-be, a member) edit concurrently on views of their own, with
grants, revocations, re-grants, policies and back-dated events; the events then reach a ledger in
some order, in some batches. Whatever the order, the ledger must say what the equations say.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from dinemic_engine.event import sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ledger import Admitted, Ledger, Orphan, Refused
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
    Set,
    SetPolicy,
)
from dinemic_engine.ranges import Fingerprint
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View
from reference.authority import Judge, Plain

ROLES = {"read": READ, "update": UPDATE, "admin": ADMIN}
SEALING = SealingKey(bytes(31) + b"\x07").public
KEYS = {name: SigningKey(bytes(31) + bytes((number,))) for number, name in enumerate("OABMS", 1)}
FAR = 1 << 50


class World:
    """A random history of one object, as plain events and as signed ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.is_open = rng.random() < 0.3
        create = Create("Doc", SUITE_X25519, SEALING, Policy(self.is_open))
        genesis = sign_event(KEYS["O"], None, 1, (), [create])
        self.object = ObjectId(genesis.id)
        self.plain = {"g": Plain("g", "O", 1, (), ())}
        self.signed = {"g": genesis}
        self.refused: set[str] = set()
        if rng.random() < 0.7:  # a team to begin with, so that most of what follows is allowed
            acts = [("grant", "admin", "A"), ("grant", "admin", "B"), ("grant", "update", "M")]
            self._write("team", "O", {"g"}, tuple(acts))
        views: dict[str, set[str]] = {name: set(self.plain) for name in KEYS}
        for number in range(rng.randrange(4, 26)):
            author = rng.choice("OOABMMS")
            view = views[author]
            if rng.random() < 0.45:
                view |= views[rng.choice("OABMS")]
            self._write(f"e{number}", author, view)

    def _write(
        self,
        name: str,
        author: str,
        view: set[str],
        does: tuple[tuple[object, ...], ...] | None = None,
    ) -> None:
        rng = self.rng
        heads = [e for e in view if not any(e in self.plain[o].parents for o in view)]
        if rng.random() < 0.15 and len(view) > 1:  # a restored backup, or a back-dater
            heads = [rng.choice(sorted(view))]
        heads = sorted(heads, key=lambda head: self.signed[head].id)[:16]
        t = max(self.plain[head].t for head in heads) + rng.choice((1, 1, 2, 9))
        does = does or self._does(author)
        plain = Plain(name, author, t, tuple(heads), does)
        parents = [EventId(self.signed[head].id) for head in heads]
        signed = sign_event(KEYS[author], self.object, t, parents, [self._op(a) for a in does])
        if signed.id in {event.id for event in self.signed.values()}:
            return
        everything = {**self.plain, name: plain}
        if Judge(everything, "O", is_open=self.is_open).admissible(name):
            self.plain[name] = plain
            view.add(name)
        else:
            self.refused.add(name)
        self.signed[name] = signed

    def _does(self, author: str) -> tuple[tuple[object, ...], ...]:
        rng = self.rng
        kinds = ["set"] * 5 + ["remove"] * (rng.random() < 0.1)
        if author in "OAB" or rng.random() < 0.1:
            kinds += ["grant"] * 4 + ["revoke"] * 4
        if author == "O":
            kinds += ["policy"]
        acts: list[tuple[object, ...]] = []
        for _ in range(rng.choice((1, 1, 1, 2))):
            kind = rng.choice(kinds)
            if kind == "set":
                acts.append(("set", "f"))
            elif kind == "remove":
                acts.append(("remove",))
            elif kind == "policy":
                if not any(act[0] == "policy" for act in acts):
                    acts.append(("policy", rng.random() < 0.5))
            else:
                role = rng.choice(("read", "update", "update", "admin"))
                acts.append((kind, role, rng.choice("ABMSS")))
        return tuple(acts) or (("set", "f"),)

    def _op(self, act: tuple[object, ...]) -> Op:
        match act:
            case ("set", str(field)):
                return Set(field, self.rng.randrange(1 << 40))
            case ("remove",):
                return Remove()
            case ("policy", bool(is_open)):
                return SetPolicy(Policy(is_open))
            case ("grant", str(role), str(who)):
                public = AuthorId(KEYS[who].public)
                return Grant(ROLES[role], ObjectId(public), public, SUITE_X25519, SEALING)
            case ("revoke", str(role), str(who)):
                return Revoke(ROLES[role], AuthorId(KEYS[who].public))
        raise AssertionError(act)


def check(world: World, view: View, known: set[str]) -> Counter[str]:
    """The ledger says of the known events what the reference says."""
    judge = Judge({name: world.plain[name] for name in known}, "O", is_open=world.is_open)
    names = {event.id: name for name, event in world.signed.items()}
    counts: Counter[str] = Counter()
    for logged in view.history(world.object):
        name = names[logged.event.id]
        assert (logged.verdict != "void") == judge.stands(name), name
        counts[logged.verdict] += 1
    reading = view.read(world.object, "value_f")
    expected = judge.value()
    removed = judge.removed()
    assert (view.need(world.object)[1].removed_by != b"") == removed
    if not removed:
        assert (names[reading.event] if reading else None) == _by_id(world, judge)
    counts["written"] += expected is not None
    counts["removed"] += removed
    for role, number in ROLES.items():
        for who in "ABMS":
            holds = view.has_role(world.object, AuthorId(KEYS[who].public), number)
            assert holds == judge.holds_now(who, role), (who, role)
            counts[f"{role} held"] += holds
    live = judge.live()
    ids = [world.signed[name].id for name in live]
    assert view.fingerprint("Doc") == Fingerprint.of(ids)
    lowest, highest = (0, b""), (1 << 63, b"")
    assert {key[1] for key in view.range_keys("Doc", lowest, highest, 1000)} == set(ids)
    standing = {name for name in known if judge.stands(name)}
    heads = {n for n in standing if not any(n in judge.past[other] for other in standing)}
    assert set(view.heads(world.object)) == {world.signed[name].id for name in heads}
    counts["inert"] += len(known - live)
    return counts


def _by_id(world: World, judge: Judge) -> str | None:
    """The winner by (t, id), as the ids decide ties and names do not."""
    writes = [
        (event.t, world.signed[event.name].id, event.name)
        for event in judge.events.values()
        if ("set", "f") in event.does and judge.stands(event.name)
    ]
    return max(writes)[2] if writes else None


def deliver(world: World, rng: random.Random, *, step_checked: bool) -> tuple[View, Counter[str]]:
    """Hand every event to a fresh ledger in a random order; refused ones must be refused."""
    store = MemoryStore()
    ledger, view = Ledger(store), View(store)
    waiting = list(world.signed)
    rng.shuffle(waiting)
    known: set[str] = set()
    counts: Counter[str] = Counter()
    while waiting:
        size = rng.randrange(1, 6)
        batch, rest = waiting[:size], waiting[size:]
        proposal = ledger.prepare([world.signed[name] for name in batch], FAR)
        ledger.accept(proposal)
        for name, outcome in zip(batch, proposal.outcomes, strict=True):
            if isinstance(outcome, Admitted):
                assert name in world.plain, name
                known.add(name)
                counts["flips"] += len(outcome.flipped)
            elif isinstance(outcome, Refused):
                assert name in world.refused, (name, outcome.error)
                counts[f"refused {outcome.error.reason.value}"] += 1
            else:
                assert isinstance(outcome, Orphan)
                rest.insert(rng.randrange(len(rest) + 1) if rest else 0, name)
        waiting = rest
        if step_checked and known:
            check(world, view, known)
        if not any(
            all(parent in known or parent in world.refused for parent in _parents(world, name))
            for name in waiting
        ):
            break
    assert known == set(world.plain)
    counts += check(world, view, known)
    return view, counts


def _parents(world: World, name: str) -> tuple[str, ...]:
    names = {event.id: key for key, event in world.signed.items()}
    return tuple(names[parent] for parent in world.signed[name].parents)


def run(seed: int, *, step_checked: bool) -> Counter[str]:
    """One world, three orders of delivery: equal digests, and the reference's answers."""
    rng = random.Random(seed)
    world = World(rng)
    results = [deliver(world, rng, step_checked=step_checked) for _ in range(3)]
    assert len({view.digest_all() for view, _ in results}) == 1
    total: Counter[str] = Counter()
    for _, counts in results:
        total += counts
    return total


WORLDS = int(os.environ.get("DINEMIC_TEST_WORLDS", "150"))


def test_every_order_of_arrival_gives_what_the_equations_give(rng: random.Random) -> None:
    total: Counter[str] = Counter()
    first = rng.randrange(1 << 40)
    for seed in range(first, first + WORLDS):
        try:
            total += run(seed, step_checked=seed % 5 == 0)
        except AssertionError as error:
            raise AssertionError(f"world {seed}: {error}") from error
    for reached in ("void", "authorized", "flips", "inert", "removed", "admin held", "read held"):
        assert total[reached], f"no world had: {reached}"


@pytest.mark.long
def test_twenty_thousand_worlds() -> None:
    for seed in range(20_000):
        run(seed, step_checked=seed % 20 == 0)
