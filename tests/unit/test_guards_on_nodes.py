"""Guards on real nodes: what they refuse has no effect here, and nowhere else (VETO-1, -2, -5)."""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.edits import DictSet, Element, ListSet, Set
from dinemic_engine.ids import ObjectId, to_text
from support.clocks import BOUND_SECONDS, wait_until
from support.nodes import acting, exchange, forge, object_id, open_node, opened, raw_events, send

FIELDS = "Person:[id]:*"


class Person(dinemic.DModel, access="open"):
    name = dinemic.DField("name")
    nick = dinemic.DField("nick")
    salary = dinemic.DField("salary", True)
    notes = dinemic.DDict("notes")
    albums = dinemic.DList("albums")


class Safe(dinemic.DModel):
    name = dinemic.DField("name")
    albums = dinemic.DList("albums")


class NoEve(dinemic.DAction):
    """Refuses one value, and keeps what it was asked and told of."""

    def __init__(self, refused: Any = "Eve") -> None:
        self.refused = refused
        self.asked: list[Any] = []
        self.told: list[Any] = []

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.asked.append((old_value, new_value))
        if new_value == self.refused:
            raise ValueError(f"no {new_value}")

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.told.append((old_value, new_value))


class NoStrangers(dinemic.RejectUnauthorized):
    """The ready-made guard, as a program of its own would name it."""


def rows(node: Node) -> dict[bytes, bytes]:
    """Everything in a node's store."""
    return dict(node._store.scan(b"", b"\xff" * 64))


def settle(*nodes: Node) -> None:
    for node in nodes:
        assert node.listeners.drain(BOUND_SECONDS)


def veto_of(node: Node, target: ObjectId) -> list[tuple[str, str] | None]:
    """What stands against each event of an object that has no effect here."""
    return [each.veto for each in node.view.withheld(target)]


