"""One row per way to break in or to come too late: the rule's verdict, on every node, in any order.

Events go in as bytes from a peer, in every order there is (AUTH-1 to -6, SEAL-3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Delete, Set
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event
from dinemic_engine.ops import ADMIN, READ, UPDATE, Epoch, Op, Policy, Remove, SetPolicy
from support.graphs import (
    CHIEF,
    CLERK,
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
from support.nodes import acting, exchange, forge, object_id, opened, send, t_of

PEER = b"p" * 32
VOID, CLOSED = "AUTH-4", "AUTH-5"
STANDS, FREE = "authorized", "unauthorized"
OPEN = Policy(True)
SECOND = actor("a second chief")

Case = Mapping[Event, "str | Reason"]


COMMIT = bytes(range(32))
SEALED = Set("f", Sealed(COMMIT, bytes(16), bytes(32)))


def epoch(*readers: Actor) -> Epoch:
    return Epoch(1, COMMIT, tuple(sorted((who.id, bytes(80)) for who in readers)))


def write(of: Event | list[Event], by: Actor, t: int | None = None, field: str = "f") -> Event:
    return child(of, by, Set(field, by.name), t=t)


def writer_revoked() -> Case:
    first = team()
    seen = write(first, CLERK)
    cut = child(seen, OWNER, CLERK.revoke(UPDATE), t=T + 50)
    return {
        first: STANDS,
        seen: STANDS,
        cut: STANDS,
        write(seen, CLERK, T + 60): VOID,  # later, and it had not seen
        write(seen, CLERK, T + 10): VOID,  # dated back to before the revocation
        write(cut, CLERK): Reason.UNAUTHORIZED,  # it had seen, and went on
    }


def access_changes_by_the_wrong_people() -> Case:
    first = team()
    return {
        first: STANDS,
        write(first, STRANGER): Reason.UNAUTHORIZED,
        child(first, CLERK, READER.grant(UPDATE)): Reason.ACCESS_CHANGE,
        child(first, CLERK, CLERK.grant(ADMIN)): Reason.ACCESS_CHANGE,
        child(first, CHIEF, CHIEF.grant(ADMIN)): Reason.ADMIN_BY_ADMIN,
        child(first, CHIEF, OWNER.revoke(UPDATE)): Reason.OWNER_GRANT,
    }


def more_access_changes_by_the_wrong_people() -> Case:
    first = genesis(CHIEF.grant(ADMIN), SECOND.grant(ADMIN), CLERK.grant(UPDATE))
    return {
        first: STANDS,
        child(first, CHIEF, SECOND.revoke(ADMIN)): Reason.ADMIN_BY_ADMIN,
        child(first, CHIEF, SetPolicy(OPEN)): Reason.POLICY_BY_OWNER,
        child(first, CLERK, CHIEF.revoke(UPDATE)): Reason.ACCESS_CHANGE,
        child(first, STRANGER, Remove()): Reason.REMOVE_BY_STRANGER,
        child(first, OWNER, OWNER.revoke(ADMIN)): Reason.OWNER_GRANT,
    }


def a_grant_unseen_by_the_revocation() -> Case:
    """AUTH-3: it survives, and with it what rests on it; not what rested on the one before."""
    first = genesis(CLERK.grant(UPDATE))
    cut = child(first, OWNER, CLERK.revoke(UPDATE), t=T + 9)
    again = child(first, OWNER, CLERK.grant(UPDATE), t=T + 3)
    return {
        first: STANDS,
        cut: STANDS,
        again: STANDS,
        write(first, CLERK, T + 20): VOID,
        write(again, CLERK, T + 20): STANDS,
        write([cut, again], CLERK): STANDS,
    }


def a_grant_after_the_revocation() -> Case:
    first = genesis(CLERK.grant(UPDATE))
    cut = child(first, OWNER, CLERK.revoke(UPDATE))
    again = child(cut, OWNER, CLERK.grant(UPDATE))
    return {
        first: STANDS,
        cut: STANDS,
        again: STANDS,
        write(cut, CLERK, T + 20): Reason.UNAUTHORIZED,
        write(first, CLERK, T + 20): VOID,
        write(again, CLERK): STANDS,
    }


def an_admin_revoked_unseen() -> Case:
    """All that the admin did unseen falls, and what its members did falls or comes back with it."""
    first = genesis(CHIEF.grant(ADMIN), CLERK.grant(UPDATE))
    granted = child(first, CHIEF, READER.grant(UPDATE))
    revoked = child(first, CHIEF, CLERK.revoke(UPDATE), t=T + 2)
    return {
        first: STANDS,
        child(first, OWNER, CHIEF.revoke(ADMIN)): STANDS,
        granted: VOID,
        write(granted, READER): VOID,
        revoked: VOID,
        write(first, CLERK): STANDS,
    }


def admins_that_revoke_each_others_writing() -> Case:
    first = genesis(*(who.grant(role) for who in (CHIEF, SECOND) for role in (ADMIN, UPDATE)))
    return {
        first: STANDS,
        child(first, CHIEF, SECOND.revoke(UPDATE)): STANDS,
        child(first, SECOND, CHIEF.revoke(UPDATE)): STANDS,
        write(first, CHIEF): STANDS,
        write(first, SECOND, T + 2): STANDS,
    }


def an_open_object_that_is_closed() -> Case:
    first = genesis(CLERK.grant(UPDATE), policy=OPEN)
    seen = write(first, STRANGER)
    closing = child(seen, OWNER, SetPolicy(Policy()))
    return {
        first: STANDS,
        seen: FREE,
        closing: STANDS,
        write(seen, STRANGER): CLOSED,
        write(closing, STRANGER): Reason.UNAUTHORIZED,
        write(seen, CLERK): STANDS,
    }


def a_field_that_is_closed() -> Case:
    first = genesis(policy=OPEN)
    closing = child(first, OWNER, SetPolicy(Policy(True, (("f", False),))))
    opening = child(closing, OWNER, SetPolicy(OPEN))
    return {
        first: STANDS,
        closing: STANDS,
        opening: STANDS,
        write(first, STRANGER, field="g"): FREE,
        write(first, STRANGER, T + 3): CLOSED,  # opening again gives nothing back
        child(opening, STRANGER, Delete("f")): FREE,
    }


CASES: list[Callable[[], Case]] = [
    writer_revoked,
    access_changes_by_the_wrong_people,
    more_access_changes_by_the_wrong_people,
    a_grant_unseen_by_the_revocation,
    a_grant_after_the_revocation,
    an_admin_revoked_unseen,
    admins_that_revoke_each_others_writing,
    an_open_object_that_is_closed,
    a_field_that_is_closed,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_order_of_arrival_gives_the_rules_verdicts(
    tmp_path: Path, case: Callable[[], Case]
) -> None:
    expected = case()
    first, *rest = expected
    digests = set()
    for number, order in enumerate(itertools.permutations(rest)):
        site = Site()
        site.ingest([first])
        for event in order:
            site.ingest([event])
        verdicts = dict(site.refused)
        for logged in site.view.history(first.object):
            verdicts[logged.event.id] = logged.rule.partition(":")[0] or logged.verdict
        assert verdicts == {
            event.id: verdict.value if isinstance(verdict, Reason) else verdict
            for event, verdict in expected.items()
        }, number
        digests.add((site.view.digest(first.object), site.view.fingerprint("Person")))
    assert len(digests) == 1
    with opened(tmp_path) as node:  # once more as bytes from a peer: blame for what is refused only
        blamed = node.ingest(PEER, [event.raw for event in expected]).invalid
        assert {reason for _, reason in blamed} == {
            verdict.value for verdict in expected.values() if isinstance(verdict, Reason)
        }
        assert {(node.view.digest(first.object), node.view.fingerprint("Person"))} == digests


# -- the invariants by name ------------------------------------------------------------------------


def test_i_06_nothing_the_revoker_had_not_seen_is_effective_and_nothing_it_had_seen_is_lost() -> (
    None
):
    first = team()
    seen = [first]
    for n in range(5):
        seen.append(child(seen[-1], CLERK, Set(f"s{n}", n)))
    cut = child(seen[-1], CHIEF, CLERK.revoke(UPDATE))
    unseen = [child(each, CLERK, Set(f"u{n}", n)) for n, each in enumerate(seen)]
    for order in ([*seen, cut, *unseen], [*seen, *unseen, cut], [cut, *unseen[::-1], *seen[::-1]]):
        site = Site()
        site.ingest(order)
        assert site.view.keys(first.object) == [f"value_s{n}" for n in range(5)]
        void = {logged.event.id for logged in site.view.history(first.object) if logged.rule}
        assert void == {event.id for event in unseen}


def test_i_03_what_else_is_known_of_a_reader_refuses_no_sealed_value() -> None:
    """A reader granted by an admin who was revoked unseen: the refusal is told by the past alone.

    Another revocation of the reader, which the event had not seen, must not be what decides.
    """
    first = genesis(CHIEF.grant(ADMIN), CLERK.grant(UPDATE))
    granted = child(first, CHIEF, READER.grant(READ))
    made = child(granted, OWNER, epoch(OWNER, READER))
    ends_chief = child(first, OWNER, CHIEF.revoke(ADMIN), t=T + 4)
    value = child([made, ends_chief], CLERK, SEALED)
    unseen = child(made, OWNER, READER.revoke(READ))
    for rest in itertools.permutations([granted, made, ends_chief, value, unseen]):
        site = Site()
        site.admit(first)
        for event in rest:
            site.ingest([event])
        site.reopen()
        assert site.refused == {value.id: Reason.EPOCH_READERS.value}
        assert site.verdict(value) is Reason.EPOCH_READERS


@pytest.mark.parametrize("turned", [False, True])
def test_i_03_a_reader_granted_beside_the_epoch_by_an_admin_revoked_before(turned: bool) -> None:
    first = genesis(CHIEF.grant(ADMIN), CHIEF.grant(READ), CLERK.grant(UPDATE))
    ops: list[Op] = [epoch(OWNER, READER), READER.grant(READ)]
    made = child(first, CHIEF, *(ops[::-1] if turned else ops))
    ends_chief = child(first, OWNER, CHIEF.revoke(ADMIN), t=T + 4)
    value = child([made, ends_chief], CLERK, SEALED)
    for rest in itertools.permutations([made, ends_chief, value]):
        site = Site()
        site.admit(first)
        for event in rest:
            site.ingest([event])
        assert site.refused == {value.id: Reason.EPOCH_READERS.value}


def test_a_writer_who_may_not_read_any_more_seals_under_no_epoch_it_can_open() -> None:
    first = genesis(CLERK.grant(UPDATE), CLERK.grant(READ))
    made = child(first, OWNER, epoch(OWNER, CLERK))
    cut = child(made, OWNER, CLERK.revoke(READ))
    site = Site()
    site.admit(first, made, cut)
    assert site.verdict(child(made, CLERK, SEALED)) is True
    assert site.verdict(child(cut, CLERK, SEALED)) is Reason.EPOCH_READERS
    assert site.verdict(child(cut, OWNER, SEALED)) is Reason.EPOCH_READERS


def test_an_epoch_given_to_one_more_reader_unseen_stays_good_for_who_had_not_seen_it() -> None:
    """I-03 again: the newcomer was ended since, and is no reader in the past of the value."""
    first = genesis(CLERK.grant(UPDATE))
    made = child(first, OWNER, epoch(OWNER))
    newcomer = child(made, OWNER, READER.grant(READ), epoch(READER))
    cut = child(newcomer, OWNER, READER.revoke(READ))
    value = child(made, CLERK, SEALED)
    for rest in itertools.permutations([newcomer, cut, value]):
        site = Site()
        site.admit(first, made)
        for event in rest:
            site.ingest([event])
        assert site.refused == {}
        assert site.verdict(child([cut, value], CLERK, SEALED)) is Reason.EPOCH_READERS


def test_a_write_that_wins_again_is_told_as_what_it_is() -> None:
    first = genesis(CLERK.grant(UPDATE), policy=OPEN)
    free = write(first, STRANGER)
    taken_back = child(free, CLERK, Remove(), Set("f", "beats it"))
    site = Site()
    site.admit(first, free, taken_back, child(free, OWNER, CLERK.revoke(UPDATE)))
    found = site.view.read(first.object, "value_f")
    assert found is not None
    assert (found.event, found.authorized) == (free.id, False)


# -- removal (AUTH-6) ------------------------------------------------------------------------------


def test_no_write_resurrects_a_removed_object_and_a_void_removal_gives_it_back_whole() -> None:
    first = team()
    value = write(first, OWNER)
    removal = child(value, CLERK, Remove())
    after = write(removal, CHIEF)
    cut = child(value, OWNER, CLERK.revoke(UPDATE), t=T + 90)
    digests = set()
    for order in itertools.permutations([removal, after, cut]):
        site = Site()
        site.admit(first, value)
        for event in order:
            site.ingest([event])
            known = {logged.event.id for logged in site.view.history(first.object)}
            gone = removal.id in known and cut.id not in known
            assert bool(site.view.need(first.object)[1].removed_by) == gone
            assert (site.view.keys(first.object) == []) == gone
        found = site.view.read(first.object, "value_f")
        assert found is not None
        assert found.event == after.id
        digests.add(site.view.digest(first.object))
    assert len(digests) == 1


def test_a_stranger_removes_nothing_in_an_open_object() -> None:
    site = Site()
    site.admit(first := genesis(policy=OPEN))
    assert site.verdict(child(first, STRANGER, Remove())) is Reason.REMOVE_BY_STRANGER
    assert site.verdict(child(first, STRANGER, Set("f", 1), Remove())) is Reason.REMOVE_BY_STRANGER


# -- sealed values from a peer that means ill (SEAL-3, SEAL-5) -------------------------------------


class Vault(dinemic.DModel):
    secret = dinemic.DField("secret", True)
    other = dinemic.DField("other", True)


@pytest.mark.parametrize("harm", ["truncated", "empty", "moved", "another salt", "garbage"])
def test_a_damaged_ciphertext_is_unreadable_and_reader_and_relay_stay_equal(
    two: tuple[Node, Node], harm: str
) -> None:
    reader, relay = two
    with acting(reader):
        vault = Vault([])
        vault.secret.set("kept")
        raw_id = object_id(vault)
        good = reader.view.read(raw_id, "value_secret")
        assert good is not None
        assert isinstance(good.value, Sealed)
        epoch, salt, ciphertext = good.value.epoch, good.value.salt, good.value.ciphertext
        field, bad = {
            "truncated": ("secret", Sealed(epoch, salt, ciphertext[:-1])),
            "empty": ("secret", Sealed(epoch, salt, b"")),
            "moved": ("other", good.value),
            "another salt": ("secret", Sealed(epoch, bytes(16), ciphertext)),
            "garbage": ("secret", Sealed(epoch, salt, bytes(64))),
        }[harm]
        keys = reader.keyring.get(raw_id)
        assert keys is not None
        heads = reader.view.heads(raw_id)
        t = max(t_of(raw) for _, raw in filter(None, map(reader.view.raw, heads))) + 1
        event = forge(keys.signing, raw_id, heads, t, Set(field, bad))
        send(reader, relay)
        for node in (reader, relay):
            assert node.ingest(PEER, [event]).admitted == 1
        with pytest.raises(dinemic.Unreadable):
            vault.get(field)
        assert reader.view.digest_all() == relay.view.digest_all()
        vault.set(field, "mended")
        assert vault.get(field) == "mended"
        exchange(reader, relay)
        assert reader.view.digest_all() == relay.view.digest_all()


def test_a_sealed_value_under_no_epoch_of_the_object_is_refused(two: tuple[Node, Node]) -> None:
    reader, relay = two
    with acting(reader):
        vault, foreign = Vault([]), Vault([])
        foreign.secret.set("x")
        found = reader.view.read(object_id(foreign), "value_secret")
        assert found is not None
        raw_id = object_id(vault)
        keys = reader.keyring.get(raw_id)
        assert keys is not None
        assert isinstance(found.value, Sealed)
        heads = reader.view.heads(raw_id)
        t = found.t + 1
        event = forge(keys.signing, raw_id, heads, t, Set("secret", found.value))
        send(reader, relay)
        for node in (reader, relay):
            assert node.ingest(PEER, [event]).invalid == ((0, Reason.EPOCH_UNKNOWN.value),)
