"""The seed's name: the same library, open where nothing else was said."""

from __future__ import annotations

import pytest

import dinemic
import pydinemic
from dinemic.node import Node
from support.nodes import acting, send, trace


def test_the_names_are_those_of_dinemic_and_only_the_model_differs() -> None:
    assert pydinemic.__all__ == dinemic.__all__
    differing = [
        name for name in dinemic.__all__ if getattr(pydinemic, name) is not getattr(dinemic, name)
    ]
    assert differing == ["DModel"]
    assert issubclass(pydinemic.DModel, dinemic.DModel)
    namespace: dict[str, object] = {}
    exec("from pydinemic import *", namespace)  # noqa: S102 - what old applications do
    assert namespace["DModel"] is pydinemic.DModel


def test_anybody_changes_an_open_object_and_is_flagged(two: tuple[Node, Node]) -> None:
    class Person(pydinemic.DModel):
        name = pydinemic.DField("name", False)

    a, b = two
    with acting(a):
        p = Person([])
        p.name.set("Bob")
    send(a, b)
    with acting(b):
        q = Person(p.get_db_id(), "")
        q.name.set("Eve")
        assert q.name.get() == "Eve"
    send(b, a)
    assert p.name.get() == "Eve"
    assert [event.verdict for event in p.history()][-1] == "unauthorized"
    assert trace(a)[1] == trace(b)[1]


def test_access_and_keys_stay_closed_in_an_open_object(two: tuple[Node, Node]) -> None:
    class Person(pydinemic.DModel):
        salary = pydinemic.DField("salary", True)

    a, b = two
    with acting(a):
        p = Person([])
        p.salary.set("1234")
    send(a, b)
    with acting(b):
        stranger = Person([])
        q = Person(p.get_db_id(), stranger.get_db_id())
        before = trace(b)
        for attempt in (
            q.remove,
            lambda: q.append_read_authorized(stranger.get_db_id()),
            lambda: q.append_update_authorized(stranger.get_db_id()),
            lambda: q.append_admin_authorized(stranger.get_db_id()),
            lambda: q.salary.set("9999"),  # would need a key for the readers
        ):
            with pytest.raises(pydinemic.UpdateRejected):
                attempt()
        with pytest.raises(pydinemic.Unreadable):
            q.salary.get()
        assert trace(b) == before


def test_closed_is_said_per_model_and_per_field(two: tuple[Node, Node]) -> None:
    class Vault(pydinemic.DModel, access="closed"):
        lid = pydinemic.DField("lid")
        slot = pydinemic.DField("slot", access="open")

    class Wall(pydinemic.DModel):
        text = pydinemic.DField("text")
        rules = pydinemic.DField("rules", access="closed")

    a, b = two
    with acting(a):
        vault, wall = Vault([]), Wall([])
    send(a, b)
    with acting(b):
        Vault(vault.get_db_id()).slot.set("coin")
        Wall(wall.get_db_id()).text.set("hello")
        for field in (Vault(vault.get_db_id()).lid, Wall(wall.get_db_id()).rules):
            with pytest.raises(pydinemic.UpdateRejected):
                field.set("x")


def test_the_seeds_first_and_second_script_hold(two: tuple[Node, Node]) -> None:
    class Person(pydinemic.DModel):
        name = pydinemic.DField("name", False)
        salary = pydinemic.DField("salary", True)

    a, b = two
    with acting(a):
        p = Person([])
        p.name.set("Bob")
        p.salary.set("1234")
        assert p.name.get() == "Bob"
        assert p.salary.get() == "1234"
    send(a, b)
    with acting(b):
        q = Person(p.get_db_id(), "")
        assert q.name.get() == "Bob"
        with pytest.raises(pydinemic.Unreadable):
            q.salary.get()
        chief = Person([])
    send(b, a)
    with acting(a):
        worker = Person([chief.get_db_id()])
        worker.name.set("Bob")
        worker.salary.set("44321")
    send(a, b)
    with acting(b):
        my_worker = Person(worker.get_db_id(), chief.get_db_id())
        assert my_worker.salary.get() == "44321"
