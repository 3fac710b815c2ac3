r"""TYPE-6: the order of a list, as the Fugue paper defines it: a tree, read from left to right.

Weidner and Kleppmann, "The Art of the Fugue" (2023), figure 3, with two things of ours: several
values can be inserted at once, each the right child of the one before; and children on one side are
in the order of (event id, op).

              B          the list: A B C D
            /   \        B and D were typed first, D on the right of B;
           A     D        A on the left of B, C on the left of D
                /
               C
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final, NamedTuple

from reference.log import Placed


class Element(NamedTuple):
    """A value of a list, by the event, the op and the position in it that inserted it."""

    event: bytes
    op: int
    at: int


ROOT: Final = Element(b"", -1, -1)


def element_of(by: Placed, named: list[Any] | None) -> Element:
    """The element an op names: null is the root, and an event that is null is its own."""
    if named is None:
        return ROOT
    event, op, at = named
    return Element(event or by.event.id, op, at)


def order(inserts: Iterable[Placed]) -> list[Element]:
    """Every element of the LIST_INSERTs of one list, void and deleted ones too, in order."""
    left: dict[Element, list[Element]] = defaultdict(list)
    right: dict[Element, list[Element]] = defaultdict(list)
    for insert in inserts:
        _, _, parent, is_right, count, _ = insert.op
        run = [Element(insert.event.id, insert.position, at) for at in range(count)]
        (right if is_right else left)[element_of(insert, parent)].append(run[0])
        for before, after in pairwise(run):
            right[before].append(after)
    found: list[Element] = []
    # left children, the element, right children; on a stack of our own, for lists are deep
    todo = [(ROOT, False)]
    while todo:
        element, is_itself = todo.pop()
        if is_itself:
            found.append(element)
        else:
            todo += [(child, False) for child in sorted(right[element], reverse=True)]
            todo += [(element, True)] * (element != ROOT)
            todo += [(child, False) for child in sorted(left[element], reverse=True)]
    return found
