"""What an event can do to a field: one class per op kind, and how each is written and read.

A field is a register, a list, a dict, a counter or a set, each in a namespace of its own: field
``a`` can be all five, and they never meet. Whoever may change the field may change all of them.

    register  SET DELETE              list  LIST_INSERT LIST_SET LIST_DELETE
    dict      DICT_SET DICT_DELETE    counter  COUNTER_ADD      set  SET_ADD SET_REMOVE

Every value may be sealed, as a whole: one value, or all the values of one LIST_INSERT together.
Names, keys, counts and what an op points at are public (SEAL-6).

An op points at an element by where it was inserted: event, op and index inside that op. In the
event that inserts it the id is not known yet, so there the event is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, cast

from dinemic_engine import limits
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import LimitExceeded, Malformed, Reason
from dinemic_engine.ids import to_text

# Numbers fixed by docs/format.md.
SET: Final = 2
DELETE: Final = 3
LIST_INSERT: Final = 4
LIST_SET: Final = 5
LIST_DELETE: Final = 6
DICT_SET: Final = 7
DICT_DELETE: Final = 8
COUNTER_ADD: Final = 9
SET_ADD: Final = 10
SET_REMOVE: Final = 11


SEALED_ARRAY_BYTES_MIN: Final = 17
"""What a sealed array is longer than the number of its values, at least: its head and the tag.

Each value takes a byte or more. So an event makes no more elements than it has bytes.
"""


class Made(NamedTuple):
    """The op that made something: an element of a list, a member of a set."""

    event: bytes
    """32 bytes, or empty: this event."""
    op: int


class Element(NamedTuple):
    """One element of a list, for ever: where it was inserted."""

    event: bytes
    """32 bytes, or empty: this event."""
    op: int
    at: int
    """Its position among the values of that op."""

    def text(self, event: bytes = b"") -> str:
        """What listeners know it as: ``<event id>.<op>.<position>``; `event` is this event's id."""
        return f"{to_text(self.event or event)}.{self.op}.{self.at}"


class Span(NamedTuple):
    """`length` elements inserted together, from `first` on."""

    first: Element
    length: int


@dataclass(frozen=True, slots=True)
class Set:
    """Give a field a value."""

    field: str
    value: Value

    def fields(self) -> list[object]:
        """The CBOR array: ``[2, field, value]``."""
        return [SET, self.field, self.value]


@dataclass(frozen=True, slots=True)
class Delete:
    """Take a field's value away."""

    field: str

    def fields(self) -> list[object]:
        """The CBOR array: ``[3, field]``."""
        return [DELETE, self.field]


@dataclass(frozen=True, slots=True)
class ListInsert:
    """Put `count` values into a list, one after another, at a place in its tree (TYPE-1).

    The first is a child of `parent` on its left or right side (Weidner and Kleppmann, "The Art of
    the Fugue", 2023), each other the right child of the one before it.
    """

    field: str
    parent: Element | None
    """None: the root."""
    right: bool
    count: int
    values: Sequence[Value] | Sealed
    """`count` values, or one sealed value that holds the array of them."""

    def fields(self) -> list[object]:
        """The CBOR array: ``[4, field, parent, right, count, values]``."""
        parent = None if self.parent is None else _element_fields(self.parent)
        values = self.values if isinstance(self.values, Sealed) else [*self.values]
        return [LIST_INSERT, self.field, parent, self.right, self.count, values]


@dataclass(frozen=True, slots=True)
class ListSet:
    """Give an element of a list another value."""

    field: str
    element: Element
    value: Value

    def fields(self) -> list[object]:
        """The CBOR array: ``[5, field, element, value]``."""
        return [LIST_SET, self.field, _element_fields(self.element), self.value]


@dataclass(frozen=True, slots=True)
class ListDelete:
    """Take elements out of a list, for good."""

    field: str
    spans: tuple[Span, ...]

    def fields(self) -> list[object]:
        """The CBOR array: ``[6, field, [[event, op, index, count]...]]``."""
        spans = [[*_element_fields(span.first), span.length] for span in self.spans]
        return [LIST_DELETE, self.field, spans]


