"""Lists, dicts, counters and sets as users have them: plain and sealed, alone and between nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine import limits
from dinemic_engine.canonical import Value
from dinemic_engine.edits import CounterAdd, DictSet, ListInsert, SetAdd, SetRemove
from support.nodes import acting, exchange, object_id, raw_events, send, trace


class Band(dinemic.DModel):
    albums = dinemic.DList("albums")
    prices = dinemic.DDict("prices")
    sold = dinemic.DCounter("sold")
    tags = dinemic.DSet("tags")
    name = dinemic.DField("name")


class Secret(dinemic.DModel):
    albums = dinemic.DList("albums", True)
    prices = dinemic.DDict("prices", True)
    sold = dinemic.DCounter("sold", True)
    tags = dinemic.DSet("tags", True)


class Fan(dinemic.DModel):
    pass


Made = Band | Secret
BOTH = pytest.mark.parametrize("model", [Band, Secret])
VALUES: list[Value] = [
    None,
    True,
    0,
    -(1 << 63),
    1.5,
    "ż\0",
    b"\xff\0",
    [1, [2]],
    {"a": {"b": None}},
]


def events_of(handle: dinemic.DModel) -> int:
    return len(list(handle.history()))


# -- lists ---------------------------------------------------------------------------------------


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
    with acting(b):
        fan = Fan([])
    send(b, a)
    with acting(a):
        band = Band([fan.get_db_id()])
        band.albums.extend(["1", "2"])
    send(a, b)
    with acting(b):
        theirs = Band(band.get_db_id(), fan.get_db_id())
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
    with acting(b):
        fan = Fan([])
    send(b, a)
    with acting(a):
        band = Band([fan.get_db_id()])
        band.albums.extend(["first", "second"])
        band.prices.set("first", 0)
    assert band.albums.conflicts(0) == []
    send(a, b)
    with acting(b):
        theirs = Band(band.get_db_id(), fan.get_db_id())
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
    with acting(b):
        fan = Fan([])
    send(b, a)
    with acting(a):
        band = Band([fan.get_db_id()])
        band.albums.extend(["1", "2"])
    send(a, b)
    with acting(b):
        theirs = Band(band.get_db_id(), fan.get_db_id())
    band.revoke_update_authorized(fan.get_db_id())
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
    with acting(b):
        fan = Fan([])
    send(b, a)
    with acting(a):
        band = model([fan.get_db_id()])
    assert band.sold.get() == 0
    band.sold.add((1 << 63) - 1)
    send(a, b)
    with acting(b):
        theirs = model(band.get_db_id(), fan.get_db_id())
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
    with acting(b):
        fan = Fan([])
    send(b, a)
    with acting(a):
        band = model([fan.get_db_id()])
    band.tags.add("x")
    send(a, b)
    with acting(b):
        theirs = model(band.get_db_id(), fan.get_db_id())
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


# -- sealed --------------------------------------------------------------------------------------


def test_sealed_collections_open_for_readers_only(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        fan = Fan([])
    send(b, a)
    with acting(a):
        secret = Secret([fan.get_db_id()])
    secret.albums.extend(["plaintext one", "plaintext two"])
    secret.prices["key"] = "plaintext three"
    secret.sold.add(1234567)
    secret.tags.add("plaintext four")
    send(a, b)
    assert not any(b"plaintext" in raw for raw in raw_events(b))
    with acting(b):
        reader, stranger = Secret(secret.get_db_id(), fan.get_db_id()), Secret(secret.get_db_id())
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
    stranger = Secret(made.get_db_id(), Fan([]).get_db_id())
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


# -- fields of a class ---------------------------------------------------------------------------


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


def test_removing_more_adds_than_one_op_names_takes_several_in_one_event(node: Node) -> None:
    band = Band([])
    for count in (limits.OPS_MAX, 5):
        node.commit(object_id(band), [SetAdd("tags", "x")] * count, None)
    assert len(band.tags) == 1
    band.tags.discard("x")
    last = list(band.history())[-1]
    assert [len(op.adds) for op in last.ops if isinstance(op, SetRemove)] == [limits.TARGETS_MAX, 5]
    assert "x" not in band.tags
