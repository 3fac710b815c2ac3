"""What must hold of one object, read off its events by what the rules say, and nothing kept.

An audit folds the events anew with the engine's own code; here the text of a rule is applied to the
history as it stands, so a rule that is wrong in the engine is wrong against it. Each event gets its
past as a set of bits, in replay order::

    0 genesis   1 grant   2 write   3 revoke      past of 2: {0, 1}    past of 3: {0, 1}
                              `--- unseen ---'     so 2 may have no effect

* I-06 is AUTH-4 with the verdicts of grants and revocations taken as given: of who is not the owner
  an event has effect if and only if a grant in its past has, and every revocation with effect that
  had seen the grant is in the event's past too.
* I-11: who wrote a register last in (t, id) wins, and is one of those that no other write had seen;
  `conflicts` are just these. A list holds what was inserted and not deleted, once; a counter is its
  sum; a set holds the adds that no remove names. A removal that has effect hides the object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, TypeVar

from dinemic.testing.invariants import InvariantBroken
from dinemic_engine.access import GRANTERS, WRITERS
from dinemic_engine.edits import (
    CounterAdd,
    Delete,
    Element,
    ListDelete,
    ListInsert,
    Made,
    Set,
    SetAdd,
    SetRemove,
    stored_key,
)
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId, ObjectId, short
from dinemic_engine.ops import Create, Grant, Op, Remove, Revoke, SetPolicy
from dinemic_engine.store.layout import VOID
from dinemic_engine.types import counter, list_reading, members
from dinemic_engine.view import View

if TYPE_CHECKING:
    from dinemic.testing.site import Site


_Act = TypeVar("_Act", Grant, Revoke)
_Op = TypeVar("_Op", bound=Op)


def check_histories(site: Site) -> None:
    """Return if all objects of a node are as their events say.

    Raises:
        InvariantBroken: one is not.
    """
    view = site.node.view
    for model, object_id in view.objects(removed=True):
        History(view, object_id, f"{model}:{short(object_id)}... on node {site.number}").check()


class History:
    """The events of an object on one node, in replay order, with their pasts."""

    def __init__(self, view: View, object_id: ObjectId, name: str) -> None:
        self._of = name
        self._view = view
        self._rows = view.rows
        self._id = object_id
        self._logged: Final = list(view.history(object_id))
        self._pasts: Final[list[int]] = []
        numbers: dict[EventId, int] = {}
        for number, each in enumerate(self._logged):
            past = 0
            for parent in each.event.parents:
                if parent not in numbers:
                    raise self._broken("I-02", f"{_name(each.event)} is not behind all its parents")
                past |= self._pasts[numbers[parent]] | 1 << numbers[parent]
            numbers[each.event.id] = number
            self._pasts.append(past)

    def check(self) -> None:
        """Return if the object is as its events say.

        Raises:
            InvariantBroken: it is not.
        """
        if not self._is_ever_open():
            self._check_authority()
        no, row = self._view.need(self._id)
        if row.is_there == any(True for _ in self._effective(Remove)):
            how = "is there, though removed" if row.is_there else "is gone, and nobody removed it"
            raise self._broken("I-11", f"the object {how}")
        if row.is_there:
            self._check_registers()
            self._check_lists(no)
            self._check_counters(no)
            self._check_sets(no)

    def _broken(self, invariant: str, what: str) -> InvariantBroken:
        return InvariantBroken(invariant, f"{self._of}: {what}")

    # -- I-06 -----------------------------------------------------------------------------------

    def _is_ever_open(self) -> bool:
        """Whether anybody could ever write to some field."""
        ops = [op for each in self._logged for op in each.event.ops]
        policies = [op.policy for op in ops if isinstance(op, Create | SetPolicy)]
        return any(each.is_open or any(rule for _, rule in each.fields) for each in policies)

    def _check_authority(self) -> None:
        owner = self._logged[0].event.author
        grants = self._acts(Grant)
        revokes = self._acts(Revoke)
        for at, each in enumerate(self._logged):
            event = each.event
            if event.author == owner:
                continue
            changes_access = any(isinstance(op, Grant | Revoke) for op in event.ops)
            roles = GRANTERS if changes_access else WRITERS
            allowed = any(
                op.signing == event.author
                and op.role in roles
                and self._has_seen(at, grant)
                and not any(
                    (end.signing, end.role) == (op.signing, op.role)
                    and self._has_seen(revoke, grant)
                    and not self._has_seen(revoke, at)
                    and at != revoke
                    for revoke, end in revokes
                )
                for grant, op in grants
            )
            if allowed == bool(each.flags & VOID):
                how = (
                    "has no effect, and was not revoked"
                    if allowed
                    else "has effect, though revoked"
                )
                raise self._broken("I-06", f"{_name(event)} {how}")

    def _has_seen(self, at: int, other: int) -> bool:
        return bool(self._pasts[at] >> other & 1)

    def _acts(self, kind: type[_Act]) -> list[tuple[int, _Act]]:
        return [
            (at, op)
            for at, each in enumerate(self._logged)
            if not each.flags & VOID
            for op in each.event.ops
            if isinstance(op, kind)
        ]

    # -- I-11 -----------------------------------------------------------------------------------

    def _effective(self, *kinds: type[_Op]) -> Iterator[tuple[int, Event, int, _Op]]:
        """(number of the event, event, number of the op, op) of what has effect on this node."""
        for at, each in enumerate(self._logged):
            if not each.flags & VOID and each.withheld is None:
                for index, op in enumerate(each.event.ops):
                    if isinstance(op, kinds):
                        yield at, each.event, index, op

    def _check_registers(self) -> None:
        writes: dict[str, dict[int, tuple[Event, int, Set | Delete]]] = {}
        for at, event, index, op in self._effective(Set, Delete):
            assert isinstance(op, Set | Delete)
            writes.setdefault(stored_key(op), {})[at] = event, index, op
        for stored, by_number in writes.items():
            seen = 0
            for at in by_number:
                seen |= self._pasts[at]
            event, index, op = by_number[max(by_number)]
            shown = self._view.read(self._id, stored)
            wanted = None if isinstance(op, Delete) else (event.id, index)
            if (None if shown is None else (shown.event, shown.op)) != wanted:
                raise self._broken("I-11", f"{stored} does not show {_name(event)}, the last write")
            unseen = [
                by_number[at][0].id for at in sorted(by_number, reverse=True) if not seen >> at & 1
            ]
            found = [each.event for each in self._view.conflicts(self._id, stored)]
            if found[:1] != unseen[:1] or Counter(found) != Counter(unseen):
                what = (
                    f"{len(found)} writes of {stored} conflict, not the {len(unseen)} unseen ones"
                )
                raise self._broken("I-11", what)

    def _check_lists(self, no: int) -> None:
        lists: dict[str, set[Element]] = {}
        for _, event, index, op in self._effective(ListInsert):
            elements = lists.setdefault(stored_key(op), set())
            elements.update(Element(event.id, index, at) for at in range(op.count))
        for _, event, _, gone in self._effective(ListDelete):
            for (made, index, first), length in gone.spans:
                lists.setdefault(stored_key(gone), set()).difference_update(
                    Element(made or event.id, index, at) for at in range(first, first + length)
                )
        for stored, elements in lists.items():
            found = [each.element for each in list_reading.items(self._rows, no, stored.encode())]
            self._compare(stored, found, elements)

    def _check_counters(self, no: int) -> None:
        sums: dict[str, int] = {}
        for _, _, _, op in self._effective(CounterAdd):
            if isinstance(op.amount, int):
                sums[stored_key(op)] = sums.get(stored_key(op), 0) + op.amount
        for stored, wanted in sums.items():
            _, found = counter.read(self._rows, no, stored.encode())
            if found != wanted:
                raise self._broken("I-11", f"{stored} is not the sum of what was added")

    def _check_sets(self, no: int) -> None:
        sets: dict[str, set[Made]] = {}
        for _, event, index, op in self._effective(SetAdd):
            sets.setdefault(stored_key(op), set()).add(Made(event.id, index))
        for _, event, _, gone in self._effective(SetRemove):
            named = (Made(add.event or event.id, add.op) for add in gone.adds)
            sets.setdefault(stored_key(gone), set()).difference_update(named)
        for stored, adds in sets.items():
            found = members.members(self._rows, no, stored.encode())
            self._compare(stored, [add for each in found for add in each.adds], adds)

    def _compare(self, stored: str, found: Collection[object], wanted: AbstractSet[object]) -> None:
        """Return if a collection holds what it should, each once."""
        if len(found) != len(wanted) or set(found) != wanted:
            here = len(wanted & set(found))
            what = f"{stored} holds {len(found)}, {here} of the {len(wanted)} put there and left"
            raise self._broken("I-11", what)


def _name(event: Event) -> str:
    return f"event {short(event.id)}..."
