"""Fields: binding, values and their types, sealing and who opens what, plaintext on no disk."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ops import Epoch, Set
from dinemic_engine.limits import DEPTH_MAX, EVENT_BYTES_MAX
from support.nodes import acting, exchange, object_id, open_node, opened, raw_events, send, trace


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)
    bonus = dinemic.DField("bonus", True, default=0)


class Chief(dinemic.DModel):
    pass


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


# -- binding -------------------------------------------------------------------------------------


def test_a_field_is_bound_per_instance(node: Node) -> None:
    p, q = Person([]), Person([])
    name = p.name
    q.name.set("Quentin")
    p.name.set("Bob")
    assert (p.name.get(), q.name.get(), name.get()) == ("Bob", "Quentin", "Bob")


def test_an_unbound_field_names_itself() -> None:
    assert Person.name.field_name == "name"
    for attempt in (
        Person.name.get,
        lambda: Person.name.set("x"),
        Person.name.delete,
        Person.name.conflicts,
        dinemic.DField("name").get,
    ):
        with pytest.raises(dinemic.UsageError, match="'name'"):
            attempt()


def test_assigning_to_a_field_is_refused_and_changes_nothing(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    with pytest.raises(AttributeError, match="set"):
        p.name = "Eve"
    with pytest.raises(AttributeError):
        del p.name
    assert p.name.get() == "Bob"


def test_the_storage_key_is_the_field_name_and_not_the_attribute(node: Node) -> None:
    class Odd(dinemic.DModel):
        x = dinemic.DField("y")

    p = Odd([])
    p.x.set("seen")
    assert p.keys() == ["y"]
    assert p.get("y") == "seen"
    assert p.get("x") == ""
    assert node.view.keys(object_id(p)) == ["value_y"]


NAMES: list[Any] = ["", "a b", "ä", "a" * 129, "a/b", "a\0", "a:b", "\n", 5, None, b"name"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_no_field_can_have_is_refused(node: Node, name: Any) -> None:
    with pytest.raises(ValueError, match=r"field name|name a field"):
        dinemic.DField(name)
    p = Chief([])
    attempts: list[Callable[[], object]] = [
        lambda: p.set(name, 1),
        lambda: p.get(name),
        lambda: p.delete(name),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=r"field name|name a field"):
            attempt()


def test_every_name_a_field_can_have_works(node: Node) -> None:
    p = Chief([])
    names = ["a", "A", "0", "-", ".", "_", "a.b-c_D9", "value_", "a" * 128]
    for name in names:
        p.set(name, name)
    assert p.keys() == sorted(names)
    assert [p.get(name) for name in names] == names


def test_a_field_shows_what_it_is(node: Node) -> None:
    assert repr(Person.salary) == "<DField 'salary', encrypted>"
    p = Person([])
    p.salary.set("1234")
    assert repr(p.salary) == f"<DField 'salary', encrypted of {p!r}>"


def test_a_field_class_of_ones_own_keeps_what_it_adds(node: Node) -> None:
    class Money(dinemic.DField):
        def __init__(self, name: str, currency: str) -> None:
            super().__init__(name, True)
            self.currency = currency

    class Account(dinemic.DModel):
        balance = Money("balance", "EUR")

    account = Account([])
    account.balance.set(5)
    assert account.balance.get() == 5
    assert account.balance.currency == "EUR"  # type: ignore[attr-defined]


# -- defaults, deleting, names -------------------------------------------------------------------


def test_what_was_never_written_reads_as_the_default(node: Node) -> None:
    p = Person([])
    assert p.name.get() == ""
    assert p.name.get("none") == "none"
    assert p.name.get(None) is None
    assert p.get("name", None) is None
    assert p.salary.get() == ""
    assert p.bonus.get() == 0
    assert p.bonus.get(default=7) == 7
    assert p.get("bonus") == 0, "by name as by attribute"
    assert p.get("undeclared") == ""


def test_none_is_a_value_and_not_the_absence_of_one(node: Node) -> None:
    p = Person([])
    p.name.set(None)
    assert p.name.get("default") is None
    assert p.keys() == ["name"]


def test_a_deleted_field_reads_as_the_default_and_can_be_set_again(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    p.salary.set("1234")
    p.name.delete()
    p.delete("salary")
    assert p.name.get() == ""
    assert p.salary.get("none") == "none"
    assert p.keys() == []
    before = trace(node)
    p.name.delete()
    p.delete("never")
    assert trace(node) == before, "nothing to delete makes no event"
    p.name.set("Rob")
    assert p.name.get() == "Rob"
    assert p.keys() == ["name"]


def test_names_and_attributes_are_the_same_fields(node: Node) -> None:
    p = Person([])
    p.set("name", "Bob")
    assert p.name.get() == "Bob"
    p.name.set("Rob")
    assert p.get("name") == "Rob"
    p.delete("name")
    assert p.name.get() == ""


# -- values --------------------------------------------------------------------------------------

VALUES: list[Value] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63 - 1,
    -(2**63),
    0.0,
    1.0,
    0.1,
    -1e300,
    float("inf"),
    "",
    "Bob",
    "line\nline\r\n\ttab",
    "żółć 世界 🐍 \u200f\ufeff\0",
    "x" * 100_000,
    b"",
    b"\x00\xff" * 5,
    bytes(100_000),
    [],
    [1, "a", None, [b"x", {"k": 2.5}]],
    {},
    {"b": [1], "a": {"": None}},
]


def same(one: object, other: object) -> bool:
    """Equal, and of equal types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


