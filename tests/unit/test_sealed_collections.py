"""Sealed lists, dicts, counters and sets: who opens them, and what opens for nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Value
from dinemic_engine.edits import CounterAdd, DictSet, ListInsert
from support.models import Chief, Secret, shared
from support.nodes import acting, object_id, raw_events, send


def test_sealed_collections_open_for_readers_only(two: tuple[Node, Node]) -> None:
    a, b = two
    secret, reader, _ = shared(two, Secret)
    secret.albums.extend(["plaintext one", "plaintext two"])
    secret.prices["key"] = "plaintext three"
    secret.sold.add(1234567)
    secret.tags.add("plaintext four")
    send(a, b)
    assert not any(b"plaintext" in raw for raw in raw_events(b))
    with acting(b):
        stranger = Secret(secret.get_db_id())
    assert list(reader.albums) == ["plaintext one", "plaintext two"]
    assert reader.albums[1] == "plaintext two"
    assert dict(reader.prices) == {"key": "plaintext three"}
    assert reader.sold.get() == 1234567
    assert list(reader.tags) == ["plaintext four"]
    attempts: list[Callable[[], object]] = [
        lambda: stranger.albums[0],
        lambda: list(stranger.albums),
        lambda: stranger.prices["key"],
        lambda: stranger.prices.get("key", "default"),
        lambda: list(stranger.prices.items()),
        lambda: stranger.prices.conflicts("key"),
        stranger.sold.get,
        lambda: list(stranger.tags),
        lambda: len(stranger.tags),
    ]
    for attempt in attempts:
        with pytest.raises(dinemic.Unreadable):
            attempt()
    assert len(stranger.albums) == 2
    assert stranger.prices.keys() == ["key"]
    assert stranger.prices.get("never", 5) == 5
    assert stranger.albums.index("plaintext one") == -1
    assert "plaintext four" not in stranger.tags


def test_a_ciphertext_moved_to_another_key_does_not_open(node: Node) -> None:
    secret = Secret([])
    secret.prices["cheap"] = 1
    op = list(secret.history())[-1].ops[0]
    assert isinstance(op, DictSet)
    node.commit(object_id(secret), [replace(op, key="dear")], None)
    assert secret.prices["cheap"] == 1
    with pytest.raises(dinemic.Unreadable):
        secret.prices["dear"]


@pytest.mark.parametrize("inside", [["one"], 70_000, "none", {"0": 1}])
def test_an_element_for_which_nothing_was_sealed_is_unreadable(node: Node, inside: Value) -> None:
    secret = Secret([])
    sealed = node.seal(object_id(secret), "list_albums", inside, None)
    node.commit(object_id(secret), [ListInsert("albums", None, True, 2, sealed)], None)
    assert len(secret.albums) == 2
    assert secret.albums.index("one") == (0 if inside == ["one"] else -1)
    with pytest.raises(dinemic.Unreadable):
        secret.albums[1]
    secret.albums.set(1, "mended")
    assert secret.albums[1] == "mended"


def test_an_element_of_an_open_run_is_the_readers_own_and_nobody_elses(node: Node) -> None:
    made = Secret([])
    made.albums.extend([["a"], {"b": ["c"]}, "d"])
    for _ in range(3):
        first, second = made.albums.at(0), made.albums.at(1)
        assert (first, second, made.albums.at(-1)) == (["a"], {"b": ["c"]}, "d")
        assert isinstance(first, list)
        assert isinstance(second, dict)
        first.append("changed")
        second["b"].append("changed")
    stranger = Secret(made.get_db_id(), Chief([]).get_db_id())
    with pytest.raises(dinemic.Unreadable):
        stranger.albums.at(0)


def test_a_run_too_long_to_lie_in_a_row_is_read_by_index(node: Node) -> None:
    made = Secret([])
    values = [f"{number} " + "x" * 40 for number in range(300)]
    made.albums.extend(values)
    made.albums.set(150, "other")
    made.albums.delete(0)
    values[150] = "other"
    assert [made.albums.at(at) for at in (*range(299), *range(-299, 0))] == 2 * values[1:]
    with pytest.raises(IndexError):
        made.albums.at(299)


def test_a_counter_into_which_no_int_was_sealed_is_unreadable(node: Node) -> None:
    secret = Secret([])
    secret.sold.add(3)
    sealed = node.seal(object_id(secret), "counter_sold", "many", None)
    node.commit(object_id(secret), [CounterAdd("sold", sealed)], None)
    with pytest.raises(dinemic.Unreadable):
        secret.sold.get()
    assert secret.sold.get(partial=True) == 3


def test_a_counter_with_adds_nobody_here_can_open_says_so_or_gives_a_part(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(a):
        secret = Secret([])
    secret.sold.add(3)
    send(a, b)
    with acting(b):
        theirs = Secret(secret.get_db_id())
    with pytest.raises(dinemic.Unreadable):
        theirs.sold.get()
    assert theirs.sold.get(partial=True) == 0
