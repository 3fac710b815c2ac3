"""Who may do what: the whole table, and what past, order and dates do to it (AUTH-1, -2, -5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Delete, Set
from dinemic_engine.errors import Reason
from dinemic_engine.ops import ADMIN, READ, UPDATE, Epoch, Op, Policy, Remove, SetPolicy
from dinemic_engine.outcomes import Ahead, Orphan, Refused
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.sums import LEVELS
from support.graphs import (
    CHIEF,
    CLERK,
    NOW,
    OWNER,
    READER,
    STRANGER,
    Actor,
    Site,
    T,
    actor,
    child,
    genesis,
    team,
)

CLOSED = Policy()
OPEN = Policy(True)
BY_FIELD = Policy(False, (("free", True),))
BY_FIELD_CLOSED = Policy(True, (("firm", False),))
POLICIES = {"closed": CLOSED, "open": OPEN, "free open": BY_FIELD, "firm closed": BY_FIELD_CLOSED}
SOMEBODY = actor("somebody")
NODE = actor("a node's own key")
COMMIT = bytes(range(32))


def epoch(*readers: Actor) -> Epoch:
    return Epoch(1, COMMIT, tuple(sorted((reader.id, bytes(80)) for reader in readers)))


FIELD_OPS: dict[str, Op] = {
    "set firm": Set("firm", 1),
    "set free": Set("free", 1),
    "delete firm": Delete("firm"),
    "delete free": Delete("free"),
}
ACCESS_OPS: dict[str, Op] = {
    "grant read": SOMEBODY.grant(READ),
    "grant update": SOMEBODY.grant(UPDATE),
    "grant admin": SOMEBODY.grant(ADMIN),
    "revoke read": READER.revoke(READ),
    "revoke update": SOMEBODY.revoke(UPDATE),
    "revoke admin": CHIEF.revoke(ADMIN),
    "policy": SetPolicy(Policy(True)),
    "epoch": epoch(OWNER, READER),
    "remove": Remove(),
}
ACCESS_TABLE: dict[Actor, dict[str, object]] = {
    OWNER: dict.fromkeys(ACCESS_OPS, True),
    CHIEF: dict.fromkeys(ACCESS_OPS, True)
    | {
        "grant admin": Reason.ADMIN_BY_ADMIN,
        "revoke admin": Reason.ADMIN_BY_ADMIN,
        "policy": Reason.POLICY_BY_OWNER,
    },
    CLERK: dict.fromkeys(ACCESS_OPS, Reason.ACCESS_CHANGE)
    | {"policy": Reason.POLICY_BY_OWNER, "epoch": True, "remove": True},
}
NOBODYS = dict.fromkeys(ACCESS_OPS, Reason.ACCESS_CHANGE) | {
    "policy": Reason.POLICY_BY_OWNER,
    "remove": Reason.REMOVE_BY_STRANGER,
}
FREE = {
    "closed": (),
    "open": ("set firm", "set free", "delete firm", "delete free"),
    "free open": ("set free", "delete free"),
    "firm closed": ("set free", "delete free"),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("who", [OWNER, CHIEF, CLERK, READER, STRANGER, NODE], ids=lambda a: a.name)
def test_the_access_table(policy: str, who: Actor) -> None:
    site = Site()
    first = team(POLICIES[policy])
    site.admit(first)
    for name, op in FIELD_OPS.items():
        expected: object = True
        if who not in (OWNER, CHIEF, CLERK):
            expected = False if name in FREE[policy] else Reason.UNAUTHORIZED
        assert site.verdict(child(first, who, op)) == expected, name
    for name, op in ACCESS_OPS.items():
        expected = ACCESS_TABLE.get(who, NOBODYS)[name]
        assert site.verdict(child(first, who, op)) == expected, name


@pytest.mark.parametrize("who", [CHIEF, CLERK, READER, STRANGER], ids=lambda a: a.name)
def test_one_refused_op_refuses_the_whole_event(who: Actor) -> None:
    site = Site()
    site.admit(first := team(OPEN))
    event = child(first, who, Set("a", 1), SOMEBODY.grant(ADMIN))
    assert isinstance(site.verdict(event), Reason)
    site.ingest([event])
    assert site.view.read(first.id, "value_a") is None


@pytest.mark.parametrize("role", [READ, UPDATE, ADMIN])
def test_nobody_grants_the_owner_anything(role: int) -> None:
    site = Site()
    site.admit(first := team())
    assert site.verdict(child(first, OWNER, OWNER.grant(role))) is Reason.OWNER_GRANT
    expected = Reason.ADMIN_BY_ADMIN if role == ADMIN else Reason.OWNER_GRANT
    assert site.verdict(child(first, CHIEF, OWNER.grant(role))) is expected
    assert site.verdict(genesis(OWNER.grant(role))) is Reason.OWNER_GRANT


@pytest.mark.parametrize("role", [READ, UPDATE, ADMIN])
def test_nobody_revokes_the_owner(role: int) -> None:
    site = Site()
    site.admit(first := team())
    assert site.verdict(child(first, OWNER, OWNER.revoke(role))) is Reason.OWNER_GRANT
    expected = Reason.ADMIN_BY_ADMIN if role == ADMIN else Reason.OWNER_GRANT
    assert site.verdict(child(first, CHIEF, OWNER.revoke(role))) is expected


def test_a_refused_genesis_leaves_nothing_behind() -> None:
    site = Site()
    site.ingest([genesis(OWNER.grant(READ), model="Ghost"), genesis(model="Person")])
    assert site.view.models() == ["Person"]
    assert site.ledger.tip.objects == 1
    assert [model for model, _ in site.view.objects(removed=True)] == ["Person"]
    before = dict(site.store.scan(b"", b"\xff"))
    site.ingest([genesis(OWNER.grant(READ), model="Ghost")])
    assert dict(site.store.scan(b"", b"\xff")) == before


def test_a_grant_counts_from_the_moment_it_was_seen() -> None:
    site = Site()
    first = genesis()
    grant = child(first, OWNER, CLERK.grant(UPDATE))
    site.admit(first, grant)
    assert site.verdict(child(first, CLERK, Set("a", 1))) is Reason.UNAUTHORIZED
    assert site.verdict(child(first, CLERK, Set("a", 1), t=grant.t + 9)) is Reason.UNAUTHORIZED
    assert site.verdict(child(grant, CLERK, Set("a", 1))) is True
    beside = child(first, OWNER, Set("b", 1), t=grant.t)
    site.admit(beside)
    assert site.verdict(child(beside, CLERK, Set("a", 1))) is Reason.UNAUTHORIZED
    assert site.verdict(child([beside, grant], CLERK, Set("a", 1))) is True


def test_a_grant_in_the_same_event_gives_its_author_nothing() -> None:
    site = Site()
    site.admit(first := team(OPEN))
    event = child(first, READER, READER.grant(UPDATE), Remove())
    assert site.verdict(event) is Reason.ACCESS_CHANGE


def test_a_back_dated_event_is_judged_by_what_it_names_and_not_by_its_date() -> None:
    site = Site()
    first = genesis()
    grant = child(first, OWNER, CLERK.grant(UPDATE), t=T + 100)
    site.admit(first, grant)
    assert site.verdict(child(first, CLERK, Set("a", 1), t=T + 200)) is Reason.UNAUTHORIZED
    assert site.verdict(child(grant, CLERK, Set("a", 1), t=T + 50)) is Reason.CLOCK
    assert site.verdict(child(grant, CLERK, Set("a", 1), t=T + 100)) is Reason.CLOCK
    assert site.verdict(child(grant, CLERK, Set("a", 1), t=T + 101)) is True


def test_a_grant_through_a_chain_of_admins() -> None:
    site = Site()
    first = team()
    by_chief = child(first, CHIEF, SOMEBODY.grant(UPDATE))
    write = child(by_chief, SOMEBODY, Set("a", 1))
    site.admit(first, by_chief, write)
    assert site.verdict(child(write, SOMEBODY, NODE.grant(READ))) is Reason.ACCESS_CHANGE


def test_parents_of_another_object_are_refused_wherever_they_stand() -> None:
    site = Site()
    mine, other = genesis(), genesis(by=CHIEF)
    site.admit(mine, other)
    assert site.verdict(child([mine, other], OWNER, Set("a", 1))) is Reason.WRONG_OBJECT
    assert site.verdict(child([other, mine], OWNER, Set("a", 1))) is Reason.WRONG_OBJECT


def test_an_event_of_an_unknown_object_waits_for_its_genesis() -> None:
    site = Site()
    first = genesis()
    event = child(first, OWNER, Set("a", 1))
    assert isinstance(site.verdict(event), Orphan)
    site.ingest([event])
    site.admit(first)
    assert site.view.read(first.id, "value_a") is not None


def test_a_verdict_does_not_depend_on_the_batch_an_event_comes_in() -> None:
    """Not above its parent, so sorted before it: still refused and not taken for an orphan."""
    first = genesis()
    parent = child(first, OWNER, Set("a", 1), t=T + 9)
    bad = child(parent, OWNER, Set("a", 2), t=T + 5)
    for batch in itertools.permutations([first, parent, bad]):
        site = Site()
        site.ingest(batch)
        assert site.refused == {bad.id: Reason.CLOCK.value}
        assert site.waiting.counts() == (0, 0)
        outcomes = {o.event.id: o for o in Site().ledger.prepare(batch, NOW).outcomes}
        assert isinstance(outcomes[bad.id], Refused)


def test_an_event_far_ahead_is_held_and_one_at_the_edge_is_not() -> None:
    site = Site()
    site.admit(first := genesis())
    edge = child(first, OWNER, Set("a", 1), t=NOW + 60_000_000)
    beyond = child(first, OWNER, Set("a", 2), t=NOW + 60_000_001)
    assert site.verdict(edge) is True
    assert isinstance(site.verdict(beyond), Ahead)
    assert isinstance(site.verdict(child(beyond, OWNER, Set("a", 3))), Ahead)
    assert site.verdict(beyond, now=NOW + 1) is True


def test_a_forged_date_is_held_before_anything_else_is_said_of_it() -> None:
    site = Site()
    site.admit(first := team())
    year = 365 * 24 * 3_600_000_000
    assert isinstance(site.verdict(child(first, STRANGER, Remove(), t=NOW + year)), Ahead)


# -- sealing epochs (SEAL-3) ---------------------------------------------------------------------

SEALED = Sealed(COMMIT, bytes(16), b"not even a ciphertext")


@pytest.mark.parametrize("who", [OWNER, CHIEF, CLERK], ids=lambda a: a.name)
def test_a_sealed_value_needs_its_epoch_in_the_past_or_beside_it(who: Actor) -> None:
    site = Site()
    first = team()
    made = child(first, OWNER, epoch(OWNER, READER))
    site.admit(first, made)
    assert site.verdict(child(first, who, Set("a", SEALED))) is Reason.EPOCH_UNKNOWN
    assert site.verdict(child(made, who, Set("a", SEALED))) is True
    assert site.verdict(child(first, who, Set("a", SEALED), epoch(OWNER))) is True


@pytest.mark.parametrize("who", [OWNER, CHIEF, CLERK], ids=lambda a: a.name)
def test_an_epoch_names_readers_only(who: Actor) -> None:
    site = Site()
    first = team()
    grant = child(first, OWNER, CLERK.grant(READ))
    site.admit(first, grant)
    assert site.verdict(child(first, who, epoch(OWNER))) is True
    assert site.verdict(child(first, who, epoch(OWNER, READER))) is True
    assert site.verdict(child(first, who, epoch(READER))) is Reason.EPOCH_OWNER
    for other in (CHIEF, CLERK, STRANGER):
        assert site.verdict(child(first, who, epoch(OWNER, other))) is Reason.EPOCH_READERS
    assert site.verdict(child(grant, who, epoch(OWNER, CLERK))) is True


def test_a_reader_may_be_granted_beside_the_epoch_that_names_it() -> None:
    site = Site()
    site.admit(first := team())
    pair: list[Op] = [epoch(OWNER, SOMEBODY), SOMEBODY.grant(READ)]
    for ops in (pair, pair[::-1]):
        assert site.verdict(child(first, CHIEF, *ops)) is True
    event = child(first, CHIEF, epoch(OWNER, SOMEBODY), SOMEBODY.grant(UPDATE))
    assert site.verdict(event) is Reason.EPOCH_READERS


def test_in_an_open_object_a_stranger_may_write_sealed_bytes_but_make_no_epoch() -> None:
    site = Site()
    site.admit(first := team(OPEN))
    assert site.verdict(child(first, STRANGER, Set("a", SEALED))) is False
    assert site.verdict(child(first, STRANGER, epoch(OWNER))) is Reason.ACCESS_CHANGE
    assert site.verdict(child(first, OWNER, epoch(OWNER, STRANGER))) is Reason.EPOCH_READERS


class CountingStore(MemoryStore):
    """Counts the scans made in it, and the rows they read."""

    scans = 0
    rows = 0

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        self.scans += 1
        for row in super().scan(start, end, reverse=reverse):
            self.rows += 1
            yield row


def test_judging_the_largest_event_asks_each_question_once() -> None:
    """Thousands of ops by one author under one epoch: no question is asked once per op."""
    store = CountingStore()
    site = Site(store)
    site.admit(first := team())
    made = child(first, OWNER, epoch(OWNER))
    site.admit(made)
    event = child(made, CHIEF, *[Set(f"f{number}", SEALED) for number in range(4000)])
    before = store.scans
    assert site.verdict(event) is True
    assert store.scans - before < 10
    for many in ([READER.grant(UPDATE)] * 1000, [CLERK.revoke(UPDATE), READER.revoke(READ)] * 500):
        before = store.scans
        assert site.verdict(child(made, CHIEF, *many)) is True
        assert store.scans - before < 60


def test_a_revocation_costs_what_it_makes_void_and_not_its_square() -> None:
    """Nor does what others wrote meanwhile, but for the blocks over which the sums are kept."""

    def rows_read(unseen: int, others: int) -> int:
        store = CountingStore()
        site = Site(store)
        site.admit(last := team())
        branch = last
        for number in range(others):
            site.admit(last := child(last, OWNER, Set("a", number)))
        for number in range(unseen):
            site.admit(branch := child(branch, CLERK, Set("b", number)))
        revocation = child(last, OWNER, CLERK.revoke(UPDATE))
        before = store.rows
        assert site.verdict(revocation) is True
        return store.rows - before

    few, many = rows_read(50, 5), rows_read(200, 5)
    assert many < 5 * few
    assert rows_read(50, 200) <= few + LEVELS
