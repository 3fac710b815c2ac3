"""`dinemic.replay`: an object as it would be, seen through a handle on it."""

from __future__ import annotations

from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Sealed
from dinemic_engine.errors import UnknownObject
from dinemic_engine.ids import db_id, to_text
from support.nodes import acting, exchange, object_id, open_node, trace


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    town = dinemic.DField("town")
    salary = dinemic.DField("salary", True)


def event_ids(person: Person) -> list[str]:
    return [event.event_id for event in person.history()]


def written(person: Person) -> Person:
    """Three names and a town by the owner."""
    person.name.set("Bob")
    person.name.set("Robert")
    person.town.set("Gdynia")
    person.name.set("Bobby")
    return person


def test_everything_replayed_is_the_object_as_it_is(node: Node) -> None:
    person = written(Person([]))
    before = trace(node)
    replayed = dinemic.replay(person)
    assert replayed.exists
    assert replayed.fields == {"name": "Bobby", "town": "Gdynia"}
    assert replayed.digest == node.view.digest(object_id(person))
    assert replayed.left_out == []
    assert trace(node) == before


def test_until_a_time_or_an_event_includes_it(node: Node) -> None:
    person = written(Person([]))
    history = list(person.history())
    expected = [{}, {"name": "Bob"}, {"name": "Robert"}]
    expected.append({"name": "Robert", "town": "Gdynia"})
    for event, fields in zip(history, expected, strict=False):
        assert dinemic.replay(person, until=event.event_id).fields == fields
        assert dinemic.replay(person, until=event.t).fields == fields
        assert dinemic.replay(person, until=event.event_id).left_out == []
    before = dinemic.replay(person, until=history[0].t - 1)
    assert before == dinemic.Replayed(exists=False, fields={}, digest=b"", left_out=[])


def test_without_an_event_what_came_after_it_stays(node: Node) -> None:
    person = written(Person([]))
    ids = event_ids(person)
    replayed = dinemic.replay(person, without=ids[4])
    assert replayed.fields == {"name": "Robert", "town": "Gdynia"}
    assert replayed.left_out == [(ids[4], "asked")]
    replayed = dinemic.replay(person, without=[ids[3], ids[1]])
    assert replayed.fields == {"name": "Bobby"}
    assert [gone.event_id for gone in replayed.left_out] == [ids[1], ids[3]]
    assert dinemic.replay(person, until=ids[2], without=ids[1]).fields == {"name": "Robert"}


def test_without_its_genesis_there_is_no_object(node: Node) -> None:
    person = written(Person([]))
    for name in (event_ids(person)[0], person, person.get_public_sign_key(), person.get_db_id()):
        replayed = dinemic.replay(person, without=name)
        assert not replayed.exists
        assert (replayed.fields, replayed.digest) == ({}, b"")
        assert {gone.reason for gone in replayed.left_out} <= {"asked", "no genesis"}
        assert len(replayed.left_out) == 5


def test_without_somebody_by_handle_id_or_key(node: Node) -> None:
    clerk, person = Person([]), Person([])
    person.append_update_authorized(clerk.get_db_id())
    person.name.set("Bob")
    Person(person.get_db_id(), clerk.get_db_id()).name.set("Robert")
    person.town.set("Gdynia")
    by_clerk = event_ids(person)[3]
    for name in (clerk, clerk.get_db_id(), clerk.get_id(), clerk.get_public_sign_key()):
        replayed = dinemic.replay(person, without=name)
        assert replayed.fields == {"name": "Bob", "town": "Gdynia"}
        assert replayed.left_out == [(by_clerk, "asked")]


def test_what_only_a_left_out_event_allowed_is_listed_with_its_rule(node: Node) -> None:
    clerk, person = Person([]), Person([])
    person.append_update_authorized(clerk.get_db_id())
    Person(person.get_db_id(), clerk.get_db_id()).name.set("Robert")
    _, granted, by_clerk = event_ids(person)
    replayed = dinemic.replay(person, without=granted)
    assert replayed.fields == {}
    assert replayed.left_out[0] == (granted, "asked")
    assert replayed.left_out[1].event_id == by_clerk
    assert replayed.left_out[1].reason.startswith("AUTH-5/closed")


def test_somebody_who_did_nothing_takes_nothing_with_him(node: Node) -> None:
    person, nobody = written(Person([])), Person([])
    assert dinemic.replay(person, without=nobody) == dinemic.replay(person)