@dataclass(frozen=True, slots=True)
class DictSet:
    """Give a key of a dict a value."""

    field: str
    key: str
    value: Value

    def fields(self) -> list[object]:
        """The CBOR array: ``[7, field, key, value]``."""
        return [DICT_SET, self.field, self.key, self.value]


@dataclass(frozen=True, slots=True)
class DictDelete:
    """Take a key out of a dict."""

    field: str
    key: str

    def fields(self) -> list[object]:
        """The CBOR array: ``[8, field, key]``."""
        return [DICT_DELETE, self.field, self.key]


@dataclass(frozen=True, slots=True)
class CounterAdd:
    """Add to a counter: an int, or a sealed one."""

    field: str
    amount: int | Sealed

    def fields(self) -> list[object]:
        """The CBOR array: ``[9, field, amount]``."""
        return [COUNTER_ADD, self.field, self.amount]


@dataclass(frozen=True, slots=True)
class SetAdd:
    """Put a value into a set."""

    field: str
    value: Value

    def fields(self) -> list[object]:
        """The CBOR array: ``[10, field, value]``."""
        return [SET_ADD, self.field, self.value]


@dataclass(frozen=True, slots=True)
class SetRemove:
    """Take out of a set what these adds put in; an add that is not named stays."""

    field: str
    adds: tuple[Made, ...]

    def fields(self) -> list[object]:
        """The CBOR array: ``[11, field, [[event, op]...]]``."""
        return [SET_REMOVE, self.field, [[add.event or None, add.op] for add in self.adds]]


Edit: TypeAlias = (
    Set
    | Delete
    | ListInsert
    | ListSet
    | ListDelete
    | DictSet
    | DictDelete
    | CounterAdd
    | SetAdd
    | SetRemove
)

EDITS: Final = (
    Set,
    Delete,
    ListInsert,
    ListSet,
    ListDelete,
    DictSet,
    DictDelete,
    CounterAdd,
    SetAdd,
    SetRemove,
)
"""The classes of `Edit`."""

_PREFIXES: Final[dict[type, str]] = {
    Set: "value_",
    Delete: "value_",
    ListInsert: "list_",
    ListSet: "list_",
    ListDelete: "list_",
    DictSet: "dict_",
    DictDelete: "dict_",
    CounterAdd: "counter_",
    SetAdd: "set_",
    SetRemove: "set_",
}


def stored_key(edit: Edit) -> str:
    """What an edit changes is called in rows, listeners and listings: ``list_albums``."""
    return _PREFIXES[type(edit)] + edit.field


def sealing_path(edit: Edit) -> str:
    """What a value is sealed to, so that it opens nowhere else (SEAL-5): ``dict_notes/key``."""
    return f"{stored_key(edit)}/{edit.key}" if isinstance(edit, DictSet) else stored_key(edit)


def carries_value(edit: Edit) -> bool:
    """Whether the op gives a value, which may be sealed."""
    return type(edit) in _CARRIES


def value_in(edit: Edit) -> Value | None:
    """The value an op carries; of a LIST_INSERT the array of them, of a deletion None."""
    name = _CARRIES.get(type(edit))
    return None if name is None else cast("Value", getattr(edit, name))


def with_sealed(edit: Edit, value: Sealed) -> Edit:
    """The op with `value` in place of the one it carries."""
    changed: dict[str, Any] = {_CARRIES[type(edit)]: value}
    return replace(edit, **changed)


def named_events(edit: object) -> Iterator[bytes]:
    """The ids of the events an op points at, its own left out."""
    match edit:
        case ListInsert(parent=Element(event=event)) | ListSet(element=Element(event=event)):
            if event:
                yield event
        case ListDelete(spans=spans):
            yield from {span.first.event for span in spans if span.first.event}
        case SetRemove(adds=adds):
            yield from {add.event for add in adds if add.event}


