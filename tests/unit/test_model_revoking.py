"""Revoking by handles: what ends, what stays, what becomes void, and who may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ops import UPDATE
from support.models import UNKNOWN, Dog, Person, changes, shared
from support.nodes import acting, exchange, object_id, raw_events, send, trace

ROLES = ("read", "update", "admin")


def append(handle: dinemic.DModel, role: str, who: str) -> None:
    getattr(handle, f"append_{role}_authorized")(who)


def revoke(handle: dinemic.DModel, role: str, who: str) -> None:
    getattr(handle, f"revoke_{role}_authorized")(who)


def holds(handle: dinemic.DModel, role: str, who: str) -> bool:
    return bool(getattr(handle, f"is_{role}_authorized")(who))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_revoked_by_one_event_and_given_again(node: Node, role: str) -> None:
    friend = Dog([]).get_db_id()
    p = Person([])
    append(p, role, friend)
    assert holds(p, role, friend)
    events = node.status().events
    revoke(p, role, friend)
    assert not holds(p, role, friend)
    *_, last = p.history()
    assert (last.author, last.verdict, len(last.ops)) == (p.get_public_sign_key(), "authorized", 1)
    revoke(p, role, friend)  # held no more
    assert node.status().events == events + 1
    append(p, role, friend)
    assert holds(p, role, friend)
    revoke(p, role, friend)
    assert not holds(p, role, friend)


@pytest.mark.parametrize("role", ROLES)
def test_revoking_a_role_that_is_not_held_makes_nothing(node: Node, role: str) -> None:
    friend = Dog([]).get_db_id()
    p = Person([])
    for other in ROLES:
        if other != role:
            append(p, other, friend)
    before = trace(node)
    revoke(p, role, friend)
    revoke(p, role, UNKNOWN)
    assert trace(node) == before


@pytest.mark.parametrize("role", ROLES)
def test_the_owners_rights_are_not_revoked(node: Node, role: str) -> None:
    admin = Dog([]).get_db_id()
    p = Person([])
    p.append_admin_authorized(admin)
    before = trace(node)
    for handle in (p, Person(p.get_db_id(), admin)):
        with pytest.raises(dinemic.UpdateRejected, match="owner") as caught:
            revoke(handle, role, p.get_db_id())
        assert caught.value.by == "AUTH-2"
    assert trace(node) == before
    assert holds(p, role, p.get_db_id())


def test_members_revoke_nobody_and_admins_no_admin(node: Node) -> None:
    admin, second, member = (Dog([]).get_db_id() for _ in range(3))
    p = Person([member])
    p.append_admin_authorized(admin)
    p.append_admin_authorized(second)
    as_member, as_admin = Person(p.get_db_id(), member), Person(p.get_db_id(), admin)
    before = trace(node)
    for rule, handle, role, who in [
        ("AUTH-5", as_member, "update", member),
        ("AUTH-5", as_member, "read", member),
        ("AUTH-5", as_member, "admin", admin),
        ("AUTH-1", as_admin, "admin", second),
        ("AUTH-1", as_admin, "admin", admin),
    ]:
        with pytest.raises(dinemic.UpdateRejected) as caught:
            revoke(handle, role, who)
        assert caught.value.by == rule
    assert trace(node) == before
    as_admin.revoke_update_authorized(member)
    as_admin.revoke_read_authorized(member)
    assert not p.is_update_authorized(member)
    assert not p.is_read_authorized(member)


def test_the_revoked_write_nothing_and_leave_no_trace(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        chief, friend = Dog([]), Dog([]).get_db_id()
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        p.append_admin_authorized(chief.get_db_id())
        p.name.set("Bob")
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), chief.get_db_id())
        handle.name.set("Robert")
    send(b, a)
    p.revoke_admin_authorized(chief.get_db_id())
    assert p.is_update_authorized(chief.get_db_id()), "by the grant of its own"
    p.revoke_update_authorized(chief.get_db_id())
    send(a, b)
    before = trace(b)
    for attempt in changes(handle, friend):
        with pytest.raises(dinemic.UpdateRejected) as caught:
            attempt()
        assert caught.value.by in ("AUTH-1", "AUTH-5", "AUTH-6")
    for role in ROLES:
        with pytest.raises(dinemic.UpdateRejected):
            revoke(handle, role, p.get_db_id())
    assert trace(b) == before
    assert handle.name.get() == "Robert", "what the revoker had seen stays"


def test_what_a_revoker_had_not_seen_is_void_and_told_with_the_rule(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    p, handle, chief = shared(two, Person)
    p.name.set("Bob")
    send(a, b)
    handle.name.set("unseen")
    assert handle.name.get() == "unseen"
    p.revoke_update_authorized(chief.get_db_id())
    exchange(b, a)
    for each in (p, handle):  # b sent it before it heard of the revocation
        assert each.name.get() == "Bob"
        void = [event for event in each.history() if event.verdict == "void"]
        assert [event.author for event in void] == [chief.get_public_sign_key()]
        assert void[0].rule.startswith("AUTH-4: ")
        assert all(event.rule == "" for event in each.history() if event.verdict != "void")
        wins, lost = each.why("name")
        assert (wins.outcome, wins.value) == ("wins", "Bob")
        assert (lost.outcome, lost.value, lost.rule) == ("void", "unseen", void[0].rule)
        assert lost.author == chief.get_public_sign_key()
    assert (a.status().void, a.status().flipped) == (1, 0), "void as it came"
    assert (b.status().void, b.status().flipped) == (0, 1), "the revocation came late"
    assert a.view.digest_all() == b.view.digest_all()


def test_what_is_void_where_it_was_written_goes_nowhere(two: tuple[Node, Node]) -> None:
    a, b = two
    p, handle, chief = shared(two, Person)
    handle.name.set("unseen")
    p.revoke_update_authorized(chief.get_db_id())
    send(a, b)
    send(b, a)
    assert [event.verdict for event in handle.history()].count("void") == 1
    assert [event.verdict for event in p.history()].count("void") == 0
    assert handle.why("name")[0].outcome == "void"
    assert a.view.digest_all() == b.view.digest_all()


def test_a_grant_after_the_revocation_does_not_bring_back_what_was_void(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    p, handle, chief = shared(two, Person)
    handle.name.set("unseen")
    p.revoke_update_authorized(chief.get_db_id())
    p.append_update_authorized(chief.get_db_id())
    exchange(b, a)
    assert (p.name.get(), handle.name.get()) == ("", "")
    handle.name.set("back again")
    exchange(b, a)
    assert p.name.get() == "back again"
    assert [event.verdict for event in p.history()].count("void") == 1


def test_somebody_whose_object_is_not_known_here_is_revoked_by_the_grant(
    two: tuple[Node, Node], tmp_path: Path
) -> None:
    a, b = two
    with acting(a):
        friend = Dog([])
        p = Person([friend.get_db_id()])
    with acting(b):
        admin = Dog([])
    send(b, a)
    p.append_admin_authorized(admin.get_db_id())
    friend_id = object_id(friend)
    models = [raw for raw in raw_events(a) if open_event_untrusted(raw).object != friend_id]
    b.ingest(a.node_id, models)
    with acting(b):
        assert b.view.find(friend_id) is None
        handle = Person(p.get_db_id(), admin.get_db_id())
        assert handle.is_update_authorized(friend.get_db_id())
        before = trace(b)
        handle.append_read_authorized(friend.get_db_id())
        assert trace(b) == before, "it may read already"
        handle.revoke_update_authorized(friend.get_db_id())
        assert not handle.is_update_authorized(friend.get_db_id())
        assert handle.is_read_authorized(friend.get_db_id())
    send(b, a)
    assert not p.is_update_authorized(friend.get_db_id())


def test_a_key_granted_in_anothers_name_is_revoked_by_that_name(node: Node) -> None:
    admin, friend, liar = Dog([]), Dog([]), Dog([])
    p = Person([])
    p.append_admin_authorized(admin.get_db_id())
    target = object_id(p)
    lie = node.grant(object_id(friend), UPDATE)
    lie = replace(lie, signing=node.grant(object_id(liar), UPDATE).signing)
    node.commit(target, [lie], object_id(admin))
    Person(p.get_db_id(), liar.get_db_id()).name.set("by the liar")
    assert not p.is_update_authorized(friend.get_db_id()), "the key is not that object's"
    p.revoke_update_authorized(friend.get_db_id())
    with pytest.raises(dinemic.UpdateRejected):
        Person(p.get_db_id(), liar.get_db_id()).name.set("again")


def test_a_sealed_value_is_written_anew_without_the_reader_that_was_revoked(node: Node) -> None:
    reader = Dog([]).get_db_id()
    p = Person([])
    p.append_read_authorized(reader)
    p.salary.set("1000")
    handle = Person(p.get_db_id(), reader)
    assert handle.salary.get() == "1000"
    p.revoke_read_authorized(reader)
    assert handle.salary.get() == "1000", "no revocation takes a key back"
    p.salary.set("2000")
    assert p.salary.get() == "2000"
    with pytest.raises(dinemic.Unreadable):
        handle.salary.get()
    p.append_read_authorized(reader)
    p.salary.set("3000")
    assert handle.salary.get() == "3000"


@pytest.mark.parametrize("history", [True, False])
def test_a_new_reader_opens_what_was_there_before_or_not_as_asked(
    node: Node, history: bool
) -> None:
    reader = Dog([]).get_db_id()
    p = Person([])
    p.salary.set("1000")
    p.append_read_authorized(reader, history=history)
    handle = Person(p.get_db_id(), reader)
    if history:
        assert handle.salary.get() == "1000"
    else:
        with pytest.raises(dinemic.Unreadable):
            handle.salary.get()
    p.salary.set("2000")
    assert handle.salary.get() == "2000"
