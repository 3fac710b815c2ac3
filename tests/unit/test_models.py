"""Objects and handles: making, naming, who signs, who may, and that a refusal leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dinemic
import pydinemic
from dinemic.node import Node
from dinemic_engine import limits
from dinemic_engine.ids import from_text_untrusted, to_text
from support.nodes import acting, exchange, object_id, open_node, opened, raw_events, send, trace


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)


class Dog(dinemic.DModel):
    name = dinemic.DField("name")


UNKNOWN = "Person:" + to_text(bytes(31) + b"\x10")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with opened(tmp_path) as found:
        yield found


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    a, b = open_node(tmp_path / "a"), open_node(tmp_path / "b")
    yield a, b
    a.close()
    b.close()


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
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
    send(a, b)
    with acting(b):
        Person(p.get_db_id(), chief.get_db_id()).name.set("late, and unaware")
    p.remove()
    exchange(a, b)
    with acting(b):
        assert not Person(p.get_db_id()).exists()
        assert dinemic.object_list("Person:*") == []
    assert not p.exists()
    assert trace(a)[1] == trace(b)[1]


# -- who signs -----------------------------------------------------------------------------------


def test_the_object_signs_for_itself_where_it_is_owned(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    assert [event.author for event in p.history()] == [p.get_public_sign_key()] * 2


def test_a_caller_signs_what_its_handle_writes(node: Node) -> None:
    chief = Person([])
    p = Person([chief.get_db_id()])
    Person(p.get_db_id(), chief.get_db_id()).name.set("Bob")
    *_, last = p.history()
    assert last.author == chief.get_public_sign_key()
    assert p.name.get() == "Bob"


def test_the_nodes_own_key_signs_for_nobody(two: tuple[Node, Node]) -> None:
    a, b = two

    class Wall(dinemic.DModel, access="open"):
        text = dinemic.DField("text")

    with acting(a):
        wall = Wall([])
    send(a, b)
    with acting(b):
        Wall(wall.get_db_id()).text.set("was here")
    send(b, a)
    *_, last = wall.history()
    assert last.author == to_text(b.node_id)
    assert last.verdict == "unauthorized"
    assert wall.text.get() == "was here"


def test_a_caller_whose_key_is_elsewhere_cannot_write(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        chief = Person([])
        worker = Person([chief.get_db_id()])
    send(a, b)
    with acting(b):
        before = trace(b)
        handle = Person(worker.get_db_id(), chief.get_db_id())
        for attempt in (
            lambda: handle.name.set("x"),
            lambda: handle.salary.set("x"),
            handle.remove,
            lambda: handle.encrypt("x"),
        ):
            with pytest.raises(dinemic.NotOwned, match=chief.get_id()[:10]):
                attempt()
        unknown = Person(worker.get_db_id(), UNKNOWN)
        with pytest.raises(dinemic.NotOwned):
            unknown.name.set("x")
        assert trace(b) == before


# -- who may -------------------------------------------------------------------------------------


def changes(handle: Person, friend: str) -> list[Callable[[], None]]:
    return [
        lambda: handle.name.set("Eve"),
        lambda: handle.name.delete(),
        lambda: handle.salary.set("9999"),
        lambda: handle.remove(),
        lambda: handle.append_read_authorized(friend),
        lambda: handle.append_update_authorized(friend),
        lambda: handle.append_admin_authorized(friend),
    ]


def test_a_stranger_changes_nothing_in_a_closed_object_and_leaves_no_trace(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        p.name.set("Bob")
        p.salary.set("1234")
    send(a, b)
    with acting(b):
        stranger = Dog([])
        before = trace(b)
        for handle in (Person(p.get_db_id()), Person(p.get_db_id(), stranger.get_db_id())):
            for attempt in changes(handle, stranger.get_db_id()):
                with pytest.raises(dinemic.UpdateRejected) as caught:
                    attempt()
                assert caught.value.by in ("AUTH-5", "AUTH-6")
                assert caught.value.reason
                assert caught.value.event is not None
    assert trace(b) == before
    assert b.status().authored == 1, "the stranger itself"


def test_access_is_told_for_owner_granted_and_stranger(node: Node) -> None:
    reader, writer, admin, stranger, both = (Dog([]).get_db_id() for _ in range(5))
    p = Person([both])
    p.append_read_authorized(reader)
    p.append_update_authorized(writer)
    p.append_admin_authorized(admin)

    def told(who: str) -> tuple[bool, bool, bool]:
        return (
            p.is_read_authorized(who),
            p.is_update_authorized(who),
            p.is_admin_authorized(who),
        )

    assert told(p.get_db_id()) == (True, True, True)
    assert told(both) == (True, True, False)
    assert told(reader) == (True, False, False)
    assert told(writer) == (False, True, False)
    assert told(admin) == (False, True, True), "an admin may update, and reads nothing"
    assert told(stranger) == (False, False, False)
    assert told("Dog:" + UNKNOWN.partition(":")[2]) == (False, False, False)


def test_a_grant_that_is_there_already_is_not_made_again(node: Node) -> None:
    chief = Dog([]).get_db_id()
    p = Person([chief])
    before = trace(node)
    p.append_read_authorized(chief)
    p.append_update_authorized(chief)
    p.append_read_authorized(p.get_db_id())
    assert trace(node) == before


def test_update_can_be_granted_beside_admin(node: Node) -> None:
    chief = Dog([]).get_db_id()
    p = Person([])
    p.append_admin_authorized(chief)
    before = trace(node)
    p.append_update_authorized(chief)  # the day the admin role ends, this one stays
    assert trace(node) != before


def test_grants_count_on_other_nodes(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        writer, reader = Dog([]), Dog([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.append_update_authorized(writer.get_db_id())
        p.append_read_authorized(reader.get_db_id())
    send(a, b)
    with acting(b):
        Person(p.get_db_id(), writer.get_db_id()).name.set("by the writer")
        with pytest.raises(dinemic.UpdateRejected):
            Person(p.get_db_id(), reader.get_db_id()).name.set("by the reader")
        assert Person(p.get_db_id()).is_update_authorized(writer.get_db_id())
    send(b, a)
    assert p.name.get() == "by the writer"


def test_an_admin_grants_read_and_update_and_makes_no_admin(node: Node) -> None:
    admin, friend = Dog([]).get_db_id(), Dog([]).get_db_id()
    p = Person([])
    p.append_admin_authorized(admin)
    handle = Person(p.get_db_id(), admin)
    handle.append_update_authorized(friend)
    handle.append_read_authorized(friend)
    assert p.is_update_authorized(friend)
    assert p.is_read_authorized(friend)
    before = trace(node)
    with pytest.raises(dinemic.UpdateRejected) as caught:
        handle.append_admin_authorized(friend)
    assert caught.value.by == "AUTH-1"
    assert trace(node) == before


def test_an_updater_grants_nobody(node: Node) -> None:
    chief, friend = Dog([]).get_db_id(), Dog([]).get_db_id()
    p = Person([chief])
    with pytest.raises(dinemic.UpdateRejected):
        Person(p.get_db_id(), chief).append_read_authorized(friend)
    assert not p.is_read_authorized(friend)


def test_access_is_set_per_model_and_per_field(two: tuple[Node, Node]) -> None:
    a, b = two

    class Board(dinemic.DModel, access="open"):
        text = dinemic.DField("text")
        rules = dinemic.DField("rules", access="closed")

    class Shop(dinemic.DModel):
        name = dinemic.DField("name")
        guests = dinemic.DField("guests", access="open")

    class Quiet(Board):
        pass

    class Shut(Board, access="closed"):
        pass

    with acting(a):
        made = [model([]) for model in (Board, Shop, Quiet, Shut)]
    send(a, b)
    with acting(b):
        board, shop, quiet, shut = (type(p)(p.get_db_id()) for p in made)
        board.set("text", "x")
        board.set("undeclared", "x")
        shop.set("guests", "x")
        quiet.set("text", "inherited")
        for handle, field in [
            (board, "rules"),
            (shop, "name"),
            (shop, "undeclared"),
            (quiet, "rules"),
            (shut, "text"),
            (shut, "rules"),
        ]:
            with pytest.raises(dinemic.UpdateRejected):
                handle.set(field, "x")
        with pytest.raises(dinemic.UpdateRejected, match="AUTH-6"):
            board.remove()
        with pytest.raises(dinemic.UpdateRejected, match="AUTH-5"):
            board.append_update_authorized(shop.get_db_id())
    exchange(a, b)
    assert trace(a)[1] == trace(b)[1]
    assert made[0].get("text") == "x"


def test_an_author_that_had_not_seen_its_grant_is_refused_everywhere(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([])
    send(a, b)
    p.append_update_authorized(chief.get_db_id())  # b does not know of it
    with acting(b), pytest.raises(dinemic.UpdateRejected):
        Person(p.get_db_id(), chief.get_db_id()).name.set("too early")
    send(a, b)
    with acting(b):
        Person(p.get_db_id(), chief.get_db_id()).name.set("now")
    send(b, a)
    assert p.name.get() == "now"


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
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        p.name.set("first")
    send(a, b)
    p.name.set("by a")
    with acting(b):
        q = Person(p.get_db_id(), chief.get_db_id())
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
        assert because[0].grant.subject == object_id(chief)
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
    with acting(b):
        chief = Dog([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        p.name.set("first")
    send(a, b)
    p.name.set("kept?")
    with acting(b):
        Person(p.get_db_id(), chief.get_db_id()).name.delete()
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
