"""The library against the replica of `reference.replica`, which is docs/format.md run as it stands.

Whatever is fast has to say what is slow and obvious: the verdict on every event and the reason,
the order, heads, values, conflicts, rights, epochs, digests and fingerprints, after every batch.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from dinemic_engine.edits import Element, ListInsert, ListSet, Made, Set, SetAdd, SetRemove
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import EventId
from dinemic_engine.ops import (
    ADMIN,
    READ,
    SUITE_X25519,
    UPDATE,
    Epoch,
    Grant,
    Op,
    Remove,
    Revoke,
    SetPolicy,
)
from reference.replica import HOLD_US, judge
from support.graphs import (
    ACTORS,
    CHIEF,
    CLERK,
    NOW,
    READER,
    SEEDS,
    Site,
    T,
    delivery,
    histories,
    history,
)
from support.reference_checks import check_verdicts, check_view

SIGNING: Final = {actor.id: actor.key for actor in ACTORS}


def flawed(
    rng: random.Random, target: Event, known: list[Event]
) -> tuple[tuple[EventId, ...], list[Op], int]:
    """(parents, ops, how much later than its parents) of an event that an owner may not make."""
    other = rng.choice(known)
    genesis = EventId(target.object)
    match rng.randrange(4):
        case 0:  # a parent of another object, or as old as its parent
            parents = tuple(sorted({target.id, other.id}))
            return parents, [Set("a", "beside")], rng.randrange(2)
        case 1:  # an epoch without the owner
            epoch = Epoch(SUITE_X25519, rng.randbytes(32), ((READER.id, bytes(80)),))
            return (target.id,), [READER.grant(READ), epoch], 1
        case 2:  # two elements in one place
            return (genesis,), [ListInsert("a", None, True, 1, [number]) for number in (1, 2)], 1
    made = [
        (op, event.id, at)
        for event in known
        for at, op in enumerate(event.ops)
        if isinstance(op, SetAdd | ListInsert)
    ]
    op, event_id, at = rng.choice(made or [(SetAdd("a", 1), other.id, 0)])  # mostly not seen
    aimed: Op = SetRemove(op.field, (Made(event_id, at),))
    if isinstance(op, ListInsert):
        aimed = ListSet(op.field, Element(event_id, at, 0), 1)
    return (genesis,), [aimed], 1


def contested(events: list[Event], seed: int) -> list[Event]:
    """The same, and rights ended by some who had not seen what others did with them.

    Whoever is overruled so may be overruled for it in turn. Epochs are sealed again, by anybody.
    And owners make a few events that have one flaw, which nothing else about them hides.
    """
    rng = random.Random(seed)
    owners = {event.object: event.author for event in events if event.is_genesis}
    found = {event.id: event for event in events}
    for _ in range(rng.randrange(10)):
        last = list(found.values())
        grave = [e for e in last if any(isinstance(op, Remove | SetPolicy) for op in e.ops)]
        target = rng.choice(rng.choice((last, last[-3:], grave or last)))
        owner, parents = owners[target.object], target.parents or (target.id,)
        by, later = owner, rng.choice((1, 1, 2, 9))
        ops: list[Op] = [Revoke(ADMIN, target.author)]
        if rng.randrange(5) == 0:
            parents, ops, later = flawed(rng, target, last)
        elif epochs := [op for op in target.ops if isinstance(op, Epoch)]:
            by, parents, ops = rng.choice(ACTORS).id, (target.id,), [epochs[0]]
        elif rng.randrange(6) == 0:
            by, ops = rng.choice((CHIEF.id, CLERK.id)), [Remove()]
        elif not any(isinstance(op, Grant | Revoke) for op in target.ops):
            by = rng.choice((owner, CHIEF.id, rng.choice(ACTORS).id))
            roles = (READ, UPDATE, ADMIN) if by == owner else (READ, UPDATE)
            ops = [Revoke(role, target.author) for role in rng.sample(roles, 2)]
        t = max(found[parent].t for parent in parents) + later
        event = sign_event(SIGNING[by], target.object, t, parents, ops)
        found[event.id] = event
    return list(found.values())


def agree(site: Site, delivered: list[Event], now: int = NOW) -> None:
    """The site says of what was delivered to it what the replica says."""
    judged = judge([event.raw for event in delivered], now)
    admitted = {bytes(event.id) for event in site.events()}
    refused = {bytes(event_id): reason for event_id, reason in site.refused.items()}
    assert not judged.malformed
    check_verdicts(judged, refused, admitted, site.waiting.counts())
    check_view(site.view, judged)


@settings(max_examples=2 * settings().max_examples)
@given(st.builds(contested, histories(tries=6), SEEDS), SEEDS)
def test_i_05_everything_is_as_the_replica_says_after_every_batch(
    events: list[Event], seed: int
) -> None:
    site = Site()
    delivered: list[Event] = []
    for batch in delivery(events, seed):
        delivered += batch
        site.ingest(batch)
        agree(site, delivered)


@settings(max_examples=settings().max_examples // 2)
@given(histories(15, tries=6), SEEDS)
def test_ord_4_what_is_ahead_is_held_and_judged_when_due(events: list[Event], seed: int) -> None:
    rng, site, now = random.Random(seed), Site(), T - HOLD_US
    delivered: list[Event] = []
    for batch in delivery(events, seed):
        delivered += batch
        now += rng.randrange(8)
        site.ingest([event for _, event in site.waiting.due(now)], now)
        site.ingest(batch, now)
        agree(site, delivered, now)


def test_what_is_judged_is_of_every_kind() -> None:
    """The histories are worth their name only if they reach what they are judged by."""
    reached: Counter[str] = Counter()
    for seed in range(150):
        judged = judge([event.raw for event in contested(history(seed, 25, tries=6), seed)], NOW)
        reached.update(rule for rules in judged.refused.values() for rule in rules)
        reached["waiting"] += len(judged.waiting)
        for obj in judged.objects.values():
            reached.update(obj.verdict(event) for event in obj.log.ordered())
            reached["inert"] += len(obj.log.events.keys() - obj.counting)
            reached["removed"] += obj.removal is not None
            reached["epoch"] += len(obj.epochs)
            registers = list(obj.registers.values())
            registers += [register for keys in obj.dicts.values() for register in keys.values()]
            reached["conflict"] += sum(len(each.conflicts) > 1 for each in registers)
            reached["taken away"] += sum(not each.is_visible for each in registers)
            reached["element"] += sum(map(len, obj.lists.values()))
            reached["element set"] += sum(
                item.writes is not None for items in obj.lists.values() for item in items
            )
            reached["sealed add"] += sum(len(each.sealed) for each in obj.counters.values())
            reached["member"] += sum(map(len, obj.sets.values()))
    t1 = {
        each.value for each in Reason if each.rule.startswith(("ORD-", "AUTH-", "SEAL-", "TYPE-"))
    }
    assert t1 | {
        "waiting", "authorized", "unauthorized", "AUTH-4", "AUTH-5", "inert", "removed", "epoch",
        "conflict", "taken away", "element", "element set", "sealed add", "member",
    } <= (+reached).keys(), reached  # fmt: skip
