"""Random edits of lists for event graphs: mostly of what is there, mostly where there is room."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import (
    SEALED_ARRAY_BYTES_MIN,
    Element,
    ListDelete,
    ListInsert,
    ListSet,
    Span,
)
from dinemic_engine.event import Event
from dinemic_engine.ops import Op


def list_edit(
    rng: random.Random, name: str, kin: Sequence[Event], before: Sequence[Op], sealed: Sealed
) -> ListInsert | ListSet | ListDelete:
    """An edit of the list `name` by somebody who knows of `kin`, behind the ops `before`.

    Now and then it names nothing, or a side of an element that was taken.
    """
    runs: list[tuple[Element, int]] = []
    taken: set[tuple[Element | None, bool]] = set()
    for event in (*kin, None):
        for index, op in enumerate(before if event is None else event.ops):
            if isinstance(op, ListInsert) and op.field == name:
                own = b"" if event is None else event.id
                runs.append((Element(own, index, 0), op.count))
                parent = op.parent
                if parent is not None and not parent.event:
                    parent = parent._replace(event=own)
                taken.add((parent, op.right))
    if rng.randrange(40) == 0:
        runs.append((Element(rng.choice(kin).id, 0, 0), 1))
    kind = rng.randrange(8)
    first, count = rng.choice(runs or [(Element(b"", 0, 0), 1)])
    at = rng.randrange(count)
    if runs and kind <= 1:
        return ListSet(name, first._replace(at=at), rng.randrange(9))
    if runs and kind <= 4:
        spans = [Span(first._replace(at=at), rng.randint(1, count - at))]
        other, length = rng.choice(runs)
        if rng.randrange(2) and (other != first or rng.randrange(8) == 0):
            spans.append(Span(other, length))
        return ListDelete(name, tuple(spans))
    sides: list[tuple[Element | None, bool]] = [(None, True)]
    for first, count in runs:
        sides.append((first._replace(at=count - 1), True))
        sides += [(first._replace(at=rng.randrange(count)), False) for _ in range(2)]
    free = [side for side in sides if side not in taken] or sides
    parent, right = rng.choice(free if rng.randrange(40) else sides)
    count = rng.choice((1, 1, 2, 3, 70))
    if rng.randrange(6) == 0:
        sealed = replace(sealed, ciphertext=bytes(count + SEALED_ARRAY_BYTES_MIN))
        return ListInsert(name, parent, right, count, sealed)
    return ListInsert(name, parent, right, count, [rng.randrange(9) for _ in range(count)])
