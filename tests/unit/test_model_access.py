"""Objects and access: who signs, who may, and that a refusal leaves no trace."""

from __future__ import annotations

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.ids import to_text
from support.models import UNKNOWN, Dog, Person, Wall, changes
from support.nodes import acting, send, trace

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
