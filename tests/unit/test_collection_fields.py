"""Dicts, counters and sets as users have them, and what goes for collections of every type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine import limits
from dinemic_engine.canonical import Value
from dinemic_engine.edits import SetAdd, SetRemove
from support.models import BOTH, VALUES, Band, Made, Secret, shared
from support.nodes import acting, exchange, object_id, send, trace

# -- dicts ---------------------------------------------------------------------------------------


@BOTH
def test_a_dict_does_what_a_python_dict_does(node: Node, model: type[Made]) -> None:
    prices = model([]).prices
    prices.set("b", 2)
    prices["a"] = 1
    prices["ż\0"] = [None]
    prices[""] = "empty"
    assert (prices.get("a"), prices["b"], prices[""]) == (1, 2, "empty")
    assert (prices.get("none"), prices.get("none", 5)) == ("", 5)
    assert prices.keys() == list(prices) == ["", "a", "b", "ż\0"]
    assert list(prices.items()) == [("", "empty"), ("a", 1), ("b", 2), ("ż\0", [None])]
    assert list(prices.values()) == ["empty", 1, 2, [None]]
    assert dict(prices) == dict(prices.items())
    assert len(prices) == 4
    assert "a" in prices
    assert 1 not in prices
    del prices["a"]
    prices.delete("b")
    getattr(prices, "del")("ż\0")
    assert prices.keys() == [""]
    with pytest.raises(KeyError):
        prices["a"]
    with pytest.raises(KeyError):
        del prices["a"]
    assert prices


@BOTH
@pytest.mark.parametrize("value", VALUES)
def test_an_entry_comes_back_with_its_type(node: Node, model: type[Made], value: Value) -> None:
    prices = model([]).prices
    prices["k"] = value
    assert prices["k"] == value
    assert type(prices["k"]) is type(value)


def test_a_key_no_entry_can_have_is_refused_and_is_not_there(node: Node) -> None:
    prices = Band([]).prices
    before = trace(node)
    keys: list[Any] = ["k" * 513, "ż" * 257, "\ud800", 1, None, b"k"]
    for key in keys:
        with pytest.raises((ValueError, TypeError)):
            prices.set(key, 1)
    for text in keys[:3]:
        assert text not in prices
        assert prices.get(text, 5) == 5
    assert trace(node) == before
    prices["k" * 512] = 1
    assert prices.keys() == ["k" * 512]


# -- counters ------------------------------------------------------------------------------------


@BOTH
def test_a_counter_is_the_sum_of_what_all_add(two: tuple[Node, Node], model: type[Made]) -> None:
    a, b = two
    band, theirs, _ = shared(two, model)
    assert band.sold.get() == 0
    band.sold.add((1 << 63) - 1)
    send(a, b)
    theirs.sold.add((1 << 63) - 1)
    band.sold.add()
    theirs.sold.add(-5)
    exchange(a, b)
    assert band.sold.get() == theirs.sold.get() == int(band.sold) == (1 << 64) - 6
    assert a.view.digest_all() == b.view.digest_all()


@BOTH
def test_a_counter_takes_ints_of_64_bits(node: Node, model: type[Made]) -> None:
    sold = model([]).sold
    before = trace(node)
    wrong: list[Any] = [1.0, "1", None, True, 1 << 63, -(1 << 63) - 1]
    for amount in wrong:
        with pytest.raises(ValueError, match=r"int|range|64|value"):
            sold.add(amount)
    assert trace(node) == before


# -- sets ----------------------------------------------------------------------------------------


@BOTH
def test_a_set_does_what_a_python_set_does(node: Node, model: type[Made]) -> None:
    tags = model([]).tags
    for value in (1, 1.0, True, "x", "x", [1], b"x"):
        tags.add(value)
    assert len(tags) == 6
    assert sorted(map(repr, tags)) == sorted(map(repr, [1, 1.0, True, "x", [1], b"x"]))
    assert 1 in tags
    assert False not in tags
    assert "y" not in tags
    assert float("nan") not in tags
    tags.discard("x")
    tags.discard(True)
    assert sorted(map(repr, tags)) == sorted(map(repr, [1, 1.0, [1], b"x"]))
    tags.add("x")
    assert "x" in tags
    for member in list(tags):
        tags.discard(member)
    assert not tags
    assert len(tags) == 0


@BOTH
def test_an_add_outlives_a_remove_that_had_not_seen_it(
    two: tuple[Node, Node], model: type[Made]
) -> None:
    a, b = two
    band, theirs, _ = shared(two, model)
    band.tags.add("x")
    send(a, b)
    theirs.tags.discard("x")
    theirs.tags.add("x")
    band.tags.discard("x")
    exchange(a, b)
    assert list(band.tags) == list(theirs.tags) == ["x"]
    assert len(band.tags) == 1
    band.tags.discard("x")
    exchange(a, b)
    assert "x" not in theirs.tags
    assert a.view.digest_all() == b.view.digest_all()


def test_adding_what_is_there_makes_no_event(node: Node) -> None:
    for model in (Band, Secret):
        made = model([])
        made.tags.add("x")
        before = trace(node)
        made.tags.add("x")
        assert trace(node) == before


def test_removing_more_adds_than_one_op_names_takes_several_in_one_event(node: Node) -> None:
    band = Band([])
    for count in (limits.OPS_MAX, 5):
        node.commit(object_id(band), [SetAdd("tags", "x")] * count, None)
    assert len(band.tags) == 1
    band.tags.discard("x")
    last = list(band.history())[-1]
    assert [len(op.adds) for op in last.ops if isinstance(op, SetRemove)] == [limits.TARGETS_MAX, 5]
    assert "x" not in band.tags


# -- all of them --------------------------------------------------------------------------------


def test_one_name_can_be_a_field_of_every_type(node: Node) -> None:
    class Shelf(dinemic.DModel):
        one = dinemic.DField("a")
        many = dinemic.DList("a")
        keyed = dinemic.DDict("a")
        count = dinemic.DCounter("a")
        some = dinemic.DSet("a", access="open")

    shelf = Shelf([])
    shelf.one.set(1)
    shelf.many.append(2)
    shelf.keyed["k"] = 3
    shelf.count.add(4)
    shelf.some.add(5)
    assert (shelf.one.get(), list(shelf.many), dict(shelf.keyed)) == (1, [2], {"k": 3})
    assert (shelf.count.get(), list(shelf.some)) == (4, [5])
    assert shelf.keys() == ["a"]
    assert shelf.get_access().fields == {"a": "open"}


def test_declarations_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):

        class Twice(dinemic.DModel):
            a = dinemic.DList("x")
            b = dinemic.DList("x")

    with pytest.raises(ValueError, match="open and closed"):

        class Both(dinemic.DModel):
            a = dinemic.DList("x", access="open")
            b = dinemic.DDict("x", access="closed")


def test_an_unknown_object_reads_as_empty_and_takes_no_writes(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        known = Band([])
    with acting(b):
        band = Band(known.get_db_id())
    assert (list(band.albums), dict(band.prices), band.sold.get(), list(band.tags)) == (
        [],
        {},
        0,
        [],
    )
    attempts: list[Callable[[], object]] = [
        lambda: band.albums.append(1),
        lambda: band.albums.extend([1]),
        lambda: band.prices.set("a", 1),
        lambda: band.prices.delete("a"),
        lambda: band.sold.add(1),
        lambda: band.tags.add(1),
        lambda: band.tags.discard(1),
    ]
    for attempt in attempts:
        with pytest.raises(dinemic.UnknownObject):
            attempt()


@pytest.mark.parametrize("value", [float("nan"), 1 << 63, object(), {1: 2}, "\ud800"])
def test_no_value_is_a_value_error_everywhere(node: Node, value: Any) -> None:
    for model in (Band, Secret):
        made = model([])
        before = trace(node)
        attempts: list[Callable[[], object]] = [
            partial(made.albums.append, value),
            partial(made.prices.set, "k", value),
            partial(made.tags.add, value),
        ]
        for attempt in attempts:
            with pytest.raises(ValueError):  # noqa: PT011 - each names its own fault
                attempt()
        assert trace(node) == before
