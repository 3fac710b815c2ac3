"""Registers as a reader sees them: who wins, what it won over, and what removal does (ORD-6)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from dinemic_engine import why
from dinemic_engine.canonical import Value
from dinemic_engine.edits import Delete, Set
from dinemic_engine.errors import StoreCorrupt, UnknownObject
from dinemic_engine.event import Event
from dinemic_engine.ops import ADMIN, READ, UPDATE, Policy, Remove
from dinemic_engine.store import keyspace
from support.graphs import CHIEF, CLERK, OWNER, READER, STRANGER, Site, T, child, genesis, team

NAME = "value_name"


def every_order(first: Event, rest: Sequence[Event]) -> list[Site]:
    """A site for every order in which the events can come, one by one."""
    sites = []
    for order in itertools.permutations(rest):
        site = Site()
        site.ingest([first])
        for event in order:
            site.ingest([event])
        sites.append(site)
    assert len({site.view.digest(first.id) for site in sites}) == 1
    assert all(site.portable() == sites[0].portable() for site in sites)
    return sites


def value(site: Site, of: Event, stored: str = NAME) -> object:
    reading = site.view.read(of.object, stored)
    return reading and reading.value


def test_the_later_of_two_concurrent_writes_wins_in_any_order() -> None:
    first = team()
    early = child(first, OWNER, Set("name", "early"), t=T + 5)
    late = child(first, CLERK, Set("name", "late"), t=T + 6)
    for site in every_order(first, [early, late]):
        assert value(site, first) == "late"
        conflicts = site.view.conflicts(first.id, NAME)
        assert [reading.value for reading in conflicts] == ["late", "early"]


def test_the_larger_id_decides_between_equal_times() -> None:
    first = team()
    writes = [child(first, by, Set("name", by.name), t=T + 5) for by in (OWNER, CHIEF, CLERK)]
    winner = max(writes, key=lambda event: event.id)
    for site in every_order(first, writes):
        reading = site.view.read(first.id, NAME)
        assert reading is not None
        assert reading.event == winner.id
        assert len(site.view.conflicts(first.id, NAME)) == 3


def test_a_write_wins_over_all_it_had_seen_and_ends_the_conflict() -> None:
    first = team()
    left = child(first, OWNER, Set("name", "left"))
    right = child(first, CLERK, Set("name", "right"), t=T + 50)
    merge = child([left, right], CHIEF, Set("name", "merged"))
    for site in every_order(first, [left, right, merge]):
        assert value(site, first) == "merged"
        assert [reading.value for reading in site.view.conflicts(first.id, NAME)] == ["merged"]
        outcomes = [because.outcome for because in why.of_register(site.view, first.id, NAME)]
        assert outcomes == ["wins", "superseded", "superseded"]


def test_a_merge_that_does_not_touch_the_field_leaves_its_conflict() -> None:
    first = team()
    left = child(first, OWNER, Set("name", "left"))
    right = child(first, CLERK, Set("name", "right"), t=T + 50)
    merge = child([left, right], CHIEF, Set("job", "cook"))
    for site in every_order(first, [left, right, merge]):
        assert value(site, first) == "right"
        assert len(site.view.conflicts(first.id, NAME)) == 2


def test_a_deletion_is_a_write_like_any_other() -> None:
    first = team()
    write = child(first, OWNER, Set("name", "x"))
    deletion = child(write, CLERK, Delete("name"))
    for site in every_order(first, [write, deletion]):
        assert site.view.read(first.id, NAME) is None
        assert site.view.keys(first.id) == []
        (conflict,) = site.view.conflicts(first.id, NAME)
        assert conflict.deleted
    beside = child(write, CHIEF, Set("name", "kept"), t=deletion.t + 1)
    for site in every_order(first, [write, deletion, beside]):
        assert value(site, first) == "kept"
        assert [reading.deleted for reading in site.view.conflicts(first.id, NAME)] == [False, True]


def test_the_last_op_of_an_event_wins_over_its_earlier_ops() -> None:
    first = team()
    twice = child(first, OWNER, Set("name", 1), Delete("name"), Set("name", 2))
    gone = child(first, CLERK, Set("name", 3), Delete("name"), t=T + 9)
    for site in every_order(first, [twice]):
        assert value(site, first) == 2
        assert [reading.value for reading in site.view.conflicts(first.id, NAME)] == [2]
    for site in every_order(first, [twice, gone]):
        assert value(site, first) is None
        assert len(site.view.conflicts(first.id, NAME)) == 2


def test_a_very_late_older_write_changes_nothing_but_is_not_lost() -> None:
    site = Site()
    first = team()
    late = child(first, CLERK, Set("name", "from long ago"))
    site.admit(first)
    last = first
    for number in range(50):
        last = child(last, OWNER, Set("name", number))
        site.admit(last)
    site.admit(late)
    assert value(site, first) == 49
    assert [r.value for r in site.view.conflicts(first.id, NAME)] == [49, "from long ago"]
    assert len(why.of_register(site.view, first.id, NAME)) == 51


@pytest.mark.parametrize("t", [T + 1, T + 50, T + 99])
def test_a_removal_beats_writes_before_beside_and_after_it(t: int) -> None:
    first = team()
    before = child(first, OWNER, Set("name", "before"))
    removal = child(before, CLERK, Remove(), t=max(t, before.t + 1))
    beside = child(before, CHIEF, Set("name", "beside"), t=T + 60)
    after = child(removal, OWNER, Set("name", "after"))
    for site in every_order(first, [before, removal, beside, after]):
        assert site.view.read(first.id, NAME) is None
        assert site.view.keys(first.id) == []
        assert site.view.conflicts(first.id, NAME) == []
        assert list(site.view.objects()) == []
        assert list(site.view.objects(removed=True)) == [("Person", first.object)]
        assert len(list(site.view.history(first.id))) == 5


def test_two_removals_are_one_in_any_order() -> None:
    first = team()
    removals = [child(first, by, Remove(), t=T + t) for by, t in ((OWNER, 5), (CLERK, 3))]
    for site in every_order(first, removals):
        found = site.view.find(first.id)
        assert found is not None
        assert found[1].removed_by[8:] == removals[1].id


def test_a_value_keeps_its_type_and_bytes_stay_bytes() -> None:
    site = Site()
    values: list[Value] = [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "\x00é",
        b"",
        b"\xff",
        [],
        [1, [b""]],
        {"a": {"b": None}},
    ]
    site.admit(first := genesis(*[Set(f"f{n}", value) for n, value in enumerate(values)]))
    for number, expected in enumerate(values):
        reading = site.view.read(first.id, f"value_f{number}")
        assert reading is not None
        assert (reading.value, type(reading.value)) == (expected, type(expected))


def test_fields_whose_names_begin_alike_are_kept_apart() -> None:
    site = Site()
    site.admit(first := genesis(Set("a", 1), Set("a.b", 2), Set("a-", 3), Set("A", 4)))
    for name, expected in (("a", 1), ("a.b", 2), ("a-", 3), ("A", 4)):
        assert value(site, first, f"value_{name}") == expected
        assert len(why.of_register(site.view, first.id, f"value_{name}")) == 1
    assert site.view.keys(first.id) == sorted(f"value_{n}" for n in ("a", "a.b", "a-", "A"))


# -- what decided, and who ----------------------------------------------------------------------


def test_why_names_the_grant_that_let_a_write_in() -> None:
    site = Site()
    first = genesis(policy=Policy(False, (("name", True),)))
    grant = child(first, OWNER, CHIEF.grant(ADMIN))
    by_admin = child(grant, CHIEF, CHIEF.grant(UPDATE), Set("name", "chief"))
    by_stranger = child(by_admin, STRANGER, Set("name", "stranger"))
    by_owner = child(by_stranger, OWNER, Set("name", "owner"))
    site.admit(first, grant, by_admin, by_stranger, by_owner)
    owners, strangers, chiefs = why.of_register(site.view, first.id, NAME)
    assert owners.grant is None
    assert owners.reading.authorized
    assert strangers.grant is None
    assert not strangers.reading.authorized
    assert chiefs.grant is not None
    assert (chiefs.grant.role, chiefs.grant.event) == (ADMIN, grant.id)


def test_roles_as_they_stand_are_those_of_the_owner_and_of_admitted_grants() -> None:
    site = Site()
    site.admit(first := team())
    assert all(site.view.has_role(first.id, OWNER.id, role) for role in (READ, UPDATE, ADMIN))
    assert site.view.has_role(first.id, CLERK.id, UPDATE)
    assert not site.view.has_role(first.id, CLERK.id, READ)
    assert not site.view.has_role(first.id, STRANGER.id, READ)
    assert [grant.author for grant in site.view.grants(first.id, READ)] == [READER.id]
    assert len(site.view.grants(first.id)) == 3


def test_an_object_nobody_told_of() -> None:
    view = Site().view
    assert view.find(bytes(32)) is None
    assert view.read(bytes(32), NAME) is None
    assert view.keys(bytes(32)) == []
    assert view.conflicts(bytes(32), NAME) == []
    assert view.raw(bytes(32)) is None
    for ask in (view.heads, view.digest, view.grants, lambda at: list(view.history(at))):
        with pytest.raises(UnknownObject):
            ask(bytes(32))


def test_an_event_that_fell_out_of_the_store_is_the_stores_error() -> None:
    site = Site()
    site.admit(first := genesis(Set("name", 1)))
    found = site.view.find(first.id)
    assert found is not None
    site.store.write({keyspace.event_key(found[0], first.t, first.id): None})
    with pytest.raises(StoreCorrupt, match="not there"):
        why.of_register(site.view, first.id, NAME)
    with pytest.raises(StoreCorrupt, match="not there"):
        site.view.raw(first.id)


def test_digests_tell_states_apart() -> None:
    """What two nodes must agree on is in the digest, each of it."""
    first = team()
    events = [
        child(first, OWNER, Set("name", 1)),
        child(first, OWNER, Set("name", 2)),
        child(first, OWNER, Delete("name")),
        child(first, OWNER, STRANGER.grant(READ)),
        child(first, OWNER, STRANGER.grant(UPDATE)),
        child(first, OWNER, Remove()),
    ]
    digests = set()
    for event in [first, *events]:
        site = Site()
        site.ingest([first, event])
        digests.add(site.view.digest(first.id))
        digests.add(site.view.digest_all())
    assert len(digests) == 2 * (1 + len(events))
