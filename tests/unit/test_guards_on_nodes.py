"""Guards and what comes from others: a veto is of this node alone, and of what the author saw."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.edits import DictSet, Element, ListSet, Set
from support.guarded import FIELDS, GUARD, NoEve, Person, Safe, guarding, rows, settle, veto_of
from support.nodes import acting, exchange, forge, object_id, raw_events, send


class NoStrangers(dinemic.RejectUnauthorized):
    """The ready-made guard, as a program of its own would name it."""


# -- what others made -----------------------------------------------------------------------------


def test_a_vetoed_event_is_passed_on_and_has_effect_elsewhere(
    three: tuple[Node, Node, Node],
) -> None:
    a, b, c = three
    guard = guarding(b)
    with acting(a):
        p = Person([])
        p.name.set("Bob")
        p.name.set("Eve")
    send(a, b)
    settle(b)
    send(b, c)
    with acting(b):
        assert Person(p.get_db_id()).name.get() == "Bob"
    with acting(c):
        assert Person(p.get_db_id()).name.get() == "Eve"
    assert veto_of(b, object_id(p)) == [(GUARD, "no Eve")]
    assert b.status().vetoed == 1
    assert a.view.digest_all() == b.view.digest_all() == c.view.digest_all()
    assert a.view.heads(object_id(p)) == b.view.heads(object_id(p))
    assert guard.asked == [("", "Bob"), ("Bob", "Eve")]
    assert guard.told == [("", "Bob")]


def test_what_is_built_on_a_vetoed_event_is_judged_by_itself(two: tuple[Node, Node]) -> None:
    a, b = two
    guard = guarding(b)
    with acting(a):
        p = Person([])
        for name in ("Bob", "Eve", "Carol"):
            p.name.set(name)
    send(a, b)
    settle(b)
    with acting(b):
        assert Person(p.get_db_id()).name.get() == "Carol"
    assert guard.asked == [("", "Bob"), ("Bob", "Eve"), ("Bob", "Carol")]
    assert guard.told == [("", "Bob"), ("Bob", "Carol")]


def test_an_object_whose_creation_is_vetoed_is_not_there(two: tuple[Node, Node]) -> None:
    class NoOne(dinemic.DAction):
        def on_create(self, object_id: str, key: str) -> None:
            raise ValueError("not here")

    a, b = two
    told = NoEve()
    with acting(b):
        NoOne().apply("Person:[id]")
        told.apply("Person:*")
    with acting(a):
        p = Person([])
        p.name.set("Bob")
    send(a, b)
    settle(b)
    with acting(b):
        q = Person(p.get_db_id())
        assert dinemic.object_list() == []
        assert not q.exists()
        assert q.name.get() == ""
        with pytest.raises(dinemic.UnknownObject):
            q.name.set("Eve")
    assert (told.asked, told.told) == ([], [])
    assert a.view.digest_all() == b.view.digest_all()


@pytest.mark.parametrize(
    "kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration]
)
def test_any_exception_of_a_guard_is_a_veto(
    two: tuple[Node, Node], kind: type[BaseException]
) -> None:
    class Bad(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "Eve":
                raise kind

    a, b = two
    with acting(b):
        Bad().apply(FIELDS)
    with acting(a):
        p = Person([])
        p.name.set("Eve")
        p.nick.set("Bobby")
    send(a, b)
    settle(b)
    assert [veto and veto[1] for veto in veto_of(b, object_id(p))] == [kind.__name__]
    with acting(b):
        assert (Person(p.get_db_id()).name.get(), Person(p.get_db_id()).nick.get()) == ("", "Bobby")


@pytest.mark.parametrize("value", [b"\xff\xfe", b"", "", "x" * 500_000, None, {"a": [1]}, 2**62])
def test_every_kind_of_value_reaches_the_guard(two: tuple[Node, Node], value: Any) -> None:
    a, b = two
    guard = guarding(b, value)
    with acting(a):
        p = Person([])
        p.name.set(value)
    send(a, b)
    settle(b)
    assert guard.asked == [("", value)]
    assert type(guard.asked[0][1]) is type(value)
    assert len(veto_of(b, object_id(p))) == 1


# -- strangers ------------------------------------------------------------------------------------


def test_an_open_object_takes_a_strangers_change_unless_a_guard_says_no(
    three: tuple[Node, Node, Node],
) -> None:
    a, b, c = three
    with acting(a):
        p = Person([])
        p.name.set("Bob")
    exchange(a, b)
    with acting(a):
        NoStrangers().apply("Person:*")
    with acting(b):
        q = Person(p.get_db_id())
        q.name.set("Eve")
        assert q.name.get() == "Eve"
    send(b, a, c)
    settle(a, c)
    assert p.name.get() == "Bob", "the guard"
    with acting(c):
        assert Person(p.get_db_id()).name.get() == "Eve", "no guard"
    p.name.set("Robert")
    exchange(a, b, c)
    settle(a)
    for node in (a, b, c):
        with acting(node):
            assert Person(p.get_db_id()).name.get() == "Robert"
    assert a.view.digest_all() == b.view.digest_all() == c.view.digest_all()


def test_a_closed_object_refuses_whatever_the_guards_say(two: tuple[Node, Node]) -> None:
    class Watch(dinemic.DAction):
        def on_unauthorized_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            assert self.context is not None
            seen.append((field, old, new, self.context.authorized))

        def on_authorized_update(self, *args: Any) -> None:
            seen.append("authorized")

        on_unauthorized_updated = on_authorized_update

    seen: list[Any] = []
    a, b = two
    with acting(a):
        p = Safe([])
        p.name.set("Bob")
        Watch().apply("Safe:*")
    send(a, b)
    stranger, heads = b.keyring.node_key, b.view.heads(object_id(p))
    t = b.view.event(heads[0]).t + 1
    raw = forge(stranger, object_id(p), heads, t, Set("name", "Eve"))
    before = rows(a)
    assert len(a.ingest(b.node_id, [raw]).invalid) == 1
    settle(a)
    assert seen == [("value_name", "Bob", "Eve", False)]
    assert rows(a) == before
    assert p.name.get() == "Bob"


def test_of_an_event_that_points_at_nothing_no_guard_is_asked_and_none_fails(
    two: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    a, b = two
    guard = NoEve()
    with acting(a):
        p = Safe([])
        p.albums.append("Help!")
        guard.apply("Safe:*")
    send(a, b)
    heads, target = b.view.heads(object_id(p)), object_id(p)
    t = b.view.event(heads[0]).t + 1
    keys = a.keyring.get(target)
    assert keys is not None
    nowhere = ListSet("albums", Element(bytes(32), 0, 0), "Eve")
    bad = [
        forge(key, target, heads, t, nowhere, DictSet("d", "k", "v"))
        for key in (keys.signing, b.keyring.node_key)
    ]
    told = forge(b.keyring.node_key, target, heads, t + 1, Set("name", "Adam"))
    with caplog.at_level(logging.INFO):
        assert len(a.ingest(b.node_id, [*bad, told]).invalid) == 3
        settle(a)
    assert guard.asked == [("", "Adam")]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# -- past(e) --------------------------------------------------------------------------------------


class ByLot(dinemic.DAction):
    """Refuses by a hash of what it is asked, so an old value of arrival order would show."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.asked.append((field, old_value, new_value))
        if hashlib.sha256(repr((field, old_value, new_value)).encode()).digest()[0] % 3 == 0:
            raise ValueError("by lot")

    def on_delete(self, object_id: str, field: str, value: Any) -> None:
        self.asked.append((field, value))
        if hashlib.sha256(repr((field, value)).encode()).digest()[0] % 3 == 0:
            raise ValueError("by lot")