@pytest.fixture
def open_it(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Opens nodes by name, and closes them with the test."""
    with ExitStack() as stack:

        def open_one(name: str, store: str = "memory") -> Node:
            node = open_node(tmp_path / name, store)
            stack.callback(node.close)
            return node

        yield open_one


@pytest.fixture
def pair(open_it: Callable[..., Node]) -> tuple[Node, Node]:
    return open_it("a"), open_it("b")


# -- a local edit ---------------------------------------------------------------------------------


REJECTED: dict[str, Callable[[Person], object]] = {
    "field": lambda p: p.name.set("Eve"),
    "sealed": lambda p: p.salary.set("Eve"),
    "dict": lambda p: p.notes.set("key", "Eve"),
    "list": lambda p: p.albums.append("Eve"),
    "many": lambda p: p.albums.extend(["Adam", "Eve"]),
}


@pytest.mark.parametrize("kind", REJECTED)
def test_a_rejected_edit_is_an_error_and_leaves_no_trace(tmp_path: Path, kind: str) -> None:
    with opened(tmp_path, "rocksdb") as node:
        p = Person([])
        p.name.set("Bob")
        guard = NoEve()
        guard.apply(FIELDS)
        before, status = rows(node), node.status()
        with pytest.raises(dinemic.UpdateRejected, match="no Eve") as raised:
            REJECTED[kind](p)
        settle(node)
        assert raised.value.by == f"{__name__}.NoEve"
        assert raised.value.reason == "no Eve"
        assert rows(node) == before
        assert (node.status().authored, node.status().events) == (status.authored, status.events)
        assert guard.told == []
        assert guard.asked[-1] == ("Bob" if kind == "field" else "", "Eve")
        assert p.name.get() == "Bob"


def test_a_rejected_transaction_leaves_nothing_of_any_of_its_edits(tmp_path: Path) -> None:
    with opened(tmp_path) as node:
        p = Person([])
        guard = NoEve()
        guard.apply(FIELDS)
        before = rows(node)
        with pytest.raises(dinemic.UpdateRejected, match="no Eve"), dinemic.transaction(p):
            p.nick.set("Bobby")
            p.name.set("Eve")
            p.name.set("Bob")
        settle(node)
        assert rows(node) == before
        assert guard.told == []
        with dinemic.transaction(p):
            p.nick.set("Bobby")
            p.name.set("Bob")
        settle(node)
        assert guard.told == [("", "Bobby"), ("", "Bob")]


def test_a_rejected_creation_leaves_no_trace_and_no_keys(tmp_path: Path) -> None:
    class NoOne(dinemic.DAction):
        def on_create(self, object_id: str, key: str) -> None:
            raise ValueError("there are enough")

    with opened(tmp_path, "rocksdb") as node:
        guard = NoOne()
        guard.apply("Person:[id]")
        before, keys = rows(node), sorted((tmp_path / "keys").iterdir())
        with pytest.raises(dinemic.UpdateRejected, match="enough"):
            Person([])
        assert rows(node) == before
        assert sorted((tmp_path / "keys").iterdir()) == keys
        assert dinemic.object_list() == dinemic.object_list_owned() == []
        guard.revoke("Person:[id]")
        Person([])


def test_the_owner_is_asked_about_the_first_grants_too(tmp_path: Path) -> None:
    class Alone(dinemic.DAction):
        def on_owned_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            raise ValueError(f"{field}: nobody but me")

    with opened(tmp_path):
        friend = Person([])
        Alone().apply("Person:[id]:list_*")
        with pytest.raises(dinemic.UpdateRejected, match="list_read_authorized_objects: nobody"):
            Person([friend.get_db_id()])
        Person([])


def test_a_guard_sees_the_value_that_a_new_key_seals(tmp_path: Path) -> None:
    with opened(tmp_path) as node:
        p = Person([])
        guard = NoEve()
        guard.apply(FIELDS)
        p.salary.set("1234")
        p.salary.set("4321")
        settle(node)
        assert guard.asked == guard.told == [("", "1234"), ("1234", "4321")]


@pytest.mark.parametrize("kind", [ValueError, AssertionError, StopIteration, RecursionError])
def test_any_exception_of_a_guard_rejects_an_edit(tmp_path: Path, kind: type[Exception]) -> None:
    class Bad(dinemic.DAction):
        def on_update(self, *args: Any) -> None:
            raise kind

    with opened(tmp_path) as node:
        p = Person([])
        Bad().apply(FIELDS)
        before = rows(node)
        with pytest.raises(dinemic.UpdateRejected, match=kind.__name__):
            p.name.set("Bob")
        assert rows(node) == before


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_to_end_the_program_does_and_the_edit_is_not_made(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    class Ends(dinemic.DAction):
        def on_update(self, *args: Any) -> None:
            raise kind

    with opened(tmp_path) as node:
        p = Person([])
        ends = Ends()
        ends.apply(FIELDS)
        before = rows(node)
        with pytest.raises(kind):
            p.name.set("Bob")
        assert rows(node) == before
        ends.revoke(FIELDS)
        p.name.set("Bob")


WRITES: dict[str, Callable[[Person], object]] = {
    "set": lambda p: p.nick.set("x"),
    "set another": lambda p: Person(p.get_db_id()).notes.set("a", 1),
    "create": lambda p: Person([]),
    "remove": lambda p: p.remove(),
    "list": lambda p: p.albums.append(1),
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_guard_that_writes_gets_a_usage_error(pair: tuple[Node, Node], kind: str) -> None:
    a, b = pair
    raised: list[BaseException] = []

    class Writes(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            try:
                WRITES[kind](Person(object_id))
            except dinemic.UsageError as error:
                raised.append(error)
                raise

    with acting(a):
        p = Person([])
        Writes().apply(FIELDS)
        before = rows(a)
        with pytest.raises(dinemic.UpdateRejected, match="write nothing"):
            p.name.set("Bob")
        assert rows(a) == before
    send(a, b)
    with acting(b):
        Person(p.get_db_id()).name.set("Robert")
    send(b, a)
    settle(a)
    assert len(raised) == 2
    assert p.name.get() == ""
    ((_, reason),) = (veto for veto in veto_of(a, object_id(p)) if veto)
    assert "write nothing" in reason


def test_a_guard_may_read_whatever_it_likes(tmp_path: Path) -> None:
    class Reads(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            p = Person(object_id)
            p.name.get(), p.salary.get(), list(p.albums), list(p.history()), p.why("name")
            assert dinemic.object_list() == [object_id]
            assert dinemic.status().authored > 0

    with opened(tmp_path):
        p = Person([])
        p.salary.set("1")
        Reads().apply(FIELDS)
        p.name.set("Bob")
        assert p.name.get() == "Bob"


# -- what others made -----------------------------------------------------------------------------


def test_a_vetoed_event_is_passed_on_and_has_effect_elsewhere(
    pair: tuple[Node, Node], open_it: Callable[..., Node]
) -> None:
    (a, b), c = pair, open_it("c")
    guard = NoEve()
    with acting(b):
        guard.apply(FIELDS)
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
    assert veto_of(b, object_id(p)) == [(f"{__name__}.NoEve", "no Eve")]
    assert b.status().vetoed == 1
    assert a.view.digest_all() == b.view.digest_all() == c.view.digest_all()
    assert a.view.heads(object_id(p)) == b.view.heads(object_id(p))
    assert guard.asked == [("", "Bob"), ("Bob", "Eve")]
    assert guard.told == [("", "Bob")]


def test_what_is_built_on_a_vetoed_event_is_judged_by_itself(pair: tuple[Node, Node]) -> None:
    a, b = pair
    guard = NoEve()
    with acting(b):
        guard.apply(FIELDS)
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


def test_an_object_whose_creation_is_vetoed_is_not_there(pair: tuple[Node, Node]) -> None:
    class NoOne(dinemic.DAction):
        def on_create(self, object_id: str, key: str) -> None:
            raise ValueError("not here")

    a, b = pair
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
    pair: tuple[Node, Node], kind: type[BaseException]
) -> None:
    class Bad(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "Eve":
                raise kind

    a, b = pair
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
def test_every_kind_of_value_reaches_the_guard(pair: tuple[Node, Node], value: Any) -> None:
    a, b = pair
    guard = NoEve(refused=value)
    with acting(b):
        guard.apply(FIELDS)
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
    pair: tuple[Node, Node], open_it: Callable[..., Node]
) -> None:
    (a, b), c = pair, open_it("c")
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


def test_a_closed_object_refuses_whatever_the_guards_say(pair: tuple[Node, Node]) -> None:
    class Watch(dinemic.DAction):
        def on_unauthorized_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            assert self.context is not None
            seen.append((field, old, new, self.context.authorized))

        def on_authorized_update(self, *args: Any) -> None:
            seen.append("authorized")

        on_unauthorized_updated = on_authorized_update

    seen: list[Any] = []
    a, b = pair
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
    pair: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    a, b = pair
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
    pair: tuple[Node, Node], open_it: Callable[..., Node], round: int
) -> None:
    (a, b), observers = pair, [open_it("x"), open_it("y")]
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


def test_a_guard_is_asked_with_what_the_author_saw(
    pair: tuple[Node, Node], open_it: Callable[..., Node]
) -> None:
    (a, b), c = pair, open_it("c")
    guard = NoEve()
    with acting(c):
        guard.apply(FIELDS)
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
    pair: tuple[Node, Node],
) -> None:
    class Watch(dinemic.DAction):
        def on_delete(self, object_id: str, field: str, value: Any) -> None:
            asked.append((field, value))

        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            asked.append((field, old, new))
            if field == "list_update_authorized_objects":
                raise ValueError("no writers")

    asked: list[Any] = []
    a, b = pair
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


# -- vetoes last ----------------------------------------------------------------------------------


def test_vetoes_outlast_the_process_and_what_is_lifted_is_asked_about_again(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with acting(a):
        p = Person([])
        p.name.set("Bob")
        p.name.set("Eve")
    guard = NoEve()
    with opened(tmp_path / "b", "rocksdb") as b:
        guard.apply(FIELDS)
        send(a, b)
        settle(b)
        vetoed = veto_of(b, object_id(p))
        digest = b.view.view_digest(object_id(p))
        assert vetoed == [(f"{__name__}.NoEve", "no Eve")]
    with opened(tmp_path / "b", "rocksdb") as b:
        assert veto_of(b, object_id(p)) == vetoed
        assert b.view.view_digest(object_id(p)) == digest
        send(a, b)
        again = NoEve()
        again.apply(FIELDS)
        settle(b)
        assert again.asked == [], "there is an answer"
        assert Person(p.get_db_id()).name.get() == "Bob"
        (withheld,) = b.view.withheld(object_id(p))
        b.lift_veto(withheld.event)
        settle(b)
        assert again.asked == [("Bob", "Eve")]
        assert veto_of(b, object_id(p)) == vetoed
        again.refused = "nobody"
        b.lift_veto(withheld.event)
        settle(b)
        assert veto_of(b, object_id(p)) == []
        assert Person(p.get_db_id()).name.get() == "Eve"
        assert again.told == [("Bob", "Eve")]
        assert b.view.view_digest(object_id(p)) == a.view.view_digest(object_id(p))


def test_what_a_guard_wants_to_see_waits_until_it_is_back(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with acting(a):
        p = Person([])
    with opened(tmp_path / "b", "rocksdb") as b:
        NoEve().apply(FIELDS)
        send(a, b)
        settle(b)
    p.name.set("Bob")
    p.name.set("Eve")
    with opened(tmp_path / "b", "rocksdb") as b:
        send(a, b)
        settle(b)
        q = Person(p.get_db_id())
        assert q.name.get() == ""
        assert veto_of(b, object_id(p)) == [None, None]
        before = rows(b)
        with pytest.raises(dinemic.UpdateRejected, match="not applied now"):
            q.name.set("Carol")
        assert rows(b) == before
    with opened(tmp_path / "b", "rocksdb") as b:
        settle(b)
        assert veto_of(b, object_id(p)) == [None, None]
        guard = NoEve()
        guard.apply(FIELDS)
        settle(b)
        assert guard.asked == [("", "Bob"), ("Bob", "Eve")]
        assert veto_of(b, object_id(p)) == [(f"{__name__}.NoEve", "no Eve")]
        assert Person(p.get_db_id()).name.get() == "Bob"
        assert guard.told == [("", "Bob")]


def test_what_waited_for_a_guard_that_is_revoked_takes_effect(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with opened(tmp_path / "b", "rocksdb"):
        NoEve().apply(FIELDS)
    with acting(a):
        p = Person([])
        p.name.set("Eve")
    with opened(tmp_path / "b", "rocksdb") as b:
        send(a, b)
        settle(b)
        assert Person(p.get_db_id()).name.get() == ""
        NoEve().revoke(FIELDS)
        settle(b)
        assert Person(p.get_db_id()).name.get() == "Eve"
        assert rows(b).keys() & {key for key in rows(b) if key[:1] in b"wv"} == set()


# -- a guard that takes its time ------------------------------------------------------------------


def test_a_guard_that_hangs_holds_up_its_object_and_nothing_else(
    pair: tuple[Node, Node],
) -> None:
    go_on, inside = threading.Event(), threading.Event()

    class Hangs(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "hang":
                inside.set()
                assert go_on.wait(BOUND_SECONDS)

    a, b = pair
    other = NoEve()
    with acting(b):
        Hangs().apply(FIELDS)
        other.apply(FIELDS)
    with acting(a):
        p, free = Person([]), Person([])
        p.name.set("hang")
    send(a, b)
    assert inside.wait(BOUND_SECONDS)
    try:
        p.nick.set("later")
        free.name.set("Bob")
        free.name.set("Eve")
        assert send(a, b)[0].admitted == 3, "what comes in is let in"
        with acting(b):
            q, stuck = Person(free.get_db_id()), Person(p.get_db_id())
            wait_until(lambda: bool(q.name.get() == "Bob" and veto_of(b, object_id(free))[0]))
            q.nick.set("Bobby")
            mine = Person([])
            mine.name.set("mine")
            wait_until(lambda: other.told == [("", "Bob"), ("", "Bobby"), ("", "mine")])
            assert (stuck.name.get(), stuck.nick.get()) == ("", "")
        assert a.view.digest(object_id(p)) == b.view.digest(object_id(p))
        assert b.status().listeners.judging == 1
        assert not b.listeners.drain(0.01)
    finally:
        go_on.set()
    settle(b)
    with acting(b):
        assert (stuck.name.get(), stuck.nick.get()) == ("hang", "later")


def test_many_threads_write_while_guards_and_effects_run(tmp_path: Path) -> None:
    class Watch(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            Person(object_id).name.get()
            if new % 7 == 0:
                raise ValueError("no sevens")

        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            told.setdefault(object_id, []).append((old, new))

    told: dict[str, list[tuple[Any, Any]]] = {}
    rejected = itertools.count()
    failures: list[BaseException] = []
    with opened(tmp_path) as node:
        people = [Person([]) for _ in range(3)]
        Watch().apply("Person:[id]:value_name")

        def write(start: int) -> None:
            with acting(node):
                for number in range(start, start + 60):
                    try:
                        people[number % 3].name.set(number)
                    except dinemic.UpdateRejected:
                        next(rejected)
                    except BaseException as error:
                        failures.append(error)
                        raise

        threads = [threading.Thread(target=write, args=(60 * each,)) for each in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND_SECONDS)
        settle(node)
        assert failures == []
        sevens = len(range(0, 240, 7))
        assert next(rejected) == sevens
        assert sum(map(len, told.values())) == 240 - sevens
        for p in people:
            changes = told[p.get_db_id()]
            assert [old for old, _ in changes] == ["", *(new for _, new in changes[:-1])]
            assert changes[-1][1] == p.name.get()


# -- effects --------------------------------------------------------------------------------------


def test_an_effect_writes_to_its_own_object_and_is_told_of_that_too(tmp_path: Path) -> None:
    class Counts(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            asked.append(new)

        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            p = Person(object_id)
            if new < 30:
                p.name.set(new + 1)
                assert p.name.get() == new + 1
                Person([]).nick.set(0) if new == 10 else p.notes.set("last", new)

    asked: list[int] = []
    with opened(tmp_path) as node:
        p = Person([])
        Counts().apply("Person:[id]:value_name")
        p.name.set(0)
        settle(node)
        assert asked == [*range(31)]
        assert (p.name.get(), p.notes.get("last")) == (30, 29)
        assert node.status().listeners.failed == 0


def test_callbacks_apply_and_revoke_listeners(tmp_path: Path) -> None:
    class Relay(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "watch":
                late.apply(FIELDS)

        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "stop":
                late.revoke(FIELDS)
                self.revoke(FIELDS)

    late = NoEve()
    with opened(tmp_path) as node:
        p = Person([])
        relay = Relay()
        relay.apply(FIELDS)
        for value in ("before", "watch", "during"):
            p.name.set(value)
        p.name.set("stop")
        settle(node)
        p.name.set("Eve")
        settle(node)
        assert late.told[:2] == [("before", "watch"), ("watch", "during")]
        assert "Eve" not in {new for _, new in late.told}
        assert (node.status().listeners.applied, node.status().listeners.failed) == (0, 0)


def test_a_late_revocation_tells_of_the_value_that_comes_back(
    pair: tuple[Node, Node], open_it: Callable[..., Node]
) -> None:
    (a, b), c = pair, open_it("c")
    with acting(b):
        clerk = Person([])
    send(b, a)
    with acting(a):
        p = Safe([clerk.get_db_id()])
        p.name.set("owner's")
    exchange(a, b, c)
    told, contexts = NoEve(), []

    class Watch(dinemic.DAction):
        def on_updated(self, *args: Any) -> None:
            contexts.append(self.context)

        on_deleted = on_updated

    with acting(c):
        told.apply("Safe:[id]:value_*")
        Watch().apply("Safe:[id]:value_*")
    with acting(b):
        q = Safe(p.get_db_id(), clerk.get_db_id())
        q.name.set("unseen")
        q.set("other", "unseen too")
    send(b, c)
    settle(c)
    p.revoke_update_authorized(clerk.get_db_id())
    (revocation,) = a.view.heads(object_id(p))
    send(a, c)
    settle(c)
    assert told.told == [("owner's", "unseen"), ("", "unseen too"), ("unseen", "owner's")]
    assert told.asked == [("owner's", "unseen"), ("", "unseen too")]
    assert [context.event for context in contexts[2:]] == [to_text(revocation)] * 2
    assert all(context.authorized for context in contexts)
    with acting(c):
        shown = Safe(p.get_db_id())
        assert (shown.name.get(), shown.keys()) == ("owner's", ["name"])


def test_a_late_older_write_is_asked_about_and_told_to_nobody(
    pair: tuple[Node, Node], open_it: Callable[..., Node]
) -> None:
    (a, b), c = pair, open_it("c")
    guard = NoEve()
    with acting(c):
        guard.apply(FIELDS)
    with acting(a):
        p = Person([])
    exchange(a, b)
    p.name.set("older")
    with acting(b):
        Person(p.get_db_id()).name.set("newer")
    send(b, c)
    settle(c)
    send(a, c)
    settle(c)
    assert guard.asked == [("", "newer"), ("", "older")]
    assert guard.told == [("", "newer")]


def test_what_nobody_was_told_is_told_once_when_the_listener_is_back(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with opened(tmp_path / "b", "rocksdb"):
        NoEve().apply(FIELDS)
    with acting(a):
        p = Person([])
        for number in range(20):
            p.name.set(number)
    with opened(tmp_path / "b", "rocksdb") as b:
        NoEve().revoke(FIELDS)
        first = Told()
        first.apply(FIELDS)
    with opened(tmp_path / "b", "rocksdb") as b:
        send(a, b)
        mine = Person([])
        mine.name.set("mine")
        assert b.status().listeners.queued == 21
    with opened(tmp_path / "b", "rocksdb") as b:
        back = Told()
        back.apply(FIELDS)
        settle(b)
        assert back.values == [*range(20), "mine"]
        assert b.status().listeners.queued == 0
    with opened(tmp_path / "b", "rocksdb") as b:
        again = Told()
        again.apply(FIELDS)
        settle(b)
        assert again.values == []
    assert first.values == []


class Told(dinemic.DAction):
    """Keeps what it is told; `hold` is called before."""

    def __init__(self, hold: Callable[[], object] = bool) -> None:
        self.values: list[Any] = []
        self.hold = hold

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.hold()
        self.values.append(new_value)


def test_a_node_that_is_closed_amid_telling_goes_on_after_what_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, inside = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(BOUND_SECONDS)

    monkeypatch.setattr("dinemic.node.DRAIN_S", 0.01)
    node = open_node(tmp_path, "rocksdb")
    closing = threading.Thread(target=node.close)
    with acting(node):
        cut_short = Told(hold)
        cut_short.apply(FIELDS)
        p = Person([])
        for number in range(5):
            p.name.set(number)
        assert inside.wait(BOUND_SECONDS)
        closing.start()
        wait_until(lambda: node.listeners._stopped)
    go_on.set()
    closing.join(BOUND_SECONDS)
    with opened(tmp_path, "rocksdb") as again:
        back = Told()
        back.apply(FIELDS)
        settle(again)
    assert cut_short.values + back.values == [*range(5)]
    assert len(cut_short.values) == 1