def sealed_in(edit: object) -> Sealed | None:
    """The sealed value an op carries, if it carries one."""
    name = _CARRIES.get(type(edit))
    value = None if name is None else getattr(edit, name)
    return value if type(value) is Sealed else None


_CARRIES: Final[dict[type, str]] = {
    Set: "value",
    ListInsert: "values",
    ListSet: "value",
    DictSet: "value",
    CounterAdd: "amount",
    SetAdd: "value",
}


def only_edits(ops: Iterable[object]) -> bool:
    """Whether ops change fields and nothing else: what nearly every event does, and all it needs.

    Such an event is no grant, revocation, policy or epoch, so there are no facts of access to keep
    of it and no verdicts of others to revisit.
    """
    return _EDITS.issuperset(map(type, ops))


def only_writes(ops: Iterable[object]) -> bool:
    """Whether ops are all SET or DELETE: they point at nothing, and nothing is built on them."""
    return _WRITES.issuperset(map(type, ops))


def only_plain_writes(ops: Iterable[object]) -> bool:
    """Whether `only_writes`, and nothing is sealed: the owner of an object may always do that."""
    return all(
        type(op) is Delete or (type(op) is Set and type(op.value) is not Sealed) for op in ops
    )


_EDITS: Final = frozenset(EDITS)
_WRITES: Final = frozenset({Set, Delete})


def _element_fields(element: Element) -> list[object]:
    return [element.event or None, element.op, element.at]


# -- reading -------------------------------------------------------------------------------------

_NAME_CHARACTERS: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
)


def check_field_name(name: object) -> str:
    """`name` if it can name a field: 1..128 of ``[A-Za-z0-9_.-]`` (EV-7).

    Raises:
        Malformed: it cannot.
    """
    if type(name) is not str or not 0 < len(name) <= limits.NAME_BYTES_MAX:
        raise Malformed(Reason.NAME, f"a field name is 1..{limits.NAME_BYTES_MAX} characters")
    if not _can_name(name):
        raise Malformed(Reason.NAME, f"only letters, digits and _.- can name a field: {name!r}")
    return name


@lru_cache(maxsize=1024)
def _can_name(name: str) -> bool:
    return _NAME_CHARACTERS.issuperset(name)


def check_dict_key(key: object) -> str:
    """`key` if it can be the key of a dict entry: text of 0..512 bytes in UTF-8 (EV-7).

    Raises:
        Malformed: it cannot.
    """
    if type(key) is not str or len(key.encode("utf-8", "surrogatepass")) > limits.KEY_BYTES_MAX:
        raise Malformed(Reason.NAME, f"a dict key is text of up to {limits.KEY_BYTES_MAX} bytes")
    return key


def _value(value: object) -> Value:
    """A value to write; only the whole of it can be sealed (EV-6)."""
    if type(value) is list or type(value) is dict:
        _check_no_sealed_inside(cast("Value", value))
    return cast("Value", value)


_MAY_SEAL: Final = frozenset({Sealed, list, dict})
"""Types of decoded values that are sealed, or have others inside."""


def _check_no_sealed_inside(value: Value) -> None:
    if isinstance(value, Sealed):
        raise Malformed(Reason.VALUE, "a sealed value inside another value")
    if isinstance(value, list):
        for item in value:
            if type(item) in _MAY_SEAL:
                _check_no_sealed_inside(item)
    elif isinstance(value, dict):
        for item in value.values():
            _check_no_sealed_inside(item)


