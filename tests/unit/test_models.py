"""Objects and handles: making, naming, removing, history, and that an error leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import dinemic
import pydinemic
from dinemic.node import Node
from dinemic_engine import limits
from dinemic_engine.ids import from_text_untrusted
from support.models import UNKNOWN, Dog, Person, shared
from support.nodes import acting, exchange, opened, raw_events, send, trace

# -- making and naming ---------------------------------------------------------------------------


def test_a_new_object_is_owned_listed_and_named_by_the_hash_of_its_genesis(node: Node) -> None:
    p = Person([])
    assert p.get_db_id() == f"Person:{p.get_id()}"
    assert p.get_model() == "Person"
    assert p.is_owned()
    assert p.exists()
    assert dinemic.object_list() == [p.get_db_id()]
    (genesis,) = p.history()
    assert genesis.event_id == p.get_id()
    assert genesis.author == p.get_public_sign_key()
    assert len(from_text_untrusted(p.get_public_encryption_key())) == 32


def test_two_objects_differ_in_id_and_keys(node: Node) -> None:
    p, q = Person([]), Person([])
    assert p.get_id() != q.get_id()
    assert p.get_public_sign_key() != q.get_public_sign_key()
    assert p.get_public_encryption_key() != q.get_public_encryption_key()


def test_a_handle_makes_no_event(node: Node) -> None:
    p = Person([])
    before = trace(node)
    q = Person(p.get_db_id(), "")
    assert Person(p.get_db_id(), p.get_db_id()) == q == p
    assert trace(node) == before


def test_handles_are_equal_by_id_and_show_it_shortly(node: Node) -> None:
    p, other = Person([]), Person([])
    again = Person(p.get_db_id(), other.get_db_id())
    assert p == again
    assert hash(p) == hash(again)
    assert p != other
    assert p != p.get_db_id()
    assert len({p, again, other}) == 2
    assert repr(p) == f"<Person {p.get_id()[:10]}...>"
    assert repr(again) == f"<Person {p.get_id()[:10]}... as {other.get_id()[:10]}...>"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text.partition(":")[2],
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text.upper(),
        lambda text: text.replace(":", "::"),
        lambda text: text.replace(":", ""),
        lambda text: " " + text,
        lambda text: text + "\n",
        lambda text: text[:-1] + "1",
        lambda text: "Per son:" + text.partition(":")[2],
        lambda text: text[:-1] + "é",
    ],
)
def test_a_malformed_id_is_a_value_error(node: Node, damage: Callable[[str], str]) -> None:
    p = Person([])
    bad = damage(p.get_db_id())
    before = trace(node)
    for attempt in (
        lambda: Person(bad),
        lambda: Person([bad]),
        lambda: p.append_read_authorized(bad),
        lambda: p.is_update_authorized(bad),
    ):
        with pytest.raises(ValueError, match=r"id|base32"):
            attempt()
    if bad:
        with pytest.raises(ValueError, match=r"id|base32"):
            Person(p.get_db_id(), bad)
    assert trace(node) == before


def test_an_id_of_another_model_is_refused_naming_both(node: Node) -> None:
    dog = Dog([])
    with pytest.raises(ValueError, match="Dog, not of Person"):
        Person(dog.get_db_id())


def test_an_id_that_lies_about_the_model_is_refused_where_the_object_is_known(node: Node) -> None:
    dog, p = Dog([]), Person([])
    lie = f"Person:{dog.get_id()}"
    for attempt in (
        lambda: Person(lie),
        lambda: Person([lie]),
        lambda: Person(p.get_db_id(), lie),
        lambda: p.append_update_authorized(lie),
        lambda: p.is_read_authorized(lie),
    ):
        with pytest.raises(ValueError, match="Dog, not of Person"):
            attempt()


def test_a_new_object_takes_no_caller(node: Node) -> None:
    with pytest.raises(ValueError, match="caller_id"):
        Person([], Person([]).get_db_id())


@pytest.mark.parametrize("wrong", [[1], [b"Person:x"], [["Person:x"]]])
def test_a_new_object_takes_texts_only(node: Node, wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="text"):
        Person(wrong)
    assert dinemic.object_list() == []


def test_a_class_whose_name_is_no_model_name_makes_no_objects(node: Node) -> None:
    strange = type("Persön", (dinemic.DModel,), {})
    with pytest.raises(ValueError, match="ASCII"):
        strange([])


def test_an_access_that_is_neither_word_is_refused_with_the_class() -> None:
    with pytest.raises(ValueError, match="'open' or 'closed'"):
        type("Half", (dinemic.DModel,), {}, access="ajar")


def test_a_field_declared_twice_is_refused_with_the_class() -> None:
    # else set("x") would have to choose whether to seal
    with pytest.raises(ValueError, match="'x' twice"):
        type("Twice", (dinemic.DModel,), {"a": dinemic.DField("x"), "b": dinemic.DField("x", True)})


def test_without_a_node_everything_says_launch_first() -> None:
    with pytest.raises(dinemic.NotLaunched, match="launch"):
        Person([])
    with pytest.raises(dinemic.NotLaunched, match="prepare"):
        dinemic.object_list()


def test_an_id_given_again_is_granted_once(node: Node) -> None:
    chief, deputy = Person([]).get_db_id(), Person([]).get_db_id()
    (genesis,) = Person([chief, deputy, chief]).history()
    assert len(genesis.ops) == 1 + 2 * 2


def test_a_model_with_more_access_rules_than_a_genesis_holds_makes_no_object(node: Node) -> None:
    names = [f"f{number}" for number in range(limits.POLICY_FIELDS_MAX + 1)]
    fields = {name: dinemic.DField(name, access="open") for name in names}
    crowded = type("Crowded", (dinemic.DModel,), fields)
    before = trace(node)
    with pytest.raises(ValueError, match="EV-7"):
        crowded([])
    assert trace(node) == before
    assert node.keyring.owned() == frozenset()


# -- unknown and removed objects -----------------------------------------------------------------


def test_an_unknown_object_reads_as_defaults_and_refuses_writes(node: Node) -> None:
    p, ghost = Person([]), Person(UNKNOWN)
    sealed = p.encrypt("x")
    assert not ghost.exists()
    assert not ghost.is_owned()
    assert ghost.name.get() == ""
    assert ghost.name.get("none") == "none"
    assert ghost.salary.get() == ""
    assert ghost.get("anything", 7) == 7
    assert ghost.keys() == []
    assert ghost.conflicts("name") == []
    assert not ghost.is_read_authorized(p.get_db_id())
    assert not ghost.is_admin_authorized(UNKNOWN)
    before = trace(node)
    for attempt in (
        lambda: ghost.name.set("x"),
        lambda: ghost.salary.set("x"),
        ghost.name.delete,
        lambda: ghost.set("name", "x"),
        lambda: ghost.delete("name"),
        ghost.remove,
        lambda: ghost.append_read_authorized(p.get_db_id()),
        lambda: ghost.encrypt("x"),
        lambda: ghost.decrypt(sealed),
        ghost.get_public_sign_key,
        ghost.get_public_encryption_key,
        lambda: list(ghost.history()),
        lambda: ghost.why("name"),
    ):
        with pytest.raises(dinemic.UnknownObject):
            attempt()
    assert trace(node) == before


def test_unknown_object_is_a_key_error_that_prints_as_a_sentence(node: Node) -> None:
    with pytest.raises(KeyError) as caught:
        Person(UNKNOWN).name.set("x")
    assert str(caught.value) == f"no object {UNKNOWN[7:17]}... is known here"


def test_granting_an_unknown_object_makes_nothing(node: Node) -> None:
    p = Person([])
    before = trace(node)
    with pytest.raises(dinemic.UnknownObject):
        Person([p.get_db_id(), UNKNOWN])
    with pytest.raises(dinemic.UnknownObject):
        p.append_admin_authorized(UNKNOWN)
    assert trace(node) == before
    assert dinemic.object_list() == [p.get_db_id()]


def test_a_removed_object_is_gone_and_takes_no_writes(node: Node) -> None:
    p, other = Person([]), Dog([])
    p.name.set("Bob")
    p.remove()
    assert not p.exists()
    assert p.name.get() == ""
    assert p.keys() == []
    assert dinemic.object_list() == dinemic.object_list_owned() == [other.get_db_id()]
    before = trace(node)
    for attempt in (
        lambda: p.name.set("x"),
        lambda: p.salary.set("x"),
        p.name.delete,
        p.remove,
        lambda: p.append_read_authorized(other.get_db_id()),
        lambda: p.encrypt("x"),
    ):
        with pytest.raises(dinemic.UnknownObject, match="removed"):
            attempt()
    assert p.is_owned(), "the keys are still here"
    assert [event.verdict for event in p.history()] == ["authorized"] * 3
    assert trace(node) == before


def test_late_events_do_not_bring_a_removed_object_back(two: tuple[Node, Node]) -> None:
    a, b = two
    p, handle, _ = shared(two, Person)
    handle.name.set("late, and unaware")
    p.remove()
    exchange(a, b)
    assert not handle.exists()
    with acting(b):
        assert dinemic.object_list("Person:*") == []
    assert not p.exists()
    assert trace(a)[1] == trace(b)[1]


# -- history, conflicts, why ---------------------------------------------------------------------


def test_history_is_in_replay_order_and_lazy(node: Node) -> None:
    p = Person([])
    for number in range(20):
        p.name.set(number)
    history = p.history()
    assert next(history).event_id == p.get_id()
    times = [event.t for event in p.history()]
    assert times == sorted(times)
    assert len(set(times)) == 21
    assert {event.verdict for event in p.history()} == {"authorized"}


def test_concurrent_writes_are_both_shown_and_why_tells_the_comparison(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    p, q, _ = shared(two, Person)
    p.name.set("first")
    send(a, b)
    p.name.set("by a")
    q.name.set("by b")
    exchange(a, b)
    assert p.name.get() == q.name.get() == "by b"
    for handle in (p, q):
        conflicts = handle.name.conflicts()
        assert [conflict.value for conflict in conflicts] == ["by b", "by a"]
        assert conflicts == handle.conflicts("name")
        assert conflicts[0].t > conflicts[1].t
        because = handle.why("name")
        assert [part.outcome for part in because] == ["wins", "concurrent", "superseded"]
        assert because[0].grant is not None
        granting = next(event for event in handle.history() if event.event_id == because[0].grant)
        assert granting.author == handle.get_public_sign_key()
        assert because[1].grant is None
        assert all("ORD-6" in part.rule for part in because)
    p.name.set("settled")
    assert [conflict.value for conflict in p.name.conflicts()] == ["settled"]
    exchange(a, b)
    assert q.name.get() == "settled"
    assert trace(a)[1] == trace(b)[1]
    assert sorted(raw_events(a)) == sorted(raw_events(b))


def test_a_delete_beside_a_write_is_a_conflict_too(two: tuple[Node, Node]) -> None:
    a, b = two
    p, q, _ = shared(two, Person)
    p.name.set("first")
    send(a, b)
    p.name.set("kept?")
    q.name.delete()
    send(b, a)
    winner, loser = p.name.conflicts()
    assert winner.deleted
    assert winner.value is None
    assert (loser.value, loser.deleted) == ("kept?", False)
    assert p.name.get() == ""
    assert p.keys() == []


# -- all of a model ------------------------------------------------------------------------------


def test_objects_iterates_handles_of_the_model_only(node: Node) -> None:
    people = sorted(Person([]).get_db_id() for _ in range(3))
    Dog([])
    assert [p.get_db_id() for p in Person.objects()] == people
    assert [p.get_db_id() for p in Person.objects("*")] == people
    assert [p.get_db_id() for p in Person.objects(people[1])] == [people[1]]
    assert [p.get_db_id() for p in Person.objects("Dog:*")] == []
    assert all(type(p) is Person for p in Person.objects())


def test_a_handle_of_a_node_that_was_shut_down_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as node:
        p = Person([])
        p.name.set("Bob")
        sealed = p.encrypt("x")
    assert node.status().authored == 3
    for attempt in (
        p.name.get,
        lambda: p.name.set("x"),
        p.name.delete,
        p.name.conflicts,
        p.exists,
        p.is_owned,
        p.keys,
        p.remove,
        p.get_public_sign_key,
        p.get_public_encryption_key,
        lambda: list(p.history()),
        lambda: p.why("name"),
        lambda: p.is_read_authorized(UNKNOWN),
        lambda: p.append_read_authorized(UNKNOWN),
        lambda: p.encrypt("x"),
        lambda: p.decrypt(sealed),
    ):
        with pytest.raises(dinemic.NotLaunched, match="shut down"):
            attempt()


def test_pydinemic_and_dinemic_objects_are_of_one_kind(node: Node) -> None:
    class Thing(pydinemic.DModel):
        pass

    assert issubclass(Thing, dinemic.DModel)
    assert Thing([]).exists()


def test_why_of_what_names_no_field_is_an_error(node: Node) -> None:
    p = Person([])
    for wrong in (p.name, 7, "", "a b"):
        with pytest.raises(ValueError, match=r"field name|only letters"):
            p.why(wrong)  # type: ignore[arg-type]


def test_a_node_is_printed_by_its_id_and_home_and_nothing_secret(node: Node) -> None:
    assert repr(node).startswith("<Node ")
    assert str(node.config.home) in repr(node)
    assert node.keyring.node_key.seed.hex() not in repr(node)
