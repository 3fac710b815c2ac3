"""Why a value is what it is: every write of it, what decided between them, who let each in.

Values are told apart by their slot (types/last_write.py): a register, a dict's key, a list's
element. Of the writes in effect the largest (t, id) wins (ORD-6); those in nobody's past are
concurrent, the others were seen by a later one. An element has a first value besides, the one it
was inserted with: whoever writes to it has seen that. What has no effect comes last, with the rule
that takes it away.

What is read grows with the writes of the value; where somebody was revoked or a guard refused
something, with the object's log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dinemic_engine import access, log
from dinemic_engine.acts import Granted
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import (
    Delete,
    DictDelete,
    DictSet,
    Element,
    ListDelete,
    ListInsert,
    ListSet,
    Set,
    stored_key,
)
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId
from dinemic_engine.ops import Op
from dinemic_engine.reading import Reading, reading_of
from dinemic_engine.store.layout import ObjectRow
from dinemic_engine.types import list_reading, mapping, register
from dinemic_engine.view import View

_Write: TypeAlias = tuple[int, bytes, int]
"""(t, event id, op)."""

_WINS: Final = ("wins", "ORD-6: largest (t, id)")
_CONCURRENT: Final = ("concurrent", "ORD-6: smaller (t, id), in the past of no write")
_SUPERSEDED: Final = ("superseded", "ORD-6: in the past of a later write")
_INSERTED: Final = ("wins", "TYPE-6: inserted so, and nothing written since has effect")


@dataclass(frozen=True, slots=True)
class Because:
    """Why one write won or lost: its event, what decided, and the grant that let it in."""

    reading: Reading
    author: AuthorId
    outcome: str
    """``wins``, ``superseded`` (in the past of a later write), ``concurrent`` (smaller key); or,
    without effect, ``void``, ``vetoed`` or ``waiting``, as in `LoggedEvent.verdict`."""
    rule: str
    grant: Granted | None
    """None: the author is the owner, or holds no grant (then `reading.authorized` is False)."""
    position: int | None = None
    """The value is that element of the array that `reading.value` seals."""


def of_register(view: View, object_id: bytes, stored: str) -> list[Because]:
    """Every write of a register, the winner first.

    Raises:
        UnknownObject: no such object here.
    """
    no, row = view.need(object_id)
    field = stored.encode()
    writes = register.writes(view.rows, no, field)
    answers = _ranked(view, no, row, writes, register.conflicts(view.rows, no, field))

    def concerns(event: Event, op: Op) -> bool:
        return isinstance(op, Set | Delete) and stored_key(op) == stored

    return [*answers, *_without_effect(view, no, row, concerns)]


def of_entry(view: View, object_id: bytes, stored: str, key: str) -> list[Because]:
    """Every write of a dict's key, as `of_register`."""
    no, row = view.need(object_id)
    field = stored.encode()
    writes = mapping.writes(view.rows, no, field, key)
    answers = _ranked(view, no, row, writes, mapping.conflicts(view.rows, no, field, key))

    def concerns(event: Event, op: Op) -> bool:
        return isinstance(op, DictSet | DictDelete) and stored_key(op) == stored and op.key == key

    return [*answers, *_without_effect(view, no, row, concerns)]


def of_element(view: View, object_id: bytes, stored: str, element: Element) -> list[Because]:
    """Every write of an element that a list has, the winner first, and last its insert.

    `element` names the event that inserted it.
    """
    no, row = view.need(object_id)
    field = stored.encode()
    writes = list_reading.writes(view.rows, no, field, element)
    standing = list_reading.conflicts(view.rows, no, field, element)
    answers = _ranked(view, no, row, writes, standing)
    insert = log.place_of(view.rows, EventId(element.event)).t, element.event, element.op
    outcome, rule = _SUPERSEDED if answers else _INSERTED
    answers.append(_because(view, no, row, insert, outcome, rule, element.at))

    def concerns(event: Event, op: Op) -> bool:
        if isinstance(op, ListInsert | ListSet | ListDelete) and stored_key(op) == stored:
            return any(_names(event, *span, element) for span in _spans(op))
        return False

    return [*answers, *_without_effect(view, no, row, concerns)]


def _spans(op: ListInsert | ListSet | ListDelete) -> Sequence[tuple[Element, int]]:
    """The elements of earlier ops that a LIST_SET or LIST_DELETE names: first and how many."""
    if isinstance(op, ListInsert):
        return ()
    return op.spans if isinstance(op, ListDelete) else [(op.element, 1)]


def _names(event: Event, first: Element, count: int, element: Element) -> bool:
    """Whether `element` is among `count` from `first` on, as an op of `event` names it."""
    run = first.event or event.id, first.op
    return run == (element.event, element.op) and first.at <= element.at < first.at + count


def _ranked(
    view: View, no: int, row: ObjectRow, writes: Sequence[_Write], standing: Sequence[_Write]
) -> list[Because]:
    """Writes in effect, the largest first; `standing` are those in the past of no other."""
    answers: list[Because] = []
    for write in writes:
        outcome, rule = _SUPERSEDED if write not in standing else _CONCURRENT
        if not answers:
            outcome, rule = _WINS
        answers.append(_because(view, no, row, write, outcome, rule))
    return answers


def _because(
    view: View, no: int, row: ObjectRow, write: _Write, outcome: str, rule: str, at: int = 0
) -> Because:
    """The answer for a write in effect; `at` tells which element of an insert it is."""
    t, event_id, index = write
    event = log.event_at(view.rows, no, t, event_id)
    grant = None
    if event.author != row.owner:
        place = log.place_of(view.rows, event.id)
        grant = access.grant_for(
            view.rows, row, place, event.author, access.WRITERS, None, event.id
        )
    reading = reading_of(view.rows, event, index, at)
    insert = event.ops[index]
    sealed_run = isinstance(insert, ListInsert) and isinstance(insert.values, Sealed)
    position = at if sealed_run else None
    return Because(reading, event.author, outcome, rule, grant, position)


def _without_effect(
    view: View, no: int, row: ObjectRow, concerns: Callable[[Event, Op], bool]
) -> Iterator[Because]:
    """The ops that `concerns` says yes to and that have no effect here, in order."""
    if not row.cuts and not row.withheld:
        return
    for logged in view.history(row.id):
        if logged.rule:
            event = logged.event
            for index, op in enumerate(event.ops):
                if concerns(event, op):
                    reading = reading_of(view.rows, event, index)
                    yield Because(reading, event.author, logged.verdict, logged.rule, None)