def _number(value: object, low: int, high: int, what: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise Malformed(Reason.SHAPE, f"{what} is not a number of {low}..{high}")
    return value


def _event(value: object) -> bytes:
    if value is None:
        return b""
    if type(value) is not bytes or len(value) != 32:
        raise Malformed(Reason.SHAPE, "an op points at an event id, or null for its own event")
    return value


def _array(value: object, length: int, what: str) -> list[object]:
    if type(value) is not list or len(value) != length:
        raise Malformed(Reason.SHAPE, f"{what} is an array of {length}")
    return value


def _read_element(value: object) -> Element:
    event, op, index = _array(value, 3, "an element")
    return Element(
        _event(event),
        _number(op, 0, limits.OPS_MAX - 1, "an op"),
        _number(index, 0, limits.RUN_MAX - 1, "an index"),
    )


def _read_set(op: list[object]) -> Edit:
    return Set(check_field_name(op[1]), _value(op[2]))


def _read_delete(op: list[object]) -> Edit:
    return Delete(check_field_name(op[1]))


def _read_list_insert(op: list[object]) -> Edit:
    field, parent, right, count, values = op[1:]
    count = _number(count, 1, limits.RUN_MAX, "a count of values")
    if type(right) is not bool:
        raise Malformed(Reason.SHAPE, "an element is inserted left (false) or right (true)")
    if parent is None and not right:
        raise Malformed(Reason.SHAPE, "the root of a list has right children only")
    if not isinstance(values, Sealed):
        values = _value(_array(values, count, "what is inserted"))
    elif len(values.ciphertext) < count + SEALED_ARRAY_BYTES_MIN:
        raise Malformed(Reason.SHAPE, "more values than what is sealed can hold")
    return ListInsert(
        check_field_name(field),
        None if parent is None else _read_element(parent),
        right,
        count,
        cast("Sequence[Value] | Sealed", values),
    )


def _read_list_set(op: list[object]) -> Edit:
    return ListSet(check_field_name(op[1]), _read_element(op[2]), _value(op[3]))


def _read_list_delete(op: list[object]) -> Edit:
    spans: list[Span] = []
    for span in _many(op[2], "spans"):
        *first, count = _array(span, 4, "a span")
        element = _read_element(first)
        most = limits.RUN_MAX - element.at
        spans.append(Span(element, _number(count, 1, most, "a count of elements")))
    return ListDelete(check_field_name(op[1]), tuple(spans))


def _many(value: object, what: str) -> list[object]:
    if type(value) is not list or not value:
        raise Malformed(Reason.SHAPE, f"{what} is not an array of at least one")
    if len(value) > limits.TARGETS_MAX:
        raise LimitExceeded(Reason.TOO_MANY, f"{len(value)} {what}")
    return value


def _read_dict_set(op: list[object]) -> Edit:
    return DictSet(check_field_name(op[1]), check_dict_key(op[2]), _value(op[3]))


def _read_dict_delete(op: list[object]) -> Edit:
    return DictDelete(check_field_name(op[1]), check_dict_key(op[2]))


def _read_counter_add(op: list[object]) -> Edit:
    amount = op[2]
    if not isinstance(amount, Sealed) and type(amount) is not int:
        raise Malformed(Reason.SHAPE, "a counter takes an int")
    return CounterAdd(check_field_name(op[1]), amount)


def _read_set_add(op: list[object]) -> Edit:
    return SetAdd(check_field_name(op[1]), _value(op[2]))


def _read_set_remove(op: list[object]) -> Edit:
    adds: list[Made] = []
    for add in _many(op[2], "adds"):
        event, number = _array(add, 2, "an add")
        adds.append(Made(_event(event), _number(number, 0, limits.OPS_MAX - 1, "an op")))
    return SetRemove(check_field_name(op[1]), tuple(adds))


READERS: Final[dict[int, tuple[int, Callable[[list[object]], Edit]]]] = {
    SET: (3, _read_set),
    DELETE: (2, _read_delete),
    LIST_INSERT: (6, _read_list_insert),
    LIST_SET: (4, _read_list_set),
    LIST_DELETE: (3, _read_list_delete),
    DICT_SET: (4, _read_dict_set),
    DICT_DELETE: (3, _read_dict_delete),
    COUNTER_ADD: (3, _read_counter_add),
    SET_ADD: (3, _read_set_add),
    SET_REMOVE: (3, _read_set_remove),
}
"""Kind to (length of the array, reader); for `dinemic_engine.ops.read_op`."""
