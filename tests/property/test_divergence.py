"""VETO-4: honest nodes never raise the alarm, and those of which one is wrong always do."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dinemic_engine.edits import Set
from dinemic_engine.event import Event
from dinemic_engine.ids import to_text
from dinemic_engine.limits import HOLD_US
from dinemic_engine.ops import ADMIN, UPDATE
from dinemic_transport.arrivals import event_id_untrusted
from dinemic_transport.rows import COMPARE_SECONDS, Divergence
from support.dict_replica import MODEL, DictReplica, identify, made_events, read_made
from support.graphs import (
    CHIEF,
    CLERK,
    NOW,
    OWNER,
    READER,
    SEEDS,
    T,
    child,
    delivery,
    histories,
    team,
)
from support.judged import Judged
from support.session_pair import Pair
from support.site_replica import SiteReplica

QUIET_SECONDS = 2 * COMPARE_SECONDS[1]
"""After so long without news everything is exchanged and everything compared."""


def alarms(pair: Pair[DictReplica, DictReplica]) -> list[dict[str, Divergence]]:
    """By model what small and large have found the other to judge differently."""
    return [
        {each.model: each.divergence for each in node.session.status(pair.now) if each.divergence}
        for node in (pair.small, pair.large)
    ]


def talk(
    rng: random.Random, pair: Pair[SiteReplica, SiteReplica], batches: Sequence[list[Event]]
) -> None:
    """Let events come in at either end, from elsewhere, at any time; links break now and then."""
    for batch in batches:
        ends = rng.choice(((pair.small,), (pair.large,), (pair.small, pair.large)))
        for end in ends:
            end.replica.take(batch)
            pair.run(rng.choice((0, 0.01)), steps=rng.randrange(6))
        pair.run(rng.choice((0, 0.01, 0.3, 1, 40)), steps=rng.choice((1, 7, 30, 1_000_000)))
        if rng.randrange(8) == 0:
            pair.cut()
        assert not any(node.session.take_alarms() for node in (pair.small, pair.large))


def quarrel(seed: int, count: int) -> list[Event]:
    """A history in which everybody is revoked and granted again by those who know little of it."""
    rng = random.Random(seed)
    events = [team()]
    for _ in range(count):
        recent = events[-6:] if rng.randrange(4) else events
        parents = rng.choices(recent, k=rng.choice((1, 1, 2)))
        who, role = rng.choice(((CHIEF, ADMIN), (CLERK, UPDATE), (READER, UPDATE), (CLERK, ADMIN)))
        op = rng.choice((Set("n", rng.randrange(9)), who.revoke(role), who.grant(role)))
        event = child(parents, rng.choice((OWNER, CHIEF, CHIEF, CLERK, CLERK, READER)), op)
        if Judged.of([*events, event]).admitted.get(event.id):
            events.append(event)
    return events


@settings(max_examples=60)
@given(histories(40) | st.builds(quarrel, SEEDS, st.integers(1, 40)), SEEDS, st.booleans())
def test_honest_nodes_never_raise_the_alarm(events: list[Event], seed: int, late: bool) -> None:
    """Whatever comes when, also with a clock that is behind: what is ahead of it is held."""
    rng = random.Random(seed)
    behind_us = T - HOLD_US + rng.randrange(40)
    small, large = SiteReplica(), SiteReplica(behind_us if late else NOW)
    pair = Pair(small, large, event_id_untrusted)
    talk(rng, pair, delivery(events, seed))
    pair.run(20)
    large.due(NOW)
    pair.run(QUIET_SECONDS)
    assert pair.equal
    assert pair.synced
    assert small.effective == large.effective
    assert [node.session.counters.divergences for node in (pair.small, pair.large)] == [0, 0]


LIES = st.sets(st.integers(0, 59), max_size=8)


@settings(max_examples=50)
@given(LIES, LIES, LIES, LIES, SEEDS)
def test_an_alarm_is_raised_if_and_only_if_verdicts_differ_and_names_the_first(
    small_void: set[int],
    small_inert: set[int],
    large_void: set[int],
    large_inert: set[int],
    seed: int,
) -> None:
    """Both have every event in the end; which they take for void, or do not count, is anything."""
    events = made_events(60)
    ids = [identify(raw) for raw in events]
    rng = random.Random(seed)
    small, large = (DictReplica(rng.sample(events, rng.randrange(61))) for _ in range(2))
    pair = Pair(small, large)
    effective = []
    for replica, void, inert in (
        (small, small_void, small_inert),
        (large, large_void, large_inert),
    ):
        replica.void, replica.inert = frozenset(map(ids.__getitem__, void)), frozenset()
        replica.author(events)
        replica.inert = frozenset(map(ids.__getitem__, inert))
        effective.append({number for number in range(60) if number not in void | inert})
        pair.run(rng.choice((0, 0.1, 1)))
    pair.run(QUIET_SECONDS)
    different = effective[0] ^ effective[1]
    if not different:
        assert alarms(pair) == [{}, {}]
        assert pair.synced is (small_inert == large_inert)
        return
    first = min(different, key=lambda number: (read_made(events[number])[1], ids[number]))
    expected = [
        {MODEL: Divergence(MODEL, to_text(ids[first]), effective_here=first in here)}
        for here in effective
    ]
    assert alarms(pair) == expected
    assert not pair.synced
