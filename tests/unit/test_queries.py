"""`where`: which objects it finds, with an index and without, beside writers and after changes."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Value
from dinemic_engine.reading import Reading
from dinemic_engine.view import View
from support.nodes import acting, exchange, object_id, opened


class Part(dinemic.DModel):
    label = dinemic.DField("name", index=True)
    size = dinemic.DField("size", default=1)
    secret = dinemic.DField("secret", True, default="none")
    tags = dinemic.DSet("tags")


class Other(dinemic.DModel):
    label = dinemic.DField("name", index=True)


def part(label: Value = None, **others: Value) -> Part:
    made = Part([])
    if label is not None:
        made.label.set(label)
    for name, value in others.items():
        getattr(made, name).set(value)
    return made


def by_id(*parts: Part) -> list[Part]:
    return sorted(parts, key=lambda each: each.get_db_id())


def test_objects_are_found_by_the_value_they_have_in_the_order_of_their_ids(node: Node) -> None:
    bolts = [part("bolt") for _ in range(5)]
    nut = part("nut")
    Other([]).label.set("bolt")
    assert list(Part.where(label="bolt")) == by_id(*bolts)
    assert list(Part.where(label="nut")) == [nut]
    assert list(Part.where(label="screw")) == []
    assert list(Part.where()) == list(Part.objects()) == by_id(nut, *bolts)


def test_an_index_follows_every_change(node: Node) -> None:
    first, second = part("a"), part("a")
    assert list(Part.where(label="a")) == by_id(first, second)
    first.label.set("b")
    third = part("a")
    assert list(Part.where(label="a")) == by_id(second, third)
    assert list(Part.where(label="b")) == [first]
    second.label.delete()
    third.remove()
    assert list(Part.where(label="a")) == []
    with first.transaction():
        first.label.set("c")
        assert list(Part.where(label="b")) == [first], "a query sees what is made"
    assert list(Part.where(label="c")) == [first]


def test_an_index_saves_reading_what_it_does_not_name(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = part("found")
    others = [part("another") for _ in range(20)]
    read: list[bytes] = []
    real = View.read

    def noting(view: View, object_id: bytes, stored: str) -> Reading | None:
        read.append(object_id)
        return real(view, object_id, stored)

    monkeypatch.setattr(View, "read", noting)
    assert list(Part.where(size=1, label="found")) == [found]
    assert set(read) == {object_id(found)}
    assert list(Part.where(label="")) == []
    assert set(read) == {object_id(each) for each in (found, *others)}


def test_of_several_fields_all_count(node: Node) -> None:
    small, large = part("bolt", size=1), part("bolt", size=2)
    part("nut", size=2)
    assert list(Part.where(label="bolt", size=2)) == [large]
    assert list(Part.where(size=1, label="bolt")) == [small]
    assert list(Part.where(size=3, label="bolt")) == []


@pytest.mark.parametrize("name", ["label", "size"])
def test_values_are_the_same_if_their_type_is(node: Node, name: str) -> None:
    values: list[Value] = [1, True, 1.0, "1", b"1", None, [1], {"a": 1, "b": [None]}, "", 0, False]
    parts = [Part([]) for _ in values]
    for made, value in zip(parts, values, strict=True):
        made.set(getattr(Part, name).field_name, value)
    for index, value in enumerate(values):
        assert list(Part.where(**{name: value})) == [parts[index]]
    same: Value = {"b": [None], "a": 1}
    assert list(Part.where(**{name: same})) == [parts[7]]


def test_a_field_without_a_value_has_its_default(node: Node) -> None:
    never, written, deleted = part("x"), part("x", size=1), part("x", size=5)
    deleted.size.delete()
    part("x", size=2)
    assert list(Part.where(size=1)) == by_id(never, written, deleted)
    nameless = part()
    assert list(Part.where(label="")) == [nameless]
    nameless.label.set("")
    assert list(Part.where(label="", size=1)) == [nameless]


def test_an_encrypted_field_is_compared_where_it_opens(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        known, silent = part("x", secret="42"), part("x")
        assert list(Part.where(secret="42")) == [known]
        assert list(Part.where(secret="none")) == [silent]
    exchange(a, b)
    with acting(b):
        assert list(Part.where(secret="42")) == []
        assert [each.get_id() for each in Part.where(secret="none")] == [silent.get_id()]


def test_what_came_from_elsewhere_is_found_too(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        assert list(Part.where(label="bolt")) == []
    with acting(a):
        bolt = part("bolt")
    exchange(a, b)
    with acting(b):
        assert [each.get_id() for each in Part.where(label="bolt")] == [bolt.get_id()]


def test_an_index_outlives_the_process_and_the_declaration(tmp_path: Path) -> None:
    with opened(tmp_path, "rocksdb"):
        first = part("a").get_id()
        assert [each.get_id() for each in Part.where(label="a")] == [first]
    with opened(tmp_path, "rocksdb"):
        second = part("a").get_id()
    with opened(tmp_path, "rocksdb"):
        assert [each.get_id() for each in Part.where(label="a")] == sorted([first, second])


@pytest.mark.parametrize("name", ["nothing", "name", "tags", "get_id", "where"])
def test_only_fields_can_be_asked_for(node: Node, name: str) -> None:
    with pytest.raises(ValueError, match=f"Part.*{name!r}"):
        Part.where(**{name: "x"})


@pytest.mark.parametrize("value", [1 << 64, "\ud800", object()])
def test_no_value_is_found_that_no_field_can_hold(node: Node, value: Value) -> None:
    with pytest.raises(ValueError, match=r"Part\.label"):
        Part.where(label=value)


def test_sealed_values_have_no_index() -> None:
    with pytest.raises(ValueError, match="'pin'"):
        dinemic.DField("pin", True, index=True)
    kinds: list[Any] = [dinemic.DList, dinemic.DDict, dinemic.DCounter, dinemic.DSet]
    for kind in kinds:
        with pytest.raises(TypeError, match="index"):
            kind("x", index=True)


@pytest.mark.parametrize("index", [False, True])
def test_a_plain_field_passes_over_what_was_sealed_by_an_older_version(
    node: Node, index: bool
) -> None:
    sealed, plain = part("x", secret="42"), part("x")

    class Newer(dinemic.DModel):
        secret = dinemic.DField("secret", index=index)

    Newer.__name__ = "Part"
    Newer(plain.get_db_id()).secret.set("42")
    assert Newer(sealed.get_db_id()).secret.get() == "42"
    assert [each.get_id() for each in Newer.where(secret="42")] == [plain.get_id()]


def test_queries_need_no_pause_of_writers(tmp_path: Path, rng: random.Random) -> None:
    with opened(tmp_path, "rocksdb") as node:
        parts = [part("a") for _ in range(8)]
        done: list[float] = []

        def write(seed: float) -> None:
            chosen = random.Random(seed)
            with acting(node):
                for _ in range(60):
                    chosen.choice(parts).label.set(chosen.choice("ab"))
            done.append(seed)

        writers = [threading.Thread(target=write, args=(rng.random(),)) for _ in range(3)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            for label in "ab":
                found = list(Part.where(label=label))
                assert found == by_id(*found)
                assert set(found) <= set(parts)
        for writer in writers:
            writer.join()
        assert len(done) == len(writers)
        for label in "ab":
            expected = [each for each in parts if each.label.get() == label]
            assert list(Part.where(label=label)) == by_id(*expected)
