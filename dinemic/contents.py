"""What the lists, dicts, counters and sets of an object hold, opened as far as somebody can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.collections_view import Collections
from dinemic_engine.errors import Unreadable
from dinemic_engine.ids import ObjectId
from dinemic_engine.types import counter, mapping, sequence

Content: TypeAlias = list[Value] | dict[str, Value] | int
"""Of a list or set its values, of a dict those by key, of a counter the sum of what was opened."""
Unseal: TypeAlias = Callable[[str, Sealed], Value]
"""What a value was sealed to, and the sealed value, to the value inside; raises `Unreadable`."""


def contents(
    shown: Collections, object_id: ObjectId, unseal: Unseal
) -> Iterator[tuple[str, Content, int]]:
    """(stored key, what is in it, how many sealed values did not open) of each that is not empty.

    Those that did not open stand as they are, but for a counter, where they count nothing.
    """
    for stored in shown.fields(object_id):
        opening = _Opening(unseal)
        content: Content
        if stored.startswith(sequence.PREFIX):
            content = _list(shown, object_id, stored, opening)
        elif stored.startswith(mapping.PREFIX):
            content = {
                key: opening.open(f"{stored}/{key}", reading.value)
                for key, reading in shown.entries(object_id, stored)
            }
        elif stored.startswith(counter.PREFIX):
            adds = [
                opening.open(stored, add.amount) for add in shown.sealed_adds(object_id, stored)
            ]
            ints = [add for add in adds if type(add) is int]
            opening.locked = len(adds) - len(ints)
            content = shown.total(object_id, stored) + sum(ints)
        else:
            found = [opening.open(stored, each.value) for each in shown.members(object_id, stored)]
            content = list({_spelled(value): value for value in found}.values())
        yield stored, content, opening.locked


def _list(shown: Collections, object_id: ObjectId, stored: str, opening: _Opening) -> list[Value]:
    found: list[Value] = []
    run: tuple[bytes, int] = (b"", 0)
    opened: Value = None
    for item in shown.items(object_id, stored):
        if item.position is None:
            found.append(opening.open(stored, item.value))
            continue
        if run != (item.event, item.op):  # all elements of a run are in one sealed value
            run, opened = (item.event, item.op), opening.open(stored, item.value)
        fits = isinstance(opened, list) and item.position < len(opened)
        found.append(opened[item.position] if fits else item.value)  # type: ignore[index]
    return found


def _spelled(value: Value) -> bytes:
    return canonical.encode(value)


class _Opening:
    """Opens sealed values and counts those that do not open."""

    def __init__(self, unseal: Unseal) -> None:
        self._unseal = unseal
        self.locked = 0

    def open(self, path: str, value: Value) -> Value:
        """What is inside a sealed value, or itself."""
        if not isinstance(value, Sealed):
            return value
        try:
            return self._unseal(path, value)
        except Unreadable:
            self.locked += 1
            return value
