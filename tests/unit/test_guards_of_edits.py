"""Guards and local edits: what they reject was never made (VETO-1, VETO-5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from support.guarded import FIELDS, GUARD, NoEve, Person, rows, settle, veto_of
from support.nodes import acting, object_id, opened, send

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
        assert raised.value.by == GUARD
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

        def edit() -> None:
            with dinemic.transaction(p):
                p.nick.set("Bobby")
                p.name.set("Eve")
                p.name.set("Bob")

        with pytest.raises(dinemic.UpdateRejected, match="no Eve"):
            edit()
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
def test_a_guard_that_writes_gets_a_usage_error(two: tuple[Node, Node], kind: str) -> None:
    a, b = two
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
