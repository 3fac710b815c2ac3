"""Models that many tests write to, and an object that two nodes write to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Value
from dinemic_engine.ids import to_text
from support.nodes import acting, send

UNKNOWN: Final = "Person:" + to_text(bytes(31) + b"\x10")
"""An id that no object has."""


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)
    bonus = dinemic.DField("bonus", True, default=0)


class Dog(dinemic.DModel):
    name = dinemic.DField("name")


class Chief(dinemic.DModel):
    """Has keys, to which others may grant something, and no fields."""


class Wall(dinemic.DModel, access="open"):
    text = dinemic.DField("text")
    rules = dinemic.DField("rules", access="closed")
    guests = dinemic.DField("guests", access="open")


class Band(dinemic.DModel):
    """A field of every type."""

    name = dinemic.DField("name")
    albums = dinemic.DList("albums")
    prices = dinemic.DDict("prices")
    sold = dinemic.DCounter("sold")
    tags = dinemic.DSet("tags")


class Secret(dinemic.DModel):
    """A sealed field of every type."""

    name = dinemic.DField("name", True)
    albums = dinemic.DList("albums", True)
    prices = dinemic.DDict("prices", True)
    sold = dinemic.DCounter("sold", True)
    tags = dinemic.DSet("tags", True)


Made = Band | Secret
BOTH = pytest.mark.parametrize("model", [Band, Secret])
VALUES: Final[list[Value]] = [
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
"""One value of every type."""

_Model = TypeVar("_Model", bound=dinemic.DModel)


def shared(two: tuple[Node, Node], model: type[_Model]) -> tuple[_Model, _Model, Chief]:
    """An object of the first node, a handle of the second that may write it, and its caller."""
    a, b = two
    with acting(b):
        chief = Chief([])
    send(b, a)
    with acting(a):
        ours = model([chief.get_db_id()])
    send(a, b)
    with acting(b):
        return ours, model(ours.get_db_id(), chief.get_db_id()), chief


def changes(handle: Person, friend: str) -> list[Callable[[], None]]:
    """Everything that somebody without a right is refused in a closed object."""
    return [
        lambda: handle.name.set("Eve"),
        lambda: handle.name.delete(),
        lambda: handle.salary.set("9999"),
        lambda: handle.remove(),
        lambda: handle.append_read_authorized(friend),
        lambda: handle.append_update_authorized(friend),
        lambda: handle.append_admin_authorized(friend),
        lambda: handle.set_access("open"),
    ]
