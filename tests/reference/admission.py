"""T1: the rules an event breaks by what it says and what its author had seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reference.events import Event
from reference.log import Log
from reference.scope import Scope, policy_of, source_of_policy
from reference.shapes import READ, Op, OpArray
from reference.spelling import Sealed

TARGET = "TYPE-1/target"


def broken_rules(event: Event, admitted: Mapping[bytes, Event], log: Log) -> set[str]:
    """The rules an event breaks; none: it is admitted. Its parents are.

    `log` is that of the parents' object, which the event is not yet in; or its own, if it is a
    genesis.
    """
    parents = [admitted[parent] for parent in event.parents]
    found = set[str]()
    if any(parent.t >= event.t for parent in parents):
        found.add("ORD-2/clock")
    if any(parent.object != event.object for parent in parents):
        return found | {"ORD-1/object"}  # of what is in two pasts, nothing more can be asked
    scope = Scope(log, log.past(event))
    found |= scope.denies(event) | _grants(event, log) | _seals(event, log, scope)
    if not all(_is_well_aimed(event, position, log) for position in range(len(event.ops))):
        found.add(TARGET)
    if not _names_once(event):
        found.add(TARGET)
    return found


# -- section 3 -------------------------------------------------------------------------------------


def _grants(event: Event, log: Log) -> set[str]:
    """AUTH-2: nobody grants the owner anything, or revokes it."""
    keys = [op[3] for op in event.ops if op[0] == Op.GRANT]
    keys += [op[2] for op in event.ops if op[0] == Op.REVOKE]
    return {"AUTH-2/owner"} if log.owner in keys else set()


# -- section 5 -------------------------------------------------------------------------------------


def _seals(event: Event, log: Log, scope: Scope) -> set[str]:
    """SEAL-1 to SEAL-4."""
    found = set()
    past = log.past(event)

    def reads(key: bytes) -> bool:
        return key == log.owner or scope.holds(event, key, READ)

    made = {op[2]: op for op in event.ops if op[0] == Op.EPOCH}
    beside = {op[3] for op in event.ops if op[0] == Op.GRANT and op[1] == READ}
    for op in event.ops:
        if op[0] == Op.EPOCH and op[1] != log.suite:
            found.add("SEAL-1/suite")
        if op[0] == Op.GRANT and op[1] == READ and op[4][0] != log.suite:
            found.add("SEAL-1/suite")
    for commit, op in made.items():
        makers, recipients = _having(log, past, commit)
        if not makers and log.owner not in _recipients(op):
            found.add("SEAL-2/owner")
        if makers and not reads(event.author) and event.author not in makers:
            found.add("SEAL-4/again")
        if not all(key in beside or reads(key) for key in _recipients(op)):
            found.add("SEAL-3/readers")
    if not event.parents or policy_of(source_of_policy(log, event))[0]:
        return found
    for value in _sealed_values(event):
        makers, recipients = _having(log, past, value.commit)
        if not makers and value.commit not in made:
            found.add("SEAL-3/epoch")
        if not all(reads(key) for key in recipients | (makers - {event.author})):
            found.add("SEAL-3/readers")
    return found


def _having(log: Log, past: frozenset[bytes], commit: bytes) -> tuple[set[bytes], set[bytes]]:
    """Who has the key of an epoch: the authors and the recipients of its EPOCH ops, void or not."""
    epochs = [placed for placed in log.ops(past, Op.EPOCH) if placed.op[2] == commit]
    recipients = [_recipients(placed.op) for placed in epochs]
    return {placed.event.author for placed in epochs}, set().union(*recipients)


def _recipients(op: OpArray) -> set[bytes]:
    return {reader for reader, _ in op[3]}


def _sealed_values(event: Event) -> Iterator[Sealed]:
    for op in event.ops:
        if isinstance(op[-1], Sealed):
            yield op[-1]


# -- section 6 -------------------------------------------------------------------------------------


def _is_well_aimed(event: Event, position: int, log: Log) -> bool:
    """TYPE-1, and TYPE-6 for inserts: what an op points at is there, and where it goes is room."""
    op = event.ops[position]
    match op:
        case [Op.SET_REMOVE, name, adds]:
            made = [_target(event, position, log, *add) for add in adds]
            return all(add[:2] == [Op.SET_ADD, name] for add in made)
        case [Op.LIST_SET, name, element, _]:
            return _reaches(event, position, log, name, element, 1)
        case [Op.LIST_DELETE, name, spans]:
            return all(
                _reaches(event, position, log, name, element, count) for *element, count in spans
            )
        case [Op.LIST_INSERT, name, None, _, _, _]:
            return not _is_taken(event, position, log, name, None, True)
        case [Op.LIST_INSERT, name, parent, right, _, _]:
            if not _reaches(event, position, log, name, parent, 1):
                return False
            if right and _reaches(event, position, log, name, parent, 2):
                return False  # its right child is the next of the same insert
            return not _is_taken(event, position, log, name, parent, right)
    return True


def _target(event: Event, position: int, log: Log, by: bytes | None, at: int) -> OpArray:
    """The op that is pointed at, if it is in the past or before the one that points; else none."""
    if by is None:
        ops = event.ops[:position]
    else:
        ops = log.events[by].ops if by in log.past(event) else ()
    return ops[at] if at < len(ops) else []


def _reaches(
    event: Event, position: int, log: Log, name: str, element: list[Any], count: int
) -> bool:
    """Whether so many elements, from the one named, are of one insert into the field."""
    by, at, index = element
    match _target(event, position, log, by, at):
        case [Op.LIST_INSERT, field, _, _, inserted, _]:
            return bool(field == name and index + count <= inserted)
    return False


def _is_taken(
    event: Event, position: int, log: Log, name: str, parent: list[Any] | None, right: bool
) -> bool:
    """Whether another insert of the event or its past is at that side of that element."""

    def absolute(by: Event, element: list[Any] | None) -> list[Any] | None:
        return element and [element[0] or by.id, *element[1:]]

    side = [name, absolute(event, parent), right]
    here = [(event, op) for at, op in enumerate(event.ops) if at != position]
    there = [(placed.event, placed.op) for placed in log.ops(log.past(event), Op.LIST_INSERT)]
    return side in [
        [op[1], absolute(by, op[2]), op[3]] for by, op in here + there if op[0] == Op.LIST_INSERT
    ]


def _names_once(event: Event) -> bool:
    """TYPE-7: one event names an element in its LIST_DELETEs once."""
    named = [
        (op[1], by, at, index + more)
        for op in event.ops
        if op[0] == Op.LIST_DELETE
        for by, at, index, count in op[2]
        for more in range(count)
    ]
    return len(named) == len(set(named))
