"""Verdicts and all that follows from them against the reference, on random graphs (I-01, I-03).

The events of an `AuthorityWorld` reach ledgers in some order, in some batches, some twice, with
restarts in between. Whatever the order, a ledger must say what the equations say, refuse what they
refuse, and end as one that was fed in replay order (I-05).
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from dinemic_engine.event import Event
from dinemic_engine.ledger import Ledger
from dinemic_engine.outcomes import Admitted, Duplicate, Orphan, Refused
from dinemic_engine.ranges import HIGHEST, LOWEST, Fingerprint
from dinemic_engine.sealing import reader_sum
from dinemic_engine.store.layout import AUTHORIZED, CLOSED, REVOKED
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View
from reference.authority import Judge
from support.authority_world import FIELDS, PUBLIC, ROLES, AuthorityWorld, name_hash, policy_of

FAR = 1 << 50


# -- what a ledger must show -----------------------------------------------------------------------


def check(world: AuthorityWorld, view: View, known: set[str]) -> Counter[str]:
    """The ledger says of the known events what the reference says."""
    judge = world.judge(known)
    counts: Counter[str] = Counter()
    for logged in view.history(world.object):
        name = world.names[logged.event.id]
        if judge.stands(name):
            expected = AUTHORIZED if judge.authorized(name) else 0
        else:
            expected = CLOSED if judge.closed_unseen(name) else REVOKED
        assert logged.flags == expected, (name, logged.flags, expected)
        counts[logged.rule.partition(":")[0] or logged.verdict] += 1
    assert view.policy(world.object) == policy_of(judge.opening_now())
    void = {world.names[each.event.id] for each in view.history(world.object) if each.rule}
    check_i_06(judge, void)
    check_i_07(world, judge)
    counts.update(check_values(world, view, judge))
    counts.update(check_holders(world, view, judge))
    live = judge.live()
    ids = [world.signed[name].id for name in live]
    assert view.fingerprint("Doc") == Fingerprint.of(ids)
    assert {key[1] for key in view.range_keys("Doc", LOWEST, HIGHEST, 1000)} == set(ids)
    assert {world.names[head] for head in view.heads(world.object)} == judge.heads()
    counts["inert"] += len(known - live)
    counts["void and live"] += sum(not judge.stands(name) for name in live)
    return counts


def check_i_06(judge: Judge, void: set[str]) -> None:
    """Nothing outside of what a revoker saw has effect by what it ended; nothing inside is lost."""
    ends = [
        (name, role, who)
        for name, event in judge.events.items()
        if name not in void
        for kind, role, who in (act for act in event.does if act[0] == "revoke")
    ]
    for name, event in judge.events.items():
        if event.author == judge.owner:
            assert name not in void
        past, author = judge.past[name], event.author
        roles = ("admin",) if event.kinds() & {"grant", "revoke"} else ("admin", "update")
        grants = [
            (grant, act[1])
            for grant in past
            for act in judge.events[grant].does
            if act[0] == "grant" and act[2] == author and act[1] in roles and grant not in void
        ]
        good = any(
            all(
                grant not in judge.past[end] or name in judge.past[end] | {end}
                for end, ended, who in ends
                if (ended, who) == (role, author)
            )
            for grant, role in grants
        )
        if author != judge.owner and event.kinds() - {"set"}:
            assert good == (name not in void), name
        elif good:
            assert name not in void, name


def check_i_07(world: AuthorityWorld, judge: Judge) -> None:
    """Who was no reader in the eyes of an author was given no key of what it seals, by then."""
    for name, event in judge.events.items():
        seen = world.judge(set(judge.past[name]))
        if not seen.events or seen.opening_now().default:
            continue
        for act in event.does:
            if act[0] != "set" or not act[2]:
                continue
            given = {
                str(who)
                for other in (*judge.past[name], name)
                for made in judge.events[other].does
                if made[:2] == ("epoch", act[2])
                for who in made[2:]
            }
            beside = {one[2] for one in event.does if one[:2] == ("grant", "read")}
            for who in given - {"O"} - beside:
                assert seen.held_by(who, "read"), (name, who)


def check_values(world: AuthorityWorld, view: View, judge: Judge) -> Counter[str]:
    counts: Counter[str] = Counter()
    removed = judge.removed()
    assert (view.need(world.object)[1].removed_by != b"") == removed
    counts["removed"] += removed
    for field in () if removed else FIELDS:
        reading, writes = view.read(world.object, f"value_{field}"), judge.writes(field)
        assert (world.names[reading.event] if reading else None) == (writes[-1] if writes else None)
        assert reading is None or reading.authorized == judge.authorized(writes[-1])
        found = {world.names[each.event] for each in view.conflicts(world.object, f"value_{field}")}
        assert found == judge.conflicts(field)
        counts["conflict"] += len(found) > 1
    return counts


def check_holders(world: AuthorityWorld, view: View, judge: Judge) -> Counter[str]:
    counts: Counter[str] = Counter()
    readers = reader_sum(bytes(32), PUBLIC["O"])
    for role, number in ROLES.items():
        for who in "ABMNS":
            grant = judge.held_by(who, role)
            holder = view.holder(world.object, PUBLIC[who], number)
            subject = None if grant is None else name_hash(f"{grant} {role}")
            assert (None if holder is None else holder.subject) == subject, (who, role)
            counts[f"{role} held"] += grant is not None
            if grant is not None and role == "read":
                readers = reader_sum(readers, PUBLIC[who])
    sealing = view.sealing(world.object)
    assert sealing.readers == readers
    epoch = judge.epoch_now()
    recipients = bytes(32)
    for reader in epoch[1] if epoch else ():
        recipients = reader_sum(recipients, PUBLIC[str(reader)])
    assert sealing.recipients == recipients
    assert sealing.commit == (bytes(32) if epoch is None else name_hash(str(epoch[0])))
    counts["sealed again"] += epoch is not None and world.made_again(judge, epoch[0])
    return counts


# -- delivery --------------------------------------------------------------------------------------


class Site:
    """A ledger being fed, and what of the world it has admitted."""

    def __init__(self, world: AuthorityWorld) -> None:
        self.world = world
        self.store = MemoryStore()
        self.ledger = Ledger(self.store)
        self.view = View(self.store)
        self.known: set[str] = set()
        self.counts: Counter[str] = Counter()

    def feed(self, names: list[str]) -> list[str]:
        """Hand in one batch; the names of the orphans among them."""
        proposal = self.ledger.prepare([self.world.signed[name] for name in names], FAR)
        self.ledger.accept(proposal)
        orphans: list[str] = []
        for name, outcome in zip(names, proposal.outcomes, strict=True):
            match outcome:
                case Admitted():
                    assert name in self.world.plain, f"{name} was admitted"
                    self.known.add(name)
                    self.counts["flips"] += len(outcome.flipped)
                case Refused(error=error):
                    assert name in self.world.refused, (name, str(error))
                    reason = self.world.refused[name] or error.reason.value
                    assert reason == error.reason.value, name
                    self.world.refused[name] = reason
                    self.counts[f"refused {reason}"] += 1
                case Orphan():
                    orphans.append(name)
                case _:
                    assert isinstance(outcome, Duplicate)
                    assert name in self.known or names.count(name) > 1
        return orphans

    def restart(self) -> None:
        self.ledger = Ledger(self.store)


def deliver(world: AuthorityWorld, rng: random.Random, *, step_checked: bool) -> Site:
    """Hand every event to a fresh ledger in a random order; refused ones must be refused."""
    site = Site(world)
    waiting = list(world.signed)
    rng.shuffle(waiting)
    while True:
        size = rng.randrange(1, 6)
        batch, waiting = waiting[:size], waiting[size:]
        if site.known and rng.random() < 0.2:
            batch.append(rng.choice(sorted(site.known)))
        for orphan in site.feed(batch):
            waiting.insert(rng.randrange(len(waiting) + 1), orphan)
        if rng.random() < 0.05:
            site.restart()
        if step_checked and site.known:
            check(world, site.view, site.known)
        if not any(_ready(world, site, name) for name in waiting):
            break
    assert site.known == set(world.plain)
    site.counts += check(world, site.view, site.known)
    return site


def _ready(world: AuthorityWorld, site: Site, name: str) -> bool:
    return all(world.names[parent] in site.known for parent in world.signed[name].parents)


def judged_again(world: AuthorityWorld, site: Site) -> None:
    """I-03: what was refused is refused again now that all is known, and after a restart."""
    site.restart()
    site.feed([name for name in world.signed if _ready(world, site, name)])
    assert site.known == set(world.plain)


def judged_alone(world: AuthorityWorld, name: str) -> None:
    """I-03: what was refused is refused by a ledger that knows its past and nothing else."""
    site = Site(world)
    past, due = {"g"}, [world.names[parent] for parent in world.signed[name].parents]
    while due:
        past.add(found := due.pop())
        due += world.plain[found].parents
    site.feed(sorted(past, key=lambda each: _order(world.signed[each])))
    site.feed([name])
    assert name not in site.known
    assert world.refused[name]


def _order(event: Event) -> tuple[int, bytes]:
    return event.t, event.id


def run(seed: int, *, step_checked: bool) -> Counter[str]:
    """One world, three orders of delivery: equal digests, and the reference's answers."""
    rng = random.Random(seed)
    world = AuthorityWorld(rng)
    sites = [deliver(world, rng, step_checked=step_checked) for _ in range(2)]
    in_order = Site(world)
    for name in sorted(world.plain, key=lambda name: _order(world.signed[name])):
        in_order.feed([name])
    assert len({site.view.digest_all() for site in (*sites, in_order)}) == 1
    judged_again(world, sites[0])
    for name in world.refused:
        if _ready(world, sites[0], name):
            judged_alone(world, name)
    return sum((site.counts for site in sites), Counter())


