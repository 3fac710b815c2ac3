"""Objects and access: who signs, who may, and that a refusal leaves no trace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ids import to_text
from dinemic_engine.ops import UPDATE
from support.nodes import (
    acting,
    exchange,
    object_id,
    raw_events,
    send,
    trace,
)


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)


class Dog(dinemic.DModel):
    name = dinemic.DField("name")


UNKNOWN = "Person:" + to_text(bytes(31) + b"\x10")


# -- who signs -----------------------------------------------------------------------------------


def test_the_object_signs_for_itself_where_it_is_owned(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    assert [event.author for event in p.history()] == [p.get_public_sign_key()] * 2


def test_a_caller_signs_what_its_handle_writes(node: Node) -> None:
    chief = Person([])
    p = Person([chief.get_db_id()])
    Person(p.get_db_id(), chief.get_db_id()).name.set("Bob")
    *_, last = p.history()
    assert last.author == chief.get_public_sign_key()
    assert p.name.get() == "Bob"


def test_the_nodes_own_key_signs_for_nobody(two: tuple[Node, Node]) -> None:
    a, b = two

    class Wall(dinemic.DModel, access="open"):
        text = dinemic.DField("text")

    with acting(a):
        wall = Wall([])
    send(a, b)
    with acting(b):
        Wall(wall.get_db_id()).text.set("was here")
    send(b, a)
    *_, last = wall.history()
    assert last.author == to_text(b.node_id)
    assert last.verdict == "unauthorized"
    assert wall.text.get() == "was here"


def test_a_caller_whose_key_is_elsewhere_cannot_write(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        chief = Person([])
        worker = Person([chief.get_db_id()])
    send(a, b)
    with acting(b):
        before = trace(b)
        handle = Person(worker.get_db_id(), chief.get_db_id())
        for attempt in (
            lambda: handle.name.set("x"),
            lambda: handle.salary.set("x"),
            handle.remove,
            lambda: handle.encrypt("x"),
        ):
            with pytest.raises(dinemic.NotOwned, match=chief.get_id()[:10]):
                attempt()
        unknown = Person(worker.get_db_id(), UNKNOWN)
        with pytest.raises(dinemic.NotOwned):
            unknown.name.set("x")
        assert trace(b) == before


# -- who may -------------------------------------------------------------------------------------


def changes(handle: Person, friend: str) -> list[Callable[[], None]]:
    return [
        lambda: handle.name.set("Eve"),
        lambda: handle.name.delete(),
        lambda: handle.salary.set("9999"),
        lambda: handle.remove(),
        lambda: handle.append_read_authorized(friend),
        lambda: handle.append_update_authorized(friend),
        lambda: handle.append_admin_authorized(friend),
        lambda: handle.set_access("open"),
    ]


def test_a_stranger_changes_nothing_in_a_closed_object_and_leaves_no_trace(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        p.name.set("Bob")
        p.salary.set("1234")
    send(a, b)
    with acting(b):
        stranger = Dog([])
        before = trace(b)
        for handle in (Person(p.get_db_id()), Person(p.get_db_id(), stranger.get_db_id())):
            for attempt in changes(handle, stranger.get_db_id()):
                with pytest.raises(dinemic.UpdateRejected) as caught:
                    attempt()
                assert caught.value.by in ("AUTH-5", "AUTH-6")
                assert caught.value.reason
                assert caught.value.event is not None
    assert trace(b) == before
    assert b.status().authored == 1, "the stranger itself"


def test_access_is_told_for_owner_granted_and_stranger(node: Node) -> None:
    reader, writer, admin, stranger, both = (Dog([]).get_db_id() for _ in range(5))
    p = Person([both])
    p.append_read_authorized(reader)
    p.append_update_authorized(writer)
    p.append_admin_authorized(admin)

    def told(who: str) -> tuple[bool, bool, bool]:
        return (
            p.is_read_authorized(who),
            p.is_update_authorized(who),
            p.is_admin_authorized(who),
        )

    assert told(p.get_db_id()) == (True, True, True)
    assert told(both) == (True, True, False)
    assert told(reader) == (True, False, False)
    assert told(writer) == (False, True, False)
    assert told(admin) == (False, True, True), "an admin may update, and reads nothing"
    assert told(stranger) == (False, False, False)
    assert told("Dog:" + UNKNOWN.partition(":")[2]) == (False, False, False)


def test_a_grant_that_is_there_already_is_not_made_again(node: Node) -> None:
    chief = Dog([]).get_db_id()
    p = Person([chief])
    before = trace(node)
    p.append_read_authorized(chief)
    p.append_update_authorized(chief)
    p.append_read_authorized(p.get_db_id())
    assert trace(node) == before


def test_update_can_be_granted_beside_admin(node: Node) -> None:
    chief = Dog([]).get_db_id()
    p = Person([])
    p.append_admin_authorized(chief)
    before = trace(node)
    p.append_update_authorized(chief)  # the day the admin role ends, this one stays
    assert trace(node) != before


def test_grants_count_on_other_nodes(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        writer, reader = Dog([]), Dog([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.append_update_authorized(writer.get_db_id())
        p.append_read_authorized(reader.get_db_id())
    send(a, b)
    with acting(b):
        Person(p.get_db_id(), writer.get_db_id()).name.set("by the writer")
        with pytest.raises(dinemic.UpdateRejected):
            Person(p.get_db_id(), reader.get_db_id()).name.set("by the reader")
        assert Person(p.get_db_id()).is_update_authorized(writer.get_db_id())
    send(b, a)
    assert p.name.get() == "by the writer"


def test_an_admin_grants_read_and_update_and_makes_no_admin(node: Node) -> None:
    admin, friend = Dog([]).get_db_id(), Dog([]).get_db_id()
    p = Person([])
    p.append_admin_authorized(admin)
    handle = Person(p.get_db_id(), admin)
    handle.append_update_authorized(friend)
    handle.append_read_authorized(friend)
    assert p.is_update_authorized(friend)
    assert p.is_read_authorized(friend)
    before = trace(node)
    with pytest.raises(dinemic.UpdateRejected) as caught:
        handle.append_admin_authorized(friend)
    assert caught.value.by == "AUTH-1"
    assert trace(node) == before


def test_an_updater_grants_nobody(node: Node) -> None:
    chief, friend = Dog([]).get_db_id(), Dog([]).get_db_id()
    p = Person([chief])
    with pytest.raises(dinemic.UpdateRejected):
        Person(p.get_db_id(), chief).append_read_authorized(friend)
    assert not p.is_read_authorized(friend)


def test_access_is_set_per_model_and_per_field(two: tuple[Node, Node]) -> None:
    a, b = two

    class Board(dinemic.DModel, access="open"):
        text = dinemic.DField("text")
        rules = dinemic.DField("rules", access="closed")

    class Shop(dinemic.DModel):
        name = dinemic.DField("name")
        guests = dinemic.DField("guests", access="open")

    class Quiet(Board):
        pass

    class Shut(Board, access="closed"):
        pass

    with acting(a):
        made = [model([]) for model in (Board, Shop, Quiet, Shut)]
    send(a, b)
    with acting(b):
        board, shop, quiet, shut = (type(p)(p.get_db_id()) for p in made)
        board.set("text", "x")
        board.set("undeclared", "x")
        shop.set("guests", "x")
        quiet.set("text", "inherited")
        for handle, field in [
            (board, "rules"),
            (shop, "name"),
            (shop, "undeclared"),
            (quiet, "rules"),
            (shut, "text"),
            (shut, "rules"),
        ]:
            with pytest.raises(dinemic.UpdateRejected):
                handle.set(field, "x")
        with pytest.raises(dinemic.UpdateRejected, match="AUTH-6"):
            board.remove()
        with pytest.raises(dinemic.UpdateRejected, match="AUTH-5"):
            board.append_update_authorized(shop.get_db_id())
    exchange(a, b)
    assert trace(a)[1] == trace(b)[1]
    assert made[0].get("text") == "x"


def test_an_author_that_had_not_seen_its_grant_is_refused_everywhere(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([])
    send(a, b)
    p.append_update_authorized(chief.get_db_id())  # b does not know of it
    with acting(b), pytest.raises(dinemic.UpdateRejected):
        Person(p.get_db_id(), chief.get_db_id()).name.set("too early")
    send(a, b)
    with acting(b):
        Person(p.get_db_id(), chief.get_db_id()).name.set("now")
    send(b, a)
    assert p.name.get() == "now"


# -- revoking ------------------------------------------------------------------------------------

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
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        p.name.set("Bob")
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), chief.get_db_id())
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
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), chief.get_db_id())
        handle.name.set("unseen")
    p.revoke_update_authorized(chief.get_db_id())
    send(a, b)
    send(b, a)
    assert [event.verdict for event in handle.history()].count("void") == 1
    assert [event.verdict for event in p.history()].count("void") == 0
    assert handle.why("name")[0].outcome == "void"
    assert a.view.digest_all() == b.view.digest_all()


def event_author(handle: dinemic.DModel) -> bytes:
    return handle._view.need(object_id(handle))[1].owner


def test_a_grant_after_the_revocation_does_not_bring_back_what_was_void(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), chief.get_db_id())
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


# -- policy --------------------------------------------------------------------------------------


class Wall(dinemic.DModel, access="open"):
    text = dinemic.DField("text")
    rules = dinemic.DField("rules", access="closed")
    guests = dinemic.DField("guests", access="open")


def test_the_owner_opens_and_closes_an_object_and_its_fields(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        assert p.get_access() == ("closed", {})
    send(a, b)
    with acting(b):
        stranger = Person(p.get_db_id())

    def admitted(field: str) -> bool:
        send(a, b)
        assert stranger.get_access() == p.get_access()
        with contextlib.suppress(dinemic.UpdateRejected):
            stranger.set(field, "x")
            send(b, a)
            return True
        return False

    assert not admitted("name")
    p.set_access("open")
    assert (p.get_access(), admitted("name"), admitted("else")) == (("open", {}), True, True)
    p.set_access("open", {"name": "closed"})
    assert p.get_access() == ("open", {"name": "closed"})
    assert (admitted("name"), admitted("else")) == (False, True)
    p.set_access("closed", {"else": "open"})
    assert (admitted("name"), admitted("else"), admitted("third")) == (False, True, False)
    assert p.name.get() == "x", "what the owner had seen stays"


def test_fields_keep_a_rule_of_their_own_until_they_are_named(node: Node) -> None:
    wall = Wall([])
    assert wall.get_access() == ("open", {"rules": "closed"})
    wall.set_access("closed")
    assert wall.get_access() == ("closed", {"guests": "open", "rules": "closed"})
    wall.set_access("open")
    assert wall.get_access().fields["rules"] == "closed"
    wall.set_access("open", {"rules": "open"})
    assert wall.get_access().fields["rules"] == "open"


def test_an_access_that_changes_nothing_makes_nothing(node: Node) -> None:
    wall = Wall([])
    before = trace(node)
    wall.set_access("open")
    wall.set_access("open", {"text": "open", "rules": "closed"})
    assert trace(node) == before


def test_only_the_owner_sets_the_access(node: Node) -> None:
    admin = Dog([]).get_db_id()
    wall = Wall([])
    wall.append_admin_authorized(admin)
    before = trace(node)
    for handle in (Wall(wall.get_db_id(), admin), Wall(wall.get_db_id(), Dog([]).get_db_id())):
        before = trace(node)
        with pytest.raises(dinemic.UpdateRejected) as caught:
            handle.set_access("closed")
        assert caught.value.by == "AUTH-5"
        assert trace(node) == before
    with pytest.raises(ValueError, match="'open' or 'closed'"):
        wall.set_access("ajar")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'open' or 'closed'"):
        wall.set_access("open", {"text": True})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="EV-7"):
        wall.set_access("open", {"no such name!": "open"})
    with pytest.raises(ValueError, match="EV-7"):
        wall.set_access("open", {f"f{number}": "closed" for number in range(300)})
    with pytest.raises(dinemic.UnknownObject):
        Person(UNKNOWN).set_access("open")
    assert trace(node) == before


def test_closing_voids_what_strangers_wrote_unseen(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        wall = Wall([])
        wall.text.set("welcome")
    send(a, b)
    with acting(b):
        stranger = Wall(wall.get_db_id())
        stranger.text.set("unseen")
    wall.set_access("closed")
    exchange(b, a)
    assert (wall.text.get(), stranger.text.get()) == ("welcome", "welcome")
    (void,) = [event for event in wall.history() if event.verdict == "void"]
    assert void.rule.startswith("AUTH-5: ")
    assert wall.why("text")[-1].rule == void.rule
    assert (a.status().void, b.status().flipped) == (1, 1)
