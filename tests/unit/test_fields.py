"""Fields: binding, names, defaults, values and their types, plain and sealed."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.limits import DEPTH_MAX, EVENT_BYTES_MAX
from support.models import Chief, Person, shared
from support.nodes import object_id, raw_events, send, trace

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
    assert account.balance.currency == "EUR"


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
    p, q, _ = shared(two, Person)
    for number, value in enumerate(VALUES):
        p.set(field, value)
        assert same(p.get(field), value), repr(value)[:80]
        p.set(f"{field}{number}", value)
    send(a, b)
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


def test_every_event_of_a_field_is_one_the_format_accepts(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    p.salary.set("1234")
    p.name.delete()
    for raw in raw_events(node):
        assert open_event_untrusted(raw).raw == raw