WORLDS = int(os.environ.get("DINEMIC_TEST_WORLDS", "150"))


def run_worlds(rng: random.Random, count: int, *, checked: int) -> Counter[str]:
    """Worlds in a row; every `checked`-th is compared after each batch and not in the end only."""
    total: Counter[str] = Counter()
    first = rng.randrange(1 << 40)
    for seed in range(first, first + count):
        try:
            total += run(seed, step_checked=seed % checked == 0)
        except AssertionError as error:
            raise AssertionError(f"world {seed}: {error}") from error
    return total


REACHED = (
    *("authorized", "unauthorized", "AUTH-4", "AUTH-5", "flips", "inert", "void and live"),
    *("removed", "conflict", "admin held", "update held", "read held"),
    *("refused AUTH-5/closed", "refused AUTH-5/access", "refused AUTH-1/admin"),
    *("refused SEAL-3/epoch", "refused SEAL-3/readers", "refused SEAL-2/owner"),
)


def check_reached(total: Counter[str], names: tuple[str, ...]) -> None:
    """Worlds that never come to something show nothing about it."""
    for name in names:
        assert total[name], f"no world had: {name}"


def test_every_order_of_arrival_gives_what_the_equations_give(rng: random.Random) -> None:
    check_reached(run_worlds(rng, WORLDS, checked=5), REACHED)


@pytest.mark.long
def test_twenty_thousand_worlds(rng: random.Random) -> None:
    total = run_worlds(rng, 20_000, checked=20)
    check_reached(total, (*REACHED, "refused SEAL-4/again", "sealed again"))
