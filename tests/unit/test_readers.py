"""Who could read a field's value: by name, at a time, in the eyes of an event."""

from __future__ import annotations

from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from support.models import Chief, Person
from support.nodes import acting, open_node, send


def who(handle: Person, at: str | int | None = None) -> list[tuple[str, str]]:
    found = handle.readers("salary", at)
    assert found is not None
    return [(reader.object_id, reader.how) for reader in found]


def test_readers_are_told_by_name_the_owner_first(node: Node) -> None:
    chief = Chief([])
    p = Person([chief.get_db_id()])
    p.salary.set(1)
    assert who(p) == [(p.get_db_id(), "recipient"), (chief.get_db_id(), "recipient")]
    found = p.readers("salary")
    assert found is not None
    made = list(p.history())[-1]
    assert {(each.event_id, each.t) for each in found} == {(made.event_id, made.t)}
    assert [each.key for each in found] == [
        p.get_public_sign_key(),
        chief.get_public_sign_key(),
    ]


def test_a_plain_value_has_no_readers_and_a_missing_one_nobody(node: Node) -> None:
    p = Person([])
    assert p.readers("salary") == p.readers("name") == []
    p.name.set("Bob")
    p.salary.set(1)
    assert p.readers("name") is None
    p.salary.delete()
    assert p.readers("salary") == []


def test_the_past_is_told_as_it_was(node: Node) -> None:
    first, second = Chief([]), Chief([])
    p = Person([first.get_db_id()])
    p.salary.set(1)
    one = list(p.history())[-1]
    p.append_read_authorized(second.get_db_id())
    granted = list(p.history())[-1]
    p.revoke_read_authorized(first.get_db_id())
    p.salary.set(2)
    three = list(p.history())[-1]
    owner, early, late = ((each.get_db_id(), "recipient") for each in (p, first, second))
    assert who(p) == [owner, late]
    assert who(p, one.event_id) == who(p, one.t) == [owner, early]
    assert who(p, granted.event_id) == who(p, three.t - 1) == [owner, early, late]
    assert who(p, one.t - 1) == []


def test_a_writer_who_may_not_read_is_named_as_the_maker(node: Node) -> None:
    p, writer = Person([]), Chief([])
    p.append_update_authorized(writer.get_db_id())
    Person(p.get_db_id(), writer.get_db_id()).salary.set(1)
    assert who(p) == [(p.get_db_id(), "recipient"), (writer.get_db_id(), "maker")]


def test_a_node_that_opens_nothing_tells_the_same_with_what_names_it_knows(tmp_path: Path) -> None:
    a, b = open_node(tmp_path / "a"), open_node(tmp_path / "b")
    with acting(a):
        chief = Chief([])
        p = Person([chief.get_db_id()])
        p.salary.set(1)
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id())
        with pytest.raises(dinemic.Unreadable):
            handle.salary.get()
        assert handle.readers("salary") == p.readers("salary")
    a.close()
    b.close()


def test_an_event_that_is_not_of_the_object_is_refused(node: Node) -> None:
    p, other = Person([]), Person([])
    p.salary.set(1)
    with pytest.raises(dinemic.UnknownObject):
        p.readers("salary", other.get_id())
    with pytest.raises(ValueError, match="nonsense"):
        p.readers("salary", "nonsense")
