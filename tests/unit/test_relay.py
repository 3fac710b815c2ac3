"""A relay keeps and passes on what others make; it has no object's key and makes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dinemic
from dinemic import running
from dinemic.config import Config
from dinemic.keyring import Keyring, ObjectKeys
from dinemic.node import Node
from dinemic_engine.errors import Unreadable, UsageError
from support.homes import make_home
from support.nodes import acting, object_id, raw_events, send, trace


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)
    albums = dinemic.DList("albums")


class Open(dinemic.DModel, access="open"):
    name = dinemic.DField("name")


class Everything(dinemic.DAction):
    def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
        """A guard."""


@pytest.fixture
def author(open_it: Callable[..., Node]) -> Node:
    return open_it("author")


@pytest.fixture
def relay(tmp_path: Path) -> Any:
    node = Node.open(Config(home=tmp_path / "relay", store="memory", relay=True))
    yield node
    node.close()


def filled(author: Node) -> tuple[str, str]:
    """Ids of a closed object and an open one, both with values."""
    with acting(author):
        free = Open([])
        closed = Person([free.get_db_id()])
        closed.name.set("Bob")
        closed.salary.set("1234")
        free.name.set("Eve")
    return closed.get_db_id(), free.get_db_id()


def test_it_has_all_that_it_was_sent_and_passes_all_of_it_on(
    author: Node, relay: Node, open_it: Callable[..., Node]
) -> None:
    db_id, _ = filled(author)
    send(author, relay)
    assert raw_events(relay) == raw_events(author)
    last = open_it("last")
    send(relay, last)
    assert last.view.digest_all() == relay.view.digest_all() == author.view.digest_all()
    with acting(last):
        assert Person(db_id).name.get() == "Bob"


def test_it_reads_what_is_public_and_opens_nothing(author: Node, relay: Node) -> None:
    db_id, _ = filled(author)
    send(author, relay)
    with acting(relay):
        assert Person(db_id).name.get() == "Bob"
        with pytest.raises(Unreadable):
            Person(db_id).salary.get()
    assert relay.keyring.owned() == frozenset()
    assert relay.status().relay


def test_it_makes_no_event_of_any_kind(author: Node, relay: Node) -> None:
    closed_id, free_id = filled(author)
    send(author, relay)
    before = trace(relay)
    with acting(relay):
        closed, free = Person(closed_id), Open(free_id)

        def transact() -> None:
            with dinemic.transaction(closed):
                closed.name.set("x")
                closed.albums.append("y")

        for attempt in (
            transact,
            lambda: Person([]),
            lambda: Person([closed_id]),
            lambda: free.name.set("x"),
            lambda: free.name.delete(),
            lambda: closed.name.set("x"),
            lambda: closed.albums.append("x"),
            lambda: closed.salary.set("x"),
            closed.remove,
            lambda: free.append_read_authorized(closed_id),
            lambda: closed.append_admin_authorized(free_id),
            lambda: closed.revoke_read_authorized(free_id),
            lambda: closed.encrypt("x"),
            lambda: Person(closed_id, free_id).name.set("x"),
        ):
            with pytest.raises(UsageError, match="relay"):
                attempt()
    assert trace(relay) == before
    assert relay.status().authored == 0


def test_it_takes_no_listeners_nor_guards(relay: Node) -> None:
    with acting(relay), pytest.raises(UsageError, match="relay"):
        Everything().apply("*")
    assert relay.status().listeners.applied == 0


def test_it_takes_no_keys(relay: Node, author: Node) -> None:
    with acting(author):
        p = Person([])
    with pytest.raises(UsageError, match="takes no keys"):
        relay.keyring.add(object_id(p), ObjectKeys.generate())
    assert relay.keyring.owned() == frozenset()


def test_a_home_with_keys_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    make_home(tmp_path)
    before = sorted(path.name for path in (tmp_path / "keys").iterdir())
    with pytest.raises(UsageError, match=r"2 are in .*keys: give it a home of its own"):
        Node.open(Config(home=tmp_path, relay=True))
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == before
    Node.open(Config(home=tmp_path)).close()  # it is free, and whole


def test_a_relays_home_may_become_a_nodes_and_keeps_its_id(tmp_path: Path) -> None:
    first = Keyring.open(tmp_path / "keys", node_only=True).node_key.public
    assert Keyring.open(tmp_path / "keys").node_key.public == first


def test_launch_takes_it_as_an_option_that_cannot_change(tmp_path: Path) -> None:
    quiet = {"listen": "127.0.0.1:0", "discover": False, "cluster_key": "for these tests only"}
    try:
        running.launch(tmp_path, relay=True, store="memory", **quiet)
        with pytest.raises(UsageError, match="relay"):
            Person([])
        with pytest.raises(UsageError, match="another relay"):
            running.launch(relay=False)
    finally:
        running.shutdown()
