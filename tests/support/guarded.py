"""Models with guards for tests on real nodes, and a look at what is in a node's store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import dinemic
from dinemic.node import Node
from dinemic_engine.ids import ObjectId
from support.clocks import BOUND_SECONDS
from support.nodes import acting

FIELDS: Final = "Person:[id]:*"


class Person(dinemic.DModel, access="open"):
    name = dinemic.DField("name")
    nick = dinemic.DField("nick")
    salary = dinemic.DField("salary", True)
    notes = dinemic.DDict("notes")
    albums = dinemic.DList("albums")


class Safe(dinemic.DModel):
    name = dinemic.DField("name")
    albums = dinemic.DList("albums")


class NoEve(dinemic.DAction):
    """Refuses one value, and keeps what it was asked and told of."""

    def __init__(self, refused: Any = "Eve") -> None:
        self.refused = refused
        self.asked: list[Any] = []
        self.told: list[Any] = []

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.asked.append((old_value, new_value))
        if new_value == self.refused:
            raise ValueError(f"no {new_value}")

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.told.append((old_value, new_value))


GUARD: Final = f"{__name__}.NoEve"


def guarding(node: Node, refused: Any = "Eve") -> NoEve:
    """A `NoEve` of every field of every person, applied on a node."""
    guard = NoEve(refused)
    with acting(node):
        guard.apply(FIELDS)
    return guard


class Told(dinemic.DAction):
    """Keeps what it is told; `hold` is called before."""

    def __init__(self, hold: Callable[[], object] = bool) -> None:
        self.values: list[Any] = []
        self.hold = hold

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.hold()
        self.values.append(new_value)


def rows(node: Node) -> dict[bytes, bytes]:
    """Everything in a node's store."""
    return dict(node._store.scan(b"", b"\xff" * 64))


def settle(*nodes: Node) -> None:
    for node in nodes:
        assert node.listeners.drain(BOUND_SECONDS)


def veto_of(node: Node, target: ObjectId) -> list[tuple[str, str] | None]:
    """What stands against each event of an object that has no effect here."""
    return [each.veto for each in node.view.withheld(target)]