@pytest.mark.parametrize("field", ["name", "salary"])
def test_every_value_comes_back_with_the_type_it_was_set_with(
    two: tuple[Node, Node], field: str
) -> None:
    a, b = two
    with acting(b):
        chief = Chief([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
    for number, value in enumerate(VALUES):
        p.set(field, value)
        assert same(p.get(field), value), repr(value)[:80]
        p.set(f"{field}{number}", value)
    send(a, b)
    with acting(b):
        q = Person(p.get_db_id(), chief.get_db_id())
    assert same(q.get(field), VALUES[-1])
    for number, value in enumerate(VALUES):
        assert same(q.get(f"{field}{number}"), value), repr(value)[:80]


def test_a_tuple_comes_back_as_a_list(node: Node) -> None:
    p = Person([])
    for field in (p.name, p.salary):
        field.set((1, (2, "x")))
        assert field.get() == [1, [2, "x"]]


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    pass


def nested(depth: int) -> Value:
    value: Value = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED: list[Any] = [
    float("nan"),
    -0.0,
    2**63,
    -(2**63) - 1,
    1j,
    object(),
    {1},
    frozenset(),
    bytearray(b"x"),
    memoryview(b"x"),
    range(3),
    {1: "x"},
    {b"k": 1},
    {None: 1},
    [object()],
    {"k": [float("nan")]},
    "\ud800",
    ["\udfff"],
    Colour.RED,
    Text("x"),
    nested(DEPTH_MAX + 1),
    "x" * (EVENT_BYTES_MAX + 1),
    Sealed(bytes(32), bytes(16), b"x"),
    Ellipsis,
]


@pytest.mark.parametrize("field", ["name", "salary"])
def test_what_no_field_can_hold_is_refused_and_leaves_no_trace(node: Node, field: str) -> None:
    p = Person([])
    p.set(field, "before")
    before = trace(node)
    for value in REFUSED:
        with pytest.raises(ValueError, match=r"EV-|sealed value"):
            p.set(field, value)
    assert trace(node) == before
    assert p.get(field) == "before"


def test_a_value_that_holds_itself_is_refused(node: Node) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="deep"):
        Person([]).name.set(loop)


def test_an_error_about_a_value_does_not_show_it(node: Node) -> None:
    p = Person([])
    for value in ({"secret1234": object()}, "secret1234" * 200_000, ["secret1234", 1j]):
        with pytest.raises(ValueError, match="EV-") as caught:
            p.salary.set(value)  # type: ignore[arg-type]
        assert "secret1234" not in str(caught.value)


def test_what_a_read_returned_is_the_callers_to_change(node: Node) -> None:
    p = Person([])
    p.name.set({"tags": ["a"]})
    value: Any = p.name.get()
    value["tags"].append("b")
    assert p.name.get() == {"tags": ["a"]}


# -- sealed: who opens what ----------------------------------------------------------------------


def test_a_sealed_field_opens_for_owner_and_granted_caller_only(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        chief, stranger = Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        p.salary.set("44321")
        assert p.salary.get() == "44321"
    send(a, b)
    with acting(b):
        assert Person(p.get_db_id(), chief.get_db_id()).salary.get() == "44321"
        for handle in (
            Person(p.get_db_id()),
            Person(p.get_db_id(), ""),
            Person(p.get_db_id(), stranger.get_db_id()),
        ):
            for attempt in (
                handle.salary.get,
                lambda handle=handle: handle.get("salary", "default"),
                handle.salary.conflicts,
            ):
                with pytest.raises(dinemic.Unreadable):
                    attempt()
            assert handle.keys() == ["salary"], "names are public"
            assert handle.bonus.get() == 0, "never written: the default, also for a stranger"
    with acting(a):  # owned here, but asked for as somebody whose key is not
        with pytest.raises(dinemic.Unreadable):
            Person(p.get_db_id(), chief.get_db_id()).salary.get()
        with pytest.raises(dinemic.Unreadable):
            Person(p.get_db_id(), stranger.get_db_id()).salary.get()


def test_the_error_says_whose_key_is_missing_and_no_more(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        p.salary.set("44321")
    send(a, b)
    with acting(b), pytest.raises(dinemic.Unreadable) as caught:
        Person(p.get_db_id()).salary.get()
    assert str(caught.value) == (
        f"value_salary of {p.get_id()[:10]}... is sealed and the object's own key is not here"
    )


def test_owner_and_readers_open_what_a_granted_writer_sealed(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        chief, deputy = Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id(), deputy.get_db_id()])
    send(a, b)
    with acting(b):
        Person(p.get_db_id(), chief.get_db_id()).salary.set("by the chief")
        assert Person(p.get_db_id(), deputy.get_db_id()).salary.get() == "by the chief"
    send(b, a)
    assert p.salary.get() == "by the chief"


def test_a_writer_that_is_no_reader_seals_and_cannot_open(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        writer = Chief([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.append_update_authorized(writer.get_db_id())
        p.salary.set("by the owner")
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), writer.get_db_id())
        handle.salary.set("by the writer")
        with pytest.raises(dinemic.Unreadable):
            handle.salary.get()
        handle.salary.set("again by the writer")
    send(b, a)
    assert p.salary.get() == "again by the writer"
    p.salary.set("by the owner again")
    send(a, b)
    with acting(b), pytest.raises(dinemic.Unreadable):
        Person(p.get_db_id(), writer.get_db_id()).salary.get()


def test_a_new_reader_opens_what_is_sealed_from_then_on(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        late = Chief([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.salary.set("before")
        p.bonus.set(1)
        p.append_read_authorized(late.get_db_id())
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), late.get_db_id())
        with pytest.raises(dinemic.Unreadable):
            handle.salary.get()
    p.salary.set("after")
    send(a, b)
    with acting(b):
        assert handle.salary.get() == "after"
        with pytest.raises(dinemic.Unreadable):
            handle.bonus.get()
    assert p.bonus.get() == 1


def test_readers_granted_on_two_sides_at_once_both_read_what_comes_after(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        admin, one, other = Chief([]), Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.append_admin_authorized(admin.get_db_id())
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), admin.get_db_id())
        handle.append_read_authorized(other.get_db_id())
        handle.salary.set("for owner and other")
    p.append_read_authorized(one.get_db_id())
    p.salary.set("for owner and one")
    exchange(a, b)
    p.salary.set("for all three")
    send(a, b)
    with acting(b):
        for reader in (one, other):
            assert Person(p.get_db_id(), reader.get_db_id()).salary.get() == "for all three"
    assert trace(a)[1] == trace(b)[1]


def test_an_epoch_is_made_once_per_set_of_readers(node: Node) -> None:
    chief = Chief([])
    p = Person([])

    def epochs() -> int:
        return sum(isinstance(op, Epoch) for event in p.history() for op in event.ops)

    for number in range(5):
        p.salary.set(number)
        p.bonus.set(number)
    assert epochs() == 1
    p.append_update_authorized(chief.get_db_id())
    p.salary.set(5)
    assert epochs() == 1, "an updater is no reader"
    p.append_read_authorized(chief.get_db_id())
    p.salary.set(6)
    Person(p.get_db_id(), chief.get_db_id()).salary.set(7)
    assert epochs() == 2


def ciphertexts(handle: dinemic.DModel) -> list[Sealed]:
    return [
        op.value
        for event in handle.history()
        for op in event.ops
        if isinstance(op, Set) and isinstance(op.value, Sealed)
    ]


def test_the_same_text_twice_differs_sealed(node: Node) -> None:
    p = Person([])
    for _ in range(3):
        p.salary.set("1234")
    p.bonus.set("1234")
    sealed = ciphertexts(p)
    assert len({one.ciphertext for one in sealed}) == 4
    assert len({one.salt for one in sealed}) == 4


def test_a_ciphertext_moved_to_another_field_opens_for_nobody(node: Node) -> None:
    p = Person([])
    p.salary.set("1234")
    (sealed,) = ciphertexts(p)
    node.commit(object_id(p), [Set("bonus", sealed)], None)
    with pytest.raises(dinemic.Unreadable):
        p.bonus.get()
    assert p.salary.get() == "1234"


def test_a_ciphertext_of_another_object_is_not_let_in(node: Node) -> None:
    p, q = Person([]), Person([])
    p.salary.set("1234")
    (sealed,) = ciphertexts(p)
    before = trace(node)
    with pytest.raises(dinemic.UpdateRejected, match="SEAL-3"):
        node.commit(object_id(q), [Set("salary", sealed)], None)
    assert trace(node) == before


def test_set_by_name_seals_a_declared_field_however_it_was_declared(node: Node) -> None:
    class Mixin:
        inherited = dinemic.DField("inherited", True)

    class Base(dinemic.DModel):
        base = dinemic.DField("base", True)
        opened = dinemic.DField("was_plain")

    class Worker(Mixin, Base):
        own = dinemic.DField("own", True)
        opened = dinemic.DField("redeclared", True)

    Worker.late = dinemic.DField("late", True)  # type: ignore[attr-defined]
    p = Worker([])
    for name in ("inherited", "base", "own", "redeclared", "late"):
        p.set(name, f"plaintext of {name}")
        assert p.get(name) == f"plaintext of {name}"
    assert len(ciphertexts(p)) == 5
    assert not any(b"plaintext of" in raw for raw in raw_events(node))
    p.set("was_plain", "no longer declared")
    assert len(ciphertexts(p)) == 5


def test_a_plain_field_is_not_sealed(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    p.set("nick", "Bobby")
    assert ciphertexts(p) == []
    assert sum(b"Bob" in raw for raw in raw_events(node)) == 2


# -- sealing what is no field --------------------------------------------------------------------


def test_encrypt_and_decrypt_round_trip_for_readers_and_fail_for_strangers(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        chief, stranger = Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        sealed = p.encrypt({"pin": "4711 żółć\n"})
        assert p.decrypt(sealed) == {"pin": "4711 żółć\n"}
        assert p.encrypt("x") != p.encrypt("x")
        with pytest.raises(dinemic.Unreadable):
            Person([]).decrypt(sealed)
        p.name.set(sealed)  # bytes, to keep anywhere
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), chief.get_db_id())
        assert handle.decrypt(sealed) == {"pin": "4711 żółć\n"}
        assert handle.name.get() == sealed
        for other in (Person(p.get_db_id()), Person(p.get_db_id(), stranger.get_db_id())):
            with pytest.raises(dinemic.Unreadable):
                other.decrypt(sealed)
            with pytest.raises(dinemic.UpdateRejected):
                other.encrypt("x")
        before = trace(b)
        back = handle.encrypt(7)
        assert trace(b) == before, "no new readers, no event"
    assert p.decrypt(back) == 7


def test_what_encrypt_did_not_make_is_not_decrypted(node: Node) -> None:
    p = Person([])
    p.salary.set("1234")
    sealed = p.encrypt("x")
    for junk in (b"", b"\xd0", sealed[:-1], sealed + b"\0", b"\x61x"):
        with pytest.raises(ValueError, match=r"EV-|not a sealed value"):
            p.decrypt(junk)
    with pytest.raises(dinemic.Unreadable):
        p.decrypt(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    for bad in (object(), float("nan")):
        with pytest.raises(ValueError, match="value"):
            p.encrypt(bad)  # type: ignore[arg-type]


# -- on disk -------------------------------------------------------------------------------------


def files_with(home: Path, needle: bytes) -> list[str]:
    return [
        str(path.relative_to(home))
        for path in sorted(home.rglob("*"))
        if path.is_file() and needle in path.read_bytes()
    ]


def test_plaintext_of_a_sealed_field_is_in_no_file_of_the_home(tmp_path: Path) -> None:
    secret, public = "plaintext-that-is-sealed", "plaintext-that-is-not"
    with opened(tmp_path, "rocksdb") as node:
        p = Person([])
        p.name.set(public)
        p.salary.set(secret)
        p.salary.set([secret, {secret: secret}])
        p.encrypt(secret)
        node.flush()
        assert files_with(tmp_path, public.encode()), "the search finds what is there"
        assert files_with(tmp_path, secret.encode()) == []
    assert files_with(tmp_path, secret.encode()) == []
    assert files_with(tmp_path, secret.encode("utf-16-le")) == []
    with opened(tmp_path, "rocksdb"):
        again = Person(p.get_db_id())
        assert again.salary.get() == [secret, {secret: secret}]
        assert again.name.get() == public
    assert files_with(tmp_path, secret.encode()) == []


def test_a_restart_keeps_values_ownership_history_and_what_opens(tmp_path: Path) -> None:
    with opened(tmp_path, "rocksdb") as node:
        chief = Chief([])
        p = Person([chief.get_db_id()])
        p.name.set("Bob")
        p.salary.set("1234")
        gone = Person([])
        gone.remove()
        history = list(p.history())
        before = trace(node)
        listed = dinemic.object_list()
    with opened(tmp_path, "rocksdb") as node:
        assert trace(node)[1] == before[1]
        assert dinemic.object_list() == dinemic.object_list_owned() == listed
        again = Person(p.get_db_id())
        assert again.is_owned()
        assert list(again.history()) == history
        assert again.name.get() == "Bob"
        assert again.salary.get() == "1234"
        assert Person(p.get_db_id(), chief.get_db_id()).salary.get() == "1234"
        assert again.is_read_authorized(chief.get_db_id())
        again.salary.set("5678")
        epochs = [op for event in again.history() for op in event.ops if isinstance(op, Epoch)]
        assert len(epochs) == 1, "the epoch made before the restart is used on"
        again.name.set("Rob")
        assert [event.author for event in again.history()] == [again.get_public_sign_key()] * 5


def test_every_event_of_a_field_is_one_the_format_accepts(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    p.salary.set("1234")
    p.name.delete()
    for raw in raw_events(node):
        assert open_event_untrusted(raw).raw == raw