def test_the_key_of_somebody_who_was_granted_something_and_wrote_nothing_is_no_error(
    node: Node,
) -> None:
    clerk, person = Person([]), written(Person([]))
    key = clerk.get_public_sign_key()
    with pytest.raises(UnknownObject):
        dinemic.replay(person, without=key)
    person.append_update_authorized(clerk.get_db_id())
    assert dinemic.replay(person, without=key) == dinemic.replay(person)


def test_an_object_that_is_only_known_from_a_grant_is_named_by_its_id(
    two: tuple[Node, Node], tmp_path: Path
) -> None:
    a, b = two
    with acting(a):
        clerk, person = Person([]), Person([])
        person.append_update_authorized(clerk.get_db_id())
        Person(person.get_db_id(), clerk.get_db_id()).name.set("Robert")
        dinemic.export_bundle(tmp_path / "f", [person])
    with acting(b):
        dinemic.import_bundle(tmp_path / "f")
        there = Person(person.get_db_id())
        assert dinemic.replay(there, without=clerk.get_db_id()).fields == {}
        assert dinemic.replay(there, without=clerk.get_public_sign_key()).fields == {}


def test_sealed_values_open_where_the_handle_can(tmp_path: Path) -> None:
    a, b = open_node(tmp_path / "a"), open_node(tmp_path / "b")
    try:
        with acting(b):
            chief = Person([])
        exchange(a, b)
        with acting(a):
            person = Person([])
            person.salary.set("1234")
            person.append_read_authorized(chief.get_db_id())
            person.salary.set("5678")
            first = event_ids(person)[1]
            assert dinemic.replay(person, until=first).fields == {"salary": "1234"}
        exchange(a, b)
        with acting(b):
            name = person.get_db_id()
            read = Person(name, chief.get_db_id())
            assert dinemic.replay(read).fields == {"salary": "5678"}
            # the key was given after this event, and opens it all the same
            assert dinemic.replay(read, until=first).fields == {"salary": "1234"}
            assert isinstance(dinemic.replay(Person(name)).fields["salary"], Sealed)
    finally:
        a.close()
        b.close()


def test_a_removed_object_is_replayed_to_before_its_removal(node: Node) -> None:
    person = written(Person([]))
    person.remove()
    assert not dinemic.replay(person).exists
    assert dinemic.replay(person).digest == node.view.digest(object_id(person))
    replayed = dinemic.replay(person, without=event_ids(person)[-1])
    assert replayed.exists
    assert replayed.fields == {"name": "Bobby", "town": "Gdynia"}


@pytest.mark.parametrize("nothing", [to_text(bytes(32)), db_id("Person", bytes(32))])
def test_a_name_of_nothing_is_an_error(node: Node, nothing: str) -> None:
    person = written(Person([]))
    with pytest.raises(UnknownObject, match="is no event of"):
        dinemic.replay(person, without=[nothing])
    with pytest.raises(UnknownObject):
        dinemic.replay(Person(db_id("Person", bytes(32))))


@pytest.mark.parametrize("text", ["", "Bob", "Person:", "x" * 52])
def test_what_is_no_id_is_an_error(node: Node, text: str) -> None:
    person = written(Person([]))
    with pytest.raises(ValueError, match="not "):
        dinemic.replay(person, without=text)
    with pytest.raises(ValueError, match="not "):
        dinemic.replay(person, until=text)


def test_until_an_event_of_another_object_is_an_error(node: Node) -> None:
    person, other = written(Person([])), Person([])
    with pytest.raises(UnknownObject, match="no event"):
        dinemic.replay(person, until=event_ids(other)[0])


def test_what_collections_were_is_replayed_too(node: Node) -> None:
    class Band(dinemic.DModel):
        albums = dinemic.DList("albums")
        prices = dinemic.DDict("prices", True)
        sold = dinemic.DCounter("sold", True)
        tags = dinemic.DSet("tags")

    band = Band([])
    band.albums.extend(["a", "b"])
    band.prices["a"] = 1
    band.sold.add(5)
    band.tags.add("x")
    until = list(band.history())[-1].event_id
    band.albums.delete(0)
    band.prices["a"] = 2
    band.sold.add(1)
    band.tags.discard("x")
    now = {"list_albums": ["b"], "dict_prices": {"a": 2}, "counter_sold": 6}
    then = {
        "list_albums": ["a", "b"],
        "dict_prices": {"a": 1},
        "counter_sold": 5,
        "set_tags": ["x"],
    }
    assert dinemic.replay(band).collections == now
    assert dinemic.replay(band, until=until).collections == then
    assert dinemic.replay(band).digest == node.view.digest(object_id(band))
