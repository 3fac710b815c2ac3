"""Which heads an event names when there are more than it can name."""

from __future__ import annotations

from collections.abc import Sequence

from dinemic_engine import access, log, state
from dinemic_engine.edits import named_events, sealed_in
from dinemic_engine.ids import AuthorId
from dinemic_engine.limits import PARENTS_MAX
from dinemic_engine.ops import ROLES, Op
from dinemic_engine.store.layout import Head, Place
from dinemic_engine.store.overlay import Readable


def chosen(
    rows: Readable, no: int, heads: Sequence[Head], author: AuthorId, ops: Sequence[Op]
) -> list[Head]:
    """As many heads as one event can name; the others merge with the next.

    The newest, but first those that what the author does rests on: a grant of each role, the
    epochs `ops` seal under, the events they point at. Else many heads by others would keep an
    author from using them.
    """
    row = log.object_row(rows, no)
    newest_first = sorted(heads, reverse=True)
    needed: list[tuple[int, int]] = []
    for commit in sorted({value.epoch for op in ops if (value := sealed_in(op)) is not None}):
        made = state.made_at(rows, row, no, commit)
        if made is not None:
            needed.append((made.chain, made.seq))
    for role in ROLES:
        grant = access.holder(rows, row, no, author, role)
        if grant is not None:
            needed.append((grant.act.chain, grant.act.seq))
    for event_id in sorted({each for op in ops for each in named_events(op)}):
        place = log.place_of(rows, event_id)
        needed.append((place.chain, place.seq))
    first: list[Head] = []
    for chain, seq in needed:
        covering = [head for head in newest_first if _covers(rows, no, head, chain, seq)]
        if not any(head in first for head in covering):
            first += covering[:1]
    rest = [head for head in newest_first if head not in first]
    return (first + rest)[:PARENTS_MAX]


def _covers(rows: Readable, no: int, head: Head, chain: int, seq: int) -> bool:
    place = Place(no, head.t, head.chain, head.seq, head.base, 0)
    return log.covers(rows, place, chain, seq)
