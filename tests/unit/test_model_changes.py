"""A model that changes over time: fields it no longer has, new ones, and values of another type."""

from __future__ import annotations

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Value
from support.nodes import acting, exchange


def older() -> type[dinemic.DModel]:
    class Person(dinemic.DModel):
        name = dinemic.DField("name")
        age = dinemic.DField("age")
        pin = dinemic.DField("pin", True)
        nick = dinemic.DField("nick", True)

    return Person


def as_number(value: Value) -> Value:
    """What any version wrote: text at first, numbers later."""
    return int(value) if isinstance(value, str) else value


def newer() -> type[dinemic.DModel]:
    class Person(dinemic.DModel):
        age = dinemic.DField("age", default=18, index=True, upcast=as_number)
        pin = dinemic.DField("pin", True, upcast=as_number)
        town = dinemic.DField("town", default="unknown")

    return Person


def test_a_field_the_class_does_not_know_is_kept_and_shown(node: Node) -> None:
    p = older()([])
    p.set("name", "Bob")
    p.set("age", "7")
    q = newer()(p.get_db_id())
    assert q.keys() == ["age", "name"]
    assert q.get("name") == "Bob"
    q.set("town", "Toledo")
    assert p.keys() == ["age", "name", "town"]
    assert p.get("name") == "Bob"


def test_a_new_field_has_its_default_in_old_objects(node: Node) -> None:
    q = newer()(older()([]).get_db_id())
    assert q.get("town") == "unknown"
    assert (q.get("age"), q.get("age", "none")) == (18, "none")


def test_every_stored_value_is_read_through_the_upcast(node: Node) -> None:
    p = older()([])
    p.set("age", "7")
    p.set("pin", "1234")
    q = newer()(p.get_db_id())
    assert (q.get("age"), q.get("pin")) == (7, 1234)
    q.set("age", 8)
    assert q.get("age") == 8
    assert p.get("age") == 8
    written = [op.value for event in q.history() for op in event.ops if hasattr(op, "value")]
    assert written[0] == "7"
    with q.transaction():
        q.set("age", "9")
        assert q.get("age") == 9


def test_conflicts_are_read_through_the_upcast_and_resolved_by_it(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        friend = older()([])
    exchange(a, b)
    with acting(a):
        p = older()([friend.get_db_id()])
    exchange(a, b)
    with acting(a):
        p.set("age", "1")
    with acting(b):
        older()(p.get_db_id(), friend.get_db_id()).set("age", "2")
    exchange(a, b)
    with acting(a):
        same = newer()(p.get_db_id())
        both = same.conflicts("age")
        assert sorted(each.value for each in both if isinstance(each.value, int)) == [1, 2]
        same._field("age").resolve(both[1])
        assert p.get("age") == both[1].value
        assert len(p.conflicts("age")) == 1


def test_queries_compare_what_the_upcast_gives_index_or_not(node: Node) -> None:
    p, q = older()([]), older()([])
    p.set("age", "7")
    q.set("age", 7)
    p.set("pin", "1234")
    young = older()([])
    person = newer()
    assert {each.get_id() for each in person.where(age=7)} == {p.get_id(), q.get_id()}
    assert list(person.where(age="7")) == []
    assert [each.get_id() for each in person.where(age=18)] == [young.get_id()]
    assert [each.get_id() for each in person.where(pin=1234)] == [p.get_id()]


def test_what_an_upcast_raises_says_of_which_field_and_object(node: Node) -> None:
    p = older()([])
    p.set("age", "seven")
    q = newer()(p.get_db_id())
    for attempt in (
        lambda: q.get("age"),
        lambda: q.conflicts("age"),
        lambda: list(type(q).where(age=7)),
    ):
        with pytest.raises(ValueError, match="invalid literal") as raised:
            attempt()
        assert any("'age'" in note and repr(q) in note for note in raised.value.__notes__)
        assert not any("seven" in note for note in raised.value.__notes__)
    assert older()(p.get_db_id()).get("age") == "seven"


def test_an_upcast_is_asked_only_about_what_opens(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = older()([])
        p.set("pin", "1234")
    exchange(a, b)
    with acting(b), pytest.raises(dinemic.Unreadable):
        newer()(p.get_db_id()).get("pin")