@pytest.mark.parametrize("round", range(4))
def test_equal_guards_show_equal_states_whatever_arrived_first(
    two: tuple[Node, Node], open_it: Callable[..., Node], round: int
) -> None:
    (a, b), observers = two, [open_it("x"), open_it("y")]
    guards = [ByLot(), ByLot()]
    for node, guard in zip(observers, guards, strict=True):
        with acting(node):
            guard.apply(FIELDS)
    with acting(a):
        p = Person([])
        p.name.set(f"start {round}")
        p.albums.extend(["one", "two", "three"])
    exchange(a, b)
    for node in (a, b):
        with acting(node):
            q = Person(p.get_db_id())
            for number in range(5):
                q.name.set(f"{number} of {node.config.home.name}, round {round}")
                q.notes.set("key", number + round)
                q.albums.set(number % 3, f"album {number}")
            q.name.delete()
            q.nick.set(round)
            q.albums.delete(1)
    first, second = observers
    send(a, first)
    send(b, second)
    settle(*observers)
    send(b, first)
    for raw in reversed(raw_events(a)):
        second.ingest(a.node_id, [raw])
    settle(*observers)
    assert sorted(guards[0].asked, key=repr) == sorted(guards[1].asked, key=repr)
    assert first.status().vetoed == second.status().vetoed > 0
    assert first.view.view_digest(object_id(p)) == second.view.view_digest(object_id(p))
    assert first.view.digest_all() == second.view.digest_all() == _all(a, b).view.digest_all()


def _all(a: Node, b: Node) -> Node:
    exchange(a, b)
    return a


def test_a_guard_is_asked_with_what_the_author_saw(three: tuple[Node, Node, Node]) -> None:
    a, b, c = three
    guard = guarding(c)
    with acting(a):
        p = Person([])
        p.name.set("start")
    exchange(a, b)
    p.name.set("from a")
    with acting(b):
        Person(p.get_db_id()).name.set("from b")
    send(b, c)
    settle(c)
    send(a, c)
    settle(c)
    assert guard.asked == [("", "start"), ("start", "from b"), ("start", "from a")]


def test_who_is_revoked_is_whom_the_author_saw_hold_the_role(
    two: tuple[Node, Node],
) -> None:
    class Watch(dinemic.DAction):
        def on_delete(self, object_id: str, field: str, value: Any) -> None:
            asked.append((field, value))

        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            asked.append((field, old, new))
            if field == "list_update_authorized_objects":
                raise ValueError("no writers")

    asked: list[Any] = []
    a, b = two
    with acting(b):
        Watch().apply("Safe:*")
    with acting(a):
        clerk, p = Person([]), Safe([])
        who = clerk.get_db_id()
        for role in ("read", "update"):
            getattr(p, f"append_{role}_authorized")(who)
            getattr(p, f"revoke_{role}_authorized")(who)
            getattr(p, f"append_{role}_authorized")(who)
    send(a, b)
    settle(b)
    read, update = "list_read_authorized_objects", "list_update_authorized_objects"
    assert asked == [
        (read, "", who),
        (read, who),
        (read, "", who),
        (update, "", who),
        (update, ""),  # the grant was vetoed here: for this node there is nobody to revoke
        (update, "", who),
    ]
