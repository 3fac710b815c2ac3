"""Lists as users have them: plain and sealed, alone and between nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine import limits
from dinemic_engine.canonical import Value
from dinemic_engine.edits import ListInsert
from support.models import BOTH, VALUES, Band, Made, shared
from support.nodes import exchange, send, trace


def events_of(handle: dinemic.DModel) -> int:
    return len(list(handle.history()))


@BOTH
def test_a_list_does_what_a_python_list_does(node: Node, model: type[Made]) -> None:
    albums = model([]).albums
    albums.append("b")
    albums.insert(0, "a")
    albums.extend(["c", "d", "e"])
    albums.insert(-1, "x")
    assert list(albums) == ["a", "b", "c", "d", "x", "e"]
    albums.delete(4)
    albums.set(1, "B")
    albums[-1] = "E"
    assert (albums.at(1), albums[0], albums[-1]) == ("B", "a", "E")
    assert (len(albums), albums.length()) == (5, 5)
    assert albums[1:4] == ["B", "c", "d"]
    assert albums[::-2] == ["E", "c", "a"]
    assert albums[9:] == []
    assert albums.index("d") == 3
    assert albums.index("nothing") == -1
    assert "c" in albums
    assert "b" not in albums
    del albums[0]
    del albums[::2]
    assert list(albums) == ["c", "E"]
    del albums[:]
    assert list(albums) == []
    assert not albums


@BOTH
@pytest.mark.parametrize("value", VALUES)
def test_an_element_comes_back_with_its_type(node: Node, model: type[Made], value: Value) -> None:
    albums = model([]).albums
    albums.append(value)
    albums.append("other")
    albums.set(1, value)
    for found in albums:
        assert type(found) is type(value)
        assert found == value
    assert albums.index(value) == 0


def test_values_of_another_type_are_other_values(node: Node) -> None:
    albums = Band([]).albums
    albums.extend([1, True, 1.0])
    assert [albums.index(value) for value in (1, True, 1.0)] == [0, 1, 2]
    assert albums.index(float("nan")) == -1


@pytest.mark.parametrize("index", [3, -4, 1 << 40])
def test_an_index_beyond_the_list_is_an_index_error(node: Node, index: int) -> None:
    band = Band([])
    band.albums.extend(["a", "b", "c"])
    before = trace(node)
    attempts: list[Callable[[], object]] = [
        lambda: band.albums.at(index),
        lambda: band.albums[index],
        lambda: band.albums.set(index, "x"),
        lambda: band.albums.delete(index),
        lambda: band.albums.conflicts(index),
        lambda: band.albums.insert(index + 1 if index > 0 else index, "x"),
    ]
    for attempt in attempts:
        with pytest.raises(IndexError):
            attempt()
    assert trace(node) == before


def test_extend_makes_one_event_with_one_run(node: Node) -> None:
    band = Band([])
    band.albums.extend(range(5000))
    assert events_of(band) == 2
    op = list(band.history())[-1].ops[0]
    assert isinstance(op, ListInsert)
    assert op.count == 5000
    assert band.albums[4999] == 4999
    band.albums.extend([])
    assert events_of(band) == 2


def test_more_values_than_a_run_holds_become_several_in_one_event(node: Node) -> None:
    band = Band([])
    count = limits.RUN_MAX + 10
    band.albums.extend([0] * count)
    assert len(band.albums) == count
    assert [op.count for op in list(band.history())[-1].ops] == [limits.RUN_MAX, 10]  # type: ignore[union-attr]
    del band.albums[limits.RUN_MAX - 1 :]
    assert len(band.albums) == limits.RUN_MAX - 1


def test_deleting_nothing_makes_no_event(node: Node) -> None:
    band = Band([])
    band.albums.append("a")
    before = trace(node)
    del band.albums[5:]
    band.prices.delete("nothing")
    band.tags.discard("nothing")
    assert trace(node) == before


def test_iterating_sees_the_list_as_it_was_when_it_began(node: Node) -> None:
    band = Band([])
    band.albums.extend(range(200))
    found: list[Value] = []
    for value in band.albums:
        if not found:
            del band.albums[100:]
            band.albums.insert(0, "new")
        found.append(value)
    assert found == list(range(200))
    assert len(band.albums) == 101


def test_two_nodes_that_append_at_once_keep_each_others_runs_together(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    band, theirs, _ = shared(two, Band)
    band.albums.extend(["1", "2"])
    send(a, b)
    for value in "xyz":
        theirs.albums.append(value)
    for value in "abc":
        band.albums.append(value)
    exchange(a, b)
    found = "".join(band.albums)  # type: ignore[arg-type]
    assert found in ("12abcxyz", "12xyzabc")
    assert "".join(theirs.albums) == found  # type: ignore[arg-type]
    assert a.view.digest_all() == b.view.digest_all()


def test_an_element_two_nodes_set_shows_both_and_is_resolved_in_one_call(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    band, theirs, _ = shared(two, Band)
    band.albums.extend(["first", "second"])
    band.prices.set("first", 0)
    assert band.albums.conflicts(0) == []
    send(a, b)
    theirs.albums.set(0, "B")
    band.albums.set(0, "A")
    theirs.prices.set("first", 2)
    band.prices.delete("first")
    exchange(a, b)
    for conflicts in (band.albums.conflicts(0), theirs.albums.conflicts(0)):
        assert {conflict.value for conflict in conflicts} == {"A", "B"}
        assert conflicts[0].value == band.albums[0] == theirs.albums[0]
    loser = band.albums.conflicts(0)[1]
    band.albums.resolve(0, loser)
    assert band.albums[0] == loser.value
    assert [conflict.value for conflict in band.albums.conflicts(0)] == [loser.value]
    entries = band.prices.conflicts("first")
    assert {(entry.value, entry.deleted) for entry in entries} == {(2, False), (None, True)}
    band.prices.resolve("first", next(entry for entry in entries if entry.deleted))
    assert "first" not in band.prices
    assert len(band.prices.conflicts("first")) == 1


def test_a_writer_revoked_unseen_leaves_no_trap_for_those_who_go_on(
    two: tuple[Node, Node],
) -> None:
    """Its void elements are in the tree: what is inserted next must not hang on them."""
    a, b = two
    band, theirs, chief = shared(two, Band)
    band.albums.extend(["1", "2"])
    send(a, b)
    band.revoke_update_authorized(chief.get_db_id())
    for value in "xyz":
        theirs.albums.append(value)
    theirs.albums.insert(0, "w")
    theirs.albums.delete(1)
    theirs.tags.add("mine")
    theirs.prices.set("k", 1)
    theirs.sold.add(5)
    exchange(a, b)
    for value in "abc":
        band.albums.append(value)
    band.albums.insert(0, "0")
    exchange(a, b)
    assert list(band.albums) == list(theirs.albums) == ["0", "1", "2", "a", "b", "c"]
    assert (list(band.tags), dict(band.prices), band.sold.get()) == ([], {}, 0)
    assert a.view.digest_all() == b.view.digest_all()


def test_threads_that_append_at_once_lose_nothing(node: Node) -> None:
    band = Band([])
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(50):
                band.albums.append(f"{name}{number}")
                band.sold.add(1)
                band.albums[number]
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = list(band.albums)
    assert len(set(map(str, found))) == len(found) == 200
    for name in "abcd":
        assert [v for v in found if str(v)[0] == name] == [f"{name}{n}" for n in range(50)]
    assert band.sold.get() == 200
