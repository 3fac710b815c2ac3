"""The list as the Fugue paper defines it: a tree of elements, read in order.

Weidner and Kleppmann, "The Art of the Fugue" (2023), figure 3, with two things of ours: several
values can be inserted at once, each the right child of the one before; and siblings are in the
order of (event id, op). Slow and plain; shares no code with the engine but the ops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Element, ListDelete, ListInsert, ListSet
from dinemic_engine.event import Event

ROOT = Element(b"", -1, -1)


def named(event: Event, element: Element) -> Element:
    """An element with the id of its event, also where the op leaves that out."""
    return element if element.event else element._replace(event=event.id)


def order(events: Iterable[Event], field: str = "a") -> list[Element]:
    """Every element ever inserted by these events, dead ones too, in the order of the list."""
    left: dict[Element, list[Element]] = defaultdict(list)
    right: dict[Element, list[Element]] = defaultdict(list)
    for event in events:
        for index, op in enumerate(event.ops):
            if isinstance(op, ListInsert) and op.field == field:
                parent = ROOT if op.parent is None else named(event, op.parent)
                (right if op.right else left)[parent].append(Element(event.id, index, 0))
                for at in range(1, op.count):
                    before = Element(event.id, index, at - 1)
                    right[before].append(before._replace(at=at))
    found: list[Element] = []
    todo: list[tuple[Element, bool]] = [(ROOT, False)]
    while todo:  # in-order, with the stack of the recursion in our own hands
        element, entered = todo.pop()
        if entered:
            found.append(element)
            continue
        todo += [(child, False) for child in sorted(right[element], reverse=True)]
        if element != ROOT:
            todo.append((element, True))
        todo += [(child, False) for child in sorted(left[element], reverse=True)]
    return found


def values(
    events: Iterable[Event], effective: Iterable[Event], field: str = "a"
) -> list[tuple[Element, object]]:
    """(element, value) of what a reader sees, when of all `events` only some have effect."""
    alive: dict[Element, object] = {}
    dead: set[Element] = set()
    writes: dict[Element, dict[tuple[int, bytes, int], object]] = defaultdict(dict)
    for event in effective:
        for index, op in enumerate(event.ops):
            match op:
                case ListInsert(field=name, count=count) if name == field:
                    for at in range(count):
                        given = op.values
                        value = (given, at) if isinstance(given, Sealed) else given[at]
                        alive[Element(event.id, index, at)] = value
                case ListDelete(field=name, spans=spans) if name == field:
                    for first, length in spans:
                        element = named(event, first)
                        dead |= {element._replace(at=element.at + more) for more in range(length)}
                case ListSet(field=name) if name == field:
                    key = (event.t, event.id, index)
                    writes[named(event, op.element)][key] = op.value
    return [
        (element, _last(writes[element]) if writes[element] else alive[element])
        for element in order(events, field)
        if element in alive and element not in dead
    ]


def _last(written: Mapping[tuple[int, bytes, int], object]) -> object:
    return written[max(written)]


def is_admissible(event: Event, index: int, past: Mapping[bytes, Event]) -> bool:
    """TYPE-1 for one op of a list: what it names is there, and an insert takes a free side."""
    op = event.ops[index]
    match op:
        case ListSet():
            return _reaches(event, index, past, op.element, 1)
        case ListDelete():
            if not all(_reaches(event, index, past, *span) for span in op.spans):
                return False
            named_here = [
                (other.field, first.event, first.op, first.at + more)
                for other in event.ops
                if isinstance(other, ListDelete)
                for first, length in other.spans
                for more in range(length)
            ]
            return len(set(named_here)) == len(named_here)
        case ListInsert(parent=parent):
            if parent is not None and not _reaches(event, index, past, parent, 1):
                return False
            if parent is not None and op.right and _reaches(event, index, past, parent, 2):
                return False  # the run goes on to the right of it
            side = (op.field, parent and named(event, parent), op.right)
            taken = [
                (other.field, other.parent and named(by, other.parent), other.right)
                for by in (*past.values(), event)
                for other in by.ops
                if isinstance(other, ListInsert) and other is not op
            ]
            return side not in taken
    return True


def _reaches(
    event: Event, index: int, past: Mapping[bytes, Event], element: Element, length: int
) -> bool:
    """Whether `length` elements from `element` on were inserted into the field of an op."""
    ops = past[element.event].ops if element.event in past else ()
    if not element.event:
        ops = event.ops[:index]
    made = ops[element.op] if element.op < len(ops) else None
    field = event.ops[index].field  # type: ignore[union-attr]
    if not isinstance(made, ListInsert) or made.field != field:
        return False
    return element.at + length <= made.count
