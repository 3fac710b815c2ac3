"""T2, and what an object comes to: verdicts, heads, the values of its fields, who may do what.

Everything is asked of all admitted events of the object, anew each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from reference import fugue
from reference.events import Event
from reference.fugue import Element
from reference.log import Log, Placed
from reference.scope import (
    Scope,
    opens,
    policy_in_force,
    policy_of,
    source_of_policy,
)
from reference.shapes import EDITS, Op, OpArray
from reference.spelling import Sealed, Value, write

NAMESPACES: Final = {
    Op.SET: "value_",
    Op.DELETE: "value_",
    Op.LIST_INSERT: "list_",
    Op.LIST_SET: "list_",
    Op.LIST_DELETE: "list_",
    Op.DICT_SET: "dict_",
    Op.DICT_DELETE: "dict_",
    Op.COUNTER_ADD: "counter_",
    Op.SET_ADD: "set_",
    Op.SET_REMOVE: "set_",
}


def stored_key(op: OpArray) -> str:
    """The stored key of the field an edit is of."""
    return NAMESPACES[op[0]] + str(op[1])


@dataclass(frozen=True)
class Register:
    """All effective writes of one thing, the largest first (ORD-6)."""

    writes: tuple[Placed, ...]
    conflicts: tuple[Placed, ...]
    """Those that are in the past of no other."""

    @property
    def is_visible(self) -> bool:
        """Whether the winning write gives a value, and does not take it away."""
        return self.writes[0].op[0] not in (Op.DELETE, Op.DICT_DELETE)

    @property
    def value(self) -> Value:
        """The value of the winning write."""
        value: Value = self.writes[0].op[-1]
        return value


@dataclass(frozen=True)
class Item:
    """An element of a list that is there."""

    element: Element
    value: Value
    """Of a sealed insert, the whole array as it was sealed."""
    writes: Register | None
    """Its LIST_SETs, if it has any."""


@dataclass(frozen=True)
class Counter:
    """The plain adds of a counter, and the sealed ones, in the order."""

    adds: tuple[int, ...]
    sealed: tuple[Placed, ...]


class Object:
    """One object, by all its admitted events."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.scope = Scope(log, log.events.keys())

    @property
    def id(self) -> bytes:
        """The object id."""
        return self.log.genesis.id

    # -- verdicts (section 3) --

    @cached_property
    def effective(self) -> list[Event]:
        """The events that stand, in the order."""
        return [each for each in self.log.ordered(self.log.events) if not self.scope.denies(each)]

    @cached_property
    def _effective_ids(self) -> frozenset[bytes]:
        return frozenset(event.id for event in self.effective)

    def verdict(self, event: Event) -> str:
        """``authorized``, ``unauthorized`` (let in by an open field), or the rule it is void by."""
        if event.id in self._effective_ids:
            return "authorized" if self.scope.may_write(event) else "unauthorized"
        policy = policy_of(source_of_policy(self.log, event))
        was_open = all(op[0] in EDITS and opens(policy, op[1]) for op in event.ops)
        return "AUTH-5" if was_open else "AUTH-4"

    @cached_property
    def heads(self) -> list[bytes]:
        """The ids of the effective events that are in the past of no effective event, ascending."""
        seen = frozenset[bytes]().union(*map(self.log.past, self.effective))
        return sorted(self._effective_ids - seen)

    @cached_property
    def counting(self) -> frozenset[bytes]:
        """The ids of the events that stand, or that one that stands has seen (REC-1)."""
        return self._effective_ids.union(*map(self.log.past, self.effective))

    @cached_property
    def removal(self) -> Event | None:
        """The smallest effective REMOVE, while which nothing is visible (AUTH-6)."""
        return next((placed.event for placed in self.ops(Op.REMOVE)), None)

    def ops(self, *kinds: Op) -> list[Placed]:
        """The effective ops of some kinds, in the order."""
        return list(self.log.ops(self._effective_ids, *kinds))

    # -- fields (section 6) --

    def _fields(self, *kinds: Op) -> dict[str, list[Placed]]:
        """The effective ops of some kinds by the stored key of their field, if any are visible."""
        found: dict[str, list[Placed]] = {}
        for placed in [] if self.removal else self.ops(*kinds):
            found.setdefault(stored_key(placed.op), []).append(placed)
        return dict(sorted(found.items()))

    def _register(self, writes: Iterable[Placed]) -> Register:
        largest_first = sorted(writes, key=lambda write: write.key, reverse=True)

        def is_seen(write: Placed, by: Placed) -> bool:
            if write.event.id == by.event.id:
                return write.position < by.position
            return write.event.id in self.log.past(by.event)

        unseen = [
            each for each in largest_first if not any(is_seen(each, by) for by in largest_first)
        ]
        return Register(tuple(largest_first), tuple(unseen))

    @cached_property
    def registers(self) -> dict[str, Register]:
        """TYPE-2, by stored key; those whose value was taken away too."""
        return {
            stored: self._register(writes)
            for stored, writes in self._fields(Op.SET, Op.DELETE).items()
        }

    @cached_property
    def dicts(self) -> dict[str, dict[str, Register]]:
        """TYPE-3, by stored key and key in the order of its UTF-8; keys taken out too."""
        return {
            stored: {
                key: self._register(write for write in writes if write.op[2] == key)
                for key in sorted({write.op[2] for write in writes}, key=str.encode)
            }
            for stored, writes in self._fields(Op.DICT_SET, Op.DICT_DELETE).items()
        }

    @cached_property
    def counters(self) -> dict[str, Counter]:
        """TYPE-4, by stored key."""
        return {
            stored: Counter(
                tuple(add.op[2] for add in adds if not isinstance(add.op[2], Sealed)),
                tuple(add for add in adds if isinstance(add.op[2], Sealed)),
            )
            for stored, adds in self._fields(Op.COUNTER_ADD).items()
        }

    @cached_property
    def sets(self) -> dict[str, dict[bytes, list[Placed]]]:
        """TYPE-5, by stored key and encoded value: the adds that keep it in, in the order."""
        removed = {
            (stored, by or remove.event.id, at)
            for stored, removes in self._fields(Op.SET_REMOVE).items()
            for remove in removes
            for by, at in remove.op[2]
        }
        found: dict[str, dict[bytes, list[Placed]]] = {}
        for stored, adds in self._fields(Op.SET_ADD).items():
            for add in adds:
                if (stored, add.event.id, add.position) not in removed:
                    members = found.setdefault(stored, {})
                    members.setdefault(write(add.op[2]), []).append(add)
        return found

    @cached_property
    def lists(self) -> dict[str, list[Item]]:
        """TYPE-6 and TYPE-7, by stored key."""
        return {
            stored: self._list(stored, inserts)
            for stored, inserts in self._fields(Op.LIST_INSERT).items()
        }

    def _list(self, stored: str, inserts: list[Placed]) -> list[Item]:
        ever = self.log.ops(self.log.events, Op.LIST_INSERT)
        inserted = {(insert.event.id, insert.position): insert for insert in inserts}
        deleted = {
            Element(by or delete.event.id, op, index + more)
            for delete in self._fields(Op.LIST_DELETE).get(stored, [])
            for by, op, index, count in delete.op[2]
            for more in range(count)
        }
        writes: dict[Element, list[Placed]] = {}
        for placed in self._fields(Op.LIST_SET).get(stored, []):
            element = fugue.element_of(placed, placed.op[2])
            writes.setdefault(element, []).append(placed)
        found = []
        for element in fugue.order(each for each in ever if stored_key(each.op) == stored):
            insert = inserted.get((element.event, element.op))
            if insert is None or element in deleted:
                continue
            values = insert.op[5]
            value = values if isinstance(values, Sealed) else values[element.at]
            register = self._register(writes[element]) if element in writes else None
            found.append(Item(element, register.value if register else value, register))
        return found

    # -- who may do what (sections 3 and 5) --

    @property
    def policy(self) -> list[object]:
        """The policy in force: `[open, {field: open}]`."""
        return policy_in_force(self.log)

    @cached_property
    def holders(self) -> dict[tuple[int, bytes], Placed]:
        """By role and key: the last GRANT that stands and that no REVOKE that stands ends."""
        found = {}
        for grant in self.ops(Op.GRANT):
            _, role, _, key, _ = grant.op
            ended = any(
                end.op[1:] == [role, key] and grant.event.id in self.log.past(end.event)
                for end in self.ops(Op.REVOKE)
            )
            if not ended:
                found[role, key] = grant
        return dict(sorted(found.items()))

    @cached_property
    def epochs(self) -> dict[bytes, list[Placed]]:
        """The epochs in force by commitment, in the order: their effective EPOCH ops."""
        found: dict[bytes, list[Placed]] = {}
        for placed in self.ops(Op.EPOCH):
            found.setdefault(placed.op[2], []).append(placed)
        return found

    def recipients(self, commit: bytes) -> set[bytes]:
        """The keys that an epoch in force was sealed for."""
        return {reader for placed in self.epochs.get(commit, []) for reader, _ in placed.op[3]}
