"""Transactions: one event or none, reads that see what was edited, others that see nothing yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine import draft, limits
from dinemic_engine.edits import ListInsert
from dinemic_engine.ops import Epoch
from support.models import BOTH, Band, Chief, Made, Secret, shared
from support.nodes import acting, exchange, send, trace


def test_a_transaction_that_reads_more_than_is_remembered_reads_right(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "_REMEMBERED", 2)
    made, expected = Band([]), [str(number) for number in range(200)]
    made.albums.extend(expected)
    with dinemic.transaction(made):
        for at in (150, 3, 77, 0, 203):
            made.albums.insert(at, f"new {at}")
            expected.insert(at, f"new {at}")
        assert list(made.albums) == expected
    assert list(made.albums) == expected


def ops_of(handle: dinemic.DModel) -> list[tuple[Any, ...]]:
    return [event.ops for event in handle.history()][1:]


def read(made: Made) -> tuple[object, ...]:
    return (
        made.name.get(),
        list(made.albums),
        dict(made.prices),
        made.sold.get(),
        sorted(made.tags, key=repr),
        made.keys(),
    )


def edit(made: Made) -> None:
    made.name.set("Bob")
    made.albums.extend(["a", "b", "c"])
    made.albums.insert(1, "x")
    made.albums.delete(0)
    made.albums.set(-1, "C")
    made.prices["k"] = 1
    made.prices["l"] = 2
    made.prices.delete("k")
    made.sold.add(5)
    made.sold.add(-2)
    made.tags.add("s")
    made.tags.add("t")
    made.tags.discard("s")


EDITED = ("Bob", ["x", "b", "C"], {"l": 2}, 3, ["t"], ["name"])
EMPTY: tuple[object, ...] = ("", [], {}, 0, [], [])


@BOTH
def test_edits_of_every_type_become_one_event(two: tuple[Node, Node], model: type[Made]) -> None:
    a, b = two
    made, theirs, _ = shared(two, model)
    with acting(a):
        other = model(made.get_db_id())
    with dinemic.transaction(made) as same:
        assert same is made
        edit(made)
        assert read(made) == EDITED
        assert read(other) == EMPTY
    assert read(made) == read(other) == EDITED
    assert len(ops_of(made)) == 1
    send(a, b)
    assert read(theirs) == EDITED
    assert a.view.digest_all() == b.view.digest_all()


@BOTH
def test_edits_on_top_of_what_was_there(node: Node, model: type[Made]) -> None:
    made, alone = model([]), model([])
    for each in (made, alone):
        edit(each)
    edit(alone)
    with made.transaction():
        edit(made)
        inside = read(made)
    assert inside == read(made) == read(alone)


@BOTH
def test_an_exception_drops_all_of_it(node: Node, model: type[Made]) -> None:
    made = model([])
    edit(made)
    before, shown = trace(node), read(made)
    with pytest.raises(ZeroDivisionError), made.transaction():  # noqa: PT012
        edit(made)
        raise ZeroDivisionError
    assert (trace(node), read(made)) == (before, shown)
    with made.transaction():
        made.albums.append("after")
    assert len(ops_of(made)) == 14


def test_no_edits_make_no_event(node: Node) -> None:
    made = Band([])
    before = trace(node)
    with made.transaction():
        assert read(made) == EMPTY
        made.prices.delete("nothing")
        made.tags.discard("nothing")
        made.albums.extend([])
    assert trace(node) == before


def test_values_typed_one_after_another_become_one_run(node: Node) -> None:
    made = Band([])
    with made.transaction():
        for number in range(10_000):
            made.albums.append(number)
        assert len(made.albums) == 10_000
        made.albums.insert(5, "x")
        made.albums.insert(6, "y")
    counts = [op.count for op in ops_of(made)[0] if isinstance(op, ListInsert)]
    assert counts == [10_000, 2]
    assert made.albums[4:8] == [4, "x", "y", 5]


def test_a_new_epoch_is_in_the_same_event_and_moves_no_reference(node: Node) -> None:
    made = Secret([])
    with made.transaction():
        made.albums.append("a")
        made.albums.set(0, "b")
        made.albums.insert(0, "c")
        made.tags.add("x")
        made.tags.discard("x")
    assert list(made.albums) == ["c", "b"]
    (ops,) = ops_of(made)
    assert sum(isinstance(op, Epoch) for op in ops) == 1
    made.albums.append("d")
    assert not any(isinstance(op, Epoch) for op in ops_of(made)[-1])


def test_what_others_write_meanwhile_is_not_seen_and_is_kept(node: Node) -> None:
    made = Band([])
    other = Band(made.get_db_id())
    made.albums.extend(["1", "2"])
    made.tags.add("old")
    with made.transaction():
        made.albums.append("mine")
        other.albums.append("theirs")
        other.albums.delete(0)
        other.tags.add("new")
        other.tags.discard("old")
        other.sold.add(1)
        other.name.set("theirs")
        assert list(made.albums) == ["1", "2", "mine"]
        assert "new" not in made.tags
        made.albums.append("mine too")
        made.albums.insert(1, "between")
        made.sold.add(1)
        made.name.set("mine")
        assert made.sold.get() == 1
    found = list(made.albums)
    assert found in (
        ["between", "2", "mine", "mine too", "theirs"],
        ["between", "2", "theirs", "mine", "mine too"],
    )
    assert list(made.tags) == ["new"]
    assert made.sold.get() == 2
    assert {conflict.value for conflict in made.name.conflicts()} == {"mine", "theirs"}
    mine, theirs = ops_of(made)[-1], ops_of(made)[2]
    assert len(mine) == 5
    assert len(theirs) == 1


def test_a_transaction_inside_another_of_one_handle_is_refused(node: Node) -> None:
    made = Band([])
    other = Band([])
    with made.transaction():
        made.name.set("Bob")
        with pytest.raises(dinemic.UsageError), made.transaction():
            pass
        with other.transaction():
            other.name.set("Eve")
    assert (made.name.get(), other.name.get()) == ("Bob", "Eve")


def test_only_fields_are_changed_in_a_transaction(node: Node) -> None:
    made, chief = Band([]), Chief([])
    before = trace(node)
    attempts: list[Callable[[], object]] = [
        made.remove,
        lambda: made.append_update_authorized(chief.get_db_id()),
        lambda: made.append_read_authorized(chief.get_db_id()),
        lambda: made.set_access("open"),
    ]
    with made.transaction():
        for attempt in attempts:
            with pytest.raises(dinemic.UsageError, match="transaction"):
                attempt()
    assert trace(node) == before


def test_another_thread_is_not_in_it(node: Node) -> None:
    made = Band([])
    seen: list[object] = []

    def outside() -> None:
        seen.append(made.name.get())
        made.sold.add(7)
        seen.append(made.sold.get())

    with made.transaction():
        made.name.set("Bob")
        thread = threading.Thread(target=outside)
        thread.start()
        thread.join()
        assert made.sold.get() == 0
    assert seen == ["", 7]
    assert (made.name.get(), made.sold.get()) == ("Bob", 7)


def test_more_than_an_event_holds_is_refused_and_nothing_is_made(node: Node) -> None:
    made = Band([])
    before = trace(node)
    with pytest.raises(ValueError, match="4096"), made.transaction():  # noqa: PT012
        for number in range(limits.OPS_MAX + 1):
            made.sold.add(number)
    with pytest.raises(ValueError, match="EV-7/size"), made.transaction():  # noqa: PT012
        for number in range(3):
            made.prices[str(number)] = "x" * 400_000
    assert trace(node) == before
    with made.transaction():
        for number in range(limits.OPS_MAX):
            made.sold.add(number)
    assert len(ops_of(made)) == 1


@pytest.mark.parametrize("value", [float("nan"), 1 << 63, object(), "\ud800"])
def test_no_value_is_a_value_error_where_it_is_written(node: Node, value: Any) -> None:
    made = Band([])
    with made.transaction():
        attempts: list[Callable[[], object]] = [
            lambda: made.name.set(value),
            lambda: made.albums.append(value),
            lambda: made.prices.set("k", value),
            lambda: made.tags.add(value),
        ]
        for attempt in attempts:
            with pytest.raises(ValueError):  # noqa: PT011 - each names its own fault
                attempt()
        made.name.set("Bob")
        made.albums.append("fine")
    assert (made.name.get(), list(made.albums), len(ops_of(made))) == ("Bob", ["fine"], 1)


def test_a_list_given_is_copied(node: Node) -> None:
    made = Band([])
    given: list[Any] = [1, [2]]
    with made.transaction():
        made.albums.append(given)
        made.name.set(given)
        given[1] = "changed"
    assert (made.albums[0], made.name.get()) == ([1, [2]], [1, [2]])


def test_an_unknown_or_removed_object_has_no_transactions(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        made = Band([])
    with acting(b):
        unknown = Band(made.get_db_id())
    with pytest.raises(dinemic.UnknownObject), unknown.transaction():
        pass
    made.remove()
    with pytest.raises(dinemic.UnknownObject), made.transaction():
        pass


def test_a_transaction_nobody_may_make_makes_nothing(two: tuple[Node, Node]) -> None:
    a, b = two
    made, theirs, chief = shared(two, Band)
    made.albums.append("1")
    send(a, b)
    with acting(b):
        stranger = Band(made.get_db_id(), "")
    before = trace(b)
    with pytest.raises(dinemic.UpdateRejected), stranger.transaction():
        stranger.albums.append("no")
    made.revoke_update_authorized(chief.get_db_id())
    with pytest.raises(dinemic.UpdateRejected, match="AUTH-"), theirs.transaction():  # noqa: PT012
        theirs.albums.append("too late")
        send(a, b)  # the revocation comes while the transaction is open
    exchange(a, b)
    assert b.view.tip().seq == before[0].seq + 1  # type: ignore[attr-defined]
    assert list(theirs.albums) == list(made.albums) == ["1"]
