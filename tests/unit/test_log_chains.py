"""Chains and vectors: what they cost, and that restored backups and forks only branch (log.py)."""

from __future__ import annotations

import pytest

from dinemic_engine import log
from dinemic_engine.edits import Set
from dinemic_engine.errors import BrokenChain, Reason
from dinemic_engine.event import Event
from dinemic_engine.ops import ADMIN, UPDATE, Policy
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import Place
from support.graphs import CHIEF, CLERK, OWNER, Actor, Site, actor, child, genesis, team


def place_of(site: Site, event: Event) -> Place:
    value = site.store.get(keyspace.place_key(event.id))
    assert value is not None
    return layout.unpack_place(value)


def vectors(site: Site) -> int:
    return sum(1 for _ in site.store.scan(b"V", b"W"))


def chains(site: Site, of: Event) -> int:
    found = site.view.find(of.object)
    assert found is not None
    return found[1].chains


def covers(site: Site, event: Event, other: Event) -> bool:
    at = place_of(site, other)
    return log.covers(site.store, place_of(site, event), at.chain, at.seq)


def write(parents: Event | list[Event], by: Actor = OWNER) -> Event:
    return child(parents, by, Set("a", 1))


def test_one_author_alone_costs_no_vector() -> None:
    site = Site()
    site.admit(last := genesis())
    for _ in range(50):
        site.admit(last := write(last))
    assert vectors(site) == 0
    assert place_of(site, last)[2:5] == (0, 51, 0)


def test_a_vector_is_stored_only_where_another_chain_comes_in() -> None:
    site = Site()
    site.admit(first := team())
    site.admit(last := write(first, CLERK))
    assert vectors(site) == 1
    for _ in range(20):
        site.admit(last := write(last, CLERK))
    assert vectors(site) == 1
    site.admit(last := write(last, OWNER))
    for _ in range(20):
        site.admit(last := write(last, OWNER))
    assert vectors(site) == 2
    assert chains(site, first) == 2


def test_writers_in_turn_stay_in_one_chain_each() -> None:
    site = Site()
    site.admit(first := team())
    last = first
    for turn in range(60):
        site.admit(last := write(last, (OWNER, CHIEF, CLERK)[turn % 3]))
    assert chains(site, first) == 3
    assert covers(site, last, first)
    assert not covers(site, first, last)


def test_an_author_who_has_seen_his_last_event_through_others_stays_in_his_chain() -> None:
    site = Site()
    first = team()
    own = write(first, CLERK)
    more = write(own, CLERK)
    others = write(more, CHIEF)
    back = write(others, CLERK)
    site.admit(first, own, more, others, back)
    assert place_of(site, back).chain == place_of(site, own).chain
    assert place_of(site, back).seq == 3
    assert all(covers(site, back, event) for event in (first, own, more, others, back))
    assert not covers(site, others, back)


def test_a_restored_backup_branches_and_the_branches_merge() -> None:
    """Two copies of one key: nothing is frozen and no branch is lost (AUTH-7)."""
    site = Site()
    first = genesis()
    left = [write(first)]
    right = [child(first, OWNER, Set("a", 2))]
    for branch in (left, right):
        for _ in range(5):
            branch.append(child(branch[-1], OWNER, Set("b", len(branch))))
    merge = write([left[-1], right[-1]])
    site.ingest([first, *right, *left])
    assert chains(site, first) == 2
    assert not covers(site, left[-1], right[0])
    assert not covers(site, right[-1], left[0])
    assert len(site.view.heads(first.id)) == 2
    site.admit(merge, write(merge))
    assert all(covers(site, merge, event) for event in (first, *left, *right))
    assert chains(site, first) == 2
    assert site.view.heads(first.id) == [write(merge).id]


def test_a_branch_can_begin_anywhere_and_many_times() -> None:
    site = Site()
    first = genesis()
    trunk = [first]
    for _ in range(10):
        trunk.append(write(trunk[-1]))
    twigs = [child(at, OWNER, Set("twig", number)) for number, at in enumerate(trunk)]
    site.ingest([*trunk, *twigs])
    for number, twig in enumerate(twigs):
        for height, at in enumerate(trunk):
            assert covers(site, twig, at) is (height <= number)
            assert not covers(site, at, twig)


def test_a_merge_of_sixteen_writers_covers_them_all() -> None:
    site = Site()
    writers = [actor(f"writer {number}") for number in range(16)]
    first = genesis(*[writer.grant(UPDATE) for writer in writers])
    heads = [write(first, writer) for writer in writers]
    merge = write(heads)
    after = [write(merge, writer) for writer in writers]
    site.admit(first, *heads, merge, *after)
    assert all(covers(site, merge, head) for head in heads)
    for event in after:
        assert [covers(site, event, other) for other in after].count(True) == 1
        assert all(covers(site, event, head) for head in heads)
    assert chains(site, first) == 17


def test_parents_that_are_in_each_others_past_are_allowed() -> None:
    site = Site()
    first = team()
    middle = write(first, CLERK)
    event = write([first, middle], CHIEF)
    site.admit(first, middle, event)
    assert site.view.heads(first.id) == [event.id]


def test_placing_refuses_what_does_not_fit() -> None:
    site = Site()
    site.admit(first := genesis(policy=Policy(True)), other := genesis(by=CHIEF))
    event = write([first, other], CLERK)
    here, there = place_of(site, first), place_of(site, other)
    parents = [{first.id: here, other.id: there}[parent] for parent in event.parents]
    with pytest.raises(BrokenChain) as caught:
        log.place(site.store, here.no, event, parents, 1)
    assert caught.value.reason is Reason.WRONG_OBJECT
    late = child(first, CLERK, Set("a", 1), t=first.t)
    with pytest.raises(BrokenChain) as caught:
        log.place(site.store, here.no, late, [here], 1)
    assert caught.value.reason is Reason.CLOCK


def test_a_grant_reaches_a_writer_through_a_long_way() -> None:
    """The owner grants, others carry it on, and the vector of the last one tells."""
    site = Site()
    first = team()
    new = actor("new")
    grant = child(first, OWNER, new.grant(ADMIN))
    aside = write(first, CLERK)
    carried = [write(grant, CHIEF)]
    for turn in range(12):
        carried.append(write(carried[-1], (CLERK, CHIEF)[turn % 2]))
    site.admit(first, grant, aside, *carried)
    assert site.verdict(write(aside, new)) is Reason.UNAUTHORIZED
    assert all(site.verdict(write(event, new)) is True for event in (grant, *carried))
